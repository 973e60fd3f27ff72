"""Whether faults on the link hit what they are set to, as clients and server count it.

``python -m benchmarks.impairments`` runs each of them through the real relay for a second or two, on one
loop, and compares: loss within three standard errors of its share, a delay within 2 ms, a rate within 3 %,
and loss, duplication and reordering to the datagram, what the relay has done against what arrived. It ends
with 1 when one is missed. A delay is the difference of the lowest deciles of the service time to a run
without one; of five such pairs the median counts, and their range is told. A machine that lets a loop wait
for its core adds that to delays, and takes it from rates.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks.interleave import environment_line
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.relay import Passed
from sockscope.core.run.snapshot import Snapshot
from sockscope.engine.engine import Engine
from sockscope.engine.loops import run_on

STANDARD_ERRORS = 3
DELAY_ROUNDS = 5
REQUESTS_PER_S = 1_000
LINE_FULL_S = 0.1
"""How much of what a line carries is on its way, so that it is never idle and nothing waits for too long."""
DELAY_OFF_S = 0.002
RATE_OFF_RATIO = 0.03
SETTLED_S = 0.3
"""Until what is on its way has arrived, and what a fault holds back has been let go."""


@dataclass(frozen=True)
class Hit:
    """What was wanted, what was found, and how far apart these two may be; all in ``unit``."""

    fault: str
    transport: str
    what: str
    wanted: float
    found: float
    tolerance: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is near enough."""
        return abs(self.found - self.wanted) <= self.tolerance

    def __str__(self) -> str:
        of = f"{self.wanted:,.4g} +- {self.tolerance:,.2g} {self.unit}"
        name = f"{self.transport} {self.fault}"
        return f"{name:34} {self.what:28} {of:24} {self.found:>12,.5g}  {'ok' if self.holds else 'MISSED'}"


async def _ran(seconds: float, **values: Any) -> tuple[Snapshot, float]:
    """Run with these values; return its end, when all has arrived, and its answers per second meanwhile."""
    quick = {"permits": 0, "service_time_s": 0.0, "request_timeout_s": 1.0}
    async with Engine(Experiment(Tuning(**{**quick, **values}))) as engine:
        await engine.all_connected()
        before = engine.snapshot()
        await asyncio.sleep(seconds)
        rate = engine.figures(before).requests_per_s or 0.0
        engine.pause()
        await asyncio.sleep(SETTLED_S)
        await engine.settle()
        return engine.snapshot(), rate


def _passed(snapshot: Snapshot, way: str) -> Passed:
    assert snapshot.relay is not None
    assert snapshot.relay.relay is not None
    found: Passed = getattr(snapshot.relay.relay, way)
    return found


async def _loss(seconds: float, ratio: float, way: str, burst: int = 0) -> list[Hit]:
    """Compare what arrived with what was sent, at the two ends themselves."""
    fault = f"loss={ratio:.0%} {way}" + (f", loss-burst={burst} {way}" if burst else "")
    end, _ = await _ran(seconds, transport="udp", clients=32, request_timeout_s=0.05, fault=fault)
    assert end.swarm is not None
    assert end.server is not None
    swarm, server = end.swarm.totals, end.server.totals
    sent, came = swarm.datagrams_sent, server.datagrams_received
    if way == "down":
        sent, came = server.datagrams_sent, swarm.datagrams_received
    # Losses of a burst come together: as many fewer of them are independent.
    error = math.sqrt(ratio * (1 - ratio) / max(sent, 1) * (2 * burst - 1 if burst else 1))
    return [
        Hit(fault, "udp", "share not arrived", ratio, 1 - came / max(sent, 1), STANDARD_ERRORS * error),
        Hit(fault, "udp", "lost, to the datagram", _passed(end, way).impaired.lost, sent - came, 0),
    ]


async def _delay(seconds: float, delay_s: float, transport: str, way: str = "") -> list[Hit]:
    fault = f"delay={delay_s * 1e3:g}ms {way}".strip()
    added_s = [
        await _decile_s(seconds, transport, fault) - await _decile_s(seconds, transport, "")
        for _ in range(DELAY_ROUNDS)
    ]
    wanted_s = delay_s * (1 if way else 2)
    what = f"added, {min(added_s) * 1e3:.1f} to {max(added_s) * 1e3:.1f} ms"
    return [Hit(fault, transport, what, wanted_s * 1e3, median(added_s) * 1e3, DELAY_OFF_S * 1e3, "ms")]


async def _decile_s(seconds: float, transport: str, fault: str) -> float:
    end, _ = await _ran(
        seconds / DELAY_ROUNDS, transport=transport, clients=4, think_time_s=0.005, fault=fault
    )
    assert end.swarm is not None
    return end.swarm.service_time.percentiles((0.1,))[0] or 0.0


async def _rate(seconds: float, rate_bytes_per_s: int, transport: str, way: str) -> list[Hit]:
    fault = f"rate={rate_bytes_per_s / 1e6:g}MB/s {way}"
    size = rate_bytes_per_s // REQUESTS_PER_S
    clients = int(REQUESTS_PER_S * LINE_FULL_S)
    _, each = await _ran(seconds + 4, transport=transport, clients=clients, request_bytes=size, fault=fault)
    found = each * size / 1e6
    wanted = rate_bytes_per_s / 1e6
    return [Hit(fault, transport, "answers", wanted, found, RATE_OFF_RATIO * wanted, "MB/s")]


async def counted(seconds: float, kind: str, ratio: float) -> list[Hit]:
    """Compare what the relay has done to answers with what the clients count of it."""
    fault = f"{kind}={ratio:.0%} down"
    # One at a time, so that nearly always another one follows that can overtake.
    end, _ = await _ran(seconds, transport="udp", clients=8, depth=32, batch=1, fault=fault)
    assert end.swarm is not None
    done: int = getattr(_passed(end, "down").impaired, _DONE[kind])
    seen: int = getattr(end.swarm.totals, f"datagrams_{_DONE[kind]}")
    drawn = _passed(end, "down").impaired.admitted
    error = STANDARD_ERRORS * math.sqrt(ratio * (1 - ratio) / max(drawn, 1))
    return [
        Hit(fault, "udp", f"{_DONE[kind]}, to the datagram", done, seen, 0),
        Hit(fault, "udp", f"share {_DONE[kind]}", ratio, done / max(drawn, 1), error),
    ]


_DONE = {"duplicate": "duplicated", "reorder": "reordered"}
Trial = Callable[[float], Awaitable[list[Hit]]]


def trials() -> Iterator[Trial]:
    """Yield what is tried."""
    yield partial(_loss, ratio=0.02, way="up")
    yield partial(_loss, ratio=0.1, way="down")
    yield partial(_loss, ratio=0.05, way="up", burst=5)
    for transport in ("tcp", "udp"):
        for delay_s in (0.001, 0.02):
            yield partial(_delay, delay_s=delay_s, transport=transport)
        yield partial(_delay, delay_s=0.05, transport=transport, way="up")
        for way in ("up", "down"):
            yield partial(_rate, rate_bytes_per_s=1_000_000, transport=transport, way=way)
    yield partial(_rate, rate_bytes_per_s=4_000_000, transport="tcp", way="up")
    yield partial(counted, kind="duplicate", ratio=0.05)
    yield partial(counted, kind="reorder", ratio=0.05)


async def _all(seconds: float) -> bool:
    held = True
    for trial in trials():
        for hit in await trial(seconds):
            held = held and hit.holds
            print(hit, flush=True)
    return held


def main() -> None:
    """Try each fault, and print what was wanted and what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    print(environment_line())
    if not run_on("uvloop", _all(options.seconds)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
