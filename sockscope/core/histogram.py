"""A log-linear histogram of durations: integer counts in buckets that add up exactly.

The bucket of a duration is the upper half of its IEEE 754 single-precision number: sign, exponent and the
first seven bits of the fraction. Each power of two is thereby cut into 128 equal buckets, so a bucket is at
most 1/128 = 0.8 % wide, whatever the magnitude; and a batch of durations is sorted into buckets by
reinterpreting packed numbers, without a line of Python per value. Two histograms (of two windows, or of two
processes) merge by adding their counts. Percentiles answer with the upper edge of their bucket: never
below the true value, at most 0.8 % above it.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from operator import mul

RELATIVE_ERROR = 1 / 128
_UPPER_HALF = 1 if sys.byteorder == "little" else 0


def bucket_of(seconds: float) -> int:
    """Return the bucket that holds a duration (0 or more)."""
    return int.from_bytes(struct.pack(">f", seconds)[:2], "big")


@cache  # of 65,536 at the most, and the times of a run lie in a few hundred of them
def lower_edge_s(bucket: int) -> float:
    """Return the smallest duration in ``bucket``, in seconds."""
    edge: float = struct.unpack(">f", bucket.to_bytes(2, "big") + b"\0\0")[0]
    return edge


def upper_edge_s(bucket: int) -> float:
    """Return the end of ``bucket`` in seconds, the smallest duration of the next one."""
    return lower_edge_s(bucket + 1) if bucket else 0.0


@cache
def _middle_s(bucket: int) -> float:
    return (lower_edge_s(bucket) + upper_edge_s(bucket)) / 2


class Histogram:
    """How many durations fell into each bucket."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts or {})

    def add(self, seconds: float) -> None:
        """Count one duration in seconds; a negative one counts as 0."""
        self.counts[bucket_of(max(0.0, seconds))] += 1

    def add_all(self, durations: Iterable[float]) -> None:
        """Count many durations in seconds (each 0 or more) at once."""
        seconds = tuple(durations)
        # A float is packed at half the cost at which an array takes one in.
        halves = array("H", struct.Struct(f"{len(seconds)}f").pack(*seconds))
        self.counts.update(halves[_UPPER_HALF::2])

    def copy(self) -> Histogram:
        """Return an independent copy."""
        return Histogram(self.counts)

    def __add__(self, other: Histogram) -> Histogram:
        few, many = sorted((self.counts, other.counts), key=len)
        there = many.get
        return Histogram({**many, **{bucket: count + there(bucket, 0) for bucket, count in few.items()}})

    @classmethod
    def together(cls, parts: Sequence[Histogram]) -> Histogram:
        """Return the sum of several, at least one."""
        many, *rest = sorted((part.counts for part in parts), key=len, reverse=True)
        whole = dict(many)
        there = whole.get
        for counts in rest:
            for bucket, count in counts.items():
                whole[bucket] = there(bucket, 0) + count
        return cls(whole)

    def __sub__(self, other: Histogram) -> Histogram:
        """Return what was added since ``other``, an earlier copy of this one."""
        before = other.counts.get
        return Histogram(
            {bucket: new for bucket, count in self.counts.items() if (new := count - before(bucket, 0)) > 0}
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and +self.counts == +other.counts

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return self.counts.total()

    def percentiles(self, ratios: Sequence[float]) -> list[float | None]:
        """Return, for each ratio (ascending, 0.99 = p99), the value in seconds; None when empty.

        The value is the smallest bucket edge that at least ``ratio`` of the durations do not exceed.
        """
        total = self.total
        if not total:
            return [None] * len(ratios)
        buckets = sorted(self.counts)
        passed = [*accumulate(map(self.counts.__getitem__, buckets))]
        ranks = (max(ratio * total - 1e-9, 1) for ratio in ratios)
        return [upper_edge_s(buckets[bisect_left(passed, rank)]) for rank in ranks]

    def percentile(self, ratio: float) -> float | None:
        """Return one percentile in seconds, or None when empty."""
        return self.percentiles((ratio,))[0]

    @property
    def max_s(self) -> float | None:
        """Upper edge of the highest occupied bucket in seconds, or None when empty."""
        return upper_edge_s(max(self.counts)) if self.total else None

    @property
    def mean_s(self) -> float | None:
        """Mean of the bucket middles in seconds (within 0.4 % of the true mean), or None when empty."""
        total = self.total
        if not total:
            return None
        sum_s: float = sum(map(mul, map(_middle_s, self.counts), self.counts.values()))
        return sum_s / total

    def occupied(self) -> list[tuple[float, int]]:
        """Return ``(upper edge in seconds, count)`` of each bucket that holds something, ascending."""
        return [(upper_edge_s(bucket), count) for bucket, count in sorted(self.counts.items())]
