"""The clients of a swarm over TCP: how many, how long, and what they make of a server that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest

from sockscope.core.config.models import CLIENTS, POOL_THREADS
from sockscope.core.events import CloseReason
from sockscope.core.run.figures import figures
from sockscope.core.run.snapshot import RoleSnapshot, RunState
from sockscope.core.wire.framing import encode
from sockscope.engine.engine import Engine
from sockscope.engine.swarm.links import LINKS
from tests.engine.peers import Scripted, echo, tcp_peer
from tests.engine.runs import connections_of, exchanges_of, running, server_of, swarm_of, tune
from tests.ports import unused_port
from tests.waiting import until

TCP_CLIENTS = list(CLIENTS)
tcp_clients = pytest.mark.parametrize("client", TCP_CLIENTS)
ATTEMPTS = 3
"""A machine that holds the loop up for longer than is listened spoils one; a fault spoils each."""
KINDS: list[dict[str, Any]] = [{"transport": transport, "client": name} for transport, name in LINKS]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))


async def until_swarm(engine: Engine, predicate: Any, what: str = "") -> RoleSnapshot:
    await until(lambda: predicate(swarm_of(engine)), what=what)
    return swarm_of(engine)


def reasons(engine: Engine) -> Counter[str]:
    """Return how the closed connections of the clients ended."""
    swarm = connections_of(engine, "swarm").swarm
    assert swarm is not None
    return Counter(view.close_reason.value for view in swarm.connections if view.close_reason)


def write_if_open(connection: Scripted, data: bytes) -> None:
    if not connection.transport.is_closing():
        connection.transport.write(data)


async def answered(engine: Engine, more: int = 20) -> None:
    """Wait until so many more requests have been answered."""
    before = swarm_of(engine).totals.responses
    await until(lambda: swarm_of(engine).totals.responses >= before + more, what=f"{more} more answers")


# How many and how long.


@kinds
async def test_the_swarm_grows_and_shrinks(kind: dict[str, Any]) -> None:
    async with running(**kind, clients=4) as engine:
        for clients in (4, 40, 3, 1, 10):
            await tune(engine, clients=clients)
            await until_swarm(engine, lambda swarm, n=clients: swarm.connections_open == n)
            await answered(engine)
            assert swarm_of(engine).clients == clients
        totals = swarm_of(engine).totals
        assert (totals.errors, totals.timeouts) == (0, 0)
        assert reasons(engine).keys() <= {"retired"}


@tcp_clients
async def test_retired_clients_finish_their_request(client: str) -> None:
    async with running(client=client, clients=20, service_time_s=0.05) as engine:
        await until_swarm(engine, lambda swarm: swarm.in_flight == 20)
        await tune(engine, clients=1)
        await until_swarm(engine, lambda swarm: swarm.connections_open == 1)
        totals = swarm_of(engine).totals
        assert totals.responses >= 19
        assert totals.errors == 0


@kinds
@pytest.mark.parametrize("lifetime", [1, 7])
async def test_a_connection_carries_as_many_requests_as_its_lifetime(
    kind: dict[str, Any], lifetime: int
) -> None:
    async with running(**kind, lifetime=lifetime, requests=lifetime * 30) as engine:
        await engine.wait()
        swarm = connections_of(engine, "swarm").swarm
        assert swarm is not None
        closed = [view for view in swarm.connections if view.close_reason is CloseReason.LIFETIME]
        assert {view.requests for view in closed} == {lifetime}
        # The last of them may be closing still; who had finished has a fresh connection.
        assert 26 <= len(closed) <= 30
        await until(lambda: server_of(engine).totals.requests == lifetime * 30)
        assert server_of(engine).totals.datagrams_duplicated == 0
        assert server_of(engine).totals.datagrams_lost == 0


@tcp_clients
async def test_no_connection_is_closed_nor_made_while_the_traffic_is_paused(client: str) -> None:
    async with running(client=client, clients=6, lifetime=1, service_time_s=0.005) as engine:
        await until_swarm(engine, lambda swarm: swarm.in_flight == 6)
        engine.pause()
        opened = swarm_of(engine).totals.connections_opened
        await until_swarm(engine, lambda swarm: not swarm.in_flight)
        await until_swarm(engine, lambda swarm: not swarm.clients_connecting and swarm.connections_open == 6)
        assert swarm_of(engine).totals.connections_opened == opened
        engine.resume()
        await until_swarm(engine, lambda swarm: swarm.totals.connections_opened > opened + 12)
        swarm = swarm_of(engine)
        assert swarm.totals.requests <= swarm.totals.connections_opened


async def test_who_has_nothing_to_ask_waits_for_no_connection() -> None:
    async with running(clients=50, lifetime=1, requests=20) as engine:
        await engine.wait()
        swarm = swarm_of(engine)
        assert (swarm.totals.connections_opened, swarm.clients_connecting) == (20, 0)


@tcp_clients
async def test_who_has_nothing_left_to_ask_keeps_no_server_from_the_others(client: str) -> None:
    """It serves one connection at a time, and the budget is spent before the last of these is over."""
    asks = {"clients": 5, "permits": 0, "lifetime": 7, "requests": 60, "service_time_s": 0.0}
    async with running(server="blocking", client=client, request_timeout_s=60.0, **asks) as engine:
        await engine.wait()
        assert swarm_of(engine).totals.responses == 60


@tcp_clients
async def test_turning_the_lifetime_on_ends_connections_that_are_over_it(client: str) -> None:
    async with running(client=client, clients=3) as engine:
        await answered(engine, 50)
        await tune(engine, lifetime=5)
        await until(lambda: swarm_of(engine).totals.connections_opened > 10)
        assert swarm_of(engine).totals.errors == 0


def no_delay(swarm: RoleSnapshot) -> list[int | None]:
    """Return TCP_NODELAY of a client's socket, as the kernel has it."""
    return [option.effective for option in swarm.socket_options if option.name == "TCP_NODELAY"]


