"""What a connection costs in memory, and whether a long run grows.

``python -m benchmarks.memory`` measures the resident set of a process that holds both ends: with one
client, its capture ring full, and again with 5,000 more that have all been answered; the difference is
divided by 5,000. The kernel's part of a connection is not in it. The soak (``--minutes N``) runs 100 clients
without permits and without service time, captures on, and fits a line through the resident set after
a warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
from array import array
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import psutil

from benchmarks.interleave import environment_line
from benchmarks.ramp import Figures, column, in_turn, slice_of, table
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import Cursors, Snapshot
from sockscope.engine.captures import CAPTURES
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory

CONNECTIONS = 5_000
OPEN_LIMIT_S = 60.0
SPARE_S = 30.0
TARGET_KIB = 12.0
KIB = 1_024
SOAK_CLIENTS = 100
SOAK_WARMUP_S = 5.0
SAMPLE_S = 0.1


async def pairs(connections: int, seconds: float) -> Figures:
    """Return KiB of resident set per connection pair."""
    process = psutil.Process()
    alone = Tuning(clients=1, permits=0, service_time_s=0.0)
    async with Engine(Experiment(tuning=alone)) as engine:
        await _until(engine, 1, 2 * CAPTURES)
        await asyncio.sleep(seconds)
        gc.collect()
        before = process.memory_info().rss
        # With the permits and the service time of the default experiment, everybody has its turn soon.
        begin = perf_counter()
        await engine.apply(Tuning(clients=connections + 1))
        answers = engine.snapshot().main.totals.responses + 2 * connections
        await _until(engine, connections + 1, answers)
        open_s = perf_counter() - begin
        await asyncio.sleep(seconds)
        after = process.memory_info().rss
        gc.collect()
        collected = process.memory_info().rss
    return {
        "kib_per_pair": (after - before) / connections / KIB,
        "collected_kib_per_pair": (collected - before) / connections / KIB,
        "before_mib": before / KIB**2,
        "after_mib": after / KIB**2,
        "open_s": open_s,
    }


async def _until(engine: Engine, connections: int, answers: int) -> None:
    """Wait until the connections are open at both ends and so many answers came."""
    begin = perf_counter()
    while not _is_there(engine.snapshot(), connections, answers):
        if perf_counter() - begin > OPEN_LIMIT_S:
            raise SystemExit(f"{connections:,} connections were not in use within {OPEN_LIMIT_S:g} s")
        await asyncio.sleep(0.1)


def _is_there(snapshot: Snapshot, connections: int, answers: int) -> bool:
    ends = [role.connections_open for role in (snapshot.server, snapshot.swarm) if role is not None]
    return min(ends) >= connections and snapshot.main.totals.responses >= answers


async def soak(seconds: float, warmup_s: float) -> Figures:
    """Return how the resident set changes over a run at saturation with a reader."""
    process = psutil.Process()
    tuning = Tuning(clients=SOAK_CLIENTS, permits=0, service_time_s=0.0)
    # Room for every sample beforehand: lists that grow would be a part of the slope.
    most = int(seconds / SAMPLE_S) + 2
    times, sizes, taken = array("d", [0.0]) * most, array("d", [0.0]) * most, 0
    async with Engine(Experiment(tuning=tuning)) as engine:
        await asyncio.sleep(warmup_s)
        cursors = Cursors()
        begin, before = perf_counter(), engine.snapshot(cursors).main.totals.responses
        while (elapsed := perf_counter() - begin) < seconds and taken < most:
            times[taken], sizes[taken] = elapsed, process.memory_info().rss / KIB
            taken += 1
            cursors = replace(cursors, events=engine.snapshot(cursors).events_cursor)
            await asyncio.sleep(min(SAMPLE_S, seconds - elapsed))
        answers = engine.snapshot().main.totals.responses - before
        elapsed = perf_counter() - begin
    times, sizes = times[:taken], sizes[:taken]
    return {
        "kib_per_minute": slope(times, sizes) * 60,
        "first_mib": sizes[0] / KIB,
        "last_mib": sizes[-1] / KIB,
        "most_mib": max(sizes) / KIB,
        "samples": len(sizes),
        "responses_per_s": answers / elapsed,
    }


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the line of least squares; 0 for fewer than two points in time."""
    if len(set(times)) < 2:
        return 0.0
    return statistics.linear_regression(times, values).slope


def report(found: dict[str, list[Figures]], connections: int, minutes: float) -> str:
    """The tables."""
    measured, soaked = found["pairs"], found["soak"]
    per_pair = column(measured, "kib_per_pair")
    upper = table(
        [
            (
                "connection pairs", "KiB a pair", "most", "target", "after a collection",
                "RSS MiB before", "after", "in use after s",
            ),
            (
                f"{connections:,}",
                f"{statistics.median(per_pair):.2f}",
                f"{max(per_pair):.2f}",
                f"{TARGET_KIB:g}",
                f"{statistics.median(column(measured, 'collected_kib_per_pair')):.2f}",
                f"{statistics.median(column(measured, 'before_mib')):.1f}",
                f"{statistics.median(column(measured, 'after_mib')):.1f}",
                f"{statistics.median(column(measured, 'open_s')):.2f}",
            ),
        ]
    )  # fmt: skip
    rows = [("soak", "KiB/minute", "RSS MiB first", "last", "most", "samples", "answers/s")]
    for figures in soaked:
        rows.append(
            (
                f"{minutes:g} minutes",
                f"{figures['kib_per_minute']:+.1f}",
                f"{figures['first_mib']:.2f}",
                f"{figures['last_mib']:.2f}",
                f"{figures['most_mib']:.2f}",
                f"{figures['samples']:,.0f}",
                f"{figures['responses_per_s']:,.0f}",
            )
        )
    return f"{upper}\n\n{table(rows)}"


def main() -> None:
    """Run the slices, or one of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--slice", choices=("pairs", "soak"), help="run this one here and print JSON")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seconds", type=float, default=0.5, help="rest before each reading")
    parser.add_argument("--minutes", type=float, default=0.5, help="length of the soak")
    parser.add_argument("--warmup", type=float, default=SOAK_WARMUP_S, help="seconds before the soak is read")
    parser.add_argument("--rounds", type=int, default=3, help="of the connection pairs; the soak runs once")
    options = parser.parse_args()
    if options.slice:
        run = (
            pairs(options.connections, options.seconds)
            if options.slice == "pairs"
            else soak(options.minutes * 60, options.warmup)
        )
        with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
            print(json.dumps(runner.run(run)))
        return
    print(environment_line(), flush=True)
    words = (
        "--connections", options.connections, "--seconds", options.seconds,
        "--minutes", options.minutes, "--warmup", options.warmup,
    )  # fmt: skip

    def one(name: str, limit_s: float) -> dict[str, list[Figures]]:
        run = slice_of("benchmarks.memory", "--slice", name, *words, limit_s=limit_s + SPARE_S)
        return in_turn({name: run}, options.rounds if name == "pairs" else 1)

    found = one("pairs", 2 * OPEN_LIMIT_S + 2 * options.seconds)
    found |= one("soak", options.minutes * 60 + options.warmup)
    print(report(found, options.connections, options.minutes))


if __name__ == "__main__":
    main()
