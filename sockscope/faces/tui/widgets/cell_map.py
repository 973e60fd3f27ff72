"""A map of cells: one for each of many things, coloured and shaped by the kind that it is of.

    cells = CellMap("○█✗")
    cells.show(bytes([0, 1, 1, 2]))

Cells are as large as the room allows. Where there are more things than room, a cell stands for several, and
the cells are in order of their kinds, in proportion: each kind that is there has one at least.

A row is drawn anew only when its kinds have changed. Where thousands of cells differ from their neighbours,
what Textual does with every piece of a line (filters, escape sequences) would take most of the time: so both
are made once for each piece that there can be, and looked up from then on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import ceil
from operator import ne
from textwrap import wrap
from typing import ClassVar, NamedTuple

from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

MOST_KINDS = 12
"""Kinds that there can be; each has a component class, ``cell-map--kind-0`` and so on."""
_MOST_ROWS = 4
"""Rows of text that a cell takes at most."""
_RUNS = re.compile(b"|".join(re.escape(bytes([kind])) + b"+" for kind in range(MOST_KINDS)))
"""Cells of one kind next to each other; an alternative for each kind is found faster than a group again."""
_NO_ROW = -1
"""The row of lines in which there are no cells."""
_POINTED = Style(reverse=True, bold=True)
_NICE = ((10, 1.3), (5, 1.15), (1, 1.0))
"""How much better a map reads whose rows hold a multiple of so many cells."""


class Layout(NamedTuple):
    """How cells lie: so many in a row, as wide and high with the gap to the next, each for ``each``."""

    columns: int
    width: int
    height: int
    each: int = 1

    @property
    def filled(self) -> int:
        """How many columns of a cell are its character's; the rest is the gap."""
        return self.width - (self.width >= 3)


