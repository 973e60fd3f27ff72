"""A sweep as a picture: throughput and latency over the first axis, a line for each curve, in SVG 1.1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from textwrap import wrap

from sockscope.core.results.design import Design
from sockscope.core.results.scaling import LATENCY, THROUGHPUT, Curve, curves
from sockscope.core.results.standing import Standing
from sockscope.core.units import format_count, format_duration
from sockscope.faces.race_table import environment_line, workload_line
from sockscope.faces.sweep_plot import positions
from sockscope.faces.sweep_table import curve_title, headline

WIDTH, HEIGHT = 960, 640
_LEFT, _RIGHT, _TOP, _PLOT, _GAP = 90, 150, 98, 210, 46
_FONT = "font-family='Helvetica, Arial, sans-serif'"
_INK, _FAINT, _RULE = "#1c2330", "#5c6675", "#d7dce4"
_COLOURS = ("#3566b8", "#c2571a", "#2e8b57", "#8a4fb0", "#b03a5b", "#6b6b00", "#007a87", "#444444")
_DASHES = ("", "9 4", "3 3", "9 3 3 3")


def sweep_svg(design: Design, standing: Standing, environment: Mapping[str, object]) -> str:
    """Return the chart: medians with the least and most of the rounds, the law dotted, the knee upright."""
    found, heading = curves(design, standing), wrap(headline(design, standing), 100)[:2]
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' "
        f"viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>",
        f"<title>{escape(headline(design, standing))}</title>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
        *(_text(20, 24 + 19 * n, line, size=15, weight="bold") for n, line in enumerate(heading)),
        _text(20, 64, workload_line(standing.contest), size=13, fill=_FAINT),
        *_plot(design, found, THROUGHPUT, "requests per second", format_count, _TOP),
        *_plot(design, found, LATENCY, "response time p50", format_duration, _TOP + _PLOT + _GAP),
        *_legend(found),
        _text(20, HEIGHT - 14, environment_line(environment), size=12, fill=_FAINT),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _plot(
    design: Design,
    found: Sequence[Curve],
    figure: str,
    name: str,
    show: Callable[[float | None], str],
    top: float,
) -> Iterator[str]:
    axis = design.axes[0]
    measured = (one.figures[figure].max or 0.0 for curve in found for one in curve.steps)
    laws = (y for curve in found if figure == THROUGHPUT for _, y in _law_of(curve))
    most = max((*measured, *laws), default=0.0) * 1.05
    right, bottom = WIDTH - _RIGHT, top + _PLOT
    places = dict(
        zip(axis.values, (_LEFT + at * (right - _LEFT) for at in positions(axis.values)), strict=True)
    )
    yield _text(_LEFT, top - 8, f"{name} over {axis.spec.label}", size=12, fill=_FAINT)
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * _PLOT
        yield f"<path d='M{_LEFT} {y:.1f}H{right}' stroke='{_RULE}'/>"
        yield _text(_LEFT - 8, y + 4, show(share * most), size=12, fill=_FAINT, anchor="end")
    for value, x in _apart(places):
        yield _text(x, bottom + 16, axis.shown(value), size=12, fill=_FAINT, anchor="middle")
    if not most:
        return

    def height(value: float) -> float:
        return bottom - min(1.0, value / most) * _PLOT

    for number, curve in enumerate(found):
        yield from _line(curve, figure, places, height, number)
        if figure == THROUGHPUT:
            yield from _law(curve, places, height, number)
        if curve.knee is not None and curve.knee.value in places:
            x = places[curve.knee.value]
            yield f"<path d='M{x:.1f} {top}V{bottom}' stroke='{_colour(number)}' stroke-dasharray='2 5'/>"
            yield _text(x + 4, top + 12 * (number + 1), "knee", size=11, fill=_colour(number))


def _apart(places: Mapping[float, float]) -> Iterator[tuple[float, float]]:
    """Yield those values whose labels do not touch each other."""
    last = -100.0
    for value, x in places.items():
        if x - last >= 48:
            yield value, x
            last = x


def _line(
    curve: Curve, figure: str, places: Mapping[float, float], height: Callable[[float], float], number: int
) -> Iterator[str]:
    points = []
    for one in curve.steps:
        spread, x = one.figures[figure], places[one.value]
        if spread.median is None or spread.min is None or spread.max is None:
            continue
        middle, low, high = (f"{height(one):.1f}" for one in (spread.median, spread.min, spread.max))
        points.append(f"{x:.1f} {middle}")
        yield f"<path d='M{x:.1f} {low}V{high}' stroke='{_colour(number)}'/>"
        yield f"<circle cx='{x:.1f}' cy='{middle}' r='3' fill='{_colour(number)}'/>"
    if points:
        dash = _DASHES[number % len(_DASHES)]
        yield (
            f"<path d='M{'L'.join(points)}' stroke='{_colour(number)}' stroke-width='2' fill='none' "
            f"stroke-dasharray='{dash or 'none'}'/>"
        )


def _law(
    curve: Curve, places: Mapping[float, float], height: Callable[[float], float], number: int
) -> Iterator[str]:
    if points := _law_of(curve):
        begin, end = places[points[0][0]], places[points[-1][0]]
        xs = positions([n for n, _ in points])
        line = [
            f"{begin + x * (end - begin):.1f} {height(y):.1f}" for x, (_, y) in zip(xs, points, strict=True)
        ]
        yield f"<path d='M{'L'.join(line)}' stroke='{_INK}' fill='none' stroke-dasharray='1 3'/>"


def _law_of(curve: Curve) -> list[tuple[float, float]]:
    """Return points of the law between the first and the last step, evenly spaced on the axis."""
    values = [value for value in curve.axis.values if value > 0]
    if curve.fit is None or len(values) < 2:
        return []
    first, last = values[0], values[-1]
    ns = [first, *(first * (last / first) ** (at / 100) for at in range(1, 100)), last]
    return [(n, curve.fit.law.per_s(n)) for n in ns]


def _legend(found: Sequence[Curve]) -> Iterator[str]:
    x = WIDTH - _RIGHT + 16
    for number, curve in enumerate(found if len(found) > 1 else ()):
        yield _text(x, _TOP + 14 + 18 * number, curve_title(curve), size=12, fill=_colour(number))
    if any(curve.fit is not None for curve in found):
        yield _text(x, _TOP + _PLOT - 4, "dotted: the law", size=12, fill=_INK)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _text(x: float, y: float, text: str, *, size: int, fill: str = _INK, weight: str = "normal",
          anchor: str = "start") -> str:  # fmt: skip
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {_FONT} font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}' fill='{fill}' xml:space='preserve'>{escape(printable)}</text>"
    )
