"""A relay alone between a client and a server that are not ours: what it counts is what they said."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sockscope.core.addresses import format_address, split_address
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.relay import TapFigures
from sockscope.core.run.snapshot import Cursors, RoleSnapshot
from sockscope.engine.engine import Engine
from sockscope.errors import ListenError
from tests.ports import unused_port
from tests.waiting import until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CURSORS = Cursors(most_events=100, most_exchanges=100)


@asynccontextmanager
async def tapped(serve: Serve, **experiment: Any) -> AsyncIterator[tuple[Engine, str, int]]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = format_address(server.sockets[0].getsockname())
    async with server, Engine(Experiment(role="relay", target=target, **experiment)) as engine:
        yield engine, *split_address(engine.snapshot().main.address)


def tap_of(engine: Engine) -> RoleSnapshot:
    relay = engine.snapshot(CURSORS).relay
    assert relay is not None
    return relay


async def said(host: str, port: int, data: bytes) -> bytes:
    """Send ``data``, end, and return everything that comes."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    writer.write_eof()
    came = await reader.read()
    writer.close()
    return came


async def pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every command of RESP that has one part."""
    while await reader.readline():
        await reader.readline()
        await reader.readline()
        writer.write(b"+PONG\r\n")
    writer.close()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first, and answer each line."""
    writer.write(b"220 hello\r\n")
    while line := await reader.readline():
        writer.write(b"250 " + line)
    writer.close()


