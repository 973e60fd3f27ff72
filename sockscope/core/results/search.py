"""The highest value of a field that keeps a condition: bracketed by growing steps, then bisected.

Each value is measured until most of its rounds agree: it keeps the condition, or it does not. A round does
not keep it either where the figure is not known, or only as a bound that could be beyond; where the
generator of an open loop dropped requests, was late by itself, or its rate was not reached, so that the
load was not what was asked for; and where the step could not be measured at all. Only values below the
lowest that did not keep it are tried. At the end the value that keeps it and the next that does not lie no
more than 5 % apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sockscope.core.config.fields import Kind
from sockscope.core.results.axis import Axis, Number
from sockscope.core.results.contest import FIGURES, Lap
from sockscope.core.results.lap_figures import LAP_FIGURES
from sockscope.core.results.lateness import is_late, is_mostly_late
from sockscope.core.results.schema import Better
from sockscope.core.results.thresholds import Threshold, format_figure
from sockscope.core.run.offered import least_answered
from sockscope.core.units import format_count, format_duration
from sockscope.errors import FieldFault

GROWTH = 4.0
"""The factor from a value that keeps the condition to the next, while none is known that does not."""
_KEEPS: Mapping[Better, tuple[str, ...]] = {
    Better.LOWER: ("<", "<="),
    Better.HIGHER: (">", ">="),
    Better.NEITHER: ("<", "<=", ">", ">="),
}
"""How a figure is bounded from the side that is worse."""
CLOSE_RATIO = 1.05
"""Two values that lie closer are as good as one."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search along ``axis``, whose first and last value are the range, with ``rounds`` per value."""

    axis: Axis
    condition: Threshold
    rounds: int
    flag: str = field(default="--find", compare=False)
    """What the condition was given by."""

    def field_faults(self) -> Iterator[FieldFault]:
        """Yield what is wrong with this search."""
        if self.axis.values[0] <= 0 or self.axis.values[0] >= self.axis.values[-1]:
            yield FieldFault(
                "--over", self.axis.key, "must be a range above 0 for a search, such as clients=1..1000"
            )
        if self.condition.figure not in FIGURES:
            yield FieldFault(self.flag, self.condition.text, "is no condition on a figure of a step")
        elif self.condition.comparison not in _KEEPS.get(LAP_FIGURES[self.condition.figure].better, ()):
            kept = " or ".join(_KEEPS.get(LAP_FIGURES[self.condition.figure].better, ()))
            why = f"bounds {self.condition.figure} from the wrong side: what is to be kept is {kept} a value"
            yield FieldFault(self.flag, self.condition.text, why)

    def why_not(self, at: Number, lap: Lap) -> str:
        """Return why a round at a value does not keep the condition, or nothing where it does."""
        value = getattr(lap, self.condition.figure)
        if lap.requests_dropped:
            return f"the generator dropped {format_count(lap.requests_dropped)} requests"
        if is_late(lap):
            return f"the generator was late itself: p99 {format_duration(lap.schedule_lateness_p99_s)}"
        if self.axis.key == "rate" and _falls_short(at, lap):
            return f"only {format_count(lap.requests_per_s)}/s of it were answered"
        if self.condition.certain(value):
            return ""
        return f"{self.condition.figure} is {format_figure(self.condition.figure, value)}"

    def next(self, votes: Mapping[Number, Sequence[bool]]) -> Number | None:
        """Return the value to measure next, or None when the search is over.

        ``votes`` are the rounds of each value so far: whether they kept the condition.
        """
        open_ones = [value for value, found in votes.items() if self.verdict(found) is None]
        if open_ones:
            return open_ones[0]
        kept, broken = self.bracket(votes)
        low, high = self.axis.values[0], self.axis.values[-1]
        if broken is None:
            return low if kept is None else None if kept >= high else self._whole(min(kept * GROWTH, high))
        if kept is None or broken <= kept * CLOSE_RATIO:
            return None
        between = self._whole(math.sqrt(kept * broken))
        return between if kept < between < broken else None

    def verdict(self, found: Sequence[bool]) -> bool | None:
        """Tell whether most rounds of a value keep the condition; None while that is open."""
        most = self.rounds // 2 + 1
        return True if sum(found) >= most else False if len(found) - sum(found) >= most else None

    def bracket(self, votes: Mapping[Number, Sequence[bool]]) -> tuple[Number | None, Number | None]:
        """Return the highest value that keeps the condition and the lowest that does not, or None."""
        verdicts = {value: self.verdict(found) for value, found in votes.items()}
        broken = min((value for value, kept in verdicts.items() if kept is False), default=None)
        kept = max((value for value, kept in verdicts.items() if kept), default=None)
        return kept, broken

    def values_to_come(self, votes: Mapping[Number, Sequence[bool]]) -> int:
        """Return how many more values the search tries at the most."""
        if self.next(votes) is None:
            return 0
        kept, broken = self.bracket(votes)
        low, high = float(kept or self.axis.values[0]), float(broken or self.axis.values[-1])
        growing = 0 if broken else 1 + math.ceil(math.log(max(1.0, high / low), GROWTH))
        width = math.log(high / low if broken else GROWTH) / math.log(CLOSE_RATIO)
        return growing + max(1, math.ceil(math.log2(max(1.0, width))))

    def _whole(self, value: float) -> Number:
        return float(f"{value:.4g}") if self.axis.spec.kind is Kind.DURATION else round(value)


def _falls_short(rate: float, lap: Lap) -> bool:
    """Tell whether fewer were answered than were due, by more than arrivals at random scatter."""
    due = rate * (lap.duration_s or 0.0)
    answered = (lap.requests_per_s or 0.0) * (lap.duration_s or 0.0)
    return answered < least_answered(due)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to, or has come to so far where it is not ``complete``.

    ``value`` is the highest that keeps the condition, ``broken`` the lowest that does not; ``why_not`` is
    what the rounds of that one had to say.
    """

    search: Search
    value: Number | None
    broken: Number | None
    why_not: str
    complete: bool
    generator_bound: bool = False
    """Whether it ended where the generator itself was late, in most of the rounds that did not keep it."""


def found(search: Search, laps: Mapping[Number, Sequence[Lap]], faults: Mapping[Number, str]) -> Found:
    """Return what a search found from the rounds of each value, and from why one could not be measured."""
    votes = votes_of(search, laps, faults)
    value, broken = search.bracket(votes)
    why_not, late = "", False
    if broken is not None:
        missed = [lap for lap in laps.get(broken, ()) if search.why_not(broken, lap)]
        late = broken not in faults and is_mostly_late(missed)
        usual = [lap for lap in missed if is_late(lap) is late]
        why_not = faults.get(broken) or search.why_not(broken, usual[-1])
    return Found(search, value, broken, why_not, search.next(votes) is None, late)


def votes_of(
    search: Search, laps: Mapping[Number, Sequence[Lap]], faults: Mapping[Number, str]
) -> dict[Number, list[bool]]:
    """Return whether each round of each value kept the condition; what cannot be measured did in none."""
    kept = {value: [not search.why_not(value, lap) for lap in of] for value, of in laps.items()}
    return {value: [False] * search.rounds if value in faults else of for value, of in kept.items()}
