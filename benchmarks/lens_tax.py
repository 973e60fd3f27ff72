"""What the lens costs while it is on: the rate with it against the rate without, on a saturated loop.

``python -m benchmarks.lens_tax`` turns the knob off, on, off, on, ... in one run per loop, and compares
neighbours: the process and its connections are the same. 100 connections and one, 64 B, no service time, both
ends on one loop. The figure is the median of the ratios per round, at least 0.97: of answers per second, and
of answers per second of the process's CPU time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
from dataclasses import replace
from time import perf_counter, process_time

from benchmarks.interleave import environment_line, ratio_report
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import Cursors
from sockscope.engine.engine import Engine
from sockscope.engine.loops import run_on

SIZE = 64
WARMUP_S = 0.3
SETTLED_S = 0.02
"""After the knob is turned."""
LOOPS = ("uvloop", "asyncio")


async def _rates(engine: Engine, seconds: float) -> tuple[float, float]:
    """Return answers per second of time and of CPU, with a snapshot every 200 ms as a face takes it."""
    before, begin_s, begin_cpu_s = engine.snapshot().main.totals.responses, perf_counter(), process_time()
    while (left_s := begin_s + seconds - perf_counter()) > 0:
        await asyncio.sleep(min(0.2, left_s))
        engine.snapshot(Cursors())
    answers = engine.snapshot().main.totals.responses - before
    return answers / (perf_counter() - begin_s), answers / (process_time() - begin_cpu_s)


Rates = dict[str, list[tuple[float, float]]]


async def rates(loop: str, clients: int, seconds: float, rounds: int) -> Rates:
    """Return the rates without and with the lens, one of each per round, in turn."""
    tuning = Tuning(clients=clients, permits=0, request_bytes=SIZE, service_time_s=0.0)
    found: Rates = {"off": [], "on": []}
    async with Engine(Experiment(tuning=tuning, loop=loop)) as engine:
        await engine.all_connected()
        await asyncio.sleep(WARMUP_S)
        for number in range(rounds):
            # Which of the two comes first changes, so that a drift of the machine favours neither.
            for name in ("off", "on") if number % 2 else ("on", "off"):
                await engine.apply(replace(tuning, lens=name == "on"))
                await asyncio.sleep(SETTLED_S)
                found[name].append(await _rates(engine, seconds))
        if engine.error:
            raise SystemExit(f"the engine failed: {engine.error}")
    return found


def _spread(ratios: tuple[float, ...]) -> str:
    """Return the median and the 95 % interval of it (the order statistics nearest to n/2 -+ sqrt(n))."""
    ordered, count = sorted(ratios), len(ratios)
    reach = math.sqrt(count)
    low, high = max(0, int(count / 2 - reach)), min(count - 1, math.ceil(count / 2 + reach))
    return f"{statistics.median(ordered):.3f} ({ordered[low]:.3f} - {ordered[high]:.3f})"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--loop", action="append", choices=LOOPS)
    parser.add_argument("--clients", action="append", type=int)
    options = parser.parse_args()
    print(environment_line())
    for loop in options.loop or LOOPS:
        for clients in options.clients or (100, 1):
            found = run_on(loop, rates(loop, clients, options.seconds, options.rounds))
            for which, per in enumerate(("second", "CPU second")):
                print(f"{loop}, {clients} clients, answers per {per}")
                figures = {name: [both[which] for both in pairs] for name, pairs in found.items()}
                print(f"on / off {_spread(ratio_report(figures, 'off')['on'].per_round)}", flush=True)


if __name__ == "__main__":
    main()