@tcp_clients
async def test_turning_no_delay_changes_the_sockets_that_are_open(client: str) -> None:
    async with running(client=client, clients=3, no_delay=False) as engine:
        await answered(engine, 20)
        for asked in (0, 1, 0):
            await tune(engine, no_delay=bool(asked))
            await until_swarm(engine, lambda swarm, asked=asked: no_delay(swarm) == [asked])
        assert swarm_of(engine).totals.connections_opened == 3


@tcp_clients
@pytest.mark.parametrize("lifetime", [0, 1])
async def test_a_client_that_thinks_asks_nothing_and_a_shorter_think_time_acts_at_once(
    client: str, lifetime: int
) -> None:
    async with running(client=client, clients=5, think_time_s=60.0, lifetime=lifetime) as engine:
        left = 0 if lifetime else 5
        await until_swarm(engine, lambda swarm: swarm.totals.responses == 5 and not swarm.in_flight)
        await until_swarm(engine, lambda swarm: swarm.connections_open == left)
        await tune(engine, request_bytes=100)
        assert swarm_of(engine).totals.requests == 5
        await tune(engine, think_time_s=0.001)
        await answered(engine, 50)


@kinds
async def test_no_more_requests_are_in_flight_than_there_are_permits(kind: dict[str, Any]) -> None:
    permits = 3
    async with running(**kind, clients=12, permits=permits, service_time_s=0.001) as engine:
        await until(lambda: server_of(engine).totals.requests > 0)
        for _ in range(60):
            server = server_of(engine).totals
            assert server.requests - server.responses <= permits
            assert swarm_of(engine).limiter.in_flight <= permits
            await asyncio.sleep(0)
        await answered(engine)
        await until_swarm(engine, lambda swarm: swarm.limiter.waiting >= 12 - permits - 1)
        await tune(engine, permits=0)
        await until_swarm(engine, lambda swarm: swarm.in_flight > permits)