async def pages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request of HTTP/1 with two chunks."""
    while await reader.readline():
        while await reader.readline() not in (b"\r\n", b""):
            pass
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nyes\r\n0\r\n\r\n")
    writer.close()


async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what was said."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Go over to a websocket, send an answer to the first message in the same write, and echo the rest."""
    await reader.readuntil(b"\r\n\r\n")
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    writer.write(head + PING)
    while data := await reader.read(1_024):
        writer.write(HELLO * (len(data) // len(MASKED_HELLO)))
    writer.close()


PING, HELLO, MASKED_HELLO = b"\x89\0", b"\x81\x05hello", b"\x81\x85\0\0\0\0hello"


async def test_pipelined_commands_of_redis_are_told_apart() -> None:
    async with tapped(pong) as (engine, host, port):
        assert await said(host, port, b"*1\r\n$4\r\nPING\r\n" * 50) == b"+PONG\r\n" * 50
        await until(lambda: tap_of(engine).totals.responses == 50)
        tap = tap_of(engine)
        assert (tap.totals.requests, tap.in_flight, tap.serves_as) == (50, 0, "RESP")
        assert tap.service_time.total == 50
        capture = await engine.capture(tap.exchanges[-1].record_id)
        assert capture is not None
        assert capture.request.data == b"*1\r\n$4\r\nPING\r\n"
        assert capture.response is not None
        assert capture.response.data == b"+PONG\r\n"


async def test_requests_of_http_are_told_apart() -> None:
    async with tapped(pages) as (engine, host, port):
        came = await said(host, port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        assert came.count(b"yes") == 3
        await until(lambda: tap_of(engine).totals.responses == 3)
        assert (tap_of(engine).totals.requests, tap_of(engine).serves_as) == (3, "HTTP/1")


async def test_where_the_server_speaks_first_requests_are_told_by_turns() -> None:
    async with tapped(greet) as (engine, host, port):
        reader, writer = await asyncio.open_connection(host, port)
        assert await reader.readline() == b"220 hello\r\n"
        for line in (b"HELO\r\n", b"MAIL\r\n"):
            writer.write(line)
            assert await reader.readline() == b"250 " + line
        # The last one ends with silence, while the connection stays open.
        await until(lambda: tap_of(engine).totals.responses == 2)
        assert tap_of(engine).totals.requests == 2
        writer.close()


async def test_a_form_that_is_broken_goes_on_by_turns_and_every_byte_passes() -> None:
    sent = b"*1\r\n$4\r\nPING\r\n" + bytes(range(256)) * 1_000

    async with tapped(repeat) as (engine, host, port):
        assert await said(host, port, sent) == sent
        await until(lambda: tap_of(engine).connections_open == 0)
        engine_events = engine.snapshot(CURSORS).events
        assert any("told apart by turns from here on" in event.text for event in engine_events)
        assert tap_of(engine).in_flight == 0


async def test_a_websocket_is_told_apart_after_its_upgrade() -> None:
    async with tapped(upgrade) as (engine, host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
        await reader.readuntil(PING)
        writer.write(MASKED_HELLO * 3)
        await reader.readexactly(3 * len(HELLO))
        await until(lambda: tap_of(engine).totals.responses == 4)
        tap = tap_of(engine)
        assert (tap.totals.requests, tap.in_flight, tap.totals.unexpected) == (4, 0, 0)
        assert tap.serves_as == "HTTP/1, websocket"
        writer.close()


def taps_of(engine: Engine) -> tuple[TapFigures, ...]:
    relay = tap_of(engine).relay
    assert relay is not None
    return relay.taps


async def test_several_taps_are_told_apart_and_add_up() -> None:
    async with tapped(pong) as (first, host, port):
        leads = "\n".join(f"{listen}={host}:{port}" for listen in ("127.0.0.1:0", "[::1]:0"))
        async with Engine(Experiment(role="relay", target=f"{host}:{port}", also=leads)) as engine:
            addresses = [tap.address for tap in taps_of(engine)]
            assert len(set(addresses)) == 3
            for count, address in enumerate(addresses, start=1):
                asked = b"*1\r\n$4\r\nPING\r\n" * count
                assert await said(*split_address(address), asked) == b"+PONG\r\n" * count
            await until(lambda: tap_of(engine).connections_open == 0)
            seen, taps = tap_of(engine), taps_of(engine)
            assert [tap.responses for tap in taps] == [1, 2, 3]
            assert [tap.service_time.total for tap in taps] == [1, 2, 3]
            assert (seen.totals.requests, seen.totals.responses) == (6, 6)
            assert sum(tap.bytes_in for tap in taps) == seen.totals.bytes_in == 6 * 14
            assert {one.tap for one in seen.exchanges} == set(addresses)
        await until(lambda: tap_of(first).totals.responses == 6)


async def test_a_change_that_one_address_cannot_take_leaves_all_as_they_are() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", unused_port()))
        also = f"{format_address(taken.getsockname())}=127.0.0.1:1"
        async with Engine(Experiment(role="relay", target="127.0.0.1:1", also=also)) as engine:
            before = [tap.address for tap in taps_of(engine)]
            with pytest.raises(ListenError):
                await engine.apply(Tuning(transport="udp"))
            assert [tap.address for tap in taps_of(engine)] == before
            await engine.apply(Tuning(family="ipv6"))
            after = [tap.address for tap in taps_of(engine)]
            assert (after[0][:6], after[1]) == ("[::1]:", before[1])


async def test_each_exchange_has_four_times_in_their_order() -> None:
    async with tapped(pong) as (engine, host, port):
        await said(host, port, b"*1\r\n$4\r\nPING\r\n")
        await until(lambda: len(tap_of(engine).exchanges) == 1)
        seen = tap_of(engine).exchanges[0]
        capture = await engine.capture(seen.record_id)
        assert capture is not None
        passing = capture.passing
        assert passing is not None
        assert seen.service_time_s is not None
        written_s, answered_s = seen.time_s, seen.time_s + seen.service_time_s
        assert 0 < passing.read_s <= written_s <= answered_s <= passing.passed_back_s
        added_s = passing.added_s(written_s, answered_s)
        assert added_s == pytest.approx(passing.passed_back_s - passing.read_s - seen.service_time_s)
        assert capture.framing == "RESP"


@pytest.mark.parametrize(
    ("told", "asked", "answered"),
    [
        ({"told_apart": "newline"}, b"one\ntwo\nthr", 2),
        ({"until": "hex:0a0a"}, b"one\n\ntwo\n\n", 2),
        ({"length_field": "0:1"}, b"\1a\2bb\0", 3),
        ({"told_apart": "length"}, b"\0\0\0\1a\0\0\0\2bb", 2),
        ({"until_line": "/^o/"}, b"one\n", 1),
        ({"told_apart": "bytes"}, b"GET / HTTP/1.1\r\n\r\n", 0),
        ({"told_apart": "turns"}, b"GET / HTTP/1.1\r\n\r\n", 1),
    ],
)
async def test_how_messages_end_can_be_said(told: dict[str, str], asked: bytes, answered: int) -> None:
    async with tapped(repeat, **told) as (engine, host, port):
        assert await said(host, port, asked) == asked
        await until(lambda: tap_of(engine).connections_open == 0)
        tap = tap_of(engine)
        assert (tap.totals.requests, tap.totals.responses, tap.in_flight) == (answered, answered, 0)


async def test_lines_that_are_answered_one_by_one_are_as_many_requests() -> None:
    async with tapped(repeat) as (engine, host, port):
        assert await said(host, port, b"a\nb\nc\n") == b"a\nb\nc\n"
        await until(lambda: tap_of(engine).connections_open == 0)
        tap = tap_of(engine)
        assert (tap.totals.requests, tap.totals.responses) == (3, 3)
        assert tap.serves_as == "by turns, lines"


async def test_a_target_that_does_not_answer_is_told_and_the_tap_stays() -> None:
    server = await asyncio.start_server(pong, "127.0.0.1", 0)
    target = format_address(server.sockets[0].getsockname())
    server.close()
    async with Engine(Experiment(role="relay", target=target)) as engine:
        address = split_address(engine.snapshot().main.address)
        _, writer = await asyncio.open_connection(*address)
        await until(lambda: tap_of(engine).totals.connections_refused == 1)
        assert engine.state.value == "running"
        writer.close()
