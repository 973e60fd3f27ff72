"""The open loop: requests are due on a schedule, whatever the answers do."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from sockscope.core.run.snapshot import RoleSnapshot
from sockscope.engine.engine import Engine
from sockscope.engine.swarm.links import LINKS
from sockscope.engine.swarm.pacing.open import AT_ONCE, LAPSE_S, QUEUED_MOST
from tests.engine.runs import exchanges_of, running, swarm_of, tune
from tests.waiting import until

KINDS: list[dict[str, Any]] = [{"transport": transport, "client": name} for transport, name in LINKS]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))


def added_up(engine: Engine) -> RoleSnapshot:
    """Return the swarm, whose counts add up at any moment."""
    swarm = swarm_of(engine)
    totals = swarm.totals
    assert totals.requests_due == totals.requests + totals.requests_dropped + swarm.queued
    assert totals.requests == totals.responses + totals.failed + swarm.in_flight
    return swarm


async def until_adding_up(engine: Engine, predicate: Any) -> RoleSnapshot:
    await until(lambda: predicate(added_up(engine)))
    return added_up(engine)


@kinds
async def test_requests_are_due_and_answered(kind: dict[str, Any]) -> None:
    async with running(rate=1_000, **kind) as engine:
        await until_adding_up(engine, lambda swarm: swarm.totals.responses >= 100)
    swarm = added_up(engine)
    assert swarm.service_time.total == swarm.response_time.total == swarm.totals.responses
    assert swarm.schedule_lateness.total == swarm.totals.requests_due
    assert swarm.totals.connections_opened == 4


@pytest.mark.parametrize("model", [{"depth": 8}, {"transport": "udp"}], ids=["depth", "udp"])
async def test_several_are_under_way_on_a_connection(model: dict[str, Any]) -> None:
    async with running(0.2, rate=1_000, clients=1, service_time_s=60.0, **model) as engine:
        swarm = await until_adding_up(engine, lambda swarm: swarm.in_flight >= 8)
        assert swarm.totals.connections_opened == 1
        if "depth" in model:
            swarm = await until_adding_up(engine, lambda swarm: swarm.queued >= 8)
            assert swarm.in_flight == 8
        assert swarm.awaited.total == swarm.in_flight
        assert swarm.response_awaited.total == swarm.in_flight + swarm.queued
        engine.clear()
        swarm = added_up(engine)
        assert swarm.totals.requests_due >= 8 + ("depth" in model) * 8


async def test_permits_limit_what_is_in_flight_and_can_be_turned() -> None:
    async with running(0.2, rate=400, permits=2, service_time_s=0.02, transport="udp") as engine:
        await until_adding_up(engine, lambda swarm: swarm.queued >= 20 and swarm.in_flight <= 2)
        await tune(engine, permits=0)
        await until_adding_up(engine, lambda swarm: not swarm.queued)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_what_times_out_gives_its_permit_back(transport: str) -> None:
    async with running(
        0.1, rate=500, permits=4, service_time_s=60.0, request_timeout_s=0.05, transport=transport
    ) as engine:
        await until_adding_up(engine, lambda swarm: swarm.totals.timeouts >= 12)


async def test_a_turn_of_the_loop_is_bounded_however_much_is_due() -> None:
    async with running(0.0, rate=100_000, clients=100, transport="udp", request_timeout_s=0.05) as engine:
        await until_adding_up(engine, lambda swarm: swarm.totals.responses >= 100)
        before = swarm_of(engine)
        for _ in range(60):
            await asyncio.sleep(0)
            now = added_up(engine)
            # Those of this turn, and those that the one before had left.
            assert now.totals.requests - before.totals.requests <= 2 * AT_ONCE
            before = now
    end = added_up(engine)
    assert end.totals.requests_due == end.totals.requests + end.totals.requests_dropped
    assert end.schedule_lateness.total == end.totals.requests_due


async def test_the_queue_is_bounded_and_what_finds_it_full_is_dropped() -> None:
    async with running(0.0, rate=1_000_000, clients=1, service_time_s=60.0) as engine:
        swarm = await until_adding_up(engine, lambda swarm: swarm.totals.requests_dropped > 1_000)
        assert swarm.queued == QUEUED_MOST
        counted = swarm.response_awaited.total
        assert 0.9 * QUEUED_MOST < counted <= QUEUED_MOST + swarm.in_flight, "some stand for all"
    end = added_up(engine)
    assert end.response_unanswered.total == end.totals.requests_dropped + end.queued + end.totals.failed


@pytest.mark.parametrize("catchup", [True, False], ids=["catchup", "no-catchup"])
async def test_a_stall_is_caught_up_with_or_the_rate_is_never_exceeded(catchup: bool) -> None:
    rate = 500
    async with running(rate=rate, catchup=catchup) as engine:
        await until_adding_up(engine, lambda swarm: swarm.totals.responses >= 20)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop is to stand still
        before = swarm_of(engine).totals.responses
        await until_adding_up(engine, lambda swarm: swarm.totals.responses >= before + 60)
        sent_s = [exchange.time_s for exchange in exchanges_of(engine)]
        dropped = added_up(engine).totals.requests_dropped
    if catchup:
        assert not dropped
        return
    assert dropped >= 40
    for at, first_s in enumerate(sent_s):
        for count, last_s in enumerate(sent_s[at:]):
            assert count <= rate * (last_s - first_s + LAPSE_S) + 1.01


@kinds
async def test_the_loop_is_opened_and_closed_on_the_same_connections(kind: dict[str, Any]) -> None:
    # No more in flight than the buffer of a socket takes, should the machine hold the clients up.
    async with running(permits=32, **kind) as engine:
        for rate in (500, 0, 1_000, 0):
            await tune(engine, rate=rate)
            before = swarm_of(engine).totals.responses
            await until_adding_up(engine, lambda swarm, before=before: swarm.totals.responses >= before + 20)
    swarm = added_up(engine)
    assert swarm.totals.connections_opened == 4
    assert not swarm.totals.failed
    assert not swarm.queued


@pytest.mark.parametrize("turned", [{"think_time_s": 60.0}, {"pool": 2}, {"permits": 1}, {"lifetime": 3}])
async def test_whatever_clients_wait_for_ends_when_the_loop_is_opened(turned: dict[str, Any]) -> None:
    async with running(**turned) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 2)
        await tune(engine, rate=1_000)
        before = swarm_of(engine).totals.responses
        await until_adding_up(engine, lambda swarm: swarm.totals.responses >= before + 50)
        await tune(engine, rate=0)
        await until(lambda: not swarm_of(engine).queued)


async def test_a_number_of_requests_is_due_and_no_more() -> None:
    async with running(rate=2_000, requests=50) as engine:
        await engine.wait()
    swarm = added_up(engine)
    assert swarm.totals.requests_due == swarm.totals.responses == 50


async def test_a_rate_beyond_what_a_turn_takes_makes_no_more_requests_due_than_asked_for() -> None:
    async with running(rate=1_000_000, requests=10) as engine:
        await engine.wait()
        assert swarm_of(engine).totals.requests_due == 10


async def test_nothing_is_due_while_the_traffic_is_paused() -> None:
    async with running(rate=100_000) as engine:
        await until_adding_up(engine, lambda swarm: swarm.totals.responses >= 10)
        engine.pause()
        paused = added_up(engine).totals
        due, sent = paused.requests_due, paused.requests
        for _ in range(100):
            await asyncio.sleep(0)
        assert added_up(engine).totals.requests_due == due
        engine.resume()
        await until_adding_up(engine, lambda swarm: swarm.totals.requests > sent)


async def test_what_is_due_at_a_pause_is_counted_then_and_nothing_after_it() -> None:
    async with running(rate=100_000, clients=1, service_time_s=60.0, request_timeout_s=120.0) as engine:
        await until_adding_up(engine, lambda swarm: swarm.totals.requests_due >= 100)
        await engine.conclude()
        ended = added_up(engine)
        assert ended.schedule_lateness.total == ended.totals.requests_due
        await engine.stop(0.0)
        stopped = added_up(engine)
        assert stopped.totals.requests_due == ended.totals.requests_due == stopped.response_unanswered.total