@kinds
@pytest.mark.parametrize(("clients", "permits"), [(1, 0), (7, 3)])
async def test_a_budget_of_requests_is_spent_to_the_last_one(
    kind: dict[str, Any], clients: int, permits: int
) -> None:
    async with running(**kind, clients=clients, permits=permits, requests=133) as engine:
        async with asyncio.timeout(60):
            await engine.wait()
        totals = swarm_of(engine).totals
        assert (totals.requests, totals.responses) == (133, 133)
        assert server_of(engine).totals.requests == 133
        engine.pause()
        engine.resume()
        await tune(engine, request_bytes=100)
    assert swarm_of(engine).totals.requests == 133


@kinds
async def test_paused_traffic_stops_and_goes_on(kind: dict[str, Any]) -> None:
    async with running(**kind, clients=6, service_time_s=0.002) as engine:
        await answered(engine)
        engine.pause()
        await until_swarm(engine, lambda swarm: not swarm.in_flight)
        totals = swarm_of(engine).totals
        assert totals.requests == totals.responses
        await tune(engine, clients=9)
        await until_swarm(engine, lambda swarm: swarm.connections_open == 9)
        assert swarm_of(engine).totals.requests == totals.requests
        assert swarm_of(engine).awaited_since_s == 0
        resumed_s = perf_counter()
        engine.resume()
        await until_swarm(engine, lambda swarm: swarm.awaited_since_s > resumed_s)
        await answered(engine)
        assert swarm_of(engine).totals.errors == 0


@tcp_clients
async def test_pause_holds_what_waits_for_a_permit_too(client: str) -> None:
    async with running(client=client, clients=10, permits=1, service_time_s=0.002) as engine:
        await answered(engine, 5)
        engine.pause()
        await until_swarm(engine, lambda swarm: not swarm.in_flight and not swarm.limiter.waiting)
        engine.resume()
        await answered(engine, 12)


async def test_the_client_model_changes_while_the_run_goes_on() -> None:
    async with running(clients=12, permits=5) as engine:
        for client in ("streams", "blocking", "protocol", "selector", "blocking"):
            await answered(engine, 40)
            await tune(engine, client=client)
            if client == "blocking":
                await answered(engine, 40)
                await tune(engine, transport="udp" if engine.tuning.transport == "tcp" else "tcp")
            await until_swarm(engine, lambda swarm: not swarm.rolling and swarm.connections_open == 12)
        await answered(engine, 100)
        totals = swarm_of(engine).totals
        assert (totals.errors, totals.timeouts) == (0, 0)
        assert totals.connections_opened >= 6 * 12
    counts_add_up(swarm_of(engine))


# Threads that connect at once are heard of in another order than they stand in the backlog: the first
# permits may be those of clients that have to time out.
@pytest.mark.parametrize("client", [name for name in TCP_CLIENTS if name != "blocking"])
@pytest.mark.parametrize(("permits", "server"), [(1, "blocking"), (4, "blocking"), (3, "pool")])
async def test_who_waits_in_the_backlog_keeps_no_permit_from_who_is_served(
    client: str, permits: int, server: str
) -> None:
    served = 1 if server == "blocking" else POOL_THREADS
    # A permit that is kept in the backlog would be back after 30 seconds.
    async with running(
        client=client, clients=served + 5, permits=permits, server=server, request_timeout_s=30.0, grace_s=0.0
    ) as engine:
        await until_swarm(engine, lambda swarm: swarm.connections_open == served + 5)
        await answered(engine, 60)
        await until(lambda: server_of(engine).connections_open == served)
        # Whose connections end make room for others, with permits and without.
        await tune(engine, lifetime=5)
        await answered(engine, 100)
        await tune(engine, lifetime=0)
        await answered(engine)
        swarm = swarm_of(engine)
        assert swarm.limiter.waited <= swarm.limiter.acquired == swarm.totals.requests
        await tune(engine, permits=0)
        await until_swarm(engine, lambda swarm: swarm.limiter.waiting == 0)
        await answered(engine)


async def test_a_pool_of_connections_leaves_out_those_in_the_backlog() -> None:
    async with running(clients=20, pool=5, permits=3, server="blocking", lifetime=50, grace_s=0.0) as engine:
        await until_swarm(engine, lambda swarm: swarm.connections_open == 5)
        await answered(engine, 400)
        swarm = swarm_of(engine)
        assert swarm.limiter.acquired == swarm.totals.requests
        # Who has a connection and waits for a permit has not asked yet.
        assert swarm.pool.acquired == swarm.totals.requests


