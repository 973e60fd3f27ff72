"""How sure a figure of one run is, and whether two runs differ in it.

**Batch means.** Seconds that follow each other are alike: a neighbour on the machine stays for a while. So
the run is cut into a few long batches, which are nearly independent, and the standard error of a figure is
the standard deviation of its batches divided by the square root of their number (Law, *Simulation Modeling
and Analysis*, section 9.5.3). That of a maximum is the deviation itself: the extremes of long and of short
batches scatter alike.

**Told apart.** Two figures differ when they lie further apart than Welch's t test asks for at 99 %, plus
:data:`FLOOR_RATIO`, since what scatters only from run to run (where memory came to lie, what the kernel
chose) does not show within one. A comparison looks at dozens of figures, which is why it is not 95 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

BATCHES = 5
"""Batches of a run of less than :data:`_LONG_S`; longer ones have more of at least ten seconds."""
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
class StandardError:
    """The standard error of a figure, in its unit, and of how many batches it was made."""

    value: float
    batches: int


def batches(seconds: Sequence[T]) -> list[Sequence[T]]:
    """Return the seconds of a run in batches of nearly the same length, in order."""
    count = min(len(seconds), max(BATCHES, min(MOST, len(seconds) // _LONG)))
    edges = [round(n * len(seconds) / count) for n in range(count + 1)] if count else []
    return [seconds[begin:end] for begin, end in pairwise(edges)]


def standard_error(values: Sequence[float | None], *, of_maximum: bool = False) -> StandardError | None:
    """Return the standard error of a figure by its values in the batches; None where too few know it."""
    known = [value for value in values if value is not None]
    if len(known) < FEWEST:
        return None
    deviation = statistics.stdev(known)
    return StandardError(deviation if of_maximum else deviation / math.sqrt(len(known)), len(known))


def told_apart(a: float, a_error: StandardError, b: float, b_error: StandardError) -> bool:
    """Tell whether two figures differ by more than chance and the floor explain."""
    gap = abs(b - a) - FLOOR_RATIO * max(abs(a), abs(b))
    parts = [(error.value**2, error.batches - 1) for error in (a_error, b_error) if error.value]
    if not parts:
        return gap > 0
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / batches for part, batches in parts)
    return gap > t_99(freedom) * math.sqrt(variance)


def t_99(freedom: float) -> float:
    """Return the two-sided 99 % quantile of Student's t for one degree of freedom or more."""
    for (low, above), (high, below) in pairwise(_T_99):
        if freedom <= high:
            # Between two rows the quantile is nearly linear in the reciprocal of the degrees of freedom.
            share = (1 / low - 1 / freedom) / (1 / low - 1 / high)
            return above + share * (below - above)
    return _T_99[-1][1]
