"""What is drawn inside a graph: curves, axes, markers, limit and cursor, each on a `Grid` at a given place.

The order of drawing is the order of importance: curves first, then words that look for a free place, then
lines, which fill only what was left. So nothing that explains a curve hides it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

from rich.cells import cell_len

from sockscope.faces.tui.widgets.braille import (
    DOTS_X,
    DOTS_Y,
    PATTERNS,
    PlotScale,
    cells,
    thickened,
    trace,
)
from sockscope.faces.tui.widgets.grid import SERIES_INKS, Grid, Ink
from sockscope.faces.tui.widgets.plain import ELLIPSIS, shorten
from sockscope.faces.tui.widgets.ticks import Tick

_FIGURE = re.compile(r"\d")
_THICK_FROM_HEIGHT = 8
"""Rows of the plot from which on lines are thick."""
_MARKER = "┆"
_LABELS_FROM = (18, 4)
"""Cells of width and height below which markers are lines without labels."""


@dataclass(frozen=True)
class Series:
    """One curve: values at times in ascending seconds; a nan interrupts it.

    ``latest`` is what the legend says of this moment (nan: a dash); None stands for the last of the values.
    """

    label: str
    times: Sequence[float]
    values: Sequence[float]
    latest: float | None = None


@dataclass(frozen=True)
class Marker:
    """Something that happened at a time."""

    time: float
    label: str


@dataclass(frozen=True)
class Area:
    """The cells of a grid that belong to the plot."""

    x: int
    y: int
    width: int
    height: int

    def cell_of(self, column: int) -> int:
        """The cell, counted from the grid's left edge, of a dot column."""
        return self.x + column // DOTS_X

    def row_of(self, dot_row: int) -> int:
        """The row, counted from the grid's top, of a dot row."""
        return self.y + dot_row // DOTS_Y


def draw_curves(grid: Grid, area: Area, frame: PlotScale, series: Sequence[Series]) -> list[list[int]]:
    """Draw all curves, the first one on top; return the dots of each.

    Where there is room they are two dots thick, or they would not be seen from afar.
    """
    thick = 2 if area.height >= _THICK_FROM_HEIGHT else 1
    traced = [
        thickened(
            trace(frame, curve.times, curve.values, PATTERNS[number % len(PATTERNS)]), thick, frame.height
        )
        for number, curve in enumerate(series)
    ]
    for number in range(len(series) - 1, -1, -1):
        grid.dots(cells(traced[number]), area.x, area.y, SERIES_INKS[number % len(SERIES_INKS)])
    return traced


