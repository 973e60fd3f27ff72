"""One run from a script: an experiment goes in, its result comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.results.intervals import LENGTH_S, Intervals
from sockscope.core.results.run_figures import NAMES
from sockscope.core.results.run_result import report
from sockscope.core.results.schema import known
from sockscope.core.run.snapshot import RunState
from sockscope.core.run.window import drained
from sockscope.engine.engine import Engine
from sockscope.engine.loops import run_on
from sockscope.errors import ConfigError, EngineError
from sockscope.lab.environment import environment


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run has shown; ``report`` is the object of ``--json`` (docs/json.md)."""

    report: Mapping[str, Any]

    def figure(self, name: str) -> float | None:
        """Return a figure by any name that ``--fail-if`` takes (``p99``, ``answers_rejected``), in its unit.

        None where it is not known. Raises KeyError when there is no such figure.
        """
        value: float | None = known(self.report, NAMES[name])
        return value


def run(experiment: Experiment, *, faults: str = "") -> RunResult:
    """Run an experiment to its end, on an event loop of its own, and return its result.

    ``faults`` are made on demand instead of its own, such as ``loss=2%, delay=20ms up`` (docs/faults.md).
    It needs an end: a duration or a number of requests. Raises ConfigError, ResourceLimitError or ListenError
    when it cannot start, and EngineError when it has failed.
    """
    if not (experiment.duration_s or experiment.requests):
        raise ConfigError.of("duration", experiment.duration_s, "is needed, or a number of requests")
    wanted = experiment.with_faults(faults) if faults else experiment
    return run_on(wanted.loop, _measured(wanted))


async def _measured(experiment: Experiment) -> RunResult:
    engine, intervals = Engine(experiment), Intervals()
    await engine.start()
    try:
        await _watch(engine, intervals)
        await engine.conclude()
        last = engine.snapshot()
    finally:
        await engine.stop()
    last = drained(last, engine.snapshot())
    intervals.finish(last)
    if engine.state is RunState.FAILED:
        raise EngineError(f"the run failed: {engine.error}")
    last = replace(last, state=engine.state, closing_s=engine.closing_s)
    return RunResult(report(last, environment(), intervals.windows))


async def _watch(engine: Engine, intervals: Intervals) -> None:
    """Absorb a snapshot every second until the run is over."""
    ending = asyncio.ensure_future(engine.wait())
    intervals.absorb(engine.snapshot())
    while not ending.done():
        await asyncio.wait({ending}, timeout=LENGTH_S)
        if not ending.done():
            await engine.settle()
        if not ending.done():
            intervals.absorb(engine.snapshot())
