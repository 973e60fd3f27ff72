"""What a lesson is: steps that are told, asked about, carried out on real sockets, and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.fields import Value
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.checks import Check
from sockscope.core.roles import SERVER
from sockscope.lab.lessons.excerpt import Excerpt

DEFAULT_PATIENCE_S = 20.0
"""How long a step waits for its conditions unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class Script:
    """A coroutine that reports named figures; ``path`` is its file, and it runs in a process of its own."""

    path: str
    name: str
    loop: str = "asyncio"

    @property
    def reference(self) -> str:
        """``file:coroutine``, for people."""
        return f"{self.path.rpartition('/')[2]}:{self.name}"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: first what is asked, then what is done, then what has to be seen.

    ``run_anew`` are fields of a run that begins for this step, by key; ``tune`` those that are turned in the
    run that goes on. The figures of the step begin when everything in ``settle`` holds, and end when
    everything in ``until`` does. ``script`` is carried out instead where the lesson has no experiment.
    """

    name: str
    say: str
    question: str = ""
    choices: tuple[str, ...] = ()
    right: int = 0
    """Number of the right choice, from 1."""
    then: str = ""
    """What is told when it has been seen."""
    run_anew: Mapping[str, Value] = field(default_factory=dict)
    tune: Mapping[str, Value] = field(default_factory=dict)
    stall: bool = False
    settle: tuple[Check, ...] = ()
    until: tuple[Check, ...] = ()
    checks: tuple[Check, ...] = ()
    patience_s: float = DEFAULT_PATIENCE_S
    possible: tuple[Check, ...] = ()
    """Conditions without which the effect cannot be shown on this machine, for the reason ``otherwise``."""
    otherwise: str = ""
    script: Script | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    code: tuple[Excerpt, ...] = ()


@dataclass(frozen=True, slots=True)
class Lesson:
    """A lesson. ``experiment`` is what its first step begins with, None where its steps are scripts."""

    name: str
    title: str
    watch: str
    seconds: float
    experiment: Experiment | None
    steps: tuple[Step, ...]
    path: str
    platforms: tuple[str, ...] = ()
    """Values of ``sys.platform`` that it can be shown on; empty: all."""

    def experiment_of(self, step: Step) -> Experiment:
        """Return the experiment of a run that begins with ``step``; raises ConfigError."""
        assert self.experiment is not None
        experiment = self.experiment.with_values({**step.run_anew, **step.tune})
        return experiment.settled().with_values(step.run_anew).validated()

    @property
    def waiting(self) -> Experiment:
        """A run in which nothing happens yet, for the time until the first question is answered."""
        experiment = self.experiment or Experiment()
        tuning = replace(Tuning(), transport=experiment.tuning.transport, family=experiment.tuning.family)
        return Experiment(tuning=tuning, role=SERVER, loop=experiment.loop)

    def values_at(self, step: Step) -> dict[str, Value]:
        """Return the fields that the steps of a run have set until ``step``, by key."""
        values: dict[str, Value] = {}
        for one in self.steps:
            values = {**({} if self.begins_anew(one) else values), **one.run_anew, **one.tune}
            if one is step:
                break
        return values

    def run_of(self, step: Step) -> Step:
        """Return the step whose run ``step`` acts on: itself where it begins anew."""
        before = self.steps[: self.steps.index(step) + 1]
        return next(one for one in reversed(before) if self.begins_anew(one))

    def run_until(self, step: Step) -> tuple[Step, ...]:
        """Return the steps of the run that ``step`` acts on, up to itself."""
        return self.steps[self.steps.index(self.run_of(step)) : self.steps.index(step) + 1]

    def with_steps(self, names: Collection[str]) -> Lesson:
        """Return a lesson with the steps of these names alone."""
        return replace(self, steps=tuple(step for step in self.steps if step.name in names))

    def begins_anew(self, step: Step) -> bool:
        """Tell whether a step needs a run of its own: the first one does, and one with other fixed fields."""
        return step is self.steps[0] or bool(step.run_anew)


LIVE = frozenset(key for key, entry in FIELDS.items() if entry.live)
"""Keys of the fields that a step may tune."""
