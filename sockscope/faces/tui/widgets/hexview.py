"""Bytes to look at, one string or two that are compared.

    view = HexView()
    view.show([
        HexPane("written", sent, len(sent), boundaries=(0, 64)), HexPane("read", got, 4096, note="1 read")
    ])

Two strings stand side by side where the width allows at least eight bytes a row for each, else one under
the other. Bytes that differ are styled and underlined; where a read or a frame began there is a mark in
front of the byte. When the recorder kept only the beginning, that is said in words. Only rows in view are
ever laid out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sockscope.faces.tui.widgets.hexrows import (
    GROUP,
    HexLayout,
    Token,
    TokenKind,
    differences,
    digits_for,
    form_for,
    hex_row,
    row_count,
)
from sockscope.faces.tui.widgets.plain import plain, shorten

__all__ = ["HexPane", "HexView", "dump"]

_BETWEEN = 3
"""Cells between two panes side by side."""

Pieces = list[tuple[str, str]]
"""Texts with the names of their styles; an empty name is the widget's own style."""


@dataclass(frozen=True)
class HexPane:
    """One byte string.

    `real_length` is the length of the original, of which `data` may be the beginning only. `boundaries` are
    offsets at which a read or a frame began. `note` is shown behind the title.
    """

    title: str
    data: bytes
    real_length: int
    boundaries: Sequence[int] = ()
    note: str = ""


@dataclass(frozen=True)
class _Block:
    """A pane with its place: what is drawn in its rows, from which line and cell on."""

    pane: HexPane
    boundaries: frozenset[int]
    form: HexLayout | None
    line: int
    x: int
    width: int

    @property
    def lines(self) -> int:
        return _HEAD_LINES + max(self.rows, 1)

    @property
    def rows(self) -> int:
        return row_count(len(self.pane.data), self.form.per_row) if self.form else 1


_HEAD_LINES = 2


