"""What a relay costs that makes no faults: requests/s through it against the direct ones, and what it adds.

``python -m benchmarks.relay_tax`` lets two swarms ask one server in turn, one of them through a relay, and
compares neighbours. On one loop everything shares a core: at least 0.4 of the direct rate at 100 connections.
With server and relay in processes of their own: at least 0.6. At one client the difference of the medians of
the service time is what the relay adds: at most 60 us. 64 B, no service time; medians over the rounds, with
the least and the most. Last comes what it costs to overhear: requests/s through a tap against those through a
relay that tells nothing apart, both on the loop of everything else.

With processes of their own it also tells the CPU time that each of them takes for an answer, which other
programs change little, and what the share through the relay would be on two cores that have nothing else to
do: direct, the busier one of client and server fills a core; relayed, all three share two, and none has more
than one.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.interleave import REPOSITORY, environment_line
from sockscope.core.addresses import format_address, split_address
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.engine.engine import Engine
from sockscope.engine.loops import run_on
from sockscope.engine.relay.relay import Relay
from sockscope.engine.role import Assignment

WAYS = ("direct", "relayed")
SETTLED_S = 0.05
"""After one swarm has stopped and the other goes on."""


def _experiment(clients: int, transport: str, **values: Any) -> Experiment:
    place = values.pop("place", "loop")
    tuning = Tuning(clients=clients, permits=0, service_time_s=0.0, transport=transport, place=place)
    return Experiment(tuning=tuning, **values)


@asynccontextmanager
async def _relay_here(target: str, transport: str, told_apart: str = "") -> AsyncIterator[tuple[str, int]]:
    tuning = Tuning(transport=transport)
    alone: dict[str, Any] = {"role": "relay", "target": target, "told_apart": told_apart}
    relay = Relay(Experiment(tuning, **(alone if told_apart else {})))
    try:
        yield format_address(await relay.start(Assignment(tuning, 0, split_address(target)))), os.getpid()
    finally:
        await relay.stop(0.0)


async def _serve_relay(target: str, transport: str) -> None:
    """Be a relay until standard input ends."""
    async with _relay_here(target, transport) as (address, _):
        print(address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def _relay_elsewhere(target: str, transport: str) -> AsyncIterator[tuple[str, int]]:
    words = [sys.executable, "-m", "benchmarks.relay_tax", "--serve", target, "--transport", transport]
    process = await asyncio.create_subprocess_exec(
        *words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip(), process.pid
    finally:
        process.stdin.close()
        await process.wait()


@dataclass
class Compared:
    """What was found, round by round: direct rates, their share through a relay, the delay added (p50, us).

    ``cpu_s`` are the CPU seconds of client, server and relay, direct and relayed, and ``answers`` what came
    meanwhile.
    """

    direct_per_s: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    added_us: list[float] = field(default_factory=list)
    cpu_s: dict[str, list[float]] = field(default_factory=lambda: {way: [0.0] * 3 for way in WAYS})
    answers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))

    def each_us(self, way: str) -> list[float]:
        """Return the CPU time of client, server and relay for one answer."""
        return [1e6 * cpu_s / max(self.answers[way], 1) for cpu_s in self.cpu_s[way]]

    @property
    def share_on_two_cores(self) -> float:
        """What the share would be where these processes had two cores for themselves."""
        client, server, _ = self.each_us("direct")
        relayed = self.each_us("relayed")
        return max(client, server) / max(*relayed, sum(relayed) / 2)


def _cpu_s(pid: int) -> float:
    """Return the CPU time of the main thread of a process; not a number where the kernel does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return math.nan


async def _slice(engine: Engine, seconds: float) -> tuple[float, float]:
    """Let one swarm ask for so long; return its answers per second and its median service time, in us."""
    engine.resume()
    await asyncio.sleep(SETTLED_S)
    before = engine.snapshot()
    await asyncio.sleep(seconds)
    figures = engine.figures(before)
    engine.pause()
    await asyncio.sleep(SETTLED_S)
    return figures.requests_per_s or 0.0, (figures.p50_s or 0.0) * 1e6


async def _slice_of_all(
    engine: Engine, seconds: float, pids: list[int], cpu_s: list[float]
) -> tuple[float, float, int]:
    """Do the same; add the CPU seconds of processes to ``cpu_s``, and return the answers, too."""
    answers, since_s = engine.snapshot().main.totals.responses, [_cpu_s(pid) for pid in pids]
    rate, p50_us = await _slice(engine, seconds)
    for place, pid in enumerate(pids):
        cpu_s[place] += _cpu_s(pid) - since_s[place]
    return rate, p50_us, engine.snapshot().main.totals.responses - answers


