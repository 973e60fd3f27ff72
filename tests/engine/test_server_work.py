"""How servers on an event loop spend the service time, whom they admit, and how much a read takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.config.applicability import idle_fields
from sockscope.core.config.models import ServerModel
from sockscope.core.wire.framing import encode
from sockscope.engine.limiter import Limiter
from sockscope.engine.loops import loop_name
from sockscope.engine.servers.endpoint import Endpoint
from sockscope.engine.servers.registry import model_for
from tests.engine.runs import experiment, running, server_of, swarm_of, tune
from tests.engine.test_server_conformance import Peer, Served, connected, numbered, serving
from tests.waiting import until

TCP_MODELS = [model_for("tcp", name) for name in ("streams", "protocol", "buffered")]
MODELS = [*TCP_MODELS, model_for("udp", "datagram")]
models = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
tcp_models = pytest.mark.parametrize("model", TCP_MODELS, ids=lambda model: model.name)
DELAY_S = 0.03


def wire_for(model: ServerModel, number: int) -> bytes:
    """Return a request that is told apart by its number."""
    return encode("length", b"%04d" % number) if model.transport == "tcp" else numbered(number)


@asynccontextmanager
async def crowd(served: Served, count: int) -> AsyncIterator[list[Peer]]:
    """Connect so many peers."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(served)) for _ in range(count)]


def admission(served: Served) -> Limiter:
    endpoint: Any = served.endpoint
    found = endpoint.context.admission
    assert isinstance(found, Limiter)
    return found


async def retune(endpoint: Endpoint, **changes: Any) -> None:
    current: Any = endpoint
    await endpoint.apply(replace(current.tuning, **changes), 1)


@models
@pytest.mark.parametrize("work", ["wait", "cpu", "block"])
async def test_only_waiting_lets_the_loop_go_on(model: ServerModel, work: str) -> None:
    wire = wire_for(model, 1)
    turns: list[float] = []

    async def turn_over() -> None:
        while True:
            turns.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    # Long enough for many turns of a loop that the machine holds up now and then.
    delay_s = 0.2 if work == "wait" else DELAY_S
    async with serving(model, work=work, service_time_s=delay_s) as served, connected(served) as peer:
        turning = asyncio.create_task(turn_over())
        sent_s = loop.time()
        await peer.send(wire)
        assert await peer.recv() == wire
        done_s = loop.time()
        turning.cancel()
        await asyncio.wait([turning])
    gaps = [after - before for before, after in zip(turns, [*turns[1:], done_s], strict=True)]
    if work == "wait":
        assert sum(turn >= sent_s for turn in turns) > 10
    else:
        # Loop time has a resolution of 1 ms on uvloop.
        assert max(gaps) >= DELAY_S * 0.9


@models
@pytest.mark.parametrize("work", ["wait", "cpu", "block"])
async def test_work_of_any_kind_answers_everything_in_order(model: ServerModel, work: str) -> None:
    wires = [wire_for(model, number) for number in range(1, 21)]
    async with (
        serving(model, work=work, service_time_s=0.001, server_permits=2) as served,
        connected(served) as peer,
    ):
        for wire in wires:
            await peer.send(wire)
        assert await peer.recv_exactly(sum(map(len, wires))) == b"".join(wires)
        assert (served.record().frames_in, served.record().frames_out) == (20, 20)
        await until(lambda: admission(served).in_flight == 0)


@models
@pytest.mark.parametrize("service_time_s", [0.0, 0.004])
async def test_no_more_are_served_than_are_admitted_and_the_first_come_first(
    model: ServerModel, service_time_s: float
) -> None:
    async with (
        serving(model, server_permits=2, service_time_s=service_time_s) as served,
        crowd(served, 12) as peers,
    ):
        seen: list[int] = []
        for number, peer in enumerate(peers, start=1):
            await peer.send(wire_for(model, number))
            await served.asked(number)
            seen.append(admission(served).in_flight)
        for number, peer in enumerate(peers, start=1):
            assert await peer.recv() == wire_for(model, number)
            seen.append(admission(served).in_flight)
        assert max(seen) <= 2
        await until(lambda: admission(served).in_flight == 0)
        served.recorder.fold()
        order = [request for _, _, _, request, _ in served.recorder.exchanges.since(0).items]
        assert order == [wire_for(model, number) for number in range(1, 13)]
        statistics = admission(served).statistics()
        assert (statistics.acquired, statistics.waiting) == (12, 0)


