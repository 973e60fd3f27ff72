"""A search for the highest value that keeps a condition: a sweep whose next step follows from the last."""

from __future__ import annotations

from collections.abc import Iterator

from sockscope.core.results.axis import Number
from sockscope.core.results.design import Design
from sockscope.core.results.search import Search, votes_of
from sockscope.lab.sweep import Sweep


class Find(Sweep):
    """Measures values of a design that has a search, which decides on them, and tells how it stands.

    ``design`` grows with the values that are tried.
    """

    def __init__(self, design: Design) -> None:
        assert design.find is not None
        super().__init__(design)
        self._search: Search = design.find

    def _turns(self) -> Iterator[tuple[int, str]]:
        while (value := self._search.next(self._votes())) is not None:
            if value not in self.design.axes[0].values:
                self.design = self.design.trying([*self.design.axes[0].values, value])
                self._take(self.design.contest)
            name = next(step.name for step in self.design.steps if step.values[0][1] == value)
            yield len(self._laps[name]) + 1, name

    def _votes(self) -> dict[Number, list[bool]]:
        names = {step.values[0][1]: step.name for step in self.design.steps}
        laps = {value: self._laps[name] for value, name in names.items()}
        faults = {value: self._faults[name] for value, name in names.items() if name in self._faults}
        return votes_of(self._search, laps, faults)

    def _to_come(self) -> int:
        """Return how many slices there are to come, if each value is decided by as few as may be."""
        return self._search.values_to_come(self._votes()) * (self._search.rounds // 2 + 1)

    def _time_left_s(self, in_slice_s: float) -> float | None:
        took = [each for slices in self._took_s.values() for each in slices]
        each_s = sum(took) / len(took) if took else self.contest.warmup_s + self.contest.slice_s
        return max(0.0, self._to_come() * each_s - in_slice_s)
