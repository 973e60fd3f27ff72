"""A log-linear histogram of durations: integer buckets that add up exactly.

Values are whole nanoseconds. Each power of two is cut into 64 equal buckets, so a bucket is at most
1/64 = 1.6 % wide, and two histograms (of two windows, or of two processes) merge by adding their counts.
The layout is that of HdrHistogram with 64 sub-buckets. Percentiles answer with the upper edge of their
bucket: never below the true value, at most 1.6 % above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SUB_BUCKETS = 64
_SHIFT_BIAS = 7
MAX_VALUE_NS = (1 << 43) - 1
"""Largest value that is told apart: 2.4 hours; anything longer counts as this."""
BUCKETS = SUB_BUCKETS * (43 - 7 + 2)


def bucket_of(value_ns: int) -> int:
    """Return the index of the bucket that holds ``value_ns`` (0 <= value_ns <= MAX_VALUE_NS)."""
    shift = (value_ns | SUB_BUCKETS).bit_length() - _SHIFT_BIAS
    return (shift << 6) + (value_ns >> shift)


def upper_edge_ns(bucket: int) -> int:
    """Return the largest value, in nanoseconds, that falls into ``bucket``."""
    if bucket < 2 * SUB_BUCKETS:
        return bucket
    shift = (bucket >> 6) - 1
    return (((bucket - (shift << 6)) + 1) << shift) - 1


def _middle_ns(bucket: int) -> float:
    if bucket < 2 * SUB_BUCKETS:
        return float(bucket)
    shift = (bucket >> 6) - 1
    return ((bucket - (shift << 6)) << shift) + ((1 << shift) - 1) / 2


class Histogram:
    """Counts per bucket. ``counts`` is public because the hot path adds to it in place."""

    __slots__ = ("counts",)

    def __init__(self, counts: Iterable[int] | None = None) -> None:
        self.counts: list[int] = [0] * BUCKETS if counts is None else list(counts)

    def add(self, value_ns: int) -> None:
        """Count one value in nanoseconds."""
        self.counts[bucket_of(min(max(value_ns, 0), MAX_VALUE_NS))] += 1

    def copy(self) -> Histogram:
        """Return an independent copy."""
        return Histogram(self.counts)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(map(int.__add__, self.counts, other.counts))

    def __sub__(self, other: Histogram) -> Histogram:
        """Return what was added since ``other``, an earlier copy of this one."""
        return Histogram(map(int.__sub__, self.counts, other.counts))

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def percentiles(self, ratios: Sequence[float]) -> list[float | None]:
        """Return, for each ratio (ascending, 0.99 = p99), the value in seconds; None when empty.

        The value is the smallest bucket edge that at least ``ratio`` of the values do not exceed.
        """
        occupied = [(bucket, count) for bucket, count in enumerate(self.counts) if count]
        total = sum(count for _, count in occupied)
        if not total:
            return [None] * len(ratios)
        found: list[float | None] = []
        walk = iter(occupied)
        passed = 0
        edge = 0
        for ratio in ratios:
            while passed < ratio * total - 1e-9 or not passed:
                bucket, count = next(walk)
                passed += count
                edge = upper_edge_ns(bucket)
            found.append(edge / 1e9)
        return found

    def percentile(self, ratio: float) -> float | None:
        """Return one percentile in seconds, or None when empty."""
        return self.percentiles((ratio,))[0]

    @property
    def max_s(self) -> float | None:
        """Upper edge of the highest occupied bucket in seconds, or None when empty."""
        return self.percentile(1.0)

    @property
    def mean_s(self) -> float | None:
        """Mean of the bucket middles in seconds (within 0.8 % of the true mean), or None when empty."""
        total = 0
        weighted = 0.0
        for bucket, count in enumerate(self.counts):
            if count:
                total += count
                weighted += count * _middle_ns(bucket)
        return weighted / total / 1e9 if total else None

    def occupied(self) -> list[tuple[float, int]]:
        """Return ``(upper edge in seconds, count)`` of each bucket that holds something, ascending."""
        return [(upper_edge_ns(bucket) / 1e9, count) for bucket, count in enumerate(self.counts) if count]
