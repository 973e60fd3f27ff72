"""What a process of its own is worth: `python -m benchmarks.placement`.

- Engine with server and clients each in a process (`apart`) against both on one loop (`loop`), and against a
  pure C server and swarm in two processes: 100 connections, 64 B, uvloop Protocol, no service time. Targets:
  1.7 times the one loop on two cores, and 0.80 of the C pair.
- The dashboard over a run in a child process against the same run headless; and over a run that is apart.
  Targets: 0.96, and on two cores 0.78.
- From starting a child until its first answer. Target: below 300 ms.

Slices take turns, each in a process of its own; the figures are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from benchmarks.baselines import native
from benchmarks.dashboard_tax import SATURATED, WARMUP_S, dashboard_slice
from benchmarks.interleave import environment_line, interleave, ratio_report
from benchmarks.ramp import Figures, column, in_turn, slice_of, table
from sockscope.core.config.experiment import Experiment
from sockscope.core.run.snapshot import RunState
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory

PLACES = ("loop", "child", "apart")
ENGINE_WARMUP_S = 0.5
LIMIT_S = 60.0


async def rate(place: str, seconds: float) -> Figures:
    """Return round trips per second of the engine with its roles in ``place``, by its own counter."""
    async with Engine(Experiment(tuning=replace(SATURATED, place=place))) as engine:
        await asyncio.sleep(ENGINE_WARMUP_S)
        await engine.settle()
        before = engine.snapshot()
        await asyncio.sleep(seconds)
        await engine.settle()
        after = engine.snapshot()
        totals = after.main.totals
        if engine.state is not RunState.RUNNING or totals.errors or totals.timeouts:
            raise SystemExit(f"the engine failed: {engine.error or totals}")
        elapsed_s = after.time_s - before.time_s
        return {"round_trips_per_s": (totals.responses - before.main.totals.responses) / elapsed_s}


async def start() -> Figures:
    """Return how long a child takes from its start until it listens and has answered."""
    engine = Engine(Experiment(role="server", tuning=replace(SATURATED, place="child")))
    began_s = perf_counter()
    await engine.start()
    answered_s = perf_counter()
    await engine.stop()
    return {"start_s": answered_s - began_s}


def engine_slice(place: str, seconds: float) -> Callable[[], float]:
    """A slice of the engine in a process of its own."""
    run = slice_of("benchmarks.placement", "--slice", place, "--seconds", seconds, limit_s=seconds + LIMIT_S)
    return lambda: run()["round_trips_per_s"]


def engines(seconds: float, rounds: int) -> None:
    """One loop, one child, two children, a bare pair in two processes, a C pair in two; print the ratios."""
    slices: dict[str, Callable[[], float]] = {place: engine_slice(place, seconds) for place in PLACES}
    tuning = SATURATED
    bare_apart = slice_of("benchmarks.baselines", "--slice", "uvloop_tcp_apart", "--seconds", seconds,
                          "--connections", tuning.clients, "--size", tuning.request_bytes,
                          limit_s=seconds + LIMIT_S)  # fmt: skip
    slices["bare apart"] = lambda: bare_apart()["round_trips_per_s"]
    built = native.build() is not None
    if built:
        slices["C apart"] = lambda: native.run_apart("tcp", tuning.clients, tuning.request_bytes, seconds)
    figures = interleave(slices, rounds)
    for baseline in ("loop", "bare apart", *(["C apart"] if built else [])):
        ratio_report(figures, baseline)
        print()


def dashboards(seconds: float, rounds: int, warmup_s: float) -> None:
    """The dashboard over a run elsewhere against the same run headless, for each place in turn."""
    for place in ("child", "apart"):
        slices: dict[str, Callable[[], float]] = {
            f"headless, {place}": engine_slice(place, seconds),
            f"dashboard, {place}": lambda load=f"saturated_{place}": dashboard_slice(  # type: ignore[misc]
                load, seconds, warmup_s
            )["round_trips_per_s"],
        }
        print()
        ratio_report(interleave(slices, rounds), f"headless, {place}")


def starts_report(found: list[Figures]) -> str:
    """Median and worst of the starts, in milliseconds."""
    times = [value * 1_000 for value in column(found, "start_s")]
    rows = [("start of a child to its answer, ms", "starts", "median", "worst", "target")]
    rows.append(
        ("", f"{len(times)}", f"{statistics.median(times):.0f}", f"{max(times):.0f}", "300"),
    )
    return table(rows)


def main() -> None:
    """Run everything, or one slice of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement", description=__doc__)
    parser.add_argument("--slice", choices=(*PLACES, "start"), help="run this one here and print JSON")
    parser.add_argument("--seconds", type=float, default=2.0, help="timed part of a slice")
    parser.add_argument("--warmup", type=float, default=WARMUP_S, help="seconds of dashboard before it")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.slice:
        measured = start() if options.slice == "start" else rate(options.slice, options.seconds)
        with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
            print(json.dumps(runner.run(measured)))
        return
    print(environment_line())
    print(f"{SATURATED.clients} connections, {SATURATED.request_bytes} B, {options.rounds} rounds of "
          f"{options.seconds:g} s\n", flush=True)  # fmt: skip
    engines(options.seconds, options.rounds)
    dashboards(options.seconds, options.rounds, options.warmup)
    starting = slice_of("benchmarks.placement", "--slice", "start", limit_s=LIMIT_S)
    print(f"\n{starts_report(in_turn({'start': starting}, options.rounds)['start'])}")


if __name__ == "__main__":
    main()
