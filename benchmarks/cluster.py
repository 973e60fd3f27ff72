"""What a cluster costs: `python -m benchmarks.cluster`.

- Two swarm workers against one server (`--place cluster --cluster local:3`) against the same three processes
  of this one (`apart`, two swarm processes): 100 connections, 64 B, no service time; both are up, and take
  turns by being paused. Target: 0.85.
- From turning a knob until every host has gone over to it. Target: below 300 ms.
- What a report costs while nothing else happens, on the cluster and apart: CPU time of this process (its
  pictures of the run included, one for three reports), of the child's parent, which is the worker, and of the
  child; and its bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import pickle
import statistics
from dataclasses import replace
from time import perf_counter, process_time

import psutil

from benchmarks.dashboard_tax import SATURATED
from benchmarks.interleave import environment_line, ratio_report
from benchmarks.ramp import table
from sockscope.core.config.experiment import Experiment
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory
from sockscope.engine.placement.channel import Report

CLUSTER = "local:3"
KNOBS = 20
SETTLING_S = 0.3
READ_EVERY_S = 0.1


async def rate(engine: Engine, seconds: float) -> float:
    """Return answers per second of an engine that is paused, and paused again afterwards."""
    engine.resume()
    await asyncio.sleep(SETTLING_S)
    await engine.settle()
    before = engine.snapshot()
    await asyncio.sleep(seconds)
    await engine.settle()
    after = engine.snapshot()
    engine.pause()
    await engine.settle()
    if engine.error or after.main.totals.failed:
        raise SystemExit(f"the run failed: {engine.error or after.main.totals}")
    answered = after.main.totals.responses - before.main.totals.responses
    return answered / (after.main.time_s - before.main.time_s)


async def knobs(engine: Engine) -> list[float]:
    """Return how long each of several turns took until every host had gone over to it, in seconds."""
    took = []
    for turn in range(KNOBS):
        began_s = perf_counter()
        await engine.apply(replace(engine.tuning, permits=50 + turn % 2))
        took.append(perf_counter() - began_s)
        await asyncio.sleep(READ_EVERY_S)
    return took


async def reports(engine: Engine, seconds: float) -> dict[str, float]:
    """Return what a report costs in a run that is paused, read ten times a second."""
    hosts = [use.pid for use in engine.snapshot().processes[1:]]
    child = psutil.Process(hosts[-1])
    worker = child.parent()
    assert worker is not None
    before = _cpu_s(worker), _cpu_s(child)
    here_s, reads, began_s = process_time(), 0, perf_counter()
    while perf_counter() - began_s < seconds:
        engine.snapshot()
        reads += 1
        await asyncio.sleep(READ_EVERY_S)
    here_s = process_time() - here_s
    use = engine.snapshot().processes[-1]
    swarm = engine.snapshot().main
    return {
        "this process, us": here_s / (reads * len(hosts)) * 1e6,
        "its parent, us": (_cpu_s(worker) - before[0]) / reads * 1e6,
        "child, us": (_cpu_s(child) - before[1]) / reads * 1e6,
        "bytes": len(pickle.dumps(Report({"swarm": swarm}, use.resources), pickle.HIGHEST_PROTOCOL)),
    }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure(seconds: float, rounds: int) -> None:
    """Run everything, and print it."""
    apart = Engine(Experiment(replace(SATURATED, place="apart", swarm_processes=2)))
    clustered = Engine(Experiment(replace(SATURATED, place="cluster"), cluster=CLUSTER))
    async with apart, clustered:
        for engine in (apart, clustered):
            engine.pause()
        found: dict[str, list[float]] = {"apart": [], "cluster": []}
        for number in range(rounds):
            order = [("apart", apart), ("cluster", clustered)]
            for name, engine in order if number % 2 else reversed(order):
                found[name].append(await rate(engine, seconds))
        ratio_report(found, "apart")
        clustered.resume()
        took = sorted(await knobs(clustered))
        print(f"\na knob on every host, ms: median {statistics.median(took) * 1e3:.0f}, "
              f"worst of {len(took)} {took[-1] * 1e3:.0f}; target 300\n")  # fmt: skip
        clustered.pause()
        rows: list[tuple[str, ...]] = []
        for name, engine, other in (("apart", apart, clustered), ("cluster", clustered, apart)):
            other.rest(True)
            engine.rest(False)
            costs = await reports(engine, max(5.0, seconds))
            rows += [] if rows else [("a report, paused", *costs)]
            rows.append((name, *(f"{cost:,.0f}" for cost in costs.values())))
        print(table(rows))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="timed part of a slice")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(environment_line())
    print(f"{SATURATED.clients} connections, {SATURATED.request_bytes} B, {options.rounds} rounds of "
          f"{options.seconds:g} s\n", flush=True)  # fmt: skip
    with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
        runner.run(measure(options.seconds, options.rounds))


if __name__ == "__main__":
    main()
