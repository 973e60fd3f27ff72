"""One-line sparks: a row of block characters for places where a graph has no room."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, isfinite, isnan

_BLOCKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int) -> str:
    """Draw the values as `width` block characters, oldest first, the newest at the right edge.

    The lowest block is zero (or the lowest value, if one is negative) and only that: anything above it is
    drawn at least one step higher. Where several values share a cell the highest one shows, so that a spike
    is never lost. A cell of nan values is blank, and so is the left part when there are fewer values than
    cells.
    """
    if width <= 0:
        return ""
    peaks = _peaks(list(values), width)
    finite = [value for value in peaks if isfinite(value)]
    if not finite:
        # Nothing to scale by: infinities alone still show where they are.
        return "".join(" " if isnan(value) else _BLOCKS[-1] for value in peaks).rjust(width)
    low = min(0.0, *finite)
    high = max(finite)
    return "".join(_block(value, low, high) for value in peaks).rjust(width)


def _peaks(values: list[float], width: int) -> list[float]:
    count = len(values)
    if count <= width:
        return values
    edges = [cell * count // width for cell in range(width + 1)]
    buckets = (values[start:end] for start, end in pairwise(edges))
    return [max((value for value in bucket if not isnan(value)), default=float("nan")) for bucket in buckets]


def _block(value: float, low: float, high: float) -> str:
    if isnan(value):
        return " "
    if value <= low:
        return _BLOCKS[0]
    if value >= high:
        return _BLOCKS[-1]
    # Halving first keeps the difference of two huge values finite.
    share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return _BLOCKS[min(7, max(1, ceil(share * 7)))]
