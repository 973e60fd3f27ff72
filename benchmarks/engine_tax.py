"""What watching costs: the engine with everything on, against sockets with nothing on.

``python -m benchmarks.engine_tax`` runs, in turn, the engine (recording, capture, framing, timeouts and
a snapshot every 200 ms), a bare uvloop pair and a pure C epoll pair: 100 connections, 64 B, no service time,
both ends on one loop. Over Unix sockets and TLS the engine also runs against itself over TCP (``--only tls``:
nothing else), and over TLS with clients that leave TLS to the loop, as the bare pair does. Each slice is a
process of its own; the figure is the median of the ratios per round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from time import perf_counter

from benchmarks.baselines import bare, native
from benchmarks.interleave import environment_line, interleave, ratio_report, subprocess_slice
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import Cursors
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory

CONNECTIONS = 100
SIZE = 64
WARMUP_S = 0.3


async def engine_rate(carrier: str, seconds: float) -> float:
    """Return round trips per second through the engine, read from its own cumulative counter."""
    tuning = Tuning(
        transport="udp" if carrier == "udp" else "tcp", family="unix" if carrier == "unix" else "ipv4",
        tls=carrier.startswith("tls"), client="protocol" if carrier == "tls-protocol" else "selector",
        clients=CONNECTIONS, permits=0, request_bytes=SIZE, service_time_s=0.0,
    )  # fmt: skip
    async with Engine(Experiment(tuning=tuning)) as engine:
        await engine.all_connected()
        await asyncio.sleep(WARMUP_S)
        cursors = Cursors()
        before, begin = engine.snapshot(cursors).main.totals, perf_counter()
        while (elapsed := perf_counter() - begin) < seconds:
            await asyncio.sleep(min(0.2, seconds - elapsed))
            engine.snapshot(cursors)
        after, end = engine.snapshot(cursors), perf_counter()
        if engine.error or after.main.totals.errors:
            raise SystemExit(f"the engine failed: {engine.error or after.main.totals}")
        return (after.main.totals.responses - before.responses) / (end - begin)


async def _slice(name: str, seconds: float) -> float:
    if name.startswith("engine"):
        return await engine_rate(name.removeprefix("engine-"), seconds)
    pairs = {
        "bare-tcp": bare.bare_tcp, "bare-unix": bare.bare_unix, "bare-tls": bare.bare_tls,
        "bare-udp": bare.bare_udp, "reader-udp": bare.bare_udp_reader,
    }  # fmt: skip
    return await pairs[name](CONNECTIONS, SIZE, seconds, warmup=WARMUP_S)


BESIDE = {
    "tcp": [],
    "udp": ["reader-udp"],
    "unix": ["engine-tcp"],
    "tls": ["engine-tls-protocol", "engine-tcp"],
}
"""What runs in turn with the engine and the bare pair, by what carries the requests."""


def _contestants(carrier: str) -> list[str]:
    return [f"engine-{carrier}", f"bare-{carrier}", *BESIDE[carrier]]


def main() -> None:
    """Run the comparison, or one slice of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", action="append", choices=list(BESIDE))
    options = parser.parse_args()
    if options.slice:
        with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
            rate = runner.run(_slice(options.slice, options.seconds))
        print(json.dumps({"round_trips_per_s": rate}))
        return
    print(environment_line())
    built = native.build()
    for carrier in options.only or BESIDE:
        slices = {
            name: subprocess_slice(
                [sys.executable, "-m", "benchmarks.engine_tax", "--slice", name,
                 "--seconds", str(options.seconds)],
            )
            for name in _contestants(carrier)
        }  # fmt: skip
        compared = [f"bare-{carrier}"]
        if carrier in ("unix", "tls"):
            compared.append("engine-tcp")
        elif built is not None:
            compared.append("c-epoll")
            slices["c-epoll"] = lambda kind=carrier: native.run_pair(  # type: ignore[misc]
                kind, CONNECTIONS, SIZE, options.seconds
            )
        figures = interleave(slices, options.rounds)
        for baseline in compared:
            ratio_report(figures, baseline)


if __name__ == "__main__":
    main()
