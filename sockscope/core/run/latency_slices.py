"""The latencies of a run slice by slice, coarse enough to keep ten minutes of them: what a heat map shows."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass

from sockscope.core.censoring import Ages
from sockscope.core.histogram import Histogram, lower_edge_s
from sockscope.core.run.snapshot import Snapshot

_SHIFT = 5
"""Buckets of the histogram, as a power of two, that make a band: four bands per power of two."""


def band_edge_s(band: int) -> float:
    """Return the smallest duration of a band in seconds, which is where the one below it ends."""
    return lower_edge_s(band << _SHIFT)


@dataclass(frozen=True, slots=True)
class LatencySlice:
    """How many of the requests of an interval took how long.

    ``counts[n]`` requests were answered within the band ``bands[n]`` (see :func:`band_edge_s`), and
    ``unanswered`` were given up. Times are seconds on the clock of the run. It takes some 300 bytes.
    """

    begin_s: float
    end_s: float
    bands: array[int]
    counts: array[int]
    unanswered: int
    warming_up: bool

    @classmethod
    def of(cls, answered: Histogram, unanswered: Ages, between: Snapshot) -> LatencySlice:
        """Return the slice of a window with these latencies."""
        coarse: Counter[int] = Counter()
        for bucket, count in answered.counts.items():
            coarse[bucket >> _SHIFT] += count
        bands = sorted(band for band, count in coarse.items() if count > 0)
        return cls(
            between.time_s - between.measured_s,
            between.time_s,
            array("H", bands),
            array("Q", (coarse[band] for band in bands)),
            unanswered.total,
            between.warming_up,
        )
