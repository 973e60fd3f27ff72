"""Whether two runs differ in a figure by more than chance explains.

**Batch means.** Seconds that follow each other are alike: a neighbour on the machine stays for a while. So
each run is cut into a few long batches, which are nearly independent (Law, *Simulation Modeling and
Analysis*, section 9.5.3), and what is compared are the means of the batches of either run.

**Told apart.** What other programs took is known: the share of the processor time that a run wanted for which
it waited. What is left of it multiplies: a run that gets half of the time it wants answers half as much, in
twice the time. So logarithms are compared. The analysis of covariance (Snedecor and Cochran, *Statistical
Methods*, chapter 18) takes out what goes with the share that was got within the runs, at one slope for both,
and compares what is left by Student's t at 99.9 %: a comparison looks at a dozen figures, and batches of a
few seconds are not quite independent. Between a quiet run and a busy one the slope's uncertainty decides.

On top comes what no batch shows: what scatters only from run to run, where memory came to lie and what the
kernel chose (:data:`FLOOR_RATIO`, :data:`PERCENTILE_FLOOR_RATIO`), and what others take from the caches of a
core while they wait for none (:data:`UNSEEN_RATIO`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TypeVar

T = TypeVar("T")

BATCHES = 8
"""Batches of a run of 16 to 80 s; shorter ones have fewer, longer ones more, as :func:`batches` tells."""
FEWEST = 3
"""Below so many batches nothing is told of their scatter."""
MOST = 20
_SHORTEST_S, _LONG_S = 2, 10
FLOOR_RATIO = 0.015
"""Two figures closer than this are the same: so far rates and means scatter from run to run on a quiet
machine, where of 90 pairs of identical runs one claimed a difference with it, and ten at 1 %."""
PERCENTILE_FLOOR_RATIO = 0.02
"""The same for percentiles, which are known to 0.8 % and scatter more: of 361 pairs 14 claimed a difference
with both, 26 at 1 %."""
UNSEEN_RATIO = 0.15
"""Added for two runs of which only one waited all the time, in proportion else: requests that cost 122 us of
processor time on a quiet machine cost 136 us where other programs wanted three quarters of it."""
_T_999 = ((1, 636.6), (2, 31.60), (3, 12.92), (4, 8.610), (5, 6.869), (6, 5.959), (8, 5.041), (10, 4.587),
          (15, 4.073), (20, 3.850), (30, 3.646), (60, 3.460), (math.inf, 3.291))  # fmt: skip
"""Degrees of freedom and the two-sided 99.9 % quantile of Student's t distribution."""
_LEAST_GOT = 1e-3


@dataclass(frozen=True, slots=True)
class Batches:
    """A figure in the batches of a run, in order.

    ``waiting`` is, for each of ``values``, the share of the wanted processor time for which the run waited;
    all 0 where it is not known.
    """

    values: tuple[float, ...]
    waiting: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of the batches."""
        return fmean(self.values)

    @property
    def shares_got(self) -> tuple[float, ...]:
        """The logarithm of the share of the wanted processor time that the run got, in each batch."""
        return tuple(math.log(max(_LEAST_GOT, 1 - share)) for share in self.waiting)


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two sets of batches lie apart: ``apart``, give or take ``reach``.

    On a logarithmic scale where ``is_ratio``, else as a share of the larger of the two means.
    """

    apart: float
    reach: float
    is_ratio: bool

    @property
    def covers_none(self) -> bool:
        """Whether chance explains it: no difference may be the truth."""
        return abs(self.apart) <= self.reach

    @property
    def interval(self) -> tuple[float, float] | None:
        """The least and the most of the relative change (0.1 is +10 %); None where it is no ratio."""
        if not self.is_ratio:
            return None
        return math.expm1(self.apart - self.reach), math.expm1(self.apart + self.reach)


@dataclass(frozen=True, slots=True)
class _Line:
    """Points of one run, about whose mean a straight line is laid."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def moments(self) -> tuple[float, float, float]:
        """Return the sums of squares and products about the means: of x, of both, of y."""
        off = [(x - fmean(self.x), y - fmean(self.y)) for x, y in zip(self.x, self.y, strict=True)]
        return sum(x * x for x, _ in off), sum(x * y for x, y in off), sum(y * y for _, y in off)


def batches(seconds: Sequence[T]) -> list[Sequence[T]]:
    """Return the seconds of a run in batches of nearly the same length, in order.

    They have two seconds at least, where that leaves :data:`FEWEST`, and ten where that leaves
    :data:`BATCHES`; there are :data:`MOST` at the most.
    """
    length = len(seconds)
    count = max(min(BATCHES, length // _SHORTEST_S), min(MOST, length // _LONG_S), min(FEWEST, length))
    edges = [round(n * length / count) for n in range(count + 1)] if count else []
    return [seconds[begin:end] for begin, end in pairwise(edges)]


def told_apart(a: Batches, b: Batches, *, counts: bool = False, floor_ratio: float = FLOOR_RATIO) -> bool:
    """Tell whether the batches of two runs, three or more of each, differ by more than chance explains.

    Of ``counts`` of events, such as failures, it is enough that one run had some in every batch and the other
    none at all, however much they scatter. ``floor_ratio`` is what the figure scatters from run to run.
    """
    if counts and _only_one_has(a.values, b.values):
        return True
    return not difference(a, b, floor_ratio).covers_none


def difference(a: Batches, b: Batches, floor_ratio: float = FLOOR_RATIO) -> Difference:
    """Return how far the batches of ``b`` lie from those of ``a``, three or more of each.

    ``floor_ratio`` is what the figure scatters from run to run.
    """
    values, others = _comparable(a, b)
    one, other = _Line(a.shares_got, values), _Line(b.shares_got, others)
    got, both, scatter = (here + there for here, there in zip(one.moments(), other.moments(), strict=True))
    shift = fmean(other.x) - fmean(one.x)
    slope = both / got if got else 0.0
    freedom = len(one.y) + len(other.y) - (3 if got else 2)
    left = max(0.0, scatter - slope * both) / freedom
    reach = 1 / len(one.y) + 1 / len(other.y) + (shift * shift / got if got else 0.0)
    unseen = floor_ratio + UNSEEN_RATIO * abs(fmean(b.waiting) - fmean(a.waiting))
    apart = fmean(other.y) - fmean(one.y) - slope * shift
    return Difference(apart, unseen + t_999(freedom) * math.sqrt(left * reach), _are_logarithms(a, b))


def _are_logarithms(a: Batches, b: Batches) -> bool:
    return min(*a.values, *b.values) > 0


def _only_one_has(these: Sequence[float], those: Sequence[float]) -> bool:
    """Tell whether one run had something to count all the time and the other never."""
    return (all(these) and not any(those)) or (all(those) and not any(these))


def _comparable(a: Batches, b: Batches) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the values of both on a scale where a difference is a ratio: in logarithms, if there are any."""
    if _are_logarithms(a, b):
        return tuple(map(math.log, a.values)), tuple(map(math.log, b.values))
    unit = max(abs(a.mean), abs(b.mean)) or 1.0
    return tuple(value / unit for value in a.values), tuple(value / unit for value in b.values)


def t_999(freedom: float) -> float:
    """Return the two-sided 99.9 % quantile of Student's t for one degree of freedom or more."""
    for (low, above), (high, below) in pairwise(_T_999):
        if freedom <= high:
            # Between two rows the quantile is nearly linear in the reciprocal of the degrees of freedom.
            share = (1 / low - 1 / freedom) / (1 / low - 1 / high)
            return above + share * (below - above)
    return _T_999[-1][1]
