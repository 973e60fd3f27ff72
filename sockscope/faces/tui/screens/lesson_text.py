"""What the pane of a lesson says, as lines of a width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.content import Content

from sockscope.core.results.checks import Judged
from sockscope.core.units import format_duration
from sockscope.faces.tui.widgets.plain import plain, shorten, wrapped
from sockscope.lab.lessons.excerpt import Excerpt
from sockscope.lab.lessons.lesson import Step
from sockscope.lab.lessons.telling import Phase, Telling
from sockscope.lab.lessons.walk import Seen

BAR_CELLS = 16
"""Cells of the bar of the choice that most have voted for."""
MOST_PRINTED = 6
"""Lines of what a script has printed that are shown."""
QUIET, KEY, GOOD, BAD, HEAD = (
    "$foreground 65%", "bold $text-accent", "bold $text-success", "bold $text-error", "bold",
)  # fmt: skip


def told_lines(telling: Telling, width: int) -> Iterator[Content]:
    """Yield what is told, asked and seen of the step."""
    step = telling.step
    yield from _wrapped(step.say, width)
    if step.question:
        yield Content("")
        yield from _wrapped(step.question, width, HEAD)
        yield from _choices(telling, width)
    if telling.phase is Phase.DOING:
        yield Content("")
        yield from _waiting(telling.walk.missing, width)
    elif (seen := telling.outcome) is not None:
        yield Content("")
        yield from _seen(step, seen, width, is_last=telling.is_last)


def keys_now(telling: Telling) -> Content:
    """Return what the keys of the pane do at the moment."""
    back = ("b", "back" if telling.index else "")
    if telling.phase is Phase.ASKED:
        asked = (("1-9", "predict"), ("v", "votes")) if telling.step.choices else ()
        return _keys(("Enter", "see it"), *asked, back, ("c", "code"), ("Esc", "end"))
    if telling.phase is Phase.DOING:
        return _keys(("c", "code"), ("Esc", "end"))
    return _keys(
        ("Enter", "" if telling.is_last else "next"), ("a", "again"), back, ("c", "code"), ("Esc", "end")
    )


def _choices(telling: Telling, width: int) -> Iterator[Content]:
    step, votes = telling.step, telling.votes.get(telling.step.name, ())
    chosen, most = telling.chosen.get(step.name), max(votes, default=0)
    for number, choice in enumerate(step.choices, start=1):
        is_right = telling.phase is Phase.SEEN and number == step.right
        lead = f"{'▸' if number == chosen else ' '}{number}  "
        style = GOOD if is_right else HEAD if number == chosen else ""
        first, *rest = wrapped(plain(choice), max(16, width - 6)) or [""]
        yield Content.styled(lead, KEY) + Content.styled(first + ("  ✓" if is_right else ""), style)
        yield from (Content.styled(f"    {line}", style) for line in rest)
        if votes:
            cells = round(BAR_CELLS * votes[number - 1] / most) if most else 0
            yield Content.styled(f"    {'█' * cells}{'▏' if not cells else ''} {votes[number - 1]:,}", KEY)


def _waiting(missing: Sequence[Judged], width: int) -> Iterator[Content]:
    if not missing:
        yield Content.styled("it runs …", QUIET)
    for one in missing:
        yield from _wrapped(f"until {one.text}: {one.figures}", width, QUIET)


def _seen(step: Step, seen: Seen, width: int, *, is_last: bool) -> Iterator[Content]:
    for check in seen.checks:
        mark, style = ("✓", GOOD) if check.holds else ("✗", BAD)
        first, *rest = wrapped(plain(f"{check.text}: {check.figures}"), max(16, width - 2))
        yield Content.styled(f"{mark} ", style) + Content(first)
        yield from (Content(f"  {line}") for line in rest)
    if not seen.is_shown:
        told = "This cannot be shown here: " + seen.cannot if seen.cannot else "The effect was NOT shown."
        yield from _wrapped(told, width, BAD)
        rest = (
            []
            if seen.cannot
            else [seen.error, *(f"did not come: {w.text} ({w.figures})" for w in seen.waits)]
        )
        for line in filter(None, rest):
            yield from _wrapped(line, width)
    for line in seen.printed.strip().splitlines()[-MOST_PRINTED:]:
        yield Content.styled(shorten(plain(line), width), QUIET)
    if step.then and seen.is_shown:
        yield Content("")
        yield from _wrapped(step.then, width)
    yield Content.styled(f"({format_duration(seen.elapsed_s)})", QUIET)
    if is_last:
        yield from _wrapped("That was the last step: Esc ends the lesson, then L has others.", width, HEAD)


def code_lines(code: Sequence[Excerpt], width: int) -> Iterator[Content]:
    """Yield the code that runs, the decisive lines marked."""
    for excerpt in code:
        yield Content.styled(shorten(excerpt.title, width), QUIET)
        for index, line in enumerate(excerpt.lines):
            is_marked = index in excerpt.marked
            text = shorten(plain(line), max(1, width - 2))
            yield Content.styled("▶ " if is_marked else "  ", KEY) + Content.styled(
                text, HEAD if is_marked else QUIET
            )


def _keys(*keys: tuple[str, str]) -> Content:
    parts = (Content.styled(key, KEY) + Content.styled(f" {does}", "not bold") for key, does in keys if does)
    return Content("  ").join(parts)


def _wrapped(text: str, width: int, style: str = "") -> Iterator[Content]:
    for paragraph in text.split("\n\n"):
        yield from (
            Content.styled(line, style) for line in wrapped(plain(" ".join(paragraph.split())), width)
        )
