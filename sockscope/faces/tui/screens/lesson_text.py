"""What the pane of a lesson says, as lines of a width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
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
    yield from said_lines(step.say, width)
    if step.question:
        yield Content("")
        yield from said_lines(step.question, width, HEAD)
        yield from choice_lines(telling, width)
    if telling.phase is Phase.DOING:
        yield Content("")
        yield from waiting_lines(telling.walk.missing, width)
    elif (seen := telling.outcome) is not None:
        yield Content("")
        yield from _seen(step, seen, width, is_last=telling.is_last)


def keys_now(telling: Telling) -> Content:
    """Return what the keys of the pane do at the moment."""
    back = ("b", "back" if telling.index else "")
    if telling.phase is Phase.ASKED:
        asked = (("1-9", "predict"), ("v", "votes")) if telling.step.choices else ()
        return key_line(("Enter", "see it"), *asked, back, ("c", "code"), ("Esc", "end"))
    if telling.phase is Phase.DOING:
        return key_line(("c", "code"), ("Esc", "end"))
    return key_line(
        ("Enter", "" if telling.is_last else "next"), ("a", "again"), back, ("c", "code"), ("Esc", "end")
    )


def choice_lines(telling: Telling, width: int) -> Iterator[Content]:
    """Yield the choices: what was predicted, the votes as bars, and when it is seen the right one."""
    step, votes = telling.step, telling.votes.get(telling.step.name, ())
    chosen, most = telling.chosen.get(step.name), max(votes, default=0)
    longest = max((cell_len(plain(choice)) for choice in step.choices), default=0)
    for number, choice in enumerate(step.choices, start=1):
        is_right = telling.phase is Phase.SEEN and number == step.right
        lead = f"{'▸' if number == chosen else ' '}{number}  "
        style = GOOD if is_right else HEAD if number == chosen else ""
        bar = _bar(votes[number - 1], most) if votes else Content("")
        beside = bool(votes) and longest + len(lead) + BAR_CELLS + 14 <= width
        first, *rest = wrapped(plain(choice), max(16, width - 6)) or [""]
        first += "  ✓" if is_right else ""
        line = Content.styled(lead, KEY) + Content.styled(first, style)
        yield line.pad_right(max(0, longest + 9 - line.cell_length)) + bar if beside else line
        yield from (Content.styled(f"    {line}", style) for line in rest)
        if votes and not beside:
            yield Content("    ") + bar


def _bar(votes: int, most: int) -> Content:
    cells = round(BAR_CELLS * votes / most) if most else 0
    return Content.styled(f"{'█' * cells}{'▏' if not cells else ''} {votes:,}", KEY)


def waiting_lines(missing: Sequence[Judged], width: int) -> Iterator[Content]:
    """Yield what a step that is carried out still waits for."""
    if not missing:
        yield Content.styled("it begins …", QUIET)
    for one in missing:
        yield from said_lines(f"until {one.text}: {one.figures}", width, QUIET)


def check_lines(seen: Seen, width: int) -> Iterator[Content]:
    """Yield the checks of a step with their figures, and why it has not shown its effect if so."""
    for check in seen.checks:
        yield from check_mark(check, f"{check.text}: {check.figures}", width)
    yield from other_lines(seen, width)


def check_mark(check: Judged, told: str, width: int) -> Iterator[Content]:
    """Yield the lines of what is told of a check, behind a mark of whether it holds."""
    mark, style = ("✓", GOOD) if check.holds else ("✗", BAD)
    first, *rest = wrapped(plain(told), max(16, width - 2))
    yield Content.styled(f"{mark} ", style) + Content(first)
    yield from (Content(f"  {line}") for line in rest)


def other_lines(seen: Seen, width: int) -> Iterator[Content]:
    """Yield why a step has not shown its effect, if so, and what its script has printed."""
    if not seen.is_shown:
        told = "This cannot be shown here: " + seen.cannot if seen.cannot else "The effect was NOT shown."
        yield from said_lines(told, width, BAD)
        rest = (
            []
            if seen.cannot
            else [seen.error, *(f"did not come: {w.text} ({w.figures})" for w in seen.waits)]
        )
        for line in filter(None, rest):
            yield from said_lines(line, width)
    for line in seen.printed.strip().splitlines()[-MOST_PRINTED:]:
        yield Content.styled(shorten(plain(line), width), QUIET)


def _seen(step: Step, seen: Seen, width: int, *, is_last: bool) -> Iterator[Content]:
    yield from check_lines(seen, width)
    if step.then and seen.is_shown:
        yield Content("")
        yield from said_lines(step.then, width)
    yield Content.styled(f"({format_duration(seen.elapsed_s)})", QUIET)
    if is_last:
        yield from said_lines("That was the last step: Esc ends the lesson, then L has others.", width, HEAD)


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


def key_line(*keys: tuple[str, str]) -> Content:
    """Return keys and what each does, those that do nothing left out."""
    parts = (Content.styled(key, KEY) + Content.styled(f" {does}", "not bold") for key, does in keys if does)
    return Content("  ").join(parts)


def said_lines(text: str, width: int, style: str = "") -> Iterator[Content]:
    """Yield the lines of a text in paragraphs."""
    for paragraph in text.split("\n\n"):
        yield from (
            Content.styled(line, style) for line in wrapped(plain(" ".join(paragraph.split())), width)
        )
