"""Whether two runs differ in a figure by more than chance explains.

**Batch means.** Seconds that follow each other are alike: a neighbour on the machine stays for a while. So
each run is cut into a few long batches, which are nearly independent (Law, *Simulation Modeling and
Analysis*, section 9.5.3), and what is compared are the means of the batches of either run.

**Told apart.** What other programs took is known: the share of the processor time that a run wanted for which
it waited. The analysis of covariance (Snedecor and Cochran, *Statistical Methods*, chapter 18) takes out what
goes with it within the runs, at one slope for both, and compares what is left by Student's t at 99 %; between
a quiet run and a busy one the uncertainty of the slope decides. A comparison looks at dozens of figures,
which is why it is not 95 %. :data:`FLOOR_RATIO` comes on top, since what scatters only from run to run (where
memory came to lie, what the kernel chose) does not show within one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TypeVar

T = TypeVar("T")

BATCHES = 5
"""Batches of a run of less than 60 s; longer ones have more, of ten seconds at least."""
FEWEST = 3
"""Below so many batches nothing is told of their scatter."""
MOST = 20
_LONG = 10
FLOOR_RATIO = 0.01
"""Two figures closer than this are the same: percentiles are known to 0.8 %."""
_T_99 = ((1, 63.66), (2, 9.925), (3, 5.841), (4, 4.604), (5, 4.032), (6, 3.707), (8, 3.355), (10, 3.169),
         (15, 2.947), (20, 2.845), (30, 2.750), (60, 2.660), (math.inf, 2.576))  # fmt: skip
"""Degrees of freedom and the two-sided 99 % quantile of Student's t distribution."""


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

    def moments(self) -> tuple[float, float, float]:
        """Return the sums of squares and products about the means: of waiting, of both, of the values."""
        here, there = self.mean, fmean(self.waiting)
        off = [(z - there, y - here) for y, z in zip(self.values, self.waiting, strict=True)]
        return sum(z * z for z, _ in off), sum(z * y for z, y in off), sum(y * y for _, y in off)


def batches(seconds: Sequence[T]) -> list[Sequence[T]]:
    """Return the seconds of a run in batches of nearly the same length, in order."""
    count = min(len(seconds), max(BATCHES, min(MOST, len(seconds) // _LONG)))
    edges = [round(n * len(seconds) / count) for n in range(count + 1)] if count else []
    return [seconds[begin:end] for begin, end in pairwise(edges)]


def told_apart(a: Batches, b: Batches) -> bool:
    """Tell whether the batches of two runs, three or more of each, differ by more than chance explains."""
    busy, both, scatter = (one + other for one, other in zip(a.moments(), b.moments(), strict=True))
    shift = fmean(b.waiting) - fmean(a.waiting)
    slope = both / busy if busy else 0.0
    freedom = len(a.values) + len(b.values) - (3 if busy else 2)
    left = max(0.0, scatter - slope * both) / freedom
    reach = 1 / len(a.values) + 1 / len(b.values) + (shift * shift / busy if busy else 0.0)
    gap = abs(b.mean - a.mean - slope * shift) - FLOOR_RATIO * max(abs(a.mean), abs(b.mean))
    return gap > t_99(freedom) * math.sqrt(left * reach)


def t_99(freedom: float) -> float:
    """Return the two-sided 99 % quantile of Student's t for one degree of freedom or more."""
    for (low, above), (high, below) in pairwise(_T_99):
        if freedom <= high:
            # Between two rows the quantile is nearly linear in the reciprocal of the degrees of freedom.
            share = (1 / low - 1 / freedom) / (1 / low - 1 / high)
            return above + share * (below - above)
    return _T_99[-1][1]
