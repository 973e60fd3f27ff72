"""Whether the latencies of a run are those of a server that knows its own.

``python -m benchmarks.known_delays --seconds 10 --times 5`` lets a handler of its own serve that delays its
answers (1 % of them by 50 ms; or two modes), on the same loop and clock as the clients. Of each request it
notes how long it was with it, and how long ago it had written the answer before on that connection. A client
asks again in the callback that reads an answer, so the second is the service time as a server can know it,
with the time for which request and answer wait for their turn in the loop; the first is without.

It prints a line for each distribution and ends with 1 when the median of the deviations of a percentile of
the service time from the second is more than 3 %, or a percentile is above the maximum. The deviations from
the first are printed, too: they are the lag of the loop, a millisecond or so on a busy machine. A percentile
is the upper edge of its bucket, so 0.4 % of the deviation are to be expected, and 0.8 % at most.
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
from statistics import median
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
_between_writes_s: list[float] = []


async def handle(reader: StreamReader, writer: StreamWriter, kind: str) -> None:
    """Answer each frame after a delay of the distribution, and note how long that took, as told above."""
    pick = random.Random(kind)
    shares, delays_s = zip(*DELAYS_S[kind], strict=True)
    wrote_s: float | None = None
    try:
        while True:
            head = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(head, "big"))
            began_s = perf_counter()
            await asyncio.sleep(pick.choices(delays_s, shares)[0])
            before_s, wrote_s = wrote_s, perf_counter()
            _took_s.append(wrote_s - began_s)
            if before_s is not None:
                _between_writes_s.append(wrote_s - before_s)
            writer.write(head + body)
    except (IncompleteReadError, ConnectionError):
        writer.close()


@dataclass(frozen=True, slots=True)
class Measured:
    """What the server noted, each in ascending order, and what the clients measured, in seconds."""

    took_s: Sequence[float]
    between_writes_s: Sequence[float]
    clients: Histogram

    def away(self, ratio: float) -> tuple[float, float]:
        """Return how far a percentile is from that between writes, and from that of the handler."""
        clients_s = self.clients.percentile(ratio) or 0.0
        return clients_s / at(self.between_writes_s, ratio) - 1, clients_s / at(self.took_s, ratio) - 1

    @property
    def is_above(self) -> bool:
        """Whether the clients measured more than the server's maximum."""
        return (self.clients.percentile(RATIOS[-1]) or 0.0) > self.between_writes_s[-1] * (1 + FAR)


def at(ascending: Sequence[float], ratio: float) -> float:
    """Return a percentile."""
    return ascending[max(0, ceil(ratio * len(ascending)) - 1)]


async def measure(kind: str, requests: int) -> Measured:
    """Make so many requests against delays of a kind."""
    _took_s.clear()
    _between_writes_s.clear()
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
    return Measured(sorted(_took_s), sorted(_between_writes_s), swarm.service_time)


def main() -> int:
    """Measure each distribution several times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--times", type=int, default=5)
    arguments, wrong = parser.parse_args(), 0
    for kind, delays in DELAYS_S.items():
        mean_s = sum(share * delay_s for share, delay_s in delays)
        requests = round(CLIENTS * arguments.seconds / mean_s)
        found = []
        for _ in range(arguments.times):
            with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
                found.append(runner.run(measure(kind, requests)))
        wrong += any(one.is_above for one in found)
        print(f"{kind}: {requests:,} requests, {arguments.times} times")
        for ratio in RATIOS:
            known, handler = zip(*(one.away(ratio) for one in found), strict=True)
            wrong += abs(median(known)) > FAR
            server_ms = median(at(one.between_writes_s, ratio) for one in found) * 1_000
            each = " ".join(f"{away:+.2%}" for away in known)
            print(
                f"  p{ratio * 100:<3g} {server_ms:6.2f} ms between writes: {median(known):+.2%} ({each}); "
                f"from the handler's {median(handler):+.2%}",
                flush=True,
            )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.modules.setdefault("benchmarks.known_delays", sys.modules["__main__"])
    sys.exit(main())
