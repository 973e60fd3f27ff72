"""What is swept: the values of one or two fields, each combination of which is a step that is measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from sockscope.core.config.applicability import idle_fields
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.axis import MAX_STEPS, Axis, Number
from sockscope.core.results.contest import (
    DEFAULT_ROUNDS,
    DEFAULT_SLICE_S,
    MAX_ROUNDS,
    SHORTEST_SLICE_S,
    Contest,
    Contestant,
)
from sockscope.core.results.search import Search
from sockscope.core.results.thresholds import Threshold
from sockscope.errors import ConfigError, FieldFault

MAX_AXES = 2
FIND_ROUNDS = 3
"""Rounds of a value of a search, of which most decide."""


@dataclass(frozen=True, slots=True)
class Step:
    """One combination of values, by the keys of the axes."""

    values: tuple[tuple[str, Number], ...]

    @property
    def name(self) -> str:
        """What the step is called: ``clients=8 permits=4``."""
        return " ".join(
            f"{key}={FIELDS[key].spec.format(value).replace(' ', '')}" for key, value in self.values
        )

    def tuned(self, tuning: Tuning) -> Tuning:
        """Return the tuning of this step, which in all else is ``tuning``."""
        values: dict[str, Any] = {FIELDS[key].attribute: value for key, value in self.values}
        return replace(tuning, **values)


@dataclass(frozen=True, slots=True)
class Design:
    """A sweep: what is run, over which axes, and for how long.

    The first axis is what a curve is drawn over; each value of the second has a curve of its own. Each step
    is measured in ``rounds`` slices of ``slice_s``, each after a warm-up of ``warmup_s`` that is left out.

    With ``find`` the axis, one alone, has the values that were tried so far, and a value is measured until
    most of the rounds agree.
    """

    experiment: Experiment
    axes: tuple[Axis, ...]
    rounds: int
    slice_s: float
    warmup_s: float
    find: Search | None = None

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        axes: Sequence[Axis],
        condition: Threshold | None = None,
        *,
        rounds: int | None = None,
        slice_s: float | None = None,
        flag: str = "--find",
    ) -> Design:
        """Return the design of a sweep, or with a ``condition`` of a search, that lasts as long as usual.

        ``flag`` is what gave the condition. Raises ConfigError with every fault.
        """
        # Every step waits until its clients are ready.
        warmup_s = max(0.0, experiment.warmup_s)
        length_s = DEFAULT_SLICE_S if slice_s is None else slice_s
        if condition is None:
            return cls(
                experiment, tuple(axes), DEFAULT_ROUNDS if rounds is None else rounds, length_s, warmup_s
            ).validated()
        if len(axes) != 1:
            raise ConfigError.of(flag, condition.text, "searches along one field")
        search = Search(axes[0], condition, FIND_ROUNDS if rounds is None else rounds, flag)
        return cls.finding(experiment, search, slice_s=length_s, warmup_s=warmup_s).validated()

    @classmethod
    def finding(cls, experiment: Experiment, find: Search, *, slice_s: float, warmup_s: float) -> Design:
        """Return the design of a search that has tried nothing but where it begins."""
        begin = Axis(find.axis.key, find.axis.values[:1])
        return cls(experiment, (begin,), find.rounds, slice_s, warmup_s, find)

    def trying(self, values: Iterable[Number]) -> Design:
        """Return the same search with these values tried."""
        return replace(self, axes=(Axis(self.axes[0].key, tuple(sorted(values))),))

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every combination, the curves one after the other."""
        curves = itertools.product(*([(axis.key, value) for value in axis.values] for axis in self.axes[1:]))
        first = self.axes[0]
        return tuple(Step(((first.key, value), *others)) for others in curves for value in first.values)

    @property
    def contest(self) -> Contest:
        """The steps as contestants that take turns."""
        experiment = self.experiment
        return Contest(
            tuple(
                Contestant(step.name, replace(experiment, tuning=step.tuned(experiment.tuning)))
                for step in self.steps
            ),
            rounds=self.rounds,
            slice_s=self.slice_s,
            warmup_s=self.warmup_s,
        )

    def field_faults(self) -> Iterator[FieldFault]:
        """Yield everything that is wrong with this sweep."""
        keys = [axis.key for axis in self.axes]
        if not 1 <= len(keys) <= MAX_AXES:
            yield FieldFault(
                "--over", ", ".join(keys), f"names {len(keys)} fields; a sweep has 1 or {MAX_AXES}"
            )
            return
        if len(set(keys)) < len(keys):
            yield FieldFault("--over", keys[0], "is swept twice")
            return
        if not 1 <= self.rounds <= MAX_ROUNDS:
            yield FieldFault("--rounds", self.rounds, f"must be 1 to {MAX_ROUNDS:,}")
        if self.slice_s < SHORTEST_SLICE_S:
            yield FieldFault("--slice", self.slice_s, f"must be at least {SHORTEST_SLICE_S:g} s")
        if self.experiment.requests:
            yield FieldFault("-n", self.experiment.requests, "has no effect: a sweep measures rates")
        if self.experiment.stall_at_s:
            yield FieldFault(
                "--stall-at", self.experiment.stall_at_s, "is a moment of a run: a sweep has many"
            )
        if self.find is not None:
            yield from self.find.field_faults()
        if (steps := math.prod(len(axis.values) for axis in self.axes)) > MAX_STEPS:
            yield FieldFault("--over", steps, f"are more steps than {MAX_STEPS}")
            return
        yield from self._faults_of_steps()

    def _faults_of_steps(self) -> Iterator[FieldFault]:
        seen: set[object] = set()
        for step in self.steps:
            tuning = step.tuned(self.experiment.tuning)
            idle = idle_fields(self.experiment, tuning)
            found = [FieldFault("--over", key, idle[key]) for key, _ in step.values if key in idle]
            faults = found or [
                replace(fault, field=f"{step.name}: {fault.field}")
                for fault in replace(self.experiment, tuning=tuning).field_faults()
            ]
            yield from (fault for fault in faults if fault.why not in seen)
            seen |= {fault.why for fault in faults}

    def validated(self) -> Self:
        """Return self, or raise :class:`ConfigError` with every fault."""
        if faults := list(self.field_faults()):
            raise ConfigError(faults)
        return self


def curves_of(design: Design) -> Sequence[tuple[tuple[tuple[str, Number], ...], tuple[Step, ...]]]:
    """Return the curves: the values that one has besides those of the first axis, and its steps in order."""
    grouped = itertools.groupby(design.steps, key=lambda step: step.values[1:])
    return [(others, tuple(steps)) for others, steps in grouped]