# Servers that misbehave.


def against(port: int, **values: Any) -> Any:
    """Run a swarm alone against a port of this machine."""
    return running(grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", **values)


def counts_add_up(swarm: RoleSnapshot) -> None:
    totals = swarm.totals
    assert totals.requests == totals.responses + totals.timeouts + totals.errors


@kinds
async def test_what_is_answered_after_its_timeout_has_timed_out_though_the_loop_was_held_up(
    kind: dict[str, Any],
) -> None:
    """The server sleeps on the loop of the clients, so that nobody looks in time."""
    values: dict[str, Any] = {"work": "block", "service_time_s": 0.03, "request_timeout_s": 0.02}
    async with running(**kind, clients=2, **values) as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.timeouts >= 4)
    swarm = swarm_of(engine)
    assert swarm.totals.responses == swarm.service_time.total == 0
    assert bool(swarm.totals.datagrams_late) == (kind["transport"] == "udp")
    counts_add_up(swarm)


@tcp_clients
async def test_a_server_that_never_answers_costs_timeouts(client: str) -> None:
    async with (
        tcp_peer(lambda connection, data: None) as port,
        against(port, client=client, clients=3, request_timeout_s=0.02) as engine,
    ):
        await until_swarm(engine, lambda swarm: swarm.totals.timeouts >= 6)
        assert swarm_of(engine).totals.responses == 0
        assert reasons(engine).keys() == {"timeout"}
        exchange = exchanges_of(engine)[0]
        assert (exchange.outcome, exchange.service_time_s, exchange.response_bytes) == ("timeout", None, 0)
        assert swarm_of(engine).service_time.total == 0
    counts_add_up(swarm_of(engine))


@tcp_clients
@pytest.mark.parametrize("lifetime", [0, 1])
async def test_clients_go_on_trying_while_the_server_is_gone(client: str, lifetime: int) -> None:
    async with contextlib.AsyncExitStack() as server:
        port = await server.enter_async_context(tcp_peer(echo, unused_port()))
        async with against(port, client=client, clients=5, lifetime=lifetime) as engine:
            await answered(engine)
            await server.aclose()
            await until_swarm(engine, lambda swarm: swarm.clients_retrying == 5)
            swarm = await until_swarm(
                engine,
                lambda swarm: (
                    swarm.totals.connections_refused >= 5 and swarm.last_trouble == "Connection refused"
                ),
            )
            # Each failure makes the next wait longer, so that there is no storm.
            assert swarm.totals.connections_refused < 100
            async with tcp_peer(echo, port):
                await answered(engine)
                await until_swarm(engine, lambda swarm: not swarm.clients_retrying)
                await answered(engine)
                await engine.stop()
    counts_add_up(swarm_of(engine))


@tcp_clients
async def test_a_server_that_was_never_there_is_refused_and_told(client: str) -> None:
    async with against(unused_port(), client=client, clients=3) as engine:
        swarm = await until_swarm(engine, lambda swarm: swarm.totals.connections_refused >= 6)
        assert swarm.last_trouble == "Connection refused"
        assert (swarm.totals.connections_opened, swarm.totals.requests) == (0, 0)
        assert engine.state.value == "running"


@tcp_clients
async def test_a_server_that_closes_at_once(client: str) -> None:
    def close(connection: Scripted, data: bytes) -> None:
        connection.transport.close()

    async with tcp_peer(close) as port, against(port, client=client, clients=3) as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.errors >= 6)
        assert reasons(engine).keys() <= {"EOF", "reset"}
    counts_add_up(swarm_of(engine))


@tcp_clients
async def test_a_server_that_resets(client: str) -> None:
    def reset(connection: Scripted, data: bytes) -> None:
        connection.transport.pause_reading()
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: on, 0 s
        connection.transport.abort()

    async with tcp_peer(reset) as port, against(port, client=client, clients=3) as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.connections_reset >= 6)
        assert reasons(engine).keys() == {"reset"}
    counts_add_up(swarm_of(engine))


