"""A graph of braille lines over time.

    graph = Graph("Throughput", unit="req/s")
    graph.show([Series("TCP", times, values)], now=now, markers=[Marker(when, "permits 20→50")])

`show` replaces the data. It draws the whole picture at once into strips and asks the screen to repaint only
the rows that came out different; `render_line` hands the strips over. Everything that is remembered between
two calls (how far the axis reaches, how wide its labels and the figures of the legend are) grows at once
and shrinks late, so that nothing jumps while numbers change.

Times are seconds of any clock that the caller likes; the right edge is `now`. Data and text come from
outside and are not trusted: nan is a gap, values beyond the axis stick to its edge, text goes through
`plain`.

The height decides what is drawn: one row holds the first series as a block spark; up to four hold the
legend and the bare curves; from five on there are axes, from nine on the time axis has a rule.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import floor, isfinite, nan
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.message import Message

from sockscope.faces.tui.widgets.braille import DOTS_X, DOTS_Y, PATTERNS, PlotScale
from sockscope.faces.tui.widgets.drawn import Drawn
from sockscope.faces.tui.widgets.grid import SERIES_INKS, Grid, Ink
from sockscope.faces.tui.widgets.legend import LegendEntry, Piece, legend
from sockscope.faces.tui.widgets.plain import DASH, pad, plain, shorten, wrapped
from sockscope.faces.tui.widgets.plot import (
    Area,
    Marker,
    Series,
    draw_area,
    draw_cursor,
    draw_curves,
    draw_limit,
    draw_markers,
    draw_time_axis,
    draw_value_axis,
    latest_of,
    value_at,
)
from sockscope.faces.tui.widgets.spark import spark
from sockscope.faces.tui.widgets.ticks import (
    Held,
    Reach,
    Tick,
    age_exact,
    round_top,
    si,
    time_ticks,
    value_ticks,
)

__all__ = ["Graph", "Marker", "Series", "spark"]

DEFAULT_WINDOW_S = 30.0
"""What a graph shows until it is told."""
WIDTHS_SHRINK_AFTER_S = 10.0
"""Labels and figures keep the width they once needed for so long."""

_AXES_FROM_HEIGHT = 5
_RULE_FROM_HEIGHT = 9
_SMALLEST_PLOT_WIDTH = 10
_ROWS_PER_TICK = 2
_MOST_TICKS = 6
_LIMIT_IN_SIGHT = 2.5
"""Up to so many times the largest value a limit counts for the axis; a farther one would flatten curves."""

_SPARK_FULL, _SPARK_LABEL, _SPARK_VALUE = 40, 10, 6
"""From this width on a row keeps so many cells for its label and value: rows below each other align then."""
_INK_PARTS = (
    *("axis", "marker", "cursor", "limit", "legend", "title"),
    *("series-1", "series-2", "series-3", "series-4", "area"),
)
"""Component classes in the order of the inks after `Ink.BASE`."""
AREA_INK = Ink.HEAT_1
"""The first ink that curves do not need."""


class Graph(Drawn):
    """Lines over time, with axes, a legend, markers, a limit and a cursor.

    Args:
        title: What is shown, in front of the legend; leave it empty when a border says it.
        format_value: How a value is written, at the axis and in the legend.
        unit: Unit of the values, written once, after the title.
        y_max: Where the axis, which starts at 0, ends; `None` lets it follow the data.
        empty_text: What is written as long as there is no data.
        since_start: Whether the time axis tells the time since the left edge, not how long ago it was.
        gutter: Cells left of the plot; graphs that share it, one above the other, share their time axis.
    """

    INK_CLASSES = tuple(f"graph--{part}" for part in _INK_PARTS)
    COMPONENT_CLASSES: ClassVar[set[str]] = set(INK_CLASSES)

    DEFAULT_CSS = """
    Graph {
        width: 1fr;
        height: 1fr;
        min-height: 1;

        & > .graph--series-1 { color: $primary; }
        & > .graph--series-2 { color: $success; }
        & > .graph--series-3 { color: $error; }
        & > .graph--series-4 { color: $foreground; }
        & > .graph--area { color: $primary 40%; }
        & > .graph--axis { color: $foreground 45%; }
        & > .graph--marker { color: $text-accent; }
        & > .graph--cursor { color: $foreground; text-style: bold; }
        & > .graph--limit { color: $foreground 60%; }
        & > .graph--legend { color: $foreground 75%; }
        & > .graph--title { color: $foreground; text-style: bold; }
    }
    """

    class Clicked(Message):
        """A place in the plot was clicked."""

        def __init__(self, graph: Graph, time: float) -> None:
            super().__init__()
            self.graph = graph
            self.time = time

        @property
        def control(self) -> Graph:
            """The graph that was clicked."""
            return self.graph

    def __init__(
        self,
        title: str = "",
        *,
        format_value: Callable[[float], str] = si,
        unit: str = "",
        y_max: float | None = None,
        empty_text: str = "no data yet",
        since_start: bool = False,
        gutter: Held | None = None,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._title = plain(title)
        self._unit = plain(unit)
        self._format_value = format_value
        self._y_max = y_max
        self._empty_text = empty_text
        self._since_start = since_start
        self._series: tuple[Series, ...] = ()
        self._markers: tuple[Marker, ...] = ()
        self._limit: Series | None = None
        self._band: tuple[int, int] | None = None
        self._now = 0.0
        self._window = DEFAULT_WINDOW_S
        self._cursor: float | None = None
        self._top = Reach(round_top)
        self._is_aligned = gutter is not None
        self._gutter = gutter or gutter_of_labels()
        self._field = Held(0, WIDTHS_SHRINK_AFTER_S)
        self._plot: tuple[Area, PlotScale] | None = None

    # What the caller sets ---------------------------------------------------------------------------------

    def show(
        self,
        series: Sequence[Series],
        *,
        now: float,
        markers: Sequence[Marker] = (),
        window: float | None = None,
        limit: Series | None = None,
        band: tuple[int, int] | None = None,
    ) -> None:
        """Replace the data and repaint what changed.

        Args:
            series: The curves, the most important one first; it is drawn on top.
            now: The time of the right edge.
            markers: Events to mark in the plot.
            window: Seconds from the left edge to the right one; `None` leaves them as they are.
            limit: A level to mark by a dashed line, which has a step wherever it was turned.
            band: The places of the curves between which the area is filled, the lower one first.
        """
        self._series = tuple(
            Series(plain(curve.label), tuple(curve.times), tuple(curve.values), curve.latest)
            for curve in series
        )
        self._markers = tuple(Marker(marker.time, plain(marker.label)) for marker in markers)
        self._limit = limit and Series(
            plain(limit.label),
            tuple(limit.times),
            tuple(value if isfinite(value) else nan for value in limit.values),
        )
        self._now, self._band = now, band
        if window is not None and window > 0:
            self._window = window
        self.redraw()

    @property
    def series(self) -> tuple[Series, ...]:
        """The curves, the most important one first."""
        return self._series

    @property
    def markers(self) -> tuple[Marker, ...]:
        """The events that are marked."""
        return self._markers

    @property
    def window(self) -> float:
        """Seconds from the left edge to the right one."""
        return self._window

    @property
    def cursor(self) -> float | None:
        """The time whose values the legend shows, in the clock of the data; `None` for the latest."""
        return self._cursor

    @cursor.setter
    def cursor(self, time: float | None) -> None:
        if time != self._cursor:
            self._cursor = time
            self.redraw()

    @property
    def empty_text(self) -> str:
        """What is written as long as there is no data: what will appear, and which key makes it appear."""
        return self._empty_text

    @empty_text.setter
    def empty_text(self, text: str) -> None:
        if text != self._empty_text:
            self._empty_text = text
            self.redraw()

    def forget_axis(self) -> None:
        """Let the axis reach as far as what is shown next needs: that is of something else."""
        self._top = Reach(round_top)

    # What the screen asks for -----------------------------------------------------------------------------

    def on_hide(self) -> None:
        """Forget how far the axis reached: what is not looked at does not jump."""
        self.forget_axis()

    def on_resize(self) -> None:
        """Draw anew in the new size."""
        if self.size.height <= 1:
            self.on_hide()  # a spark has no axis either
        super().on_resize()

    def on_click(self, event: events.Click) -> None:
        """Tell which time was clicked."""
        offset = event.get_content_offset(self)
        if offset is None or self._plot is None:
            return
        area, frame = self._plot
        if not (0 <= offset.x - area.x < area.width and 0 <= offset.y - area.y < area.height):
            return
        time = frame.time((offset.x - area.x) * DOTS_X + 0.5)
        event.stop()
        self.post_message(self.Clicked(self, min(max(time, self._now - self._window), self._now)))

    # Drawing ----------------------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Draw now, and repaint only rows that came out different."""
        if not self.is_mounted or not self.size:
            # The reach of the axes is the memory of a graph, so that of a hidden one is kept as well.
            self._reach()
        super().redraw()

    def draw(self, grid: Grid) -> None:
        """Draw what the height has room for."""
        self._plot = None
        if not (grid.width and grid.height):
            return
        if not any(self._known_values()):
            self._draw_empty(grid)
        elif grid.height == 1:
            self._draw_spark(grid)
        else:
            self._draw_legend(grid)
            self._draw_plot(grid)

    def _draw_empty(self, grid: Grid) -> None:
        if grid.height > 2:
            left, _right = legend(self._title, self._unit, "", (), grid.width)
            self._write(grid, 0, left)
        lines = wrapped(plain(self._empty_text), max(grid.width - 2, 1))[: grid.height]
        top = (grid.height - len(lines)) // 2
        for row, line in enumerate(lines, top):
            grid.text((grid.width - cell_len(line)) // 2, row, line, Ink.LEGEND)

    def _draw_spark(self, grid: Grid) -> None:
        """One row: name, spark and value of the first series; the value is the last thing to go."""
        curve = self._series[0]
        width = max(self._value_width(), _SPARK_VALUE if grid.width >= _SPARK_FULL else 0)
        value = pad(self._format(self._legend_value(curve)), width, "right")
        room = grid.width - cell_len(value)
        if room < 0:
            return
        grid.text(room, 0, value, SERIES_INKS[0])
        label = shorten(self._title or curve.label, max(min(room // 3, 24), 3)) if room >= 8 else ""
        start = cell_len(label) + 1 if label else 0
        if grid.width >= _SPARK_FULL:
            start = max(start, _SPARK_LABEL)
        grid.text(0, 0, label, Ink.LEGEND)
        if room - 1 > start:
            cells = room - 1 - start
            grid.text(start, 0, spark(self._by_cell(curve, cells), cells), SERIES_INKS[0])

    def _by_cell(self, curve: Series, cells: int) -> list[float]:
        """Return the highest value in the time of each cell: sparks below each other share an axis."""
        edges = [self._now - self._window * (1 - cell / cells) for cell in range(cells + 1)]
        places = [bisect_right(curve.times, edge) for edge in edges]
        peaks = []
        for first, last, edge in zip(places, places[1:], edges[1:], strict=False):
            known = [value for value in curve.values[first:last] if value == value]
            peaks.append(max(known) if known else nan if last > first else value_at(curve, edge))
        return peaks

    def _draw_legend(self, grid: Grid) -> None:
        width = self._value_width()
        entries = [
            LegendEntry(
                PATTERNS[number % len(PATTERNS)],
                curve.label,
                pad(self._format(self._legend_value(curve)), width, "right"),
                SERIES_INKS[number % len(SERIES_INKS)],
            )
            for number, curve in enumerate(self._series)
        ]
        lead = "" if self._cursor is None else pad(age_exact(self._now - self._cursor), 7, "right")
        left, right = legend(self._title, self._unit, lead, entries, grid.width)
        self._write(grid, 0, left)
        self._write(grid, grid.width - sum(cell_len(text) for text, _ink in right), right)

    def _draw_plot(self, grid: Grid) -> None:
        top = self._reach()
        with_times = grid.height >= _AXES_FROM_HEIGHT
        with_rule = grid.height >= _RULE_FROM_HEIGHT
        rows = grid.height - 1 - (1 + with_rule if with_times else 0)
        with_axes = with_times or (self._is_aligned and rows > 1)
        ticks = self._ticks(top, rows) if with_axes else []
        gutter = self._gutter.update(max((cell_len(tick.label) for tick in ticks), default=0), self._now) + 1
        with_axes = with_axes and grid.width - gutter >= _SMALLEST_PLOT_WIDTH
        with_times = with_times and with_axes
        if not with_axes:
            rows, gutter = grid.height - 1, 0
        area = Area(gutter, 1, grid.width - gutter, rows)
        frame = self._frame(area, top)
        self._plot = area, frame
        curves = [self._in_sight(curve) for curve in self._series]
        traced = draw_curves(grid, area, frame, curves)
        if with_axes:
            draw_value_axis(grid, area, frame, ticks)
        if with_times:
            time_axis = time_ticks(self._window, area.width, self._since_start)
            draw_time_axis(grid, area, frame, self._now, time_axis, rule=with_rule)
        if self._cursor is not None:
            draw_cursor(grid, area, frame, self._cursor)
        draw_markers(grid, area, frame, self._markers)
        if self._limit is not None:
            draw_limit(grid, area, frame, self._in_sight(self._limit))
        if len(traced) == 1:
            draw_area(grid, area, None, traced[0], AREA_INK)
        elif self._band is not None and max(self._band) < len(traced):
            lower, upper = self._band
            draw_area(grid, area, traced[lower], traced[upper], AREA_INK)

    def _write(self, grid: Grid, x: int, pieces: Sequence[Piece]) -> None:
        for text, ink in pieces:
            grid.text(x, 0, text, ink)
            x += cell_len(text)

    # Numbers ----------------------------------------------------------------------------------------------

    @property
    def _legend_time(self) -> float:
        return self._now if self._cursor is None else self._cursor

    def _legend_value(self, curve: Series) -> float:
        """The value that the legend tells: that of the cursor, or that of this moment."""
        if self._cursor is None and curve.latest is not None:
            return curve.latest
        return value_at(curve, self._legend_time)

    def _format(self, value: float) -> str:
        return DASH if value != value else plain(self._format_value(value))

    def _value_width(self) -> int:
        """Cells for a value in the legend: those of the widest one, and of the one at the right edge."""
        values = ((value_at(curve, self._now), self._legend_value(curve)) for curve in self._series)
        widths = (cell_len(self._format(value)) for value in chain.from_iterable(values))
        return self._field.update(max(widths, default=0), self._now)

    def _in_window(self, times: Sequence[float]) -> tuple[int, int]:
        """The part of a series that is in sight, and one point more to the left to come from."""
        first = bisect_left(times, self._now - self._window)
        return max(first - 1, 0), bisect_right(times, self._now)

    def _known_values(self) -> Iterator[bool]:
        """Whether there is any figure at all, in the window or outside it."""
        return (value == value for curve in self._series for value in curve.values)

    def _values_in_sight(self) -> Iterator[float]:
        slices = []
        for curve in self._series:
            first, last = self._in_window(curve.times)
            slices.append(curve.values[first:last])
        return filter(isfinite, chain.from_iterable(slices))

    def _reach(self) -> float:
        """Where the axis ends."""
        if self._y_max is not None:
            return self._y_max
        maximum = max(self._values_in_sight(), default=0.0)
        limit = nan if self._limit is None else latest_of(self._limit)
        if maximum <= 0 or limit <= _LIMIT_IN_SIGHT * maximum:
            # A little more than the limit, or its line would lie on the upper edge.
            maximum = max(maximum, limit * 1.02)  # nan is not more
        return self._top.update(maximum, self._now)

    def _ticks(self, top: float, rows: int) -> list[Tick]:
        most = min(max((rows - 1) // _ROWS_PER_TICK + 1, 2), _MOST_TICKS)
        return value_ticks(0.0, top, most, self._format)

    def _in_sight(self, curve: Series) -> Series:
        """The part of a curve that is in sight."""
        first, last = self._in_window(curve.times)
        return Series(curve.label, curve.times[first:last], curve.values[first:last])

    def _frame(self, area: Area, top: float) -> PlotScale:
        width, height = area.width * DOTS_X, area.height * DOTS_Y
        per_second = max(width - 1, 1) / self._window
        return PlotScale(
            width=width,
            height=height,
            first_column=floor(self._now * per_second) - width + 1,
            columns_per_second=per_second,
            top=top,
            rows_per_unit=(height - 1) / top,
        )


def gutter_of_labels() -> Held:
    """Return what remembers the width of the labels of a value axis."""
    return Held(0, WIDTHS_SHRINK_AFTER_S)
