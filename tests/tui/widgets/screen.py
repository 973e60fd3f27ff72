"""An app around one widget, and its picture as text."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

M = TypeVar("M", bound=Message)


class Stage(App[None]):
    """Shows one widget and keeps what it posts."""

    CSS = "Screen { layout: vertical; overflow: hidden; }"

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget
        self.posted: list[Message] = []

    def compose(self) -> ComposeResult:
        """The widget alone."""
        yield self.widget

    def keep(self, message: Message) -> None:
        """Note a message once, though it passes several nodes on its way up."""
        if not any(known is message for known in self.posted):
            self.posted.append(message)

    def posted_of(self, kind: type[M]) -> list[M]:
        """Messages of a kind, oldest first."""
        return [message for message in self.posted if isinstance(message, kind)]


def watch_refresh(widget: Widget, monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    """The regions that a widget asks to have repainted from now on; nothing is repainted any more."""
    asked: list[Region] = []

    def refresh(*regions: Region, **_: object) -> Widget:
        asked.extend(regions or [widget.size.region])
        return widget

    monkeypatch.setattr(widget, "refresh", refresh)
    return asked


@asynccontextmanager
async def staged(widget: Widget, width: int, height: int) -> AsyncIterator[tuple[Stage, Pilot[None]]]:
    """Run a widget on a screen of a size."""
    stage = Stage(widget)
    async with stage.run_test(size=(width, height), message_hook=stage.keep) as pilot:
        yield stage, pilot


def picture(widget: Widget) -> list[str]:
    """What the screen is given, line by line; each line has exactly the width of the widget."""
    lines = [strip.text for strip in widget.render_lines(widget.size.region)]
    assert {cell_len(line) for line in lines} == {widget.size.width}
    assert all(line.isprintable() for line in lines)
    return lines