@tcp_clients
@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"\xff\xff\xff\xff", "claims"),
        (encode("length", b"something else"), "does not echo"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a length was expected"),
        (encode("length", b"x" * 300_000), "does not echo"),
    ],
)
async def test_a_server_that_answers_garbage(client: str, garbage: bytes, why: str) -> None:
    def talk(connection: Scripted, data: bytes) -> None:
        connection.transport.write(garbage)

    async with tcp_peer(talk) as port, against(port, client=client, clients=2) as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.errors >= 4)
        assert reasons(engine).keys() == {"garbage"}
        assert swarm_of(engine).totals.responses == 0
        swarm = connections_of(engine, "swarm").swarm
        assert swarm is not None
        assert all(why in view.close_text for view in swarm.connections if view.close_text)
        assert {exchange.outcome for exchange in exchanges_of(engine)} == {"garbage"}
    counts_add_up(swarm_of(engine))


@tcp_clients
@pytest.mark.parametrize("extra", [b"!", b"whole frame", b"\xff" * 9])
async def test_more_than_the_answer_is_garbage_too(client: str, extra: bytes) -> None:
    def talk(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data + (data if extra == b"whole frame" else extra))

    async with tcp_peer(talk) as port, against(port, client=client, clients=2) as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.errors >= 4)
        assert reasons(engine).keys() == {"garbage"}
    counts_add_up(swarm_of(engine))


@tcp_clients
async def test_an_answer_that_nobody_asked_for_closes_the_connection(client: str) -> None:
    def talk(connection: Scripted, data: bytes) -> None:
        def once_more() -> None:
            if not connection.transport.is_closing():
                connection.transport.write(data)

        connection.transport.write(data)
        asyncio.get_running_loop().call_later(0.01, once_more)

    # A blocking client hears nothing while it thinks, but looks before it asks again.
    think_time_s = 0.1 if client == "blocking" else 30.0
    async with (
        tcp_peer(talk) as port,
        against(port, client=client, clients=2, think_time_s=think_time_s) as engine,
    ):
        await until_swarm(engine, lambda swarm: swarm.totals.unexpected >= 2)
        totals = swarm_of(engine).totals
        assert totals.responses >= 2
        # Every request had been answered; payload is that of these answers.
        assert (totals.errors, totals.timeouts) == (0, 0)
        assert totals.response_bytes == totals.responses * 68 < totals.bytes_in
        await until(lambda: reasons(engine).keys(), what="the connections are closed")
        assert reasons(engine).keys() == {"garbage"}


@tcp_clients
@pytest.mark.parametrize(
    "values", [{"request": "ping\\n", "until": "\\n"}, {"request": "ping", "framing": "none"}]
)
async def test_a_server_that_speaks_first_is_not_taken_for_one_that_answers(
    client: str, values: dict[str, Any]
) -> None:
    for _ in range(ATTEMPTS):
        async with (
            tcp_peer(echo, greeting=b"220 ready\n") as port,
            against(port, client=client, **values) as engine,
        ):
            # Each client is back once more.
            await until_swarm(engine, lambda swarm: swarm.totals.unexpected >= 8 or swarm.totals.requests)
            swarm = swarm_of(engine)
        if not swarm.totals.requests:
            break
    assert swarm.totals.requests == swarm.totals.response_bytes == 0
    assert "before anything was asked: --greeting tells how" in swarm.last_trouble


LINES: dict[str, Any] = {"request": "ping\\n", "until": "\\n"}
READS: dict[str, Any] = {"request": "ping", "framing": "none"}


@tcp_clients
@pytest.mark.parametrize("dialogue", [LINES, READS])
async def test_a_greeting_that_comes_when_somebody_has_asked_is_no_answer_either(
    client: str, dialogue: dict[str, Any]
) -> None:
    def greet(connection: Scripted, data: bytes) -> None:
        for one in connection.everybody:
            one.transport.write(b"220 ready\n")
        asyncio.get_running_loop().call_later(0.001, write_if_open, connection, data)

    for _ in range(ATTEMPTS):
        async with tcp_peer(greet) as port, against(port, client=client, clients=3, **dialogue) as engine:
            await until_swarm(engine, lambda swarm: swarm.totals.errors and swarm.totals.unexpected >= 3)
        swarm = swarm_of(engine)
        if not swarm.totals.responses:
            break
    assert swarm.totals.responses == swarm.totals.response_bytes == 0
    counts_add_up(swarm)


