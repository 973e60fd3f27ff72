"""Compare the baselines with each other: `python -m benchmarks.baselines`.

Each slice is a process of its own, `python -m benchmarks.baselines --slice NAME`, which prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import uvloop

from benchmarks.baselines import bare, native
from benchmarks.interleave import environment_line, interleave, ratio_report, subprocess_slice

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
BARE: dict[str, Callable[..., Awaitable[float]]] = {
    "tcp": bare.bare_tcp,
    "tcp_apart": bare.bare_tcp_apart,
    "udp": bare.bare_udp,
    "udp_reader": bare.bare_udp_reader,
}
SPARE_S = 60.0
"""What a slice may take beyond its seconds, to start, connect and close."""
NATIVE: dict[str, Callable[..., float]] = {
    "c_tcp": partial(native.run_pair, "tcp"),
    "c_tcp_apart": partial(native.run_apart, "tcp"),
    "c_udp": partial(native.run_pair, "udp"),
}


def slices() -> list[str]:
    """The names that `--slice` takes."""
    return [*NATIVE, *(f"{loop}_{name}" for loop in LOOPS for name in BARE)]


def run_slice(name: str, connections: int, size: int, seconds: float, warmup: float) -> float:
    """Round trips per second of one slice, in this process."""
    if name in NATIVE:
        return NATIVE[name](connections, size, seconds)
    loop, _, pair = name.partition("_")

    async def measure() -> float:
        return await BARE[pair](connections, size, seconds, warmup=warmup)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(measure())


def compare(setup: tuple[int, int, float, float], rounds: int) -> None:
    """Interleave C with uvloop, each slice in a process, and print the ratios to uvloop's protocols.

    The stdlib loop is left out: its figure is first of all a statement about malloc (see `bare`).
    """
    options = zip(("--connections", "--size", "--seconds", "--warmup"), map(str, setup), strict=True)
    words = [word for option in options for word in option]
    names = [name for name in slices() if not name.startswith("asyncio")]
    if native.build() is None:
        names = [name for name in names if name not in NATIVE]
    limit_s = setup[2] + setup[3] + SPARE_S
    command = [sys.executable, "-m", "benchmarks.baselines", "--slice"]
    figures = interleave(
        {name: subprocess_slice([*command, name, *words], limit_s=limit_s) for name in names}, rounds
    )
    for transport in ("tcp", "udp"):
        print()
        ratio_report({name: figures[name] for name in names if transport in name}, f"uvloop_{transport}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baselines", description=__doc__)
    parser.add_argument("--slice", choices=slices(), help="run this one here and print JSON")
    parser.add_argument("--serve", type=float, metavar="SECONDS", help="be the server of a pair apart")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--size", type=int, default=64, help="bytes of a message")
    parser.add_argument("--seconds", type=float, default=1.0, help="timed part of a slice")
    parser.add_argument("--warmup", type=float, default=0.2, help="seconds before the timed part")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    setup = (chosen.connections, chosen.size, chosen.seconds, chosen.warmup)
    if chosen.serve:
        with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
            runner.run(bare.serve_tcp(chosen.serve))
        return
    if chosen.slice:
        print(json.dumps({"round_trips_per_s": run_slice(chosen.slice, *setup)}))
        return
    print(environment_line())
    print(f"{chosen.connections} connections, {chosen.size} B, {chosen.rounds} rounds of {chosen.seconds} s")
    compare(setup, chosen.rounds)


if __name__ == "__main__":
    main()
