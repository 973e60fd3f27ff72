"""What the last changes did, in figures of before and after."""

from __future__ import annotations

import math
from collections.abc import Callable

from textual.app import ComposeResult
from textual.content import Content
from textual.widget import Widget

from sockscope.core import units
from sockscope.core.roles import RELAY
from sockscope.core.run.changes import Change
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.screen_state import ScreenState

NOISE = ("no difference shown", "no diff.", "noise")
"""Instead of a change that chance explains, the longest that there is room for."""


class ChangesPanel(Panel):
    """What the last changes did, before and after."""

    class Body(Widget):
        """The text."""

        DEFAULT_CSS = "Body { width: 1fr; height: 1fr; }"

        content_shown = Content("")

        def render(self) -> Content:
            """Return the text."""
            return self.content_shown

    def compose(self) -> ComposeResult:
        """One block of text."""
        yield self.Body()

    def draw(self, state: ScreenState) -> None:
        """Show the newest change first, as many as fit."""
        body = self.query_one(self.Body)
        pieces: list[Content] = []
        rows = body.size.height
        for change in reversed(_changes(state)):
            block = _change_lines(change, body.size.width)
            if pieces and len(pieces) + len(block) + 1 > rows:
                break
            pieces.extend(([Content("")] if pieces else []) + block)
        if not pieces:
            pieces = [
                Content("Turn a knob, and its effect"),
                Content("appears here in figures."),
                Content(""),
                Content(_HINT_OF_TAP if state.snapshot.experiment.role == RELAY else _HINT),
            ]
        content = Content("\n").join(pieces)
        if content != body.content_shown:
            body.content_shown = content
            body.refresh()

    def clipboard_text(self) -> str:
        """Return the changes as text."""
        if self.state is None:
            return ""
        return "\n\n".join(
            "\n".join(line.plain for line in _change_lines(change, 60)) for change in _changes(self.state)
        )


_HINT, _HINT_OF_TAP = "} more permits   t TCP/UDP", "F faults on the link"


def _changes(state: ScreenState) -> list[Change]:
    """Return the changes up to the moment that is shown: a frozen view has none that came later."""
    return [change for change in state.trace.changes if change.time_s <= state.now_s]


def _change_lines(change: Change, width: int) -> list[Content]:
    rows = [Content(change.text).stylize("bold").truncate(max(1, width), ellipsis=True)]
    rows.append(_row("req/s", change, "requests_per_s", _count, width))
    rows.append(_row("p50", change, "p50_s", units.format_duration, width))
    rows.append(_row("p99", change, "p99_s", units.format_duration, width))
    if _matters(change, "queue_s"):
        rows.append(_row("wait", change, "queue_s", units.format_duration, width))
    rows.append(_row("failed", change, "failed_per_s", _per_second, width))
    if _matters(change, "lost_per_s"):
        rows.append(_row("lost", change, "lost_per_s", _per_second, width))
    rows.append(_row("CPU", change, "cpu_ratio", units.format_ratio, width))
    return rows


def _matters(change: Change, name: str) -> bool:
    """Tell whether a figure is above 0 before or after."""
    return any(getattr(shown, name) for shown in (change.before, change.after) if shown is not None)


def _per_second(value: float | None) -> str:
    return units.DASH if value is None else f"{value:.1f}/s" if 0 < value < 9.95 else f"{value:,.0f}/s"


def _count(value: float | None) -> str:
    return units.format_count(value)


def _row(label: str, change: Change, name: str, write: Callable[[float | None], str], width: int) -> Content:
    before, after = change.before, change.after
    old: float | None = getattr(before, name) if before else None
    new: float | None = getattr(after, name) if after else None
    line = f"{label:<6}{write(old):>7} → {write(new) if after else '…':>7}"
    if len(line) + 7 > width or not (old or new):
        return Content(line)
    room = width - len(line) - 1
    if change.is_noise(name):
        word = next(word for word in NOISE if len(word) <= room)
        return Content(line) + Content(f" {word:>6}").stylize("dim")
    if change.misleads(name):
        # It is of those that were served, and the others are as many as the rates above and below tell.
        return Content(f"{line} {units.DASH:>6}")
    if name == "cpu_ratio":
        return Content(line)
    told = units.format_change(old, new)
    known = next((spread for spread in _with_spread(change, name, told) if len(spread) <= room), told)
    return Content(f"{line} {known:>6}")


def _with_spread(change: Change, name: str, told: str) -> tuple[str, ...]:
    """Return a relative change with what it lies between, the longest form first, if that is known."""
    ends = change.interval(name)
    if ends is None or max(map(abs, ends)) >= 10 or not told.endswith(" %"):
        return ()
    low, high = (end * 100 for end in ends)
    return (
        f"{told:>6} ({low:+.0f} … {high:+.0f} %)",
        f"{told.removesuffix(' %')}±{math.ceil((high - low) / 2)}%",
    )
