"""A race as a picture: horizontal bars with the extent of the rounds, in SVG 1.1, dark on light."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from sockscope.core.results.standing import Standing, StandingRow, rows
from sockscope.core.units import format_count, format_duration
from sockscope.faces.race_table import environment_line, headline, rank_text, workload_line

WIDTH = 960
"""Width of the chart in pixels; its height grows with the contestants."""
_ROW = 34
_BAR = 18
_LEFT, _RIGHT, _TOP, _BOTTOM = 220, 130, 92, 44
_FONT = "font-family='Helvetica, Arial, sans-serif'"
_INK, _FAINT, _BARS, _TIED = "#1c2330", "#5c6675", "#3566b8", "#7d9fd6"


def race_svg(standing: Standing, environment: Mapping[str, object]) -> str:
    """Return the chart of the deciding figure: the median as a bar, its least and most as a whisker."""
    contest, table = standing.contest, rows(standing)
    show: Callable[[float | None], str] = format_duration if contest.requests else format_count
    unit = "time until all are done" if contest.requests else "requests per second"
    height = _TOP + _ROW * len(table) + _BOTTOM
    ranks = [row.rank for row in table]
    longest = max((row.figures[contest.figure].max or 0.0 for row in table), default=0.0)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' "
        f"viewBox='0 0 {WIDTH} {height}' role='img'>",
        f"<title>{escape(headline(standing))}</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        _text(20, 30, headline(standing), size=17, weight="bold"),
        _text(20, 52, workload_line(contest), size=13, fill=_FAINT),
        _text(_LEFT, 80, f"{unit}: median, least and most of the rounds", size=12, fill=_FAINT),
        *(_bar(row, at, _label(row, ranks), contest.figure, longest, show) for at, row in enumerate(table)),
        _text(20, height - 16, environment_line(environment), size=12, fill=_FAINT),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _label(row: StandingRow, ranks: Sequence[int | None]) -> str:
    return f"{rank_text(row.rank, ranks)}  {row.name}" if row.rank is not None else row.name


def _bar(
    row: StandingRow, at: int, label: str, figure: str, longest: float, show: Callable[[float | None], str]
) -> str:
    spread, top = row.figures[figure], _TOP + at * _ROW
    base = top + _BAR - 4
    parts = [_text(_LEFT - 12, base, label, size=13, anchor="end")]
    if spread.median is None or spread.min is None or spread.max is None:
        return "\n".join([*parts, _text(_LEFT, base, row.fault or "no figure", size=12, fill=_FAINT)])
    scale = (WIDTH - _LEFT - _RIGHT) / longest if longest else 0.0
    least, most = _LEFT + spread.min * scale, _LEFT + spread.max * scale
    middle = top + _BAR / 2
    parts += [
        f"<rect x='{_LEFT}' y='{top}' width='{max(1.0, spread.median * scale):.1f}' height='{_BAR}' "
        f"fill='{_BARS if row.rank == 1 else _TIED}'/>",
        f"<path d='M{least:.1f} {middle}H{most:.1f}M{least:.1f} {middle - 5}v10M{most:.1f} {middle - 5}v10' "
        f"stroke='{_INK}' fill='none'/>",
        _text(most + 10, base, show(spread.median), size=13, weight="bold"),
    ]
    return "\n".join(parts)


def _text(x: float, y: float, text: str, *, size: int, fill: str = _INK, weight: str = "normal",
          anchor: str = "start") -> str:  # fmt: skip
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {_FONT} font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}' fill='{fill}' xml:space='preserve'>{escape(_printable(text))}</text>"
    )


def _printable(text: str) -> str:
    """Return ``text`` without characters that XML does not allow."""
    return "".join(c if c.isprintable() else "?" for c in text)