@tcp_clients
async def test_a_server_that_has_spoken_once_is_believed_later(client: str) -> None:
    asked: list[Scripted] = []

    def notice(connection: Scripted, data: bytes) -> None:
        if not asked:
            for one in connection.everybody:
                one.transport.write(b"notice\n")
        asked.append(connection)
        connection.transport.write(data)

    async with tcp_peer(notice) as port, against(port, client=client, clients=3, **LINES) as engine:
        await until(lambda: len(asked) > 1)
        # Of those that listen meanwhile two are closed.
        await tune(engine, clients=1)
        await until_swarm(engine, lambda swarm: swarm.totals.responses > 10)
        assert engine.error == ""
    counts_add_up(swarm_of(engine))


@tcp_clients
@pytest.mark.parametrize(
    ("dialogue", "answers", "words"),
    # The second in a read of its own, or in that of the first.
    [(LINES, 0, "more (behind|than) the"), ({"framing": "newline"}, 1, "more than once|nobody asked")],
)
async def test_a_server_that_answers_twice_does_not_answer_quickly(
    client: str, dialogue: dict[str, Any], answers: int, words: str
) -> None:
    def twice(connection: Scripted, data: bytes) -> None:
        for after_s in (0.004, 0.006):
            asyncio.get_running_loop().call_later(after_s, write_if_open, connection, data)

    async with tcp_peer(twice) as port, against(port, client=client, clients=2, **dialogue) as engine:
        await until_swarm(
            engine, lambda swarm: swarm.totals.errors >= 2 and re.search(words, swarm.last_trouble)
        )
        assert {exchange.outcome for exchange in exchanges_of(engine)} <= {"ok", "garbage"}
    swarm = swarm_of(engine)
    assert swarm.totals.responses <= answers * swarm.totals.connections_opened
    counts_add_up(swarm)


@tcp_clients
async def test_what_answers_as_it_is_asked_is_believed_when_nothing_has_followed(client: str) -> None:
    async with tcp_peer(echo) as port, against(port, client=client, requests=30, **LINES) as engine:
        await engine.wait()
        swarm = swarm_of(engine)
    assert (swarm.totals.requests, swarm.totals.responses, swarm.totals.unexpected) == (30, 30, 0)
    assert swarm.totals.response_bytes == 150
    assert swarm.service_time.total == 30


@tcp_clients
async def test_without_a_framing_reads_and_messages_are_told_apart(client: str) -> None:
    large: dict[str, Any] = {"framing": "none", "request_bytes": 300_000}
    async with running(client=client, clients=2, **large) as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.responses >= 10)
    swarm, server = swarm_of(engine).totals, server_of(engine).totals
    exchanges = exchanges_of(engine)
    assert {(exchange.outcome, exchange.response_bytes) for exchange in exchanges} == {("ok", 300_000)}
    assert sum(exchange.reads for exchange in exchanges) == swarm.reads > swarm.responses
    assert swarm.messages_torn == sum(exchange.reads > 1 for exchange in exchanges) > 0
    # The server has taken each of its reads for a request, and no more was asked than was answered.
    assert server.requests == server.reads > swarm.requests == swarm.responses
    assert swarm.bytes_in == server.bytes_in == swarm.requests * 300_000


@pytest.mark.parametrize("client", ["selector", "protocol", "streams"])
async def test_without_a_framing_several_messages_merge(client: str) -> None:
    async with running(client=client, framing="none", depth=8, batch=8, requests=160) as engine:
        await engine.wait()
    swarm, server = swarm_of(engine).totals, server_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.errors) == (160, 160, 0)
    assert 0 < swarm.reads_merged <= swarm.reads < 160
    assert server.requests == server.reads < 160
    assert any(exchange.merged for exchange in exchanges_of(engine))


