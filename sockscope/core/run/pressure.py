"""Blocked or merely loaded: what keeps a loop from its next turn, one long callback or many short ones."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core import units
from sockscope.core.run.figures import ProcessFigures
from sockscope.core.run.lens import OF_ONE_CALLBACK, LensView, call_at

BUSY_RATIO = 0.7
"""From this share of the time on, a loop is loaded."""
HALF = 0.5
HELD_S = 0.02
"""A lag from which on something must have held up the loop: turns of a busy one take less."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """Whether a loop is ``blocked``, ``loaded`` or ``free``, and the sentence with the evidence."""

    word: str
    sentence: str


def pressure(lens: LensView, figures: ProcessFigures) -> Pressure:
    """Tell of a window whether one callback holds up a loop, or many short ones fill its time."""
    lag_s, longest = figures.lag_max_s or 0.0, max(lens.holds, key=lambda hold: hold.duration_s, default=None)
    most_late = f"the loop was at most {units.format_duration(lag_s)} late"
    if longest is not None and longest.duration_s >= HALF * lag_s:
        length = units.format_duration(longest.duration_s)
        if longest.kind in OF_ONE_CALLBACK and not longest.mostly_waited:
            return Pressure("blocked", f"blocked: one callback took {length}: {call_at(longest)}")
        if longest.kind != "callbacks":
            return Pressure("blocked", f"held up for {length} by {call_at(longest)}")
    busy = lens.busy_ratio or 0.0
    if busy >= BUSY_RATIO or (longest is not None and longest.kind == "callbacks"):
        many = "by many callbacks, none of which takes most of the time"
        return Pressure("loaded", f"merely loaded, {many}: {most_late}")
    if lag_s >= HELD_S:
        return Pressure("late", f"{most_late}, and nothing was seen that held it up")
    return Pressure("free", f"neither blocked nor loaded: {most_late}")
