"""What a cluster costs: `python -m benchmarks.cluster`.

- Two swarm workers against one server (`--place cluster --cluster local:3`) against the same three processes
  of this one (`apart`, two swarm processes): 100 connections, 64 B, no service time; both are up, and take
  turns by being paused. Target: 0.85.
- From turning a knob until every host has gone over to it. Target: below 300 ms.
- What a report costs while nothing else happens, on the cluster and apart: CPU time of this process (its
  pictures of the run included, one for three reports), of the child's parent, which is the worker, and of the
  child; and its bytes.
- The same on clusters of more and more workers with few clients each: what this process takes for reports,
  and for pictures, and how many hosts its one core is enough for.
"""

from __future__ import annotations

import argparse
import asyncio
import pickle
import statistics
from dataclasses import replace
from time import perf_counter, process_time
from unittest.mock import patch

import psutil

from benchmarks.dashboard_tax import SATURATED
from benchmarks.interleave import environment_line, ratio_report
from benchmarks.ramp import table
from sockscope.core.config.experiment import Experiment
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory
from sockscope.engine.placement.channel import Report
from sockscope.engine.placement.hosts.carrier import IDLE_REPORTS_S
from sockscope.engine.placement.hosts.child import ChildHost

CLUSTER = "local:3"
KNOBS = 20
SETTLING_S = 0.3
READ_EVERY_S = 0.1
PICTURE_EVERY_S = 0.2
WORKERS = (3, 4, 6, 8)
CLIENTS_EACH = 10


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


async def hosts(workers: int, seconds: float) -> tuple[float, float, float]:
    """Return what ``workers`` cost this process: CPU of a report and of a picture, in seconds; reports/s."""
    few = replace(SATURATED, place="cluster", clients=CLIENTS_EACH * (workers - 1))
    async with Engine(Experiment(few, cluster=f"local:{workers}")) as engine:
        await asyncio.sleep(SETTLING_S)
        engine.pause()
        await engine.settle()
        pictures_s, pictures = 0.0, 0
        with patch.object(ChildHost, "_take", autospec=True, side_effect=ChildHost._take) as take:
            here_s, began_s = process_time(), perf_counter()
            while perf_counter() - began_s < seconds:
                picture_s = process_time()
                engine.snapshot()
                pictures_s += process_time() - picture_s
                pictures += 1
                await asyncio.sleep(PICTURE_EVERY_S)
            here_s, took_s, reports = process_time() - here_s, perf_counter() - began_s, take.call_count
    return (here_s - pictures_s) / reports, pictures_s / pictures, reports / took_s


async def more_hosts(seconds: float) -> None:
    """Print what a cluster of more and more workers costs this process, and how many it is enough for."""
    rows: list[tuple[str, ...]] = [
        ("workers", "reports/s", "a report, us", "a picture, us", "of a core", "enough for")
    ]
    for workers in WORKERS:
        report_s, picture_s, reports_per_s = await hosts(workers, seconds)
        # What a picture takes for any number of hosts is taken for each, too: there is room for more rather.
        each = report_s / IDLE_REPORTS_S + picture_s / workers / PICTURE_EVERY_S
        now = reports_per_s * report_s + picture_s / PICTURE_EVERY_S
        costs = (f"{cost * 1e6:,.0f}" for cost in (report_s, picture_s))
        rows.append((str(workers), f"{reports_per_s:.0f}", *costs, f"{now:.2f}", f"{1 / each:,.0f}"))
    print(table(rows))


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
    parser.add_argument("--hosts", action="store_true", help="only the clusters of more and more workers")
    options = parser.parse_args()
    print(environment_line())
    print(f"{SATURATED.clients} connections, {SATURATED.request_bytes} B, {options.rounds} rounds of "
          f"{options.seconds:g} s\n", flush=True)  # fmt: skip
    with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
        if not options.hosts:
            runner.run(measure(options.seconds, options.rounds))
        runner.run(more_hosts(max(5.0, options.seconds)))


if __name__ == "__main__":
    main()