async def compared(clients: int, transport: str, seconds: float, rounds: int, *, apart: bool) -> Compared:
    """Let the two swarms take turns, and return what was found."""
    found = Compared()
    relaying = _relay_elsewhere if apart else _relay_here
    here = _experiment(clients, transport, role="server", port=0, place="child" if apart else "loop")
    async with Engine(here) as server:
        await server.settle()
        snapshot = server.snapshot()
        target, serving = snapshot.roles["server"].address, snapshot.processes[-1].pid
        async with (
            relaying(target, transport) as (through, relay),
            Engine(_experiment(clients, transport, role="swarm", target=target)) as direct,
            Engine(_experiment(clients, transport, role="swarm", target=through)) as relayed,
        ):
            for engine in (direct, relayed):
                await engine.all_connected()
                engine.pause()
            pids, ways = [os.getpid(), serving, relay], dict(zip(WAYS, (direct, relayed), strict=True))
            for number in range(rounds):
                order = list(ways) if number % 2 else list(reversed(ways))
                got = {way: await _slice_of_all(ways[way], seconds, pids, found.cpu_s[way]) for way in order}
                for way in ways:
                    found.answers[way] += got[way][2]
                found.direct_per_s.append(got["direct"][0])
                found.shares.append(got["relayed"][0] / (got["direct"][0] or math.nan))
                found.added_us.append(got["relayed"][1] - got["direct"][1])
    return found


async def overheard(
    clients: int, transport: str, told_apart: str, seconds: float, rounds: int
) -> tuple[list[float], list[float]]:
    """Return, round by round, the rate through a relay, and the share of it through one that overhears."""
    rates: list[float] = []
    shares: list[float] = []
    here = _experiment(clients, transport, role="server", port=0)
    async with Engine(here) as server:
        target = server.snapshot().roles["server"].address
        async with (
            _relay_here(target, transport) as (plain, _),
            _relay_here(target, transport, told_apart) as (tap, _),
            Engine(_experiment(clients, transport, role="swarm", target=plain)) as relayed,
            Engine(_experiment(clients, transport, role="swarm", target=tap)) as tapped,
        ):
            for engine in (relayed, tapped):
                await engine.all_connected()
                engine.pause()
            for number in range(rounds):
                order = (relayed, tapped) if number % 2 else (tapped, relayed)
                found = {engine: await _slice(engine, seconds) for engine in order}
                rates.append(found[relayed][0])
                shares.append(found[tapped][0] / (found[relayed][0] or math.nan))
    return rates, shares


def _told(values: list[float], digits: int) -> str:
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:,.{digits}f} ({least:,.{digits}f} - {most:,.{digits}f})"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp")
    parser.add_argument("--clients", action="append", type=int)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run_on("uvloop", _serve_relay(options.serve, options.transport))
        return
    print(environment_line())
    for apart in (False, True):
        print("server and relay in processes of their own" if apart else "everything on one loop")
        for clients in options.clients or (100, 1):
            found = run_on(
                "uvloop",
                compared(clients, options.transport, options.seconds, options.rounds, apart=apart),
            )
            print(
                f"  {clients:4} clients: direct {_told(found.direct_per_s, 0)} per s, through the relay "
                f"{_told(found.shares, 2)} of that, added p50 {_told(found.added_us, 0)} us"
            )
            if apart:
                for way in WAYS:
                    each = zip(("client", "server", "relay"), found.each_us(way), strict=True)
                    told = ", ".join(f"{who} {cpu_us:.1f} us" for who, cpu_us in each)
                    print(f"       CPU for an answer, {way}: {told}")
                print(f"       two cores for themselves: a share of {found.share_on_two_cores:.2f}")
    print("overhearing, everything on one loop")
    for told_apart in ("auto", "length"):
        for clients in options.clients or (100, 1):
            rates, shares = run_on(
                "uvloop", overheard(clients, options.transport, told_apart, options.seconds, options.rounds)
            )
            print(
                f"  {clients:4} clients, {told_apart}: relayed {_told(rates, 0)} per s, "
                f"of that overheard {_told(shares, 2)}"
            )


if __name__ == "__main__":
    main()
