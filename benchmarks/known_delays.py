"""Whether the latencies of a run are those of a server that knows its own.

``python -m benchmarks.known_delays --seconds 10`` lets a handler of its own serve that delays its answers
(1 % of them by 50 ms; or two modes) and notes from each request how long it took, on the same loop and
clock. It prints a line for each distribution and ends with 1 when a percentile of the service time is more
than 3 % away from that of the server, or above the maximum.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from time import perf_counter

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.histogram import Histogram
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory

DELAYS_S = {"tail": ((0.99, 0.020), (0.01, 0.050)), "bimodal": ((0.6, 0.020), (0.4, 0.080))}
"""Distributions: shares and delays."""
RATIOS = (0.5, 0.9, 0.99)
FAR = 0.03
CLIENTS = 8

_took_s: list[float] = []


async def handle(reader: StreamReader, writer: StreamWriter, kind: str) -> None:
    """Answer each frame after a delay of the distribution, and note how long that took."""
    pick = random.Random(kind)
    shares, delays_s = zip(*DELAYS_S[kind], strict=True)
    try:
        while True:
            head = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(head, "big"))
            began_s = perf_counter()
            await asyncio.sleep(pick.choices(delays_s, shares)[0])
            _took_s.append(perf_counter() - began_s)
            writer.write(head + body)
    except (IncompleteReadError, ConnectionError):
        writer.close()


@dataclass(frozen=True, slots=True)
class Measured:
    """What the server noted, in ascending order, and what the clients measured, in seconds."""

    server_s: Sequence[float]
    clients: Histogram

    def at_server_s(self, ratio: float) -> float:
        """Return a percentile of what the server noted."""
        return self.server_s[max(0, ceil(ratio * len(self.server_s)) - 1)]

    def at_clients_s(self, ratio: float) -> float:
        """Return a percentile of what the clients measured."""
        return self.clients.percentile(ratio) or 0.0


async def measure(kind: str, requests: int) -> Measured:
    """Make so many requests against delays of a kind."""
    _took_s.clear()
    experiment = Experiment(
        Tuning(clients=CLIENTS, permits=0, request_timeout_s=60.0),
        handler=f"{__spec__.name}:handle",
        handler_arg=f"kind={kind}",
        requests=requests,
    )
    async with Engine(experiment) as engine:
        await engine.wait()
        swarm = engine.snapshot().swarm
    assert swarm is not None
    return Measured(sorted(_took_s), swarm.service_time)


def main() -> int:
    """Measure each distribution once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds, wrong = parser.parse_args().seconds, 0
    for kind, delays in DELAYS_S.items():
        mean_s = sum(share * delay_s for share, delay_s in delays)
        requests = round(CLIENTS * seconds / mean_s)
        with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
            measured = runner.run(measure(kind, requests))
        most_s = measured.server_s[-1] * (1 + FAR)
        parts = []
        for ratio in RATIOS:
            server_s, clients_s = measured.at_server_s(ratio), measured.at_clients_s(ratio)
            away = clients_s / server_s - 1
            wrong += abs(away) > FAR or clients_s > most_s
            parts.append(f"p{ratio * 100:g} {server_s * 1_000:.2f} ms {away:+.2%}")
        print(f"{kind:8} {requests:6,} requests  " + "   ".join(parts), flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.modules.setdefault("benchmarks.known_delays", sys.modules["__main__"])
    sys.exit(main())
