"""Whether the generator of an open loop kept its schedule: if not, the figures are not the server's."""

from __future__ import annotations

from sockscope.core.run.figures import figures
from sockscope.core.run.offered import most_late_s
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.units import format_duration


def why_invalid(window: Snapshot) -> str:
    """Return why the figures of a window are not valid, or nothing: the generator was the limit."""
    late_s, most_s = _lateness(window)
    if late_s is None or late_s <= most_s:
        return ""
    return (
        f"generator-bound: the clients themselves fell behind the schedule, p99 {format_duration(late_s)}, "
        f"more than {format_duration(most_s)}"
    )


def warning(window: Snapshot) -> str:
    """Return the same in few words, or nothing."""
    late_s, most_s = _lateness(window)
    if late_s is None or late_s <= most_s:
        return ""
    return f"! generator-bound: p99 {format_duration(late_s)} late"


def _lateness(window: Snapshot) -> tuple[float | None, float]:
    shown = figures(window)
    return shown.lateness_p99_s, most_late_s(shown.response_p50_s)
