"""The spread of a figure over the rounds of a race, how sure its median is, and ranks that admit ties.

**Interval of the median.** The order-statistic (sign test) interval: of n independent rounds in ascending
order, the k-th from below and the k-th from above enclose the true median with a probability of
1 - 2 P(B <= k - 1), B binomial with n trials of 1/2, whatever the distribution is (David and Nagaraja, *Order
Statistics*, section 7.1; Le Boudec, *Performance Evaluation of Computer and Communication Systems*, theorem
2.1). k is the largest for which that is at least 95 %. Below six rounds there is none: then the interval
runs from the least to the most, and :func:`confidence` tells the lower probability that it really has.

**Told apart.** Rounds of the same number lie next to each other in time, so two contestants of one race are
compared round by round: they are told apart where the interval of the median of their differences leaves out
0 (the sign test for pairs); a difference to a lower bound is known on one side alone. What both share in a
round, such as a busy machine, hides no difference then. Below six rounds, where no such interval has 95 %,
the rounds of the two must not overlap at all.

**Ranks.** In the order of their medians, the best leads the first group; those that follow it share its rank
as long as they are not told apart from the leader, and the first that is leads the next group. A rank is 1
plus the number of contestants in the groups before. Whoever is in a group may thus be as good as its leader;
leaders of two groups that follow each other are told apart.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sockscope.core.censoring import AtLeast, exceeds

CONFIDENCE = 0.95
"""The probability that an interval is to have."""
APART_ROUNDS = 4
"""Of fewer rounds each, two that are alike do not overlap more often than once in 20 (2 / C(2n, n))."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds: None is a round in which it is not known, which the rest leaves out.

    ``low`` and ``high`` bound the interval of the median. All are None when no round knows the figure.
    """

    rounds: tuple[float | None, ...]
    median: float | None
    min: float | None
    max: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, rounds: Iterable[float | None]) -> Spread:
        """Return the spread of the figures of the rounds, in their order."""
        taken = tuple(rounds)
        known = sorted(value for value in taken if value is not None)
        if not known:
            return cls(taken, None, None, None, None, None)
        cut = outer_rounds(len(known))
        # Of an even number of rounds the upper one of the two in the middle decides whether it is a bound.
        upto = (statistics.median_high(known), known[0], known[-1], known[cut], known[-1 - cut])
        found = (statistics.median(known), *upto[1:])
        return cls(taken, *(_bounded(value, most, known) for value, most in zip(found, upto, strict=True)))

    @property
    def at_least(self) -> bool:
        """Whether what it tells are lower bounds, because that of a round is."""
        return isinstance(self.max, AtLeast)

    def overlaps(self, other: Spread) -> bool:
        """Tell whether the intervals of the two medians have a value in common."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return not (exceeds(self.low, other.high) or exceeds(other.low, self.high))


def _bounded(value: float, most: float, rounds: Iterable[float]) -> float:
    """Return a value made of the rounds up to ``most``; a lower bound, where one of these is."""
    return AtLeast(value) if any(isinstance(one, AtLeast) and one <= most for one in rounds) else value


def confidence(rounds: int) -> float:
    """Return the probability that the interval made of so many rounds encloses the median."""
    return _enclosed(rounds, outer_rounds(rounds)) if rounds else 0.0


def outer_rounds(rounds: int) -> int:
    """Return how many rounds the interval leaves out at each end."""
    cut = 0
    while 2 * (cut + 1) < rounds and _enclosed(rounds, cut + 1) >= CONFIDENCE:
        cut += 1
    return cut


def _enclosed(rounds: int, cut: int) -> float:
    return 1 - 2 * sum(math.comb(rounds, below) for below in range(cut + 1)) / 2.0**rounds


def lead(one: Spread, other: Spread) -> int:
    """Return 1 where ``one`` is told apart from ``other`` as more, -1 as less, 0 where it is not."""
    pairs = zip(one.rounds, other.rounds, strict=False)
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if confidence(len(known)) < CONFIDENCE and one.overlaps(other):
        return 0
    # The least and the most that the differences may be.
    least = Spread.of(-math.inf if isinstance(b, AtLeast) else a - b for a, b in known).low
    most = Spread.of(math.inf if isinstance(a, AtLeast) else a - b for a, b in known).high
    if least is None or most is None:
        return 0
    return 1 if least > 0 else -1 if most < 0 else 0


def ranks(spreads: Mapping[str, Spread], *, higher_is_better: bool) -> dict[str, int | None]:
    """Return the rank of each name, 1 the best; None for those whose figure is not known."""
    sign = -1 if higher_is_better else 1
    known = {name: spread for name, spread in spreads.items() if spread.median is not None}

    def key(name: str) -> tuple[float, float, float]:
        spread = known[name]
        assert spread.median is not None
        assert spread.low is not None
        assert spread.high is not None
        return sign * spread.median, sign * spread.low, sign * spread.high

    found: dict[str, int | None] = dict.fromkeys(spreads)
    leader, rank = "", 0
    for place, name in enumerate(sorted(known, key=key), start=1):
        if not leader or lead(known[leader], known[name]) == -sign:
            leader, rank = name, place
        found[name] = rank
    return found


def ratios(figure: Spread, baseline: Spread) -> Spread:
    """Return ``figure`` relative to ``baseline``, round by round.

    Rounds of the same number lie next to each other in time, so that a machine that drifts does not show in
    their ratio. Relative to a lower bound it is known of no round, for those that remain would flatter; but
    relative to itself a figure is 1.
    """
    if figure is baseline:
        return Spread.of(1.0 if one else None for one in figure.rounds)
    pairs = [*zip(figure.rounds, baseline.rounds, strict=False)]
    if any(one is not None and isinstance(other, AtLeast) for one, other in pairs):
        return Spread.of(None for _ in pairs)
    return Spread.of(one / other if one is not None and other else None for one, other in pairs)