class HexView(ScrollView, can_focus=True):
    """One or two byte strings as offset, hex and text.

    Args:
        empty_text: What is written as long as there is nothing to show.
    """

    ALLOW_SELECT = False

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "hexview--title",
        "hexview--note",
        "hexview--offset",
        "hexview--hidden",
        "hexview--boundary",
        "hexview--different",
    }

    DEFAULT_CSS = """
    HexView {
        width: 1fr;
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;

        & > .hexview--title { color: $foreground; text-style: bold; }
        & > .hexview--note { color: $foreground 65%; }
        & > .hexview--offset { color: $foreground 45%; }
        & > .hexview--hidden { color: $foreground 40%; }
        & > .hexview--boundary { color: $text-accent; text-style: bold; }
        & > .hexview--different { color: $text-error; text-style: bold underline; }
    }
    """

    def __init__(
        self,
        *,
        empty_text: str = "nothing selected",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._panes: tuple[HexPane, ...] = ()
        self._different: frozenset[int] = frozenset()
        self._empty_text = empty_text
        self._blocks: list[_Block] = []
        self._strips: dict[int, Strip] = {}
        self._named: dict[str, Style] = {}

    def show(self, panes: Sequence[HexPane], *, compared: bool = True) -> None:
        """Replace what is shown, and go back to its beginning if it is something else.

        Two panes are ``compared`` byte by byte, unless they are not meant to be the same.
        """
        panes = tuple(panes)
        if panes == self._panes:
            return
        self._panes = panes
        self._different = frozenset()
        if len(panes) == 2 and compared:
            one, other = panes
            self._different = differences(one.data, one.real_length, other.data, other.real_length)
        self._lay_out()
        self.scroll_to(y=0, animate=False, force=True)

    @property
    def panes(self) -> tuple[HexPane, ...]:
        """What is shown."""
        return self._panes

    @property
    def different(self) -> frozenset[int]:
        """The offsets at which the two panes differ, where they are compared."""
        return self._different

    @property
    def empty_text(self) -> str:
        """What is written as long as there is nothing to show: say which key brings something."""
        return self._empty_text

    @empty_text.setter
    def empty_text(self, text: str) -> None:
        if text != self._empty_text:
            self._empty_text = text
            self._forget()

    @property
    def is_side_by_side(self) -> bool:
        """Whether two panes stand beside each other."""
        return len({block.x for block in self._blocks}) > 1

    # What the screen asks for -----------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Hand over one line, laid out when it is first seen."""
        line = y + self.scroll_offset.y
        strip = self._strips.get(line)
        if strip is None:
            strip = self._strips[line] = self._draw_line(line)
        return strip

    def notify_style_update(self) -> None:
        """Forget everything that holds a colour."""
        super().notify_style_update()
        self._named.clear()
        self._strips.clear()

    def on_resize(self) -> None:
        """Lay out for the new width."""
        self._lay_out()

    def watch_show_vertical_scrollbar(self) -> None:
        """Lay out anew: no resize is told when the scrollbar takes a column or gives it back."""
        self._lay_out()

    # Layout -----------------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        """Cells from the left edge to the scrollbar, which the size includes."""
        return max(self.size.width - self.scrollbar_size_vertical, 0)

    def _lay_out(self) -> None:
        width = self._width
        digits = digits_for(max((len(pane.data) for pane in self._panes), default=0))
        half = (width - _BETWEEN) // 2
        beside = form_for(half, digits, at_least=GROUP) if len(self._panes) == 2 else None
        if beside is not None and not beside.with_text:
            beside = None
        self._blocks = []
        line = 0
        for number, pane in enumerate(self._panes):
            if beside is not None:
                place = _Block(pane, _inside(pane), beside, 0, number * (half + _BETWEEN), half)
            else:
                place = _Block(pane, _inside(pane), form_for(width, digits), line, 0, width)
                line += place.lines + 1
            self._blocks.append(place)
        bottom = max((block.line + block.lines for block in self._blocks), default=0)
        self.virtual_size = Size(width, bottom)
        self._forget()

    def _forget(self) -> None:
        self._strips.clear()
        self.refresh()

    # Drawing ----------------------------------------------------------------------------------------------

    def _draw_line(self, line: int) -> Strip:
        width = self._width
        if not self._panes:
            middle = max((self.size.height - 1) // 2, 0)
            text = shorten(plain(self._empty_text), width) if line == middle else ""
            return self._strip([(" " * ((width - cell_len(text)) // 2), ""), (text, "note")])
        pieces: Pieces = []
        x = 0
        for block in self._blocks:
            if not 0 <= line - block.line < block.lines:
                continue
            if block.x > x:
                # What is between the panes is wide enough to part them without a rule.
                pieces.append((" " * (block.x - x), ""))
                x = block.x
            drawn = self._draw_block(block, line - block.line)
            pieces += drawn
            x += sum(cell_len(text) for text, _name in drawn)
        return self._strip(pieces)

    def _draw_block(self, block: _Block, line: int) -> Pieces:
        pane = block.pane
        if line == 0:
            return [(shorten(plain(pane.title), block.width), "title")]
        if line == 1:
            return [(shorten(_in_words(pane), block.width), "note")]
        if not pane.data:
            return [(shorten("no bytes", block.width), "note")]
        if block.form is None:
            return [(shorten("too narrow", block.width), "note")]
        tokens = hex_row(
            pane.data, line - _HEAD_LINES, block.form, boundaries=block.boundaries, different=self._different
        )
        return [(token.text, _style_name(token)) for token in tokens]

    def _strip(self, pieces: Pieces) -> Strip:
        width = self._width
        used = sum(cell_len(text) for text, _name in pieces)
        segments = [
            Segment(text, self._style(name)) for text, name in [*pieces, (" " * (width - used), "")] if text
        ]
        return Strip(segments, max(width, used)).simplify()

    def _style(self, name: str) -> Style:
        style = self._named.get(name)
        if style is None:
            style = self.get_component_rich_style(f"hexview--{name}") if name else self.rich_style
            self._named[name] = style
        return style


def dump(pane: HexPane) -> str:
    """Return title, length and every row of a pane as text, sixteen bytes a row."""
    form = HexLayout(16, digits_for(len(pane.data)), with_text=True)
    rows = range(row_count(len(pane.data), form.per_row))
    lines = ("".join(token.text for token in hex_row(pane.data, row, form)) for row in rows)
    return "\n".join([f"{plain(pane.title)}: {_in_words(pane)}", *lines])


def _style_name(token: Token) -> str:
    if token.is_different:
        return "different"
    return {TokenKind.OFFSET: "offset", TokenKind.HIDDEN: "hidden", TokenKind.BOUNDARY: "boundary"}.get(
        token.kind, ""
    )


def _inside(pane: HexPane) -> frozenset[int]:
    return frozenset(offset for offset in pane.boundaries if 0 <= offset < len(pane.data))


def _in_words(pane: HexPane) -> str:
    kept, real = len(pane.data), pane.real_length
    words = f"first {kept:,} of {real:,} B kept" if real > kept else f"{kept:,} B"
    return f"{words}  {plain(pane.note)}" if pane.note else words
