"""Going through the steps of a lesson: each is carried out, waited for, and judged by its figures."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Protocol

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.checks import Check, Judged
from sockscope.core.results.schema import SCHEMA_VERSION
from sockscope.core.run.snapshot import RunState, Snapshot
from sockscope.core.run.window import window
from sockscope.engine.engine import Engine
from sockscope.engine.loops import run_on
from sockscope.errors import EngineError, SockscopeError
from sockscope.lab.lessons.figures import Read, reader
from sockscope.lab.lessons.lesson import LIVE, Lesson, Step
from sockscope.lab.lessons.perform import perform

WATCH_S = 0.05
"""How often the conditions of a step are looked at."""


class Stage(Protocol):
    """What a step acts on: a run, as :class:`~sockscope.core.run.source.RunSource` describes it."""

    @property
    def experiment(self) -> Experiment:
        """What was fixed before the run began."""

    @property
    def tuning(self) -> Tuning:
        """The tuning in force."""

    @property
    def state(self) -> RunState:
        """Where in its life the run is."""

    @property
    def error(self) -> str:
        """Why the run has failed; empty otherwise."""

    async def apply(self, tuning: Tuning) -> None:
        """Change to ``tuning``; raises SockscopeError."""

    def stall(self) -> None:
        """Let the server stand still for a while; raises SockscopeError."""

    async def settle(self) -> None:
        """Bring what is known up to this moment."""

    def snapshot(self) -> Snapshot:
        """Return everything at this moment."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step has shown.

    ``waits`` are conditions that have not come true in time, ``error`` is why it could not be carried out.
    ``figures`` has those that its checks name, by their full names, ``printed`` what a script has printed.
    """

    step: str
    checks: tuple[Judged, ...] = ()
    waits: tuple[Judged, ...] = ()
    error: str = ""
    elapsed_s: float = 0.0
    figures: Mapping[str, float | None] = field(default_factory=dict)
    printed: str = ""
    cannot: str = ""
    """Why this machine cannot show it; empty where it could."""

    @property
    def is_shown(self) -> bool:
        """Whether the step has shown its effect."""
        whole = not (self.error or self.waits or self.cannot)
        return whole and all(check.holds for check in self.checks)

    @property
    def has_failed(self) -> bool:
        """Whether it should have shown its effect, and has not."""
        return not (self.is_shown or self.cannot)

    def faults(self) -> Iterator[str]:
        """Yield in words what was not shown."""
        if self.cannot:
            yield f"cannot be shown here: {self.cannot}"
            return
        if self.error:
            yield self.error
        yield from (f"did not come: {wait.text} ({wait.figures})" for wait in self.waits)
        if not self.waits:
            yield from (check.sentence for check in self.checks if not check.holds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a whole lesson has shown, step by step; those after a failure of the run are missing."""

    lesson: Lesson
    seen: tuple[Seen, ...]
    took_s: float

    @property
    def is_shown(self) -> bool:
        """Whether every step has shown its effect."""
        return len(self.seen) == len(self.lesson.steps) and all(one.is_shown for one in self.seen)

    @property
    def cannot(self) -> str:
        """Why this machine cannot show it; empty where it could."""
        return next((one.cannot for one in self.seen if one.cannot), "")

    @property
    def has_failed(self) -> bool:
        """Whether it should have shown its effect, and has not."""
        return not (self.is_shown or self.cannot) or any(one.has_failed for one in self.seen)

    def report(self) -> dict[str, Any]:
        """Return the JSON object of the lesson (docs/json.md)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "type": "lesson",
            "lesson": self.lesson.name,
            "title": self.lesson.title,
            "shown": self.is_shown,
            "cannot_be_shown": self.cannot or None,
            "took_s": self.took_s,
            "steps": [_step_report(one) for one in self.seen],
        }


class Walk:
    """One way through a lesson; remembers the figures of each step for those that come."""

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson
        self.missing: tuple[Judged, ...] = ()
        """The conditions that the step which goes on is still waiting for."""
        self._figures: dict[str, Read] = {}

    async def take(self, step: Step, source: Stage | None) -> Seen:
        """Carry out one step, and judge it.

        ``source`` is the run that it acts on, which has been started: with the experiment of this step where
        that begins anew (:meth:`Lesson.begins_anew`); None for a script.
        """
        began_s = perf_counter()
        waits: tuple[Judged, ...] = ()
        error = printed = cannot = ""
        try:
            if step.script is not None:
                done = await perform(step.script, step.arguments, step.patience_s)
                printed, cannot, self._figures[step.name] = done.printed, done.cannot, done.figures.get
            else:
                assert source is not None
                waits = await self._run(step, source)
        except SockscopeError as failure:
            error = str(failure)
        checks = () if error or cannot else self._judged(step.checks, step)
        if not error and not all(one.holds for one in self._judged(step.possible, step)):
            cannot = step.otherwise
        elapsed_s = perf_counter() - began_s
        return Seen(step.name, checks, waits, error, elapsed_s, self._told(step), printed, cannot)

    async def _run(self, step: Step, source: Stage) -> tuple[Judged, ...]:
        """Act on a run until the conditions hold; return those that did not come."""
        deadline_s = perf_counter() + step.patience_s
        if not self.lesson.begins_anew(step):
            tuned = replace(source.experiment, tuning=source.tuning)
            live = {key: value for key, value in self.lesson.values_at(step).items() if key in LIVE}
            await source.apply(tuned.with_values(live).tuning)
        before = None if self.lesson.begins_anew(step) else await _now(source)
        if missing := await self._until(step, step.settle, source, before, deadline_s):
            return missing
        if step.settle:
            before = await _now(source)
        if step.stall:
            source.stall()
        return await self._until(step, step.until, source, before, deadline_s)

    async def _until(
        self,
        step: Step,
        conditions: Sequence[Check],
        source: Stage,
        before: Snapshot | None,
        deadline_s: float,
    ) -> tuple[Judged, ...]:
        """Wait for conditions on the figures since ``before``; return those that did not come."""
        while True:
            now = await _now(source)
            self._figures[step.name] = reader(now if before is None else window(before, now))
            self.missing = missing = tuple(one for one in self._judged(conditions, step) if not one.holds)
            if not missing or perf_counter() > deadline_s:
                return missing
            if source.state is RunState.FAILED:
                raise EngineError(f"the run failed: {source.error}")
            await asyncio.sleep(WATCH_S)

    def _judged(self, checks: Sequence[Check], step: Step) -> tuple[Judged, ...]:
        return tuple(check.judged(self._readers(step)) for check in checks)

    def _readers(self, step: Step) -> dict[str, Read]:
        return {**self._figures, "": self._figures[step.name]}

    def _told(self, step: Step) -> dict[str, float | None]:
        read = self._figures.get(step.name)
        names = [name for check in step.checks for name in check.names if not name.step]
        return {} if read is None else {name.figure: read(name.figure) for name in names}


def go_through(lesson: Lesson, on_seen: Callable[[Step, Seen], None] = lambda *_: None) -> Outcome:
    """Go through a whole lesson on event loops of its own; ``on_seen`` hears of each step when it is done.

    Raises SockscopeError when a run cannot start.
    """
    began_s = perf_counter()
    walk, seen = Walk(lesson), list[Seen]()
    if lesson.platforms and sys.platform not in lesson.platforms:
        why = f"it needs {' or '.join(lesson.platforms)}, this is {sys.platform}"
        return Outcome(lesson, (Seen(lesson.steps[0].name, cannot=why),), 0.0)
    for steps in _runs(lesson):
        loop = "asyncio" if lesson.experiment is None else lesson.experiment_of(steps[0]).loop
        seen += run_on(loop, _one_run(walk, steps, on_seen))
        if seen[-1].error or seen[-1].cannot:
            break
    return Outcome(lesson, tuple(seen), perf_counter() - began_s)


def _runs(lesson: Lesson) -> list[list[Step]]:
    """Return the steps by the run that they share."""
    runs: list[list[Step]] = []
    for step in lesson.steps:
        if lesson.begins_anew(step):
            runs.append([])
        runs[-1].append(step)
    return runs


async def _one_run(walk: Walk, steps: Sequence[Step], on_seen: Callable[[Step, Seen], None]) -> list[Seen]:
    seen: list[Seen] = []
    async with contextlib.AsyncExitStack() as stack:
        source = None
        if walk.lesson.experiment is not None:
            source = await stack.enter_async_context(Engine(walk.lesson.experiment_of(steps[0])))
        for step in steps:
            seen.append(await walk.take(step, source))
            on_seen(step, seen[-1])
            if seen[-1].error or seen[-1].cannot:
                break
    return seen


async def _now(source: Stage) -> Snapshot:
    await source.settle()
    return source.snapshot()


def _step_report(seen: Seen) -> dict[str, Any]:
    return {
        "step": seen.step,
        "shown": seen.is_shown,
        "elapsed_s": seen.elapsed_s,
        "checks": [{"check": one.text, "holds": one.holds, "figures": one.figures} for one in seen.checks],
        "waits": [{"until": one.text, "figures": one.figures} for one in seen.waits],
        "figures": dict(seen.figures),
        "error": seen.error or None,
        "cannot_be_shown": seen.cannot or None,
    }
