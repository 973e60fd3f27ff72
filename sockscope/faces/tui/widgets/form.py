"""A form: lines of a label and a value each, one of which is chosen, drawn in one widget.

A widget for each line would take the loop a second to make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import ClassVar

from textual import events
from textual.content import Content
from textual.geometry import Offset
from textual.message import Message
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

LABEL = 16
"""Cells of a label."""
_MARK = 3
_WIDEST = 140


@dataclass(slots=True)
class Line:
    """A line: text that is typed, one of several ``words``, or (without a key) a heading.

    ``stood`` is what stood there in the beginning, and ``whole`` what that stands for where it is cut.
    """

    key: str
    label: str
    stood: str = ""
    words: tuple[str, ...] = ()
    whole: str = ""
    value: str = ""
    fault: str = ""

    def __post_init__(self) -> None:
        self.value = self.value or self.stood

    @property
    def is_changed(self) -> bool:
        """Whether something else stands there than in the beginning."""
        return self.value != self.stood

    @property
    def text(self) -> str:
        """What is meant by what stands there."""
        return self.value if self.is_changed else self.whole or self.value

    def turn(self, by: int) -> None:
        """Choose the next word, or the one before; they go round."""
        self.value = self.words[(self.words.index(self.value) + by) % len(self.words)]


class Form(Widget, can_focus=True):
    """The lines. Who types into the chosen one does so at :attr:`place`; keys are the screen's."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Form {
        width: 1fr;
        height: 1fr;

        & > .form--label { color: $foreground 70%; }
        & > .form--value { color: $foreground; }
        & > .form--word { color: $foreground 60%; }
        & > .form--chosen { color: $text-accent; text-style: bold; }
        & > .form--cursor { background: $accent 25%; }
        & > .form--mark { color: $text-warning; }
        & > .form--fault { color: $text-error; text-style: bold; }
        & > .form--heading { color: $foreground; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "form--label", "form--value", "form--word", "form--chosen", "form--cursor", "form--mark",
        "form--fault", "form--heading",
    }  # fmt: skip

    class Chosen(Message):
        """A line was pointed at, or one of its words."""

        def __init__(self, line: Line, word: str) -> None:
            super().__init__()
            self.line = line
            self.word = word

    def __init__(self, mark: Callable[[str], str], *, id: str | None = None) -> None:
        """What ``mark`` returns for its key stands beside each line that has changed."""
        super().__init__(id=id)
        self._mark = mark
        self._lines: Sequence[Line] = ()
        self._chosen: Line | None = None
        self._rows: list[tuple[Line, str]] = []
        self._top = 0

    def show(self, lines: Sequence[Line], chosen: Line) -> None:
        """Show these lines, the chosen one in sight."""
        self._lines, self._chosen = lines, chosen
        self._arrange()
        self.refresh()

    def on_resize(self) -> None:
        """Wrap what is wrong anew."""
        self._arrange()

    def _arrange(self) -> None:
        """Give each line a row, and what is wrong with it as many as it takes."""
        width = max(self._width - LABEL, 8)
        self._rows = []
        for line in self._lines:
            self._rows.append((line, ""))
            self._rows += [(line, part) for part in wrap(line.fault and f"✗ {line.fault}", width)]
        height = self.size.height or len(self._rows)
        mine = [y for y, (line, _) in enumerate(self._rows) if line is self._chosen]
        if mine:
            self._top = min(max(self._top, mine[-1] - height + 1), mine[0])
        self._top = max(0, min(self._top, len(self._rows) - height))

    @property
    def _width(self) -> int:
        return min(self.size.width, _WIDEST)

    @property
    def room(self) -> int:
        """Cells of a value."""
        return max(self._width - LABEL - _MARK, 1)

    @property
    def place(self) -> Offset:
        """Where the value of the chosen line stands, in the widget."""
        y = next((y for y, (line, _) in enumerate(self._rows) if line is self._chosen), 0)
        return Offset(LABEL, y - self._top)

    def on_click(self, event: events.Click) -> None:
        """Choose the line under the mouse, or a word of it."""
        y = event.y + self._top
        if not 0 <= y < len(self._rows) or not self._rows[y][0].key:
            return
        line, at, pointed = self._rows[y][0], LABEL, ""
        for word in line.words:
            pointed = word if at <= event.x < at + len(word) + 2 else pointed
            at += len(word) + 2
        self.post_message(self.Chosen(line, pointed))

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width, row = self.size.width, y + self._top
        content = Content("")
        if row < len(self._rows):
            line, fault = self._rows[row]
            content = (
                Content.assemble(" " * LABEL, (fault, self._piece("fault"))) if fault else self._row(line)
            )
        content = content.truncate(width, ellipsis=True)
        return Strip(content.pad_right(width - content.cell_length).render_segments(self.visual_style), width)

    def _row(self, line: Line) -> Content:
        if not line.key:
            return Content.assemble((line.label, self._piece("heading")))
        is_chosen = line is self._chosen
        label = (f"{line.label:<{LABEL}}"[:LABEL], self._piece("chosen" if is_chosen else "label"))
        value = self._words(line) if line.words else Content.assemble((line.value, self._piece("value")))
        value = value.truncate(self.room, ellipsis=True)
        value = value.pad_right(self.room - value.cell_length)
        if is_chosen:
            value = value.stylize(self._piece("cursor"))
        mark = self._mark(line.key) if line.is_changed else ""
        return Content.assemble(label, value, (f" {mark}", self._piece("mark")))

    def _words(self, line: Line) -> Content:
        """Return the words in a row; the one that is chosen stands out without colours, too."""
        return Content.assemble(
            *(
                (f"‹{word}›", self._piece("chosen"))
                if word == line.value
                else (f" {word} ", self._piece("word"))
                for word in line.words
            )
        )

    def _piece(self, name: str) -> Style:
        return self.get_visual_style(f"form--{name}")
