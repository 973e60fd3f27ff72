"""What happened between two snapshots of the same run."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.roles import SWARM
from sockscope.core.run.adding import difference
from sockscope.core.run.snapshot import Snapshot


def window(before: Snapshot, after: Snapshot) -> Snapshot:
    """Return ``after`` with its cumulative figures counted from ``before`` on.

    ``measured_s`` of the result is the length of the window. When the figures were cleared in between
    (the end of the warm-up), the window begins there.
    """
    if after.measured_since_s != before.measured_since_s:
        return after
    return difference(before, after)


def drained(end: Snapshot, stopped: Snapshot) -> Snapshot:
    """Return the ``end`` of a run with the latencies of all requests that were made until then.

    What was under way has been answered by the moment at which everything had ``stopped``, or was given up at
    an age that is in there, too. The counts stay those of the end.
    """
    swarm, after = end.swarm, stopped.swarm
    if swarm is None or after is None:
        return end
    swarm = replace(swarm, service_time=after.service_time, unanswered=after.unanswered)
    return replace(end, roles={**end.roles, SWARM: swarm})