@models
async def test_the_limit_is_put_on_and_taken_off_in_the_middle_of_things(model: ServerModel) -> None:
    wire = wire_for(model, 1)
    async with serving(model, service_time_s=60.0) as served, crowd(served, 9) as peers:
        for number, peer in enumerate(peers[:5], start=1):
            await peer.send(wire)
            await served.asked(number)
        await until(lambda: served.recorder.totals().requests == 5)
        limiter = admission(served)
        assert limiter.in_flight == 0
        await retune(served.endpoint, server_permits=3)
        assert limiter.in_flight == 5
        for number, peer in enumerate(peers[5:], start=6):
            await peer.send(wire)
            await served.asked(number)
        await until(lambda: limiter.waiting == 4)
        await retune(served.endpoint, server_permits=7)
        assert (limiter.in_flight, limiter.waiting) == (7, 2)
        await retune(served.endpoint, server_permits=0)
        assert (limiter.in_flight, limiter.waiting) == (9, 0)


@tcp_models
async def test_who_leaves_gives_back_what_it_held_and_where_it_stood(model: ServerModel) -> None:
    wire = wire_for(model, 1)
    async with serving(model, service_time_s=60.0, server_permits=3) as served, crowd(served, 8) as peers:
        limiter = admission(served)
        for number, peer in enumerate(peers, start=1):
            await peer.send(wire)
            await served.asked(number)
        await until(lambda: limiter.waiting == 5)
        peers[0].reset()  # held a permit
        peers[7].reset()  # waited
        await until(lambda: (limiter.in_flight, limiter.waiting) == (3, 3))
        for peer in peers[1:7]:
            peer.reset()
        await until(lambda: (limiter.in_flight, limiter.waiting) == (0, 0))


async def test_the_role_tells_whom_it_admits() -> None:
    async with running(clients=10, service_time_s=0.002, server_permits=2) as engine:
        for transport in ("tcp", "udp"):
            await tune(engine, transport=transport)
            waited = server_of(engine).limiter.waited
            await until(lambda w=waited: server_of(engine).limiter.waited > w + 50)  # type: ignore[misc]
            await until(lambda: server_of(engine).limiter.waiting > 4)
            limiter = server_of(engine).limiter
            assert (limiter.permits, limiter.in_flight) == (2, 2)
        await tune(engine, server_permits=0)
        await until(lambda: server_of(engine).limiter.waiting == 0)
        assert (swarm_of(engine).totals.errors, swarm_of(engine).totals.timeouts) == (0, 0)


# Reads.


@tcp_models
async def test_a_read_takes_no_more_than_it_may(model: ServerModel) -> None:
    wire = encode("length", b"x" * 19_996)
    async with serving(model, read_bytes=1_000) as served, connected(served) as peer:
        await peer.send(wire)
        assert await peer.recv_exactly(len(wire)) == wire
        record = served.record()
        chosen = experiment(server=model.name, loop=loop_name(asyncio.get_running_loop()))
        if "read_bytes" in idle_fields(chosen, chosen.tuning):
            assert record.reads < 20
            return
        assert record.reads >= 20
        reads = record.reads
        await retune(served.endpoint, read_bytes=0)
        await peer.send(wire)
        assert await peer.recv_exactly(len(wire)) == wire
        assert record.reads - reads < 20


async def test_a_datagram_is_cut_at_the_size_of_the_read() -> None:
    async with serving(model_for("udp"), read_bytes=100) as served, connected(served) as peer:
        peer.sock.send(numbered(1, b"x" * 500))
        assert await peer.recv() == numbered(1, b"x" * 92)
        await retune(served.endpoint, read_bytes=0)
        peer.sock.send(numbered(2, b"x" * 500))
        assert await peer.recv() == numbered(2, b"x" * 500)
