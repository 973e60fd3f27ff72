"""A distribution of latencies as percentile text of HdrHistogram, which its plotters and wrk2's users read.

The rows are those of ``HdrHistogram.outputPercentileDistribution`` with five ticks per half distance: the
steps of the percentile halve with what is left to 100 %. Requests without an answer come behind all answers,
each with what it has taken at least (:mod:`sockscope.core.censoring`): no row says less than is known, and a
comment tells from which percentile on the values are lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import floor, log2, sqrt

from sockscope.core.censoring import Ages
from sockscope.core.histogram import RELATIVE_ERROR, Histogram, lower_edge_s

TICKS_PER_HALF = 5
"""Rows between a percentile and the one that halves the distance to 100 %."""
_MS = 1_000.0

Step = tuple[float, int]
"""A latency in seconds and how many requests took that long."""


def percentile_text(answered: Histogram, unanswered: Ages, title: str) -> str:
    """Return the text, values in milliseconds; ``title`` names the figure in a comment."""
    steps = [*answered.occupied(), *_bounds(answered, unanswered)]
    total = sum(count for _, count in steps)
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    lines += _rows(steps, total)
    mean_s, deviation_s = _moments(answered, unanswered, total)
    longest_s = steps[-1][0] if steps else 0.0
    lines += [
        f"#[Mean    = {mean_s * _MS:12.3f}, StdDeviation   = {deviation_s * _MS:12.3f}]",
        f"#[Max     = {longest_s * _MS:12.3f}, Total count    = {total:12}]",
        f"#[Buckets = {_powers(steps):12}, SubBuckets     = {round(1 / RELATIVE_ERROR):12}]",
        f"# {title}; values in milliseconds",
    ]
    if lost := unanswered.total:
        lines.append(
            f"# {lost} of {total} got no answer: from percentile {1 - lost / total:.6f} on, values (and the "
            "mean, the deviation and the maximum) are lower bounds"
        )
    return "\n".join(lines) + "\n"


def _bounds(answered: Histogram, unanswered: Ages) -> list[Step]:
    """Return what the requests without an answer have taken at least, behind the slowest answer."""
    slowest_s = answered.max_s or 0.0
    counts: dict[float, int] = {}
    for age_s, count in sorted(unanswered.counts.items()):
        bound_s = max(age_s, slowest_s)
        counts[bound_s] = counts.get(bound_s, 0) + count
    return list(counts.items())


def _rows(steps: Sequence[Step], total: int) -> Iterator[str]:
    """Yield a row per percentile that is reported; the last one is 100 %, which has no inverse."""
    level, passed = 0.0, 0
    for value_s, count in steps:
        passed += count
        # Steps finer than one request tell nothing new.
        while passed >= level * total - 1e-9 and (1 - level) * total >= 1 - 1e-9:
            yield f"{value_s * _MS:12.3f} {level:14.12f} {passed:10} {1 / (1 - level):14.2f}"
            level += _step(level)
    if steps:
        yield f"{steps[-1][0] * _MS:12.3f} {1:14.12f} {total:10} {'inf':>14}"


def _step(level: float) -> float:
    halves = floor(log2(1 / (1 - level))) + 1
    return 1.0 / (TICKS_PER_HALF * 2.0**halves)


def _moments(answered: Histogram, unanswered: Ages, total: int) -> tuple[float, float]:
    """Return mean and standard deviation in seconds, of the bucket middles."""
    if not total:
        return 0.0, 0.0
    middles = [
        ((lower_edge_s(bucket) + lower_edge_s(bucket + 1)) / 2, count)
        for bucket, count in answered.counts.items()
    ]
    weighted = [*middles, *_bounds(answered, unanswered)]
    mean_s = sum(value_s * count for value_s, count in weighted) / total
    return mean_s, sqrt(sum(count * (value_s - mean_s) ** 2 for value_s, count in weighted) / total)


def _powers(steps: Sequence[Step]) -> int:
    """Return how many powers of two the latencies reach over, each of which is cut into sub-buckets."""
    known = [value_s for value_s, _ in steps if value_s > 0]
    return floor(log2(known[-1])) - floor(log2(known[0])) + 1 if known else 0