@tcp_clients
@pytest.mark.parametrize("framing", ["none", "length"])
async def test_a_part_of_an_answer_is_short(client: str, framing: str) -> None:
    def half(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data[:30])

    values: dict[str, Any] = {"framing": framing, "request_timeout_s": 0.2}
    async with tcp_peer(half) as port, against(port, client=client, clients=2, **values) as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.timeouts >= 2)
        shorts = {(exchange.outcome, exchange.response_bytes) for exchange in exchanges_of(engine)}
        assert shorts == {("short", 30)}
        await until_swarm(engine, lambda swarm: "only 30 B of the answer" in swarm.last_trouble)
    counts_add_up(swarm_of(engine))


@kinds
async def test_nothing_is_asked_after_the_figures_end(kind: dict[str, Any]) -> None:
    place = "apart" if kind["client"] in ("selector", "blocking") else "loop"
    async with running(**kind, place=place) as engine:
        await answered(engine, 50)
        await engine.conclude()
        last = swarm_of(engine).totals
    assert last.requests == swarm_of(engine).totals.requests == server_of(engine).totals.requests


@tcp_clients
async def test_an_answer_that_is_never_whole_carries_no_payload(client: str) -> None:
    async with (
        tcp_peer(lambda connection, data: connection.transport.write(data[:20])) as port,
        against(port, client=client, clients=2, request_timeout_s=0.02) as engine,
    ):
        await until_swarm(engine, lambda swarm: swarm.totals.timeouts >= 4 and swarm.totals.bytes_in >= 80)
        assert figures(engine.snapshot()).bytes_per_s == 0.0
    counts_add_up(swarm_of(engine))


