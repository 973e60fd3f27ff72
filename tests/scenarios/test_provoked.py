"""Situations that are provoked on real sockets, and what the limit of the run is said to be.

Where a situation leaves the cores idle a busy machine does not change it; those of full cores are data.
"""

from __future__ import annotations

from typing import Any

import pytest

from sockscope.core.run.figures import UNANSWERED_S
from sockscope.core.run.findings import Finding, limit_of
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.window import window
from sockscope.engine.engine import Engine
from tests.engine.runs import running
from tests.scenarios.scenario import Scenario, scenarios, surroundings
from tests.waiting import until

SECONDS = UNANSWERED_S + 0.05
"""Length of the windows that are judged."""
LATE = {"request_timeout_s": 30.0}
SLEEPS = {"work": "block", "service_time_s": 0.01}

PROVOKED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("pool with permits", "backlog", "pool serves", {
        "server": "pool", "place": "loop", "permits": 50, "clients": 110, **LATE,
    }),
    *(
        (f"{server} over {transport}, {place}", "blocked loop", "holds up all the others for 10.0 ms", {
            "server": server, "transport": transport, "place": place, "clients": 8, "permits": 4, **SLEEPS,
        })
        for transport, server, place in (
            ("tcp", "epoll", "loop"), ("udp", "datagram", "loop"), ("udp", "blocking", "apart"),
        )
    ),
    ("UDP timeouts", "timeouts", "100 %", {
        "service_time_s": 5.0, "request_timeout_s": 0.1, "transport": "udp",
    }),
]  # fmt: skip


async def until_found(engine: Engine, kind: str, word: str) -> Finding:
    """Wait for a window with this kind of limit, and return what it says."""
    found: list[Finding] = []
    begin = [engine.snapshot()]

    def named() -> bool:
        now: Snapshot = engine.snapshot()
        if now.time_s - begin[0].time_s < SECONDS:
            return False
        found.append(limit_of(window(begin[0], now)))
        begin[0] = now
        return found[-1].kind == kind and word in found[-1].sentence

    try:
        await until(named, timeout_s=60.0)
    except AssertionError:
        raise AssertionError(f"not {kind} ({word}) but {found}") from None
    return found[-1]


@pytest.mark.parametrize(
    ("kind", "word", "values"), [case[1:] for case in PROVOKED], ids=[case[0] for case in PROVOKED]
)
async def test_a_provoked_limit_is_named(kind: str, word: str, values: dict[str, Any]) -> None:
    async with running(grace_s=0.0, **values) as engine:
        await until_found(engine, kind, word)


async def test_traffic_that_is_paused_is_named_and_so_is_what_limits_it_afterwards() -> None:
    async with running(grace_s=0.0, server="blocking", place="apart", clients=3, permits=1, **LATE) as engine:
        engine.pause()
        await until_found(engine, "paused", "p resumes it")
        engine.resume()
        await until_found(engine, "backlog", "blocking serves one connection at a time")


@pytest.mark.parametrize(
    "scenario",
    [one for one in scenarios() if not (one.needs_command or one.needs_cores)],
    ids=lambda one: one.name,
)
async def test_a_scenario_has_its_verdict(scenario: Scenario) -> None:
    with surroundings(scenario) as found:
        engine = Engine(scenario.experiment(**found))
        await engine.start()
        try:
            await until_found(engine, scenario.kind, scenario.says)
        finally:
            await engine.stop(0.0)
