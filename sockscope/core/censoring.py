"""What a request without an answer says about the latency: at least this much.

Leaving such requests out of percentiles flatters a server that answers few of them quickly. So they are kept
by their age (right-censored, Klein and Moeschberger, *Survival Analysis*, section 3.2): each counts as slower
than every answer, and as at least as old as it was when it was given up. A percentile that falls among them
is a lower bound, :class:`AtLeast`, and a change from one down has an upper bound, :class:`AtMost`.

What is awaited still may be answered the next moment, so it counts as its age and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Self

from sockscope.core.histogram import Histogram, bucket_of, lower_edge_s


class _Bound(float):
    """A number that bounds another one. A positive multiple of it bounds that of the other."""

    __slots__ = ()

    def __mul__(self, factor: float) -> Self:
        return type(self)(float(self) * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Self:
        return type(self)(float(self) / divisor)


class AtLeast(_Bound):
    """A number of which only a lower bound is known, which this is."""

    __slots__ = ()


class AtMost(_Bound):
    """A number of which only an upper bound is known, which this is."""

    __slots__ = ()


def exceeds(more: float, less: float) -> bool:
    """Tell whether one number is certainly greater than another: what is at least 5 may be anything above."""
    return more > less and not isinstance(less, AtLeast)


def change(before: float, after: float) -> float | None:
    """Return ``after - before`` as far as it is certain: a bound of it, where one of the two is AtLeast.

    None where it may be anything: from or to a lower bound that the other number does not exceed.
    """
    between = float(after) - float(before)
    if not (isinstance(before, AtLeast) or isinstance(after, AtLeast)):
        return between
    if exceeds(after, before):
        return AtLeast(between)
    return AtMost(between) if exceeds(before, after) else None


class Ages:
    """How many requests were given up at which age: in seconds, a lower bound each.

    ``awaited`` are the ages of those that may be answered yet. They belong to a moment, so that they are in
    none of the counts and sums here, and neither added nor subtracted.
    """

    __slots__ = ("awaited", "counts")

    def __init__(self, counts: Mapping[float, int] | None = None, awaited: Histogram | None = None) -> None:
        self.counts: Counter[float] = Counter(counts or {})
        self.awaited = awaited or Histogram()

    def add(self, age_s: float) -> None:
        """Count a request that was given up at this age; it is rounded down by less than 0.8 %."""
        self.counts[lower_edge_s(bucket_of(max(0.0, age_s)))] += 1

    def add_exactly(self, age_s: float, count: int = 1) -> None:
        """Count requests whose age is one of few, such as the timeout."""
        self.counts[age_s] += count

    def copy(self) -> Ages:
        """Return an independent copy."""
        return Ages(self.counts)

    def __add__(self, other: Ages) -> Ages:
        return Ages(self.counts + other.counts)

    def __sub__(self, other: Ages) -> Ages:
        """Return what was added since ``other``, an earlier copy of this one."""
        return Ages(self.counts - other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ages) and +self.counts == +other.counts

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def total(self) -> int:
        """How many requests were counted."""
        return self.counts.total()

    @property
    def sum_s(self) -> float:
        """Their ages together, in seconds."""
        return sum(age_s * count for age_s, count in self.counts.items())


def as_given_up(awaited: Histogram) -> Ages:
    """Return requests that were awaited as such that were given up then."""
    return Ages({lower_edge_s(bucket): count for bucket, count in awaited.counts.items()})


def percentiles(
    answered: Histogram, unanswered: Ages, ratios: Sequence[float]
) -> list[float | AtLeast | None]:
    """Return, for each ratio (ascending, 0.99 = p99), the value in seconds; None when there was no request.

    One that falls among the unanswered is :class:`AtLeast`; and so is one that what is awaited makes greater,
    unless it falls among the answers even if all of that takes longer.
    """
    ended = _of_ended(answered, unanswered, ratios)
    awaited = unanswered.awaited
    if not awaited.total or (ended[0] is not None and lower_edge_s(max(awaited.counts)) <= ended[0]):
        return ended
    together = answered + awaited + _as_answers(answered, unanswered)
    found: list[float | AtLeast | None] = []
    for ratio, of_ended, upper_s in zip(ratios, ended, together.percentiles(ratios), strict=True):
        bound = _lower_s(upper_s)
        if of_ended is not None and bound <= of_ended:
            found.append(of_ended)
        else:
            # However long they will take, among the answers it stays below one of these.
            is_among = ratio * together.total <= answered.total + 1e-9
            found.append(bound if is_among else AtLeast(bound))
    return found


def _of_ended(answered: Histogram, unanswered: Ages, ratios: Sequence[float]) -> list[float | AtLeast | None]:
    if not unanswered.counts:
        return [*answered.percentiles(ratios)]
    known = answered.total
    total = known + unanswered.total
    shares = [min(1.0, ratio * total / known) if known else 2.0 for ratio in ratios]
    inside = answered.percentiles(shares) if known else []
    found: list[float | AtLeast | None] = []
    for at, ratio in enumerate(ratios):
        beyond = ratio * total - known
        found.append(inside[at] if beyond <= 1e-9 else _bound(answered, unanswered, beyond))
    return found


def _bound(answered: Histogram, unanswered: Ages, rank: float) -> AtLeast:
    """Return what the request of this rank among the unanswered has taken at least."""
    ages_s = sorted(unanswered.counts)
    passed = accumulate(unanswered.counts[age_s] for age_s in ages_s)
    age_s = next(
        (age_s for age_s, count in zip(ages_s, passed, strict=True) if count >= rank - 1e-9), ages_s[-1]
    )
    return AtLeast(max(age_s, _longest_s(answered)))


def mean(answered: Histogram, unanswered: Ages) -> float | AtLeast | None:
    """Return the mean in seconds; :class:`AtLeast` as soon as a request was given up.

    So it is where something is awaited that is older than all answers.
    """
    ended_s, longest = _mean_of_ended(answered, unanswered), max(answered.counts, default=-1)
    awaited = Histogram(
        {bucket: count for bucket, count in unanswered.awaited.counts.items() if bucket > longest}
    )
    if not awaited.total:
        return ended_s
    ended = answered.total + unanswered.total
    sum_s = sum(lower_edge_s(bucket) * count for bucket, count in awaited.counts.items())
    mean_s = ((ended_s or 0.0) * ended + sum_s) / (ended + awaited.total)
    return AtLeast(mean_s) if ended_s is None or mean_s > ended_s else ended_s


def _mean_of_ended(answered: Histogram, unanswered: Ages) -> float | AtLeast | None:
    if not unanswered.counts:
        return answered.mean_s
    known, longest_s = answered.total, _longest_s(answered)
    sum_s = (answered.mean_s or 0.0) * known
    sum_s += sum(max(age_s, longest_s) * count for age_s, count in unanswered.counts.items())
    return AtLeast(sum_s / (known + unanswered.total))


def _as_answers(answered: Histogram, unanswered: Ages) -> Histogram:
    """Return what was given up as if it had been answered at its bound."""
    longest_s, found = _longest_s(answered), Histogram()
    for age_s, count in unanswered.counts.items():
        found.counts[bucket_of(max(age_s, longest_s))] += count
    return found


def _lower_s(upper_s: float | None) -> float:
    """Return the lower edge of the bucket whose upper edge this is: a bound must not be above the truth."""
    return lower_edge_s(bucket_of(upper_s) - 1) if upper_s else 0.0


def _longest_s(answered: Histogram) -> float:
    """Return the lower edge of the highest bucket: a bound must not be above the truth."""
    return lower_edge_s(max(answered.counts)) if answered.total else 0.0
