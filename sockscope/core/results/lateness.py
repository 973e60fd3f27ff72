"""Where the generator of an open loop was late itself: what was measured there is not the server's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sockscope.core.results.contest import Lap
from sockscope.core.run.offered import most_late_s
from sockscope.core.units import counted, format_duration


def is_late(lap: Lap) -> bool:
    """Tell whether the generator of an open loop was the limit in a slice."""
    late_s = lap.schedule_lateness_p99_s
    return late_s is not None and late_s > most_late_s(lap.service_time_p50_s)


def is_mostly_late(laps: Sequence[Lap]) -> bool:
    """Tell whether it was in most of some slices, as the verdict on all of them is that of most."""
    return 2 * sum(map(is_late, laps)) > len(laps)


def late_ones(laps: Mapping[str, Sequence[Lap]]) -> dict[str, float]:
    """Return who was measured by a generator that was late in most slices, and its worst p99 in seconds."""
    return {
        name: max(lap.schedule_lateness_p99_s or 0.0 for lap in of)
        for name, of in laps.items()
        if is_mostly_late(of)
    }


def late_told(laps: Mapping[str, Sequence[Lap]]) -> str:
    """Return in a clause where the generator was late, or nothing: ``late itself at rate=1M (...)``."""
    late = late_ones(laps)
    if not late:
        return ""
    name, worst_s = max(late.items(), key=lambda one: one[1])
    others = f" and {counted(len(late) - 1, 'other')}" if len(late) > 1 else ""
    return f"the generator was late itself at {name} (p99 up to {format_duration(worst_s)}){others}"
