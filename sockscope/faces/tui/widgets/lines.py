"""The lines of a table as strips: drawn once, and kept as long as columns and colours stay."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.strip import Strip

from sockscope.faces.tui.widgets.columns import GAP, Column, Slot, fit
from sockscope.faces.tui.widgets.plain import plain, shorten

STYLES = ("error", "muted", "changed", "ok", "warning")
"""What a row's `style` may be; anything else is drawn like an ordinary row."""

_STRIPS_KEPT = 512


@dataclass(frozen=True)
class Row:
    """One row: what identifies it, a text for each column, and a style of `STYLES`."""

    key: Hashable
    cells: tuple[str, ...]
    style: str = ""


class Lines:
    """Draws header and rows in the columns that it was given last.

    `style_of` returns the style of a name of `STYLES`, of `header`, `cursor` or `cursor-blurred`, and the
    widget's own for an empty name.
    """

    def __init__(self, style_of: Callable[[str], Style]) -> None:
        self._style_of = style_of
        self._columns: Sequence[Column] = ()
        self._slots: Sequence[Slot] = ()
        self._width = 0
        self._strips: LRUCache[tuple[Row, str], Strip] = LRUCache(_STRIPS_KEPT)
        self._styles: dict[str, Style] = {}

    def lay_out(self, columns: Sequence[Column], slots: Sequence[Slot], width: int) -> None:
        """Draw in these columns from now on, all lines `width` cells wide."""
        self._columns, self._slots, self._width = columns, slots, width
        self.forget()

    def forget(self) -> None:
        """Forget everything that holds a colour or a width."""
        self._strips.clear()
        self._styles.clear()

    def header(self, sort_key: str | None, *, reverse: bool) -> Strip:
        """Return the titles, an arrow beside that of the column by which the rows are sorted."""
        titles = []
        for slot in self._slots:
            column = self._columns[slot.index]
            arrow = "" if column.key != sort_key else " ▼" if reverse else " ▲"
            titles.append(fit(column.title + arrow, slot.width, column.align))
        return self._strip(GAP.join(titles), self._style("header"))

    def row(self, row: Row, state: str = "") -> Strip:
        """Return a row; `state` is the style of the cursor where it is on it."""
        strip = self._strips.get((row, state))
        if strip is None:
            style = self._style(row.style if row.style in STYLES else "")
            if state:
                style += self._style(state)
            strip = self._strips[row, state] = self._strip(self._text(row), style)
        return strip

    def blank(self) -> Strip:
        """Return a line without a row."""
        return self.row(_NO_ROW)

    def empty(self, text: str) -> Strip:
        """Return the line that stands in place of rows."""
        text = shorten(plain(text), self._width)
        return self._strip(" " * ((self._width - cell_len(text)) // 2) + text, self._style("muted"))

    def _text(self, row: Row) -> str:
        cells = row.cells
        return GAP.join(
            fit(
                plain(cells[slot.index]) if slot.index < len(cells) else "",
                slot.width,
                self._columns[slot.index].align,
            )
            for slot in self._slots
        )

    def _strip(self, text: str, style: Style) -> Strip:
        return Strip([Segment(text + " " * (self._width - cell_len(text)), style)], self._width)

    def _style(self, name: str) -> Style:
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = self._style_of(name)
        return style


_NO_ROW = Row(None, ())
