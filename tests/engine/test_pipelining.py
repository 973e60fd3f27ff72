"""Several requests of a client under way at once: depth, batch, and what becomes of each request."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from sockscope.core.config.models import CLIENT_MODELS, TRANSPORTS
from sockscope.core.run.snapshot import Totals
from sockscope.core.wire.framing import encode
from tests.engine.peers import Scripted, tcp_peer
from tests.engine.runs import exchanges_of, running, server_of, swarm_of, tune
from tests.waiting import until

clients = pytest.mark.parametrize("client", [m.name for m in CLIENT_MODELS.values() if m.pipelines])
transports = pytest.mark.parametrize("transport", TRANSPORTS)


def against(port: int, **values: Any) -> Any:
    return running(grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", **values)


def balanced(totals: Totals) -> bool:
    return totals.requests == totals.responses + totals.timeouts + totals.errors


DEEP: dict[str, dict[str, Any]] = {
    "deep": {"depth": 8},
    "batch": {"depth": 8, "batch": 3, "service_time_s": 0.001},
    "permits": {"depth": 5, "batch": 5, "framing": "newline", "permits": 2},
    "short": {"depth": 4, "request_bytes": 3, "framing": "fixed", "server_permits": 2},
    "lifetime": {"depth": 3, "batch": 2, "request_bytes": 4_000, "lifetime": 10},
}
PAIRS = [
    ("selector", "protocol"), ("protocol", "protocol"), ("streams", "protocol"),
    ("selector", "streams"), ("selector", "buffered"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("client", "server", "name"),
    [
        *((*PAIRS[0], name) for name in DEEP),
        *((*pair, name) for pair, name in zip(PAIRS[1:], DEEP, strict=False)),
    ],
)
async def test_the_two_ends_count_the_same(client: str, server: str, name: str) -> None:
    async with running(client=client, server=server, **DEEP[name]) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 150)
    swarm, served = swarm_of(engine).totals, server_of(engine).totals
    assert (swarm.errors, swarm.timeouts, served.errors) == (0, 0, 0)
    assert swarm.requests == swarm.responses == served.requests == served.responses
    assert (swarm.bytes_in, swarm.bytes_out) == (served.bytes_out, served.bytes_in)
    assert swarm_of(engine).service_time.total == swarm.responses
    assert swarm_of(engine).in_flight == swarm_of(engine).limiter.in_flight == 0


@pytest.mark.parametrize(
    ("depth", "batch", "writes"), [(1, 1, 60), (6, 1, 60), (6, 2, 30), (6, 4, 20), (6, 6, 10)]
)
async def test_a_batch_is_one_write(depth: int, batch: int, writes: int) -> None:
    async with running(clients=1, depth=depth, batch=batch, requests=60) as engine:
        async with asyncio.timeout(60):
            await engine.wait()
        totals = swarm_of(engine).totals
    assert (totals.requests, totals.responses, totals.writes) == (60, 60, writes)


async def test_a_client_sends_its_whole_turn_and_then_waits() -> None:
    held: list[tuple[Scripted, bytes]] = []

    def hold(connection: Scripted, data: bytes) -> None:
        held.append((connection, data))

    async with (
        tcp_peer(hold) as port,
        against(port, clients=3, depth=4, permits=2, request_timeout_s=60.0, requests=12) as engine,
    ):
        await until(lambda: sum(len(data) for _, data in held) == 2 * 4 * 68)
        swarm = swarm_of(engine)
        # A permit is for a turn, so two clients have four requests under way each.
        assert (swarm.limiter.in_flight, swarm.limiter.waiting, swarm.in_flight) == (2, 1, 8)
        for connection in {connection for connection, _ in held}:
            sent = b"".join(data for other, data in held if other is connection)
            frames = [sent[at : at + 68] for at in range(0, len(sent), 68)]
            assert len(set(frames)) == 4
            connection.transport.write(frames[0])
        await until(lambda: swarm_of(engine).in_flight == 6)
        assert swarm_of(engine).limiter.in_flight == 2
        for connection in {connection for connection, _ in held}:
            connection.transport.write(b"".join(data for other, data in held if other is connection)[68:])
        await until(lambda: swarm_of(engine).totals.requests == 12)
    assert balanced(swarm_of(engine).totals)


@clients
@transports
@pytest.mark.parametrize("values", [{"depth": 7, "requests": 333}, {"depth": 64, "requests": 10}], ids=str)
async def test_a_budget_is_spent_to_the_last_request(
    client: str, transport: str, values: dict[str, Any]
) -> None:
    async with running(client=client, transport=transport, clients=5, batch=3, **values) as engine:
        async with asyncio.timeout(60):
            await engine.wait()
        totals = swarm_of(engine).totals
        assert totals.requests == totals.responses == values["requests"]


@clients
async def test_answers_in_any_pieces_are_told_apart(client: str) -> None:
    chance = random.Random(7)

    def talk(connection: Scripted, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        waiting = bytearray(data)
        connection.plan = lambda _, more: waiting.extend(more)

        def some() -> None:
            if connection.transport.is_closing():
                return
            size = chance.choice((1, 40, 68, 100, 300))
            connection.transport.write(bytes(waiting[:size]))
            del waiting[:size]
            loop.call_later(0.0005, some)

        some()

    async with (
        tcp_peer(talk) as port,
        against(port, client=client, clients=2, depth=6, requests=120) as engine,
    ):
        async with asyncio.timeout(60):
            await engine.wait()
        totals = swarm_of(engine).totals
        assert (totals.responses, totals.errors) == (120, 0)
        requests = Counter(exchange.head for exchange in exchanges_of(engine))
        # 60 numbers from each of the two clients.
        assert len(requests) == 120


@clients
async def test_answers_in_another_order_are_not_the_answers(client: str) -> None:
    def swap(connection: Scripted, data: bytes) -> None:
        frames = [data[at : at + 68] for at in range(0, len(data), 68)]
        if len(frames) > 2:
            frames[1], frames[2] = frames[2], frames[1]
        connection.transport.write(b"".join(frames))

    async with tcp_peer(swap) as port, against(port, client=client, clients=1, depth=4, batch=4) as engine:
        await until(lambda: swarm_of(engine).totals.errors >= 9)
    totals = swarm_of(engine).totals
    assert balanced(totals)
    # Of each turn one answer was right, and the three behind it are errors.
    outcomes = Counter(exchange.outcome for exchange in exchanges_of(engine))
    assert outcomes["garbage"] >= 9
    assert outcomes["ok"] == totals.responses


@clients
async def test_answers_before_garbage_count_though_one_read_has_both(client: str) -> None:
    def talk(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data[: 2 * 68] + b"\xff\xff\xff\xff")

    async with tcp_peer(talk) as port, against(port, client=client, clients=1, depth=4, batch=4) as engine:
        await until(lambda: swarm_of(engine).totals.errors >= 4)
    totals = swarm_of(engine).totals
    assert balanced(totals)
    assert totals.responses == totals.errors


@clients
async def test_what_is_not_answered_in_time_times_out_and_nothing_else(client: str) -> None:
    def half(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data[: 2 * 68])

    async with (
        tcp_peer(half) as port,
        against(port, client=client, clients=2, depth=4, batch=4, request_timeout_s=0.05) as engine,
    ):
        await until(lambda: swarm_of(engine).totals.timeouts >= 12)
        totals = swarm_of(engine).totals
        assert totals.errors == 0
        assert totals.timeouts % 2 == 0
    swarm = swarm_of(engine)
    assert balanced(swarm.totals)
    outcomes = Counter(exchange.outcome for exchange in exchanges_of(engine))
    assert outcomes["ok"] == swarm.totals.responses == swarm.service_time.total
    assert outcomes["timeout"] == swarm.totals.timeouts
    assert outcomes.total() == swarm.totals.requests


@clients
async def test_whatever_a_server_does_every_request_has_one_end(client: str) -> None:
    def talk(connection: Scripted, data: bytes) -> None:
        match (connection.turn + id(connection) // 64) % 7:
            case 0:
                connection.transport.close()
            case 1:
                connection.transport.abort()
            case 2:
                connection.transport.write(data[:68] + encode("length", b"no"))
            case 3:
                connection.transport.write(data[:100])
            case _:
                connection.transport.write(data)

    async with (
        tcp_peer(talk) as port,
        against(
            port, client=client, clients=20, permits=7, depth=5, batch=2, request_timeout_s=0.05
        ) as engine,
    ):
        await until(
            lambda: (
                swarm_of(engine).totals.responses > 100
                and swarm_of(engine).totals.timeouts > 5
                and swarm_of(engine).totals.errors > 20
            )
        )
    swarm = swarm_of(engine)
    assert balanced(swarm.totals)
    assert swarm.limiter.in_flight == swarm.in_flight == 0
    outcomes = Counter(exchange.outcome for exchange in exchanges_of(engine))
    assert outcomes["ok"] == swarm.totals.responses == swarm.service_time.total
    # Of some a part had come when they timed out or the connection ended.
    assert outcomes["timeout"] <= swarm.totals.timeouts <= outcomes["timeout"] + outcomes["short"]
    assert outcomes.total() == swarm.totals.requests


async def test_depth_and_batch_change_while_the_run_goes_on() -> None:
    async with running(clients=4) as engine:
        opened = swarm_of(engine).totals.connections_opened
        for changes in ({"depth": 16}, {"batch": 8}, {"batch": 1}, {"depth": 2}, {"depth": 1}):
            answered = swarm_of(engine).totals.responses
            await tune(engine, **changes)
            await until(lambda a=answered: swarm_of(engine).totals.responses > a + 200)  # type: ignore[misc]
        await until(lambda: swarm_of(engine).in_flight == 4)
        totals = swarm_of(engine).totals
        assert (totals.errors, totals.timeouts) == (0, 0)
        assert totals.connections_opened == max(opened, 4)


@transports
async def test_both_ends_of_an_exchange_are_found_among_many(transport: str) -> None:
    async with running(transport=transport, clients=2, depth=5, batch=5, requests=200) as engine:
        await engine.wait()
        for exchange in exchanges_of(engine)[-40:]:
            capture = await engine.capture(exchange.record_id)
            assert capture is not None
            assert capture.server is not None
            assert capture.server.request.data == capture.request.data
            assert capture.response is not None
            assert capture.response.data == capture.request.data


@transports
async def test_pausing_lets_the_turn_end(transport: str) -> None:
    async with running(transport=transport, clients=3, depth=6, service_time_s=0.002) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 50)
        engine.pause()
        await until(lambda: swarm_of(engine).in_flight == 0)
        totals = swarm_of(engine).totals
        assert totals.requests == totals.responses
        assert totals.requests % 6 == 0
        engine.resume()
        await until(lambda: swarm_of(engine).totals.responses > totals.responses + 50)
