"""A bounded series of (time, value) points, with gaps."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque

GAP = math.nan


class TimeSeries:
    """Points in order of time (seconds); the oldest fall out beyond ``capacity``. NaN is a gap."""

    __slots__ = ("times", "values")

    def __init__(self, capacity: int) -> None:
        self.times: deque[float] = deque(maxlen=capacity)
        self.values: deque[float] = deque(maxlen=capacity)

    def append(self, time: float, value: float | None) -> None:
        """Add a point; None is a gap."""
        self.times.append(time)
        self.values.append(GAP if value is None else value)

    def window(self, start: float, end: float) -> tuple[list[float], list[float]]:
        """Return times and values from ``start`` to ``end``, with one more point before if there is one."""
        times = list(self.times)
        first = max(0, bisect_left(times, start) - 1)
        last = bisect_left(times, end)
        if last < len(times) and times[last] == end:
            last += 1
        return times[first:last], list(self.values)[first:last]

    def mean(self, start: float, end: float) -> float | None:
        """Return the mean of the points with ``start < time <= end``, or None when there is none."""
        inside = [
            v for t, v in zip(self.times, self.values, strict=True) if start < t <= end and not math.isnan(v)
        ]
        return sum(inside) / len(inside) if inside else None

    def clear(self) -> None:
        """Forget every point."""
        self.times.clear()
        self.values.clear()
