"""What the last changes did, in figures of before and after."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.content import Content
from textual.widget import Widget

from sockscope.core import units
from sockscope.core.run.changes import Change
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.screen_state import ScreenState

NOISE = "noise"
"""Instead of a change that is within what the seconds before and after it range over."""


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
        for change in reversed(state.trace.changes):
            block = _change_lines(change, body.size.width)
            if pieces and len(pieces) + len(block) + 1 > rows:
                break
            pieces.extend(([Content("")] if pieces else []) + block)
        if not pieces:
            pieces = [
                Content("Turn a knob, and its effect"),
                Content("appears here in figures."),
                Content(""),
                Content("} more permits   t TCP/UDP"),
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
            "\n".join(line.plain for line in _change_lines(change, 60)) for change in self.state.trace.changes
        )


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
    if change.is_noise(name):
        return Content(line) + Content(f" {NOISE:>6}").stylize("dim")
    if change.flatters(name):
        # Of those that were answered; what the others wait for stands in the rows below.
        return Content(f"{line} {units.DASH:>6}")
    return Content(line + (f" {units.format_change(old, new):>6}" if name != "cpu_ratio" else ""))
