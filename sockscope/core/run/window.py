"""What happened between two snapshots of the same run."""

from __future__ import annotations

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