@tcp_clients
@pytest.mark.parametrize("framing", ["length", "newline", "fixed"])
async def test_an_answer_in_pieces_is_one_answer(client: str, framing: str) -> None:
    def talk(connection: Scripted, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        connection.transport.write(data[:1])
        loop.call_later(0.02, connection.transport.write, data[1:30])
        loop.call_later(0.04, connection.transport.write, data[30:])

    async with (
        tcp_peer(talk) as port,
        against(port, client=client, clients=2, framing=framing, requests=10) as engine,
    ):
        await engine.wait()
        swarm = swarm_of(engine)
        assert (swarm.totals.responses, swarm.totals.errors) == (10, 0)
        assert swarm.totals.reads >= 20
        capture = await engine.capture(exchanges_of(engine)[-1].record_id)
        assert capture is not None
        assert capture.response is not None
        assert capture.response.data == capture.request.data
        assert capture.response.reads
    counts_add_up(swarm_of(engine))


@tcp_clients
async def test_whatever_a_server_does_every_request_has_one_end(client: str) -> None:
    """The law: requests = responses + timeouts + errors, once the run has ended."""

    def talk(connection: Scripted, data: bytes) -> None:
        match (connection.turn + id(connection) // 64) % 6:
            case 0:
                connection.transport.close()
            case 1:
                connection.transport.abort()
            case 2:
                connection.transport.write(b"\0\0\0\2no")
            case 3:
                pass
            case _:
                connection.transport.write(data)

    async with (
        tcp_peer(talk) as port,
        against(port, client=client, clients=30, permits=11, request_timeout_s=0.05) as engine,
    ):
        await until_swarm(
            engine,
            lambda swarm: (
                swarm.totals.responses > 20 and swarm.totals.timeouts > 3 and swarm.totals.errors > 10
            ),
        )
    swarm = swarm_of(engine)
    counts_add_up(swarm)
    assert swarm.limiter.in_flight == 0
    outcomes = Counter(exchange.outcome for exchange in exchanges_of(engine))
    assert outcomes["ok"] == swarm.totals.responses == swarm.service_time.total
    assert outcomes["timeout"] == swarm.totals.timeouts
    assert outcomes.total() == swarm.totals.requests


@tcp_clients
async def test_a_connection_that_is_closed_while_it_waits_for_a_permit_sends_nothing_more(
    client: str,
) -> None:
    async with (
        tcp_peer(lambda connection, data: None) as port,
        against(port, client=client, clients=3, permits=1, request_timeout_s=10.0) as engine,
    ):
        await until_swarm(engine, lambda swarm: swarm.in_flight == 1 and swarm.limiter.waiting == 2)
        swarm = connections_of(engine, "swarm").swarm
        assert swarm is not None
        waiting = next(view.conn_id for view in swarm.connections if not view.requests)
        # A permit comes free while it is closing.
        assert await engine.close_connection("swarm", waiting)
        await tune(engine, permits=0)
        await until_swarm(engine, lambda swarm: swarm.totals.connections_closed == 1)
        views = connections_of(engine, "swarm").swarm
        assert views is not None
        closed = {view.conn_id: view.requests for view in views.connections if view.close_reason}
        assert closed == {waiting: 0}


# Changes at awkward moments.


@pytest.mark.parametrize("pool", [0, 2])
async def test_many_changes_while_clients_think_for_a_moment(pool: int) -> None:
    async with running(clients=6, think_time_s=0.001, pool=pool) as engine:
        await answered(engine, 10)
        for number in range(60):
            await tune(engine, think_time_s=0.0006 + number * 1e-6)
            await asyncio.sleep(0)
        await answered(engine, 50)
        assert engine.state is RunState.RUNNING
        assert not engine.error


async def test_a_budget_is_spent_by_whoever_is_left() -> None:
    async with running(clients=30, permits=1, lifetime=1, requests=30, service_time_s=0.02) as engine:
        await answered(engine, 3)
        await tune(engine, clients=1)
        async with asyncio.timeout(60):
            await engine.wait()
        totals = swarm_of(engine).totals
        assert (totals.requests, totals.responses, totals.errors) == (30, 30, 0)


@tcp_clients
@pytest.mark.parametrize("values", [{"think_time_s": 0.002}, {"permits": 1}], ids=str)
async def test_a_server_that_answers_and_closes_fails_requests_and_not_the_run(
    client: str, values: dict[str, Any]
) -> None:
    def answer_and_close(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data)
        connection.transport.close()

    async with (
        tcp_peer(answer_and_close) as port,
        against(port, client=client, clients=20, **values) as engine,
    ):
        await until_swarm(engine, lambda swarm: swarm.totals.connections_closed > 25)
        assert engine.state is RunState.RUNNING
        assert not engine.error
    counts_add_up(swarm_of(engine))


# A server that closes after some answers.


def _closing_after(answers: int) -> Callable[[Scripted, bytes], None]:
    def plan(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data)
        if connection.turn == answers:
            connection.transport.close()

    return plan


@tcp_clients
@pytest.mark.parametrize(
    ("answers", "cure"), [(1, "--lifetime request"), (5, "after 5 answers.*--lifetime 5")]
)
async def test_a_server_that_closes_after_some_answers_is_told_as_that(
    client: str, answers: int, cure: str
) -> None:
    aimed: dict[str, Any] = {"role": "swarm", "client": client, "clients": 2}
    async with tcp_peer(_closing_after(answers)) as port:
        aimed["target"] = f"127.0.0.1:{port}"
        async with running(**aimed) as engine:
            await until(lambda: re.search(cure, swarm_of(engine).last_trouble))
            ends = [view for view in connections_of(engine, "swarm").main.connections if view.close_reason]
            assert any(re.search(cure, view.close_text) for view in ends)
        async with running(**aimed, lifetime=answers, requests=20) as engine:
            await engine.wait()
    totals = swarm_of(engine).totals
    assert (totals.responses, totals.errors, swarm_of(engine).last_trouble) == (20, 0, "")


async def test_the_ends_that_a_fault_makes_are_no_habit_of_the_server() -> None:
    async with running(clients=2, service_time_s=0.0, fault="exception=20%") as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.connections_closed > 12)
        ends = [view for view in connections_of(engine, "swarm").main.connections if view.close_reason]
        told = [swarm_of(engine).last_trouble, *(view.close_text for view in ends)]
    assert not [text for text in told if "--lifetime" in text]
