"""What happened between two snapshots of the same run."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.roles import SERVER, SWARM
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
    an age that is in there, too. So is what the user's own server raised while it ended. The other counts
    stay those of the end.
    """
    roles = dict(end.roles)
    if (swarm := end.swarm) is not None and (asked := stopped.swarm) is not None:
        roles[SWARM] = replace(
            swarm, service_time=asked.service_time, unanswered=asked.unanswered,
            response_time=asked.response_time, response_unanswered=asked.response_unanswered,
            awaited=asked.awaited, response_awaited=asked.response_awaited,
            connected_s=asked.connected_s, idle_s=asked.idle_s,
        )  # fmt: skip
    server, served = end.server, stopped.server
    if server is not None and served is not None and served.last_trouble != server.last_trouble:
        totals = replace(server.totals, errors=served.totals.errors)
        roles[SERVER] = replace(server, totals=totals, raised=served.raised, last_trouble=served.last_trouble)
    return replace(end, roles=roles)
