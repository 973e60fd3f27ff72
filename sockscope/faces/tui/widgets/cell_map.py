"""A map of cells: one for each of many things, coloured and shaped by the kind that it is of.

    cells = CellMap("○█✗")
    cells.show(bytes([0, 1, 1, 2]))

Cells are as large as the room allows. Where there are more things than room, a cell stands for several, and
the cells are in order of their kinds, in proportion: each kind that is there has one at least.

A row is drawn anew only when its kinds have changed.
"""

from __future__ import annotations

import re
from collections import Counter
from math import ceil
from operator import ne
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

MOST_KINDS = 12
"""Kinds that there can be; each has a component class, ``cell-map--kind-0`` and so on."""
_MOST_ROWS = 4
"""Rows of text that a cell takes at most."""
_RUNS = re.compile(b"|".join(re.escape(bytes([kind])) + b"+" for kind in range(MOST_KINDS)))
"""Cells of one kind next to each other; an alternative for each kind is found faster than a group again."""
_SINGLE = [bytes([kind]) for kind in range(MOST_KINDS)]
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
    counts = Counter(kinds)
    shares = {kind: max(1, count * cells // len(kinds)) for kind, count in sorted(counts.items())}
    # What rounding has left over or taken too much is the most frequent kind's.
    most = max(shares, key=lambda kind: shares[kind])
    shares[most] = max(1, shares[most] + cells - sum(shares.values()))
    return b"".join(bytes([kind]) * share for kind, share in shares.items())[:cells]


class _Segments(dict[bytes, Segment]):
    """What cells of one kind next to each other look like, made when they are looked up first."""

    def __init__(self, cell_map: CellMap) -> None:
        super().__init__()
        self._cell_map = cell_map

    def __missing__(self, run: bytes) -> Segment:
        segment = self[run] = self._cell_map.segment(run)
        return segment


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
        self._segments = _Segments(self)
        self._last: tuple[bytes, int, Strip] | None = None
        self._pointed: int | None = None

    def show(self, kinds: bytes) -> None:
        """Show one thing for each byte, which is its kind; repaint the rows that changed."""
        before, layout_before = self._rows, self._layout
        self._kinds = kinds
        self._lay_out()
        if self._pointed is not None and self._pointed >= len(kinds):
            self._point_at(None)
        if self._layout != layout_before:
            self._forget_drawn()
        if self._layout != layout_before or len(before) != len(self._rows) or not kinds:
            self.refresh()
            return
        high, width = self._layout.height, self.size.width
        changed = [
            Region(0, row * high, width, high)
            for row, (old, new) in enumerate(zip(before, self._rows, strict=True))
            if old != new
        ]
        if changed:
            self.refresh(*changed)

    @property
    def layout_now(self) -> Layout:
        """How the cells lie."""
        return self._layout

    @property
    def pointed(self) -> int | None:
        """The place of what is pointed at, if anything is."""
        return self._pointed

    def _lay_out(self) -> None:
        width, height = self.size
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

    def render_line(self, y: int) -> Strip:
        """Return one line of the picture."""
        width = self.size.width
        if not self._rows:
            text = self.empty_text[:width] if y == self.size.height // 2 else ""
            return Strip([Segment(text.center(width), self._kind_styles()[-1])], width)
        row, line = divmod(y, self._layout.height)
        if row >= len(self._rows):
            return Strip.blank(width, self._kind_styles()[-1])
        has_gap = self._layout.height >= 3 and line == self._layout.height - 1
        return Strip.blank(width, self._kind_styles()[-1]) if has_gap else self._line(row)

    def _line(self, row: int) -> Strip:
        layout, kinds, styles = self._layout, self._rows[row], self._kind_styles()
        pointed = self._pointed if self._pointed is not None and layout.each == 1 else -1
        here = pointed - row * layout.columns
        if not 0 <= here < len(kinds):
            here = -1
        if self._last is not None and self._last[:2] == (kinds, here):
            return self._last[2]  # each row of cells is several lines of text
        known, base = self._segments, styles[-1]
        gap = layout.width - layout.filled
        if not gap and here < 0 and 2 * sum(map(ne, kinds, kinds[1:])) < len(kinds):
            segments = [known[run] for run in _RUNS.findall(kinds)]
        else:
            cells = [known[kind] for kind in _SINGLE[: len(self._glyphs)]]
            segments = [cells[kind] for kind in kinds]
            if here >= 0:
                segments[here] = Segment(segments[here].text, styles[kinds[here]] + _POINTED)
            if gap:
                apart = Segment(" " * gap, base)
                segments = [one for cell in segments for one in (cell, apart)]
        used = len(kinds) * layout.width
        if used < self.size.width:
            segments.append(Segment(" " * (self.size.width - used), base))
        strip = Strip(segments, self.size.width)
        self._last = kinds, here, strip
        return strip

    def segment(self, run: bytes) -> Segment:
        """Return what cells of one kind next to each other look like."""
        glyph = self._glyphs[run[0]]
        return Segment(glyph * (self._layout.filled * len(run)), self._kind_styles()[run[0]])

    def _forget_drawn(self) -> None:
        self._segments.clear()
        self._last = None

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
        high = self._layout.height
        rows = {one // self._layout.columns for one in (self._pointed, place) if one is not None}
        self._pointed = place
        self.refresh(*(Region(0, row * high, self.size.width, high) for row in rows))
        self.post_message(self.Pointed(self, place))
