"""A curve of a sweep as braille dots: throughput, and what its law says, over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sockscope.core.results.scaling import THROUGHPUT, Curve
from sockscope.core.units import format_count
from sockscope.faces.tui.widgets.braille import (
    DOTS_X,
    DOTS_Y,
    DOTTED,
    GLYPHS,
    SOLID,
    PlotScale,
    cells,
    trace,
)

WIDTH, HEIGHT = 64, 10
"""Cells of a plot, without its axes."""


def positions(values: Sequence[float]) -> list[float]:
    """Return where values stand on an axis from 0 to 1: logarithmic, or evenly spaced where one is 0."""
    if len(values) < 2:
        return [0.0 for _ in values]
    if values[0] <= 0:
        return [at / (len(values) - 1) for at in range(len(values))]
    span = math.log(values[-1] / values[0])
    return [math.log(value / values[0]) / span for value in values]


def plotted(curve: Curve, width: int = WIDTH, height: int = HEIGHT) -> Iterator[str]:
    """Yield the lines of a plot; none of fewer than three steps, nor where nothing was answered."""
    known = [(one.value, one.figures[THROUGHPUT].median) for one in curve.steps]
    points = [(float(value), float(rate)) for value, rate in known if rate is not None]
    if len(points) < 3 or not any(rate for _, rate in points):
        return
    drawn = [(points, SOLID)]
    if curve.fit is not None and points[0][0] > 0:
        drawn.append((_law_of(curve, points[0][0], points[-1][0], width * DOTS_X), DOTTED))
    top = 1.05 * max(rate for line, _ in drawn for _, rate in line)
    ends = (points[0][0], points[-1][0])
    frame = PlotScale(
        width * DOTS_X, height * DOTS_Y, 0, width * DOTS_X - 1, top, (height * DOTS_Y - 1) / top
    )
    dots: dict[tuple[int, int], int] = {}
    for line, pattern in drawn:
        xs = [positions([ends[0], x, ends[1]])[1] for x, _ in line] if ends[0] > 0 else positions(
            [x for x, _ in line]
        )  # fmt: skip
        for column, row, bits in cells(trace(frame, xs, [y for _, y in line], pattern)):
            dots[column, row] = dots.get((column, row), 0) | bits
    yield from _framed(curve, dots, top, (width, height))


def _law_of(curve: Curve, first: float, last: float, columns: int) -> list[tuple[float, float]]:
    assert curve.fit is not None
    steps = [first * (last / first) ** (at / (columns - 1)) for at in range(columns)]
    return [(n, curve.fit.law.per_s(n)) for n in steps]


def _framed(
    curve: Curve, dots: dict[tuple[int, int], int], top: float, size: tuple[int, int]
) -> Iterator[str]:
    width, height = size
    labels = {0: format_count(top), height // 2: format_count(top / 2), height - 1: "0"}
    margin = max(map(len, labels.values()))
    for row in range(height):
        label = labels.get(row, "")
        edge = "┤" if label else "│"
        line = "".join(GLYPHS[dots.get((column, row), 0)] for column in range(width))
        yield f"{label:>{margin}}{edge}{line}".rstrip()
    yield " " * margin + "└" + "─" * width
    first, last = (curve.axis.shown(curve.axis.values[at]) for at in (0, -1))
    name = f"{curve.axis.spec.label}, req/s" + (" (dotted: the law)" if curve.fit is not None else "")
    between = width - len(first) - len(last)
    yield " " * (margin + 1) + first + f"{name:^{max(0, between)}}" + last
