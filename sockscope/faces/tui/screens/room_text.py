"""What a lesson says to a room: captions, votes as bars, and the result against the prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual.content import Content

from sockscope.faces.tui.screens.lesson_text import (
    BAD,
    GOOD,
    HEAD,
    KEY,
    check_mark,
    choice_lines,
    key_line,
    other_lines,
    said_lines,
    waiting_lines,
)
from sockscope.faces.tui.widgets.plain import plain, wrapped
from sockscope.lab.lessons.lesson import Step
from sockscope.lab.lessons.telling import Phase, Telling

_BETWEEN = "   "
_FIGURES = " 99.9 ms"
"""About what a check takes more for each of its figures."""


def captions(telling: Telling, width: int) -> Iterator[Content]:
    """Yield what a room is to read now: what is told and asked, then what happens, then the result."""
    step = telling.step
    if telling.phase is not Phase.SEEN:
        yield from said_lines(step.say, width, HEAD)
    if telling.phase is Phase.DOING:
        yield Content("")
        yield from waiting_lines(telling.walk.missing, width)
        return
    if telling.phase is Phase.ASKED:
        yield Content("")
    yield from said_lines(step.question, width, HEAD)
    if telling.phase is Phase.ASKED or telling.has_predicted:
        yield from choice_lines(telling, width)
    elif step.choices:
        yield from said_lines(f"✓ {step.choices[step.right - 1]}", width, GOOD)
    if (seen := telling.outcome) is not None:
        if seen.is_shown:
            yield from _against_prediction(telling, width)
        yield from packed(
            (line for check in seen.checks for line in check_mark(check, check.brief, width)), width
        )
        yield from other_lines(seen, width)
        if step.then and seen.is_shown:
            yield Content("")
            yield from said_lines(step.then, width, HEAD)


def packed(parts: Iterable[Content], width: int) -> Iterator[Content]:
    """Yield lines with as many of the parts side by side as there is room for."""
    line = Content("")
    for part in parts:
        if line and line.cell_length + len(_BETWEEN) + part.cell_length > width:
            yield line
            line = Content("")
        line = line + _BETWEEN + part if line else part
    if line:
        yield line


def most_lines(telling: Telling, width: int) -> int:
    """Return how many lines the longest of a lesson's captions takes about."""
    return max(max(_asked(step, width), _seen(telling, step, width)) for step in telling.lesson.steps)


def _asked(step: Step, width: int) -> int:
    return _lines(step.say, width) + 1 + _lines(step.question, width) + _choices(step, width)


def _seen(telling: Telling, step: Step, width: int) -> int:
    predicted = step.name in telling.votes or step.name in telling.chosen
    answer = _choices(step, width) + 1 + (step.name in telling.votes) if predicted else bool(step.choices)
    checks = (Content(check.text + _FIGURES * len(check.names)) for check in step.checks)
    told = sum(1 for _ in packed(checks, width)) + 1 + _lines(step.then, width)
    return _lines(step.question, width) + answer + told


def _lines(text: str, width: int) -> int:
    return sum(1 for _ in said_lines(text, width)) if text else 0


def _choices(step: Step, width: int) -> int:
    return sum(len(wrapped(choice, max(16, width - 6))) for choice in step.choices)


def _against_prediction(telling: Telling, width: int) -> Iterator[Content]:
    step = telling.step
    if (votes := telling.votes_right) is not None:
        right, all_votes = votes
        yield from said_lines(f"{right:,} of {all_votes:,} in the room were right.", width, KEY)
    if (chosen := telling.chosen.get(step.name)) is not None:
        is_right = chosen == step.right
        told = "as predicted" if is_right else f"predicted: {plain(step.choices[chosen - 1])}"
        yield from said_lines(told, width, GOOD if is_right else BAD)


def keys_for_room(telling: Telling) -> Content:
    """Return what the keys of the pane do at the moment, while a room looks on."""
    showing = telling.showing
    if showing is not None and showing.hands_over:
        return Content("")
    if telling.phase is Phase.DOING:
        return key_line(("c", "code"), ("Esc", "end"))
    ahead = "see it" if telling.phase is Phase.ASKED else "next"
    if telling.phase is Phase.SEEN and telling.is_last:
        ahead = "next lesson" if showing is not None and showing.has_more else ""
    asked = telling.phase is Phase.ASKED and telling.step.choices
    return key_line(
        ("Enter", ahead),
        ("b", "back"),
        *((("v", "votes"),) if asked else (("a", "again"),)),
        ("c", "code"),
        ("Esc", "end"),
    )
