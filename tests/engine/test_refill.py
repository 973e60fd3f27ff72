"""Budgets of requests that are filled again, and the times of a batch."""

from __future__ import annotations

import asyncio

import pytest

from sockscope.core.run.snapshot import RoleSnapshot
from sockscope.engine.engine import Engine
from sockscope.errors import StateError
from tests.engine.runs import EVERYTHING, running, swarm_of
from tests.waiting import until


async def settled(engine: Engine) -> RoleSnapshot:
    """Return what the clients have done up to this moment."""
    await engine.settle()
    return swarm_of(engine)


transports = pytest.mark.parametrize("transport", ["tcp", "udp"])


@pytest.mark.parametrize("permits", [0, 3])
@transports
async def test_a_batch_makes_as_many_connections_as_requests(transport: str, permits: int) -> None:
    async with running(transport=transport, lifetime=1, clients=8, permits=permits, requests=20) as engine:
        await engine.wait()
        totals = swarm_of(engine).totals
        assert (totals.requests, totals.responses, totals.connections_opened) == (20, 20, 20)
        engine.refill(13)
        await engine.wait()
        totals = swarm_of(engine).totals
        assert (totals.requests, totals.responses, totals.connections_opened) == (33, 33, 33)


@transports
async def test_persistent_clients_go_on_after_a_refill(transport: str) -> None:
    async with running(transport=transport, clients=4, requests=10) as engine:
        await engine.wait()
        before = swarm_of(engine)
        engine.refill(30)
        await engine.wait()
        after = swarm_of(engine)
        assert after.totals.responses == 40
        assert after.totals.connections_opened == 4
        assert before.began_s < before.last_answer_s < after.began_s < after.last_answer_s


async def test_the_times_of_a_batch_enclose_its_exchanges() -> None:
    async with running(lifetime=1, clients=4, requests=5) as engine:
        await engine.wait()
        engine.refill(12)
        await engine.wait()
        swarm = swarm_of(engine, EVERYTHING)
        batch = swarm.exchanges[5:]
        assert len(batch) == 12
        assert swarm.exchanges[4].time_s < swarm.began_s < min(e.time_s for e in batch)
        ends = [e.time_s + e.service_time_s for e in batch if e.service_time_s is not None]
        assert swarm.last_answer_s == pytest.approx(max(ends), abs=1e-9)


@pytest.mark.parametrize(("place", "processes"), [("child", 1), ("apart", 1), ("apart", 3)])
async def test_clients_in_other_processes_are_refilled(place: str, processes: int) -> None:
    async with running(
        place=place, swarm_processes=processes, lifetime=1, clients=8, requests=20
    ) as engine:  # fmt: skip
        await engine.wait()
        for more, wanted in ((13, 33), (1, 34), (50, 84)):
            began = (await settled(engine)).began_s
            engine.refill(more)
            await engine.wait()
            swarm = await settled(engine)
            totals = swarm.totals
            assert (totals.requests, totals.responses, totals.connections_opened) == (wanted,) * 3
            assert began < swarm.began_s < swarm.last_answer_s


@pytest.mark.parametrize("place", ["loop", "child"])
async def test_a_run_that_rests_goes_on_and_can_be_asked(place: str) -> None:
    async with running(place=place, clients=2) as engine:
        engine.rest(True)
        engine.rest(True)
        before = (await settled(engine)).totals.responses
        await asyncio.sleep(0)
        while (await settled(engine)).totals.responses == before:
            pass
        assert all(process.state == "running" for process in engine.snapshot().processes)
        engine.rest(False)
        seen = swarm_of(engine).totals.responses
        await until(lambda: swarm_of(engine).totals.responses > seen, what="reports come by themselves")


async def test_a_server_alone_has_nothing_to_refill() -> None:
    async with running(role="server") as engine:
        with pytest.raises(StateError, match="make more requests"):
            engine.refill(1)