def layout_of(count: int, width: int, height: int) -> Layout:
    """Return the layout of the largest cells with which ``count`` things fit into an area."""
    best, best_score = None, 0.0
    for rows in range(1, min(_MOST_ROWS, height) + 1):
        least = ceil(count / (height // rows))
        if not 0 < least <= width:
            continue
        for step, bonus in _NICE:
            columns = -(-least // step) * step
            cell = min(width // columns, 2 * rows + 2) if columns <= width else 0
            # A cell looks as large as its shorter side, which in text is twice as high as wide.
            score = (min(cell, 2 * rows) + 0.1 * cell) * bonus
            if cell and score > best_score:
                best, best_score = Layout(columns, cell, rows), score
    return best or Layout(max(width, 1), 1, 1, ceil(count / max(width * height, 1)))


def in_proportion(kinds: bytes, cells: int) -> bytes:
    """Return ``cells`` kinds in order, as many of each as there are in ``kinds``; one at least of each."""
    counts = ((kind, kinds.count(kind)) for kind in range(MOST_KINDS))
    shares = {kind: max(1, count * cells // len(kinds)) for kind, count in counts if count}
    # What rounding has left over or taken too much is the most frequent kind's.
    most = max(shares, key=lambda kind: shares[kind])
    shares[most] = max(1, shares[most] + cells - sum(shares.values()))
    return b"".join(bytes([kind]) * share for kind, share in shares.items())[:cells]


class _Pieces(dict[int | bytes, Segment]):
    """What pieces of a line look like, made when they are looked up first.

    A kind stands for one cell of it, bytes for several next to each other, a number below 0 for blanks.
    ``written`` are the same pieces as what the terminal is sent for them.
    """

    def __init__(self, cell_map: CellMap) -> None:
        super().__init__()
        self._cell_map = cell_map
        self.written = _Written(self)

    def __missing__(self, piece: int | bytes) -> Segment:
        segment = self[piece] = self._cell_map.segment(piece)
        return segment

    def forget(self) -> None:
        """Make all of them anew."""
        self.clear()
        self.written.clear()


class _Written(dict[int | bytes, str]):
    """Escape sequences of pieces, each of which puts back what it has set."""

    colors: ColorSystem | None = None

    def __init__(self, pieces: _Pieces) -> None:
        super().__init__()
        self._pieces = pieces

    def __missing__(self, piece: int | bytes) -> str:
        text, style, _ = self._pieces[piece]
        written = self[piece] = text if style is None else style.render(text, color_system=self.colors)
        return written


class _Row(Strip):
    """A line of pieces, which are written by looking them up."""

    __slots__ = ("_known", "_pieces")

    def __init__(self, known: _Pieces, pieces: Sequence[int | bytes], width: int) -> None:
        super().__init__(map(known.__getitem__, pieces), width)
        self._known, self._pieces = known, pieces

    def render(self, console: Console) -> str:
        """Return what the terminal is sent."""
        if self._render_cache is None:
            written = self._known.written
            if written.colors is not (colors := console._color_system or ColorSystem.TRUECOLOR):
                written.clear()
                written.colors = colors
            self._render_cache = "".join(map(written.__getitem__, self._pieces))
        return self._render_cache


class CellMap(Widget, can_focus=True):
    """Cells of some kinds; arrows move a cursor over them, and the mouse points at one.

    Args:
        glyphs: The character of each kind, which fills its cells.
        empty_text: What is written as long as there is nothing.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"cell-map--kind-{kind}" for kind in range(MOST_KINDS)}
    BINDINGS: ClassVar = [
        Binding("left", "move(-1, 0)", show=False),
        Binding("right", "move(1, 0)", show=False),
        Binding("up", "move(0, -1)", show=False),
        Binding("down", "move(0, 1)", show=False),
    ]

    class Pointed(Message):
        """The thing at ``place`` is pointed at; None: nothing is any more."""

        def __init__(self, cell_map: CellMap, place: int | None) -> None:
            super().__init__()
            self.cell_map = cell_map
            self.place = place

        @property
        def control(self) -> CellMap:
            """The map."""
            return self.cell_map

    def __init__(self, glyphs: str, *, empty_text: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._glyphs = glyphs
        self.empty_text = empty_text
        self._kinds = b""
        self._rows: list[bytes] = []
        self._layout = Layout(1, 1, 1)
        self._styles: list[Style] = []
        self._laid_out_for = Size(0, 0)
        self._pieces = _Pieces(self)
        self._drawn: dict[int, Strip] = {}
        self._pointed: int | None = None

    def show(self, kinds: bytes) -> None:
        """Show one thing for each byte, which is its kind; repaint the rows that changed."""
        before, layout_before = self._rows, self._layout
        self._kinds = kinds
        self._lay_out()
        if self._pointed is not None and self._pointed >= len(kinds):
            self._point_at(None)
        if self._layout != layout_before or len(before) != len(self._rows) or not kinds:
            self._forget_drawn()
            self.refresh()
            return
        changed = [row for row, (old, new) in enumerate(zip(before, self._rows, strict=True)) if old != new]
        if changed:
            self._refresh_rows(changed)

    def _refresh_rows(self, rows: Iterable[int]) -> None:
        """Draw some rows anew; those next to each other are one region."""
        high, width = self._layout.height, self._laid_out_for.width
        regions: list[Region] = []
        for row in sorted(rows):
            self._drawn.pop(row, None)
            region = Region(0, row * high, width, high)
            if regions and regions[-1].bottom == region.y:
                region = regions.pop().union(region)
            regions.append(region)
        self.refresh(*regions)

    @property
    def layout_now(self) -> Layout:
        """How the cells lie."""
        return self._layout

    @property
    def pointed(self) -> int | None:
        """The place of what is pointed at, if anything is."""
        return self._pointed

    def _lay_out(self) -> None:
        width, height = self._laid_out_for = self.size
        if not (self._kinds and width and height):
            self._layout, self._rows = Layout(1, 1, 1), []
            return
        layout = self._layout = layout_of(len(self._kinds), width, height)
        cells = (
            in_proportion(self._kinds, ceil(len(self._kinds) / layout.each))
            if layout.each > 1
            else self._kinds
        )
        self._rows = [cells[at : at + layout.columns] for at in range(0, len(cells), layout.columns)]

    # Drawing.

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the lines of a part of the picture: they have no border, and have been filtered."""
        if self._laid_out_for != self.size:  # a picture may be made before the event tells of the new size
            self._forget_drawn()
            self._lay_out()
        if self.opacity != 1:
            return super().render_lines(crop)
        lines = [self.render_line(y) for y in crop.line_range]
        left, right = crop.column_span
        if (left, right) == (0, self._laid_out_for.width):
            return lines
        return [line.crop(left, right) for line in lines]

    def render_line(self, y: int) -> Strip:
        """Return one line of the picture."""
        if not self._rows:
            return self._empty_line(y)
        row, line = divmod(y, self._layout.height)
        has_gap = self._layout.height >= 3 and line == self._layout.height - 1
        if row >= len(self._rows) or has_gap:
            row = _NO_ROW
        drawn = self._drawn.get(row)  # each row of cells is several lines of text
        if drawn is None:
            drawn = self._drawn[row] = self._line(row)
        return drawn

    def _empty_line(self, y: int) -> Strip:
        width, height = self._laid_out_for
        lines = wrap(self.empty_text, width) if width else []
        at = y - (height - len(lines)) // 2
        text = lines[at] if 0 <= at < len(lines) else ""
        return Strip([self._filtered(text.center(width), self._kind_styles()[-1])], width)

    def _line(self, row: int) -> Strip:
        layout, width = self._layout, self._laid_out_for.width
        kinds = b"" if row == _NO_ROW else self._rows[row]
        left, gap = width - len(kinds) * layout.width, layout.width - layout.filled
        rest = [-left] if left else []
        pointed = self._pointed if self._pointed is not None and layout.each == 1 else -1
        here = pointed - row * layout.columns
        if 0 <= here < len(kinds):
            return self._pointed_line(kinds, here, rest)
        pieces: Sequence[int | bytes]
        if gap:
            pieces = [piece for kind in kinds for piece in (kind, -gap)]
        elif 2 * sum(map(ne, kinds, kinds[1:])) < len(kinds):
            pieces = _RUNS.findall(kinds)
        else:
            pieces = list(kinds)
        return _Row(self._pieces, [*pieces, *rest], width)

    def _pointed_line(self, kinds: bytes, here: int, rest: list[int]) -> Strip:
        layout, known = self._layout, self._pieces
        gap = layout.width - layout.filled
        text = self._glyphs[kinds[here]] * layout.filled
        shown = self._filtered(text, self._kind_styles()[kinds[here]] + _POINTED)
        segments: list[Segment] = []
        for place, kind in enumerate(kinds):
            segments.append(shown if place == here else known[kind])
            if gap:
                segments.append(known[-gap])
        return Strip([*segments, *(known[blanks] for blanks in rest)], self._laid_out_for.width)

    def segment(self, piece: int | bytes) -> Segment:
        """Return what a piece of a line looks like."""
        if isinstance(piece, int) and piece < 0:
            return self._filtered(" " * -piece, self._kind_styles()[-1])
        run = piece if isinstance(piece, bytes) else bytes([piece])
        text = self._glyphs[run[0]] * (self._layout.filled * len(run))
        return self._filtered(text, self._kind_styles()[run[0]])

    def _filtered(self, text: str, style: Style) -> Segment:
        """Return text as the filters of the app leave it: its colours, and its characters in ASCII."""
        segments, (_, background) = [Segment(text, style)], self.background_colors
        for line_filter in self.get_line_filters():
            segments = line_filter.apply(segments, background)
        return segments[0]

    def _forget_drawn(self) -> None:
        self._pieces.forget()
        self._drawn.clear()

    def _kind_styles(self) -> list[Style]:
        """Styles by kind, and behind them the widget's own: looked up once, as it takes long."""
        if not self._styles:
            named = [f"cell-map--kind-{kind}" for kind in range(len(self._glyphs))]
            self._styles = [*map(self.get_component_rich_style, named), self.rich_style]
        return self._styles

    def notify_style_update(self) -> None:
        """Forget everything that holds a colour."""
        super().notify_style_update()
        self._styles = []
        self._forget_drawn()

    def on_resize(self) -> None:
        """Lay the cells out anew."""
        self._forget_drawn()
        self._lay_out()
        self.refresh()

    # Pointing.

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Point at the cell under the mouse."""
        offset = event.get_content_offset(self)
        if offset is not None:
            layout = self._layout
            column, row = offset.x // layout.width, offset.y // layout.height
            place = row * layout.columns + column
            self._point_at(place if column < layout.columns and place < len(self._kinds) else None)

    def on_leave(self) -> None:
        """Point at nothing."""
        self._point_at(None)

    def on_blur(self) -> None:
        """Point at nothing."""
        self._point_at(None)

    def action_move(self, across: int, down: int) -> None:
        """Move the cursor, which begins with the first cell."""
        if not self._kinds or self._layout.each > 1:
            return
        place = 0 if self._pointed is None else self._pointed + across + down * self._layout.columns
        if 0 <= place < len(self._kinds):
            self._point_at(place)

    def _point_at(self, place: int | None) -> None:
        if self._layout.each > 1:
            place = None
        if place == self._pointed:
            return
        rows = {one // self._layout.columns for one in (self._pointed, place) if one is not None}
        self._pointed = place
        self._refresh_rows(rows)
        self.post_message(self.Pointed(self, place))
