"""Whether the generator of an open loop kept its schedule: if not, the figures are not the server's."""

from __future__ import annotations

from sockscope.core.run.offered import lateness_of
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.units import format_duration


def why_invalid(window: Snapshot) -> str:
    """Return why the figures of a window are not valid, or nothing: the generator was the limit."""
    late_s, most_s = lateness_of(window.main)
    if late_s is None or late_s <= most_s:
        return ""
    return (
        f"generator-bound: the clients themselves fell behind the schedule, p99 {format_duration(late_s)}, "
        f"more than {format_duration(most_s)}"
    )


def warning(window: Snapshot) -> str:
    """Return the same in few words, or nothing."""
    late_s, most_s = lateness_of(window.main)
    if late_s is None or late_s <= most_s:
        return ""
    return f"! generator-bound: p99 {format_duration(late_s)} late"
