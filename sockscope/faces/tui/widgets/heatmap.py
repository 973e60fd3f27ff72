"""A heat map: how values are distributed, over time.

    heat = HeatMap(bin_edge=lambda bin: 2.0**bin, format_value=si)
    heat.show([HeatSlice(0.0, 0.2, bins=[3, 4], counts=[10, 1])], now=0.2, window=30.0)

Each column of cells is a time, each row a range of values on a logarithmic axis. How dense a cell looks, and
how strong its colour is, tells which share of its moment's values it has; a single one is always seen. The
rows follow what is in sight, and shrink late.

Below :data:`SMALLEST_HEIGHT` rows there is no room for it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10, pow
from typing import ClassVar, NamedTuple

from textual import events
from textual.message import Message

from sockscope.faces.tui.widgets.braille import DOTS_X, DOTS_Y, PlotScale
from sockscope.faces.tui.widgets.drawn import Drawn
from sockscope.faces.tui.widgets.grid import Grid, Ink
from sockscope.faces.tui.widgets.plain import plain, wrapped
from sockscope.faces.tui.widgets.plot import Area, Marker, draw_cursor, draw_markers, draw_time_axis
from sockscope.faces.tui.widgets.ticks import Reach, si, time_ticks

SMALLEST_HEIGHT = 5
_RULE_FROM_HEIGHT = 9
_FROM = (0.01, 0.05, 0.2, 0.5)
_DENSITIES = tuple(zip("·░▒▓█", (Ink.HEAT_1, Ink.HEAT_2, Ink.HEAT_3, Ink.HEAT_4, Ink.HEAT_5), strict=True))
"""How a cell looks with less than 1 % of the values of its moment, and from each of these shares on."""
_LEGENDS = (
    "· below 1 %  ░ 1  ▒ 5  ▓ 20  █ from 50 %",
    "·░▒▓█ from 0 1 5 20 50 %",
    "·░▒▓█",
)
_BEYOND, _HATCH = "×", "╱"
_MANTISSAS = ((1, 2, 5), (1, 3), (1,))
_HATCH_ACROSS = 4
_STEPS_PER_DECADE = 3
"""An axis ends at a whole third of a decade."""
_SMALLEST_LOG = -12.0
_PARTS = (
    *("axis", "marker", "cursor", "limit", "legend", "title"),
    *("beyond", "hatch", "series-3", "series-4"),
    *("heat-1", "heat-2", "heat-3", "heat-4", "heat-5"),
)
"""Component classes in the order of the inks after `Ink.BASE`."""
BEYOND_INK, HATCH_INK = Ink.SERIES_1, Ink.SERIES_2


@dataclass(frozen=True, slots=True)
class HeatSlice:
    """The values of a time from ``begin`` to ``end`` (seconds): ``counts[n]`` in the bin ``bins[n]``.

    Of ``beyond`` more nobody knows the value, and a ``hatched`` time does not count.
    """

    begin: float
    end: float
    bins: Sequence[int]
    counts: Sequence[int]
    beyond: int = 0
    hatched: bool = False


class _Column(NamedTuple):
    """What is drawn in a column: rows from the top with characters and inks."""

    cells: list[tuple[int, str, Ink]]
    beyond: bool
    hatched: bool


class HeatMap(Drawn):
    """Values over time, as densities.

    Args:
        bin_edge: The lower edge of a bin, which is the upper one of the bin before; ascending, above 0.
        format_value: How a value of the axis is written.
        beyond: What the values are called that nobody knows.
        hatched: What the hatched times are called.
        empty_text: What is written as long as there is no data.
    """

    INK_CLASSES = tuple(f"heat--{part}" for part in _PARTS)
    COMPONENT_CLASSES: ClassVar[set[str]] = set(INK_CLASSES)
    DEFAULT_CSS = """
    HeatMap {
        width: 1fr;
        height: 1fr;

        & > .heat--axis { color: $foreground 45%; }
        & > .heat--marker { color: $text-accent; }
        & > .heat--cursor { color: $foreground; text-style: bold; }
        & > .heat--legend { color: $foreground 75%; }
        & > .heat--beyond { color: $error; text-style: bold; }
        & > .heat--hatch { color: $foreground 30%; }
        & > .heat--heat-1 { color: $primary 60%; }
        & > .heat--heat-2 { color: $primary 75%; }
        & > .heat--heat-3 { color: $primary; }
        & > .heat--heat-4 { color: $success; }
        & > .heat--heat-5 { color: $warning; }
    }
    """

    class Clicked(Message):
        """A place in the plot was clicked."""

        def __init__(self, heat_map: HeatMap, time: float) -> None:
            super().__init__()
            self.heat_map = heat_map
            self.time = time

        @property
        def control(self) -> HeatMap:
            """The heat map that was clicked."""
            return self.heat_map

    def __init__(
        self,
        *,
        bin_edge: Callable[[int], float],
        format_value: Callable[[float], str] = si,
        beyond: str = "unknown",
        hatched: str = "left out",
        empty_text: str = "no data yet",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._bin_edge = bin_edge
        self._format = format_value
        self._names = plain(beyond), plain(hatched)
        self._empty_text = plain(empty_text)
        self._slices: Sequence[HeatSlice] = ()
        self._markers: tuple[Marker, ...] = ()
        self._now, self._window = 0.0, 30.0
        self._cursor: float | None = None
        self._high, self._low = Reach(_round_up), Reach(_round_up)
        self._plot: tuple[Area, PlotScale] | None = None
        # Columns by their number on the grid of time, as long as nothing that they depend on changes.
        self._columns: dict[int, _Column] = {}
        self._drawn_for: object = None
        self._last: HeatSlice | None = None

    def show(
        self,
        slices: Sequence[HeatSlice],
        *,
        now: float,
        window: float,
        markers: Iterable[Marker] = (),
        cursor: float | None = None,
    ) -> None:
        """Replace the data, in the order of time, and repaint what changed.

        Args:
            slices: The values, some from before the left edge perhaps.
            now: The time of the right edge.
            window: Seconds from the left edge to the right one.
            markers: Events to mark in the plot.
            cursor: A time that is looked at.
        """
        self._slices = slices
        self._now, self._window, self._cursor = now, window, cursor
        self._markers = tuple(Marker(marker.time, plain(marker.label)) for marker in markers)
        self.redraw()

    @property
    def markers(self) -> tuple[Marker, ...]:
        """The events that are marked."""
        return self._markers

    def on_click(self, event: events.Click) -> None:
        """Tell which time was clicked."""
        offset = event.get_content_offset(self)
        if offset is None or self._plot is None:
            return
        area, frame = self._plot
        if 0 <= offset.x - area.x < area.width and 0 <= offset.y - area.y < area.height:
            event.stop()
            self.post_message(self.Clicked(self, frame.time((offset.x - area.x) * DOTS_X + 0.5)))

    # Drawing ----------------------------------------------------------------------------------------------

    def draw(self, grid: Grid) -> None:
        """Draw the legend, the cells and the axes."""
        self._plot = None
        first = bisect_left(self._slices, self._now - self._window, key=lambda one: one.end)
        in_sight = self._slices[first:]
        if not any(one.counts or one.beyond for one in in_sight) or grid.height < SMALLEST_HEIGHT:
            lines = wrapped(self._empty_text, max(grid.width - 2, 1))[: grid.height]
            for row, line in enumerate(lines, (grid.height - len(lines)) // 2):
                grid.text((grid.width - len(line)) // 2, row, line, Ink.LEGEND)
            return
        low, high = self._edges(in_sight)
        with_rule = grid.height >= _RULE_FROM_HEIGHT
        has_beyond = any(one.beyond for one in in_sight)
        rows = grid.height - 2 - with_rule - has_beyond
        ticks = self._ticks(low, high, rows)
        gutter = max((len(label) for _, label in ticks), default=0) + 1
        area = Area(gutter, 1 + has_beyond, max(grid.width - gutter, 1), rows)
        frame = self._frame(area)
        self._plot = area, frame
        columns = self._columns_of(in_sight, frame, area, low, high)
        self._draw_legend(grid, has_beyond, any(column.hatched for column in columns.values()))
        for x, column in columns.items():
            for row, character, ink in column.cells:
                grid.put(area.x + x, area.y + row, character, ink)
            if column.beyond:
                grid.put(area.x + x, area.y - 1, _BEYOND, BEYOND_INK)
        for row, label in ticks:
            grid.text(gutter - 1 - len(label), area.y + row, label, Ink.AXIS)
        for row in range(area.y, area.y + rows):
            grid.put(gutter - 1, row, "┤" if any(row == area.y + at for at, _ in ticks) else "│", Ink.AXIS)
        draw_time_axis(grid, area, frame, self._now, time_ticks(self._window, area.width), rule=with_rule)
        if self._cursor is not None:
            draw_cursor(grid, area, frame, self._cursor)
        draw_markers(grid, area, frame, self._markers)
        _cross(grid, area, frame, self._markers)
        _hatch(grid, area, columns)

    def _draw_legend(self, grid: Grid, has_beyond: bool, is_hatched: bool) -> None:
        more = [
            f"  {sign} {name}"
            for sign, name, there in zip(
                (_BEYOND, _HATCH), self._names, (has_beyond, is_hatched), strict=True
            )
            if there
        ]
        told = "".join(more)
        text = next((one for one in _LEGENDS if len(one) + len(told) <= grid.width), "")
        x = max(grid.width - len(text) - len(told), 0)
        inks = dict(_DENSITIES)
        for character in text:
            grid.text(x, 0, character, inks.get(character, Ink.LEGEND))
            x += 1
        for part in more:
            grid.text(x, 0, part, BEYOND_INK if _BEYOND in part else Ink.LEGEND)
            x += len(part)

    def _columns_of(
        self, slices: Sequence[HeatSlice], frame: PlotScale, area: Area, low: float, high: float
    ) -> dict[int, _Column]:
        """Return the columns of cells in sight by their place; those that have all their values are kept."""
        drawn_for = frame.columns_per_second, area.width, area.height, low, high
        if drawn_for != self._drawn_for or not self._goes_on(slices):
            self._columns.clear()
            self._drawn_for, self._last = drawn_for, None
        per_second = frame.columns_per_second / DOTS_X
        first = frame.first_column // DOTS_X
        end = first + area.width
        # The last slice may have reached into a column that later ones share with it.
        fresh = first if self._last is None else max(first, floor(self._last.begin * per_second))
        touching: dict[int, list[HeatSlice]] = {}
        for one in slices[bisect_left(slices, fresh / per_second, key=lambda one: one.end) :]:
            begun, reached = floor(one.begin * per_second), floor((one.end - 1e-6) * per_second)
            for number in range(max(begun, fresh), min(max(begun, reached) + 1, end)):
                touching.setdefault(number, []).append(one)
        per_row = (high - low) / area.height
        rows: dict[int, list[tuple[int, float]]] = {}
        for number, ones in touching.items():
            self._columns[number] = self._column(ones, rows, low, per_row, area.height)
        for number in [number for number in self._columns if number < first]:
            del self._columns[number]
        self._last = slices[-1]
        return {number - first: column for number, column in self._columns.items()}

    def _goes_on(self, slices: Sequence[HeatSlice]) -> bool:
        """Whether what was drawn last is among these slices, or is long past."""
        last = self._last
        if last is None:
            return False
        at = bisect_left(slices, last.begin, key=lambda one: one.begin)
        return at < len(slices) and (slices[at].begin, slices[at].end) == (last.begin, last.end)

    def _column(
        self,
        slices: Sequence[HeatSlice],
        rows: dict[int, list[tuple[int, float]]],
        low: float,
        per_row: float,
        height: int,
    ) -> _Column:
        beyond = total = sum(one.beyond for one in slices)
        weights = [0.0] * height
        for one in slices:
            for number, count in zip(one.bins, one.counts, strict=True):
                total += count
                if number not in rows:
                    rows[number] = self._rows_of(number, low, per_row, height)
                for row, part in rows[number]:
                    weights[row] += count * part
        cells = [
            (row, *_DENSITIES[bisect_right(_FROM, weight / total)])
            for row, weight in enumerate(weights)
            if weight > 0
        ]
        return _Column(cells, bool(beyond), all(one.hatched for one in slices))

    def _rows_of(self, number: int, low: float, per_row: float, rows: int) -> list[tuple[int, float]]:
        """Return the rows (0 at the top) that a bin reaches over, and which part of it each has."""
        bottom, top = ((self._log(edge) - low) / per_row for edge in (number, number + 1))
        found = []
        for row in range(max(floor(bottom), 0), min(ceil(top), rows)):
            part = (min(top, row + 1) - max(bottom, row)) / (top - bottom)
            if part > 1e-6:
                found.append((rows - 1 - row, part))
        return found

    # Numbers ----------------------------------------------------------------------------------------------

    def _log(self, number: int) -> float:
        edge = self._bin_edge(number)
        return log10(edge) if edge > 0 else _SMALLEST_LOG

    def _edges(self, slices: Sequence[HeatSlice]) -> tuple[float, float]:
        """Return the logarithms at the lower and the upper edge: whole thirds of a decade, one at least."""
        reached = [end for one in slices if one.bins for end in (one.bins[0], one.bins[-1])]
        if not reached:
            return 0.0, 1 / _STEPS_PER_DECADE
        # Both ends stay a while where they are: the lower one as the reach of what it divides.
        high = log10(self._high.update(self._bin_edge(max(reached) + 1), self._now))
        low = -log10(self._low.update(10.0 ** -self._log(min(reached)), self._now))
        return low, max(high, low + 1 / _STEPS_PER_DECADE)

    def _ticks(self, low: float, high: float, rows: int) -> list[tuple[int, str]]:
        """Return rows, counted from the top, and labels: as many round values as have a row between them."""
        for mantissas in _MANTISSAS:
            values = [
                mantissa * 10.0**power
                for power in range(floor(low) - 1, ceil(high) + 1)
                for mantissa in mantissas
            ]
            places = [
                (rows - 1 - floor((log10(value) - low) / (high - low) * rows), self._format(value))
                for value in values
                if low - 1e-9 <= log10(value) < high - 1e-9
            ]
            taken = [row for row, _ in places]
            if all(before - after >= 2 for before, after in pairwise(taken)):
                break
        return [(min(max(row, 0), rows - 1), label) for row, label in places]

    def _frame(self, area: Area) -> PlotScale:
        width = area.width * DOTS_X
        per_second = max(width - 1, 1) / self._window
        # Cells, not dots, are cut on a fixed grid of time, so that a column keeps what it has while it moves.
        last = floor(self._now * per_second / DOTS_X) * DOTS_X + DOTS_X - 1
        return PlotScale(
            width=width,
            height=area.height * DOTS_Y,
            first_column=last - width + 1,
            columns_per_second=per_second,
            top=1.0,
            rows_per_unit=0.0,
        )


def _round_up(value: float) -> float:
    return pow(10.0, ceil(log10(value) * _STEPS_PER_DECADE - 1e-9) / _STEPS_PER_DECADE)


def _cross(grid: Grid, area: Area, frame: PlotScale, markers: Iterable[Marker]) -> None:
    """Let the lines of markers be seen where they cross cells, too, but not through a label."""
    for marker in markers:
        if 0 <= (column := frame.column(marker.time)) < frame.width:
            for row in range(area.y, area.y + area.height, 2):
                grid.over(area.cell_of(column), row, "┆", Ink.MARKER, spare=Ink.MARKER)


def _hatch(grid: Grid, area: Area, columns: dict[int, _Column]) -> None:
    """Hatch the times that do not count: between their cells, and thinly across them."""
    for x, column in columns.items():
        for row in range(area.height) if column.hatched else ():
            at = area.x + x, area.y + row
            if (x + row) % _HATCH_ACROSS == 0:
                grid.text(*at, _HATCH, HATCH_INK)
            elif (x + row) % 2 == 0:
                grid.put(*at, _HATCH, HATCH_INK)
