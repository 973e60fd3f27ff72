"""What holds up a loop, for the verdict: the call that a lens saw there."""

from __future__ import annotations

from collections.abc import Iterable

from sockscope.core import units
from sockscope.core.run.evidence import HALF, Seen
from sockscope.core.run.figures import ProcessFigures
from sockscope.core.run.lens import Cause, call_at, kind_told, main_cause

LENS = "lens on the loop"
"""Source of evidence."""


def seen_by_lens(seen: Seen, held: ProcessFigures) -> str:
    """Return what held up a loop for the longest time; nothing where no lens was on, or saw anything."""
    cause = _cause(seen, held)
    if cause is None:
        return ""
    _note(seen, held, cause)
    each = units.format_duration(cause.total_s / cause.count)
    return f"by {call_at(cause.hold)}, {each}{' each time' if cause.count > 1 else ''}"


def computing(seen: Seen, full: Iterable[ProcessFigures]) -> list[str]:
    """Return which callbacks compute for most of the time, as parts of a sentence, where a lens saw them."""
    told = []
    for process in full:
        cause = _cause(seen, process)
        if cause is None or cause.hold.kind not in ("computing", "step"):
            continue
        if cause.total_s >= HALF * process.length_s:
            _note(seen, process, cause)
            each = units.format_duration(cause.total_s / cause.count)
            told.append(f"one callback computes for {each}: {call_at(cause.hold)}")
    return told


def _cause(seen: Seen, held: ProcessFigures) -> Cause | None:
    lens = next((process.lens for process in seen.window.processes if process.key == held.key), None)
    return main_cause(lens.holds) if lens is not None else None


def _note(seen: Seen, held: ProcessFigures, cause: Cause) -> None:
    seen.note(f"{held.name}: held up by {call_at(cause.hold)}", cause.total_s, "s", LENS)
    seen.note(f"{held.name}: how often", cause.count, "count", LENS)
    seen.note(f"{held.name}: what that is", kind_told(cause.hold), "", LENS)