def draw_area(
    grid: Grid, area: Area, lower: Sequence[int] | None, upper: Sequence[int], ink: Ink, glyph: str = "▖"
) -> None:
    """Fill what is free below a curve, or between two of them; where one of them is missing, nothing.

    It comes last, so that whatever explains a curve has found its place.
    """
    for x in range(area.width):
        above = upper[x * DOTS_X] | upper[x * DOTS_X + 1]
        bottom = area.height
        if lower is not None:
            below = lower[x * DOTS_X] | lower[x * DOTS_X + 1]
            bottom = (below.bit_length() - 1) // DOTS_Y if below else 0
        if above:
            for row in range(((above & -above).bit_length() - 1) // DOTS_Y + 1, bottom):
                grid.put(area.x + x, area.y + row, glyph, ink)


def draw_value_axis(grid: Grid, area: Area, frame: PlotScale, ticks: Sequence[Tick]) -> None:
    """Draw the vertical axis left of the plot, with labels that end at it."""
    rule = area.x - 1
    for row in range(area.y, area.y + area.height):
        grid.put(rule, row, "│", Ink.AXIS)
    for tick in ticks:
        row = area.row_of(frame.row(tick.value))
        grid.text(rule - cell_len(tick.label), row, tick.label + "┤", Ink.AXIS)


def draw_time_axis(
    grid: Grid, area: Area, frame: PlotScale, now: float, ticks: Sequence[Tick], *, rule: bool
) -> None:
    """Draw the labels of the time axis under the plot, and a rule with ticks between if asked for."""
    below = area.y + area.height
    places = [
        min(max(area.cell_of(frame.column(now - tick.value)), area.x), grid.width - 1) for tick in ticks
    ]
    if rule:
        grid.text(area.x - 1, below, "└" + "─" * area.width, Ink.AXIS)
        for place in places:
            grid.text(place, below, "┬" if place < grid.width - 1 else "┐", Ink.AXIS)
        below += 1
    for tick, place in zip(ticks, places, strict=True):
        length = len(tick.label)
        start = min(max(place - length // 2, area.x), grid.width - length)
        if grid.is_free(start - 1, below, length + 1) or (
            start == area.x and grid.is_free(start, below, length)
        ):
            grid.text(start, below, tick.label, Ink.AXIS)


def draw_markers(grid: Grid, area: Area, frame: PlotScale, markers: Sequence[Marker]) -> None:
    """Draw a dotted line for each marker in sight and write its label beside it, newest first."""
    shown = sorted(
        (marker for marker in markers if 0 <= frame.column(marker.time) < frame.width),
        key=lambda marker: marker.time,
        reverse=True,
    )
    places = [area.cell_of(frame.column(marker.time)) for marker in shown]
    lines = set(places)
    with_labels = area.width >= _LABELS_FROM[0] and area.height >= _LABELS_FROM[1]
    for number, (marker, place) in enumerate(zip(shown, places, strict=True)):
        if with_labels and marker.label and (number == 0 or place != places[number - 1]):
            _write_beside(grid, area, place, marker.label, lines)
    for place in lines:
        _draw_marker(grid, area, place)


def _draw_marker(grid: Grid, area: Area, place: int) -> None:
    """Draw the line of a marker where nothing is drawn; a curve that fills its column, as one that falls to
    nothing by what is marked, is interrupted at the top, or the marker would not be seen."""
    rows = range(area.y, area.y + area.height)
    if not any(grid.is_free(place, row, 1) for row in rows):
        if not grid.is_free(place, area.y - 1, 1):
            grid.over(place, area.y, _MARKER, Ink.MARKER, spare=Ink.MARKER)
        grid.put(place, area.y - 1, _MARKER, Ink.MARKER)
    for row in rows:
        grid.put(place, row, _MARKER, Ink.MARKER)


def _write_beside(grid: Grid, area: Area, place: int, label: str, lines: set[int]) -> None:
    """Write a label beside its line: whole if there is room anywhere, else fewer words, else nothing.

    Where it ends at another of the ``lines`` that one is interrupted, or nobody could tell which of the two
    it belongs to.
    """
    # Above the plot the legend leaves room.
    rows = (*range(area.y, area.y + area.height), area.y - 1)
    for text in _shorter(label, area.width - 1):
        length = cell_len(text)
        for row in rows:
            for start, end in ((place + 1, place + 1 + length), (place - length, place - length - 1)):
                inside = area.x <= start and start + length <= area.x + area.width
                # With its line and a space at the other end, or two labels would read as one.
                first = min(start - 1, place)
                if inside and grid.is_free(first, row, min(length + 2, grid.width - first)):
                    grid.text(start, row, text, Ink.MARKER)
                    if end in lines:
                        grid.put(end, row, " ", Ink.MARKER)
                    if row < area.y:
                        grid.put(place, row, _MARKER, Ink.MARKER)
                    return


def _shorter(label: str, most: int) -> Iterator[str]:
    """The label, then ever shorter forms of at most `most` cells; a figure is kept whole or dropped."""
    words = label.split()
    if cell_len(label) <= most:
        yield label
    for count in range(len(words) - 1, 0, -1):
        # After a figure the ellipsis stands apart: "20…" could be a longer figure that was cut.
        text = " ".join(words[:count]) + (" " if _FIGURE.search(words[count - 1]) else "") + ELLIPSIS
        if cell_len(text) <= most:
            yield text
    if len(words) == 1 and not _FIGURE.search(label):
        yield shorten(label, most)


def draw_limit(grid: Grid, area: Area, frame: PlotScale, limit: Series) -> None:
    """Draw the dashed steps of a limit, and its label at the latest of them.

    A limit above the axis is named at the top with an arrow.
    """
    latest = latest_of(limit)
    if latest != latest:
        return
    above = _is_above(frame, latest)
    text = shorten(limit.label, max(area.width - (4 if above else 2), 0)) + (" ▲" if above else "")
    length, row = cell_len(text), area.row_of(frame.row(latest))
    places = (
        (start, beside)
        for beside in (row, row - 1, row + 1)
        if area.y <= beside < area.y + area.height
        for start in range(area.x + area.width - length - 1, area.x, -1)
    )
    # With a blank at both ends, or it would read as a part of a curve.
    free = next((place for place in places if grid.is_free(place[0] - 1, place[1], length + 2)), None)
    if free is not None:
        grid.text(*free, text, Ink.LIMIT)
    for place in range(area.x, area.x + area.width):
        value = value_at(limit, frame.time((place - area.x) * DOTS_X))
        if value == value and not _is_above(frame, value):
            grid.put(place, area.row_of(frame.row(value)), "╌", Ink.LIMIT)


def _is_above(frame: PlotScale, value: float) -> bool:
    """Tell whether a value lies above the plot."""
    return (frame.top - value) * frame.rows_per_unit < -0.5


def draw_cursor(grid: Grid, area: Area, frame: PlotScale, time: float) -> None:
    """Draw the line of a time that is being looked at; curves stay visible under it."""
    column = frame.column(time)
    if not 0 <= column < frame.width:
        return
    place = area.cell_of(column)
    for row in range(area.y, area.y + area.height):
        if grid.is_free(place, row, 1):
            grid.put(place, row, "│", Ink.CURSOR)
        else:
            grid.tint(place, row, Ink.CURSOR)


def latest_of(series: Series) -> float:
    """The last value that is known; nan if there is none."""
    return next((value for value in reversed(series.values) if value == value), nan)


def value_at(series: Series, time: float) -> float:
    """The last value at or before a time; nan if there is none, or if the series was interrupted there."""
    count = min(len(series.times), len(series.values))
    found = bisect_right(series.times, time, 0, count)
    return series.values[found - 1] if found else nan
