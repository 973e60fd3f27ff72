"""What a relay passes on is what came, whichever way it is read, cut up, held up or ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.run.relay import RelayFigures
from sockscope.core.run.snapshot import Cursors
from sockscope.engine.loops import loop_factory
from sockscope.engine.relay import way
from sockscope.engine.relay.relay import Relay
from sockscope.engine.role import Assignment
from tests.waiting import until

LINGER = struct.pack("ii", 1, 0)


@asynccontextmanager
async def relaying(
    target: Address, most: int = 20_000, **values: Any
) -> AsyncIterator[tuple[Relay, Address]]:
    """Run a relay before a target, with these live values."""
    tuning = Tuning(**values)
    relay = Relay(Experiment(tuning, max_connections=most))
    address = await relay.start(Assignment(tuning, 0, target))
    try:
        yield relay, address
    finally:
        await relay.stop(0.0)


def figures(relay: Relay) -> RelayFigures:
    found = relay.snapshot(Cursors()).relay
    assert found is not None
    return found


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[socket.socket, Address]]:
    """Listen without accepting anybody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener, listener.getsockname()


@asynccontextmanager
async def both_ends(**values: Any) -> AsyncIterator[tuple[Relay, socket.socket, socket.socket]]:
    """Yield a relay, the client's socket and the server's, which are connected through it."""
    loop = asyncio.get_running_loop()
    async with listening() as (listener, target), relaying(target, **values) as (relay, address):
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, address)
            server, _ = await loop.sock_accept(listener)
            with server:
                server.setblocking(False)
                yield relay, client, server


async def send_in_chunks(sock: socket.socket, data: bytes, sizes: list[int], *, ends: bool = True) -> None:
    loop, place = asyncio.get_running_loop(), 0
    for size in sizes:
        await loop.sock_sendall(sock, data[place : place + size])
        place += size
        await asyncio.sleep(0)
    await loop.sock_sendall(sock, data[place:])
    if ends:
        sock.shutdown(socket.SHUT_WR)


async def read_to_the_end(sock: socket.socket, size: int = 65_536) -> bytes:
    loop, found = asyncio.get_running_loop(), bytearray()
    while data := await loop.sock_recv(sock, size):
        found += data
    return bytes(found)


def on_a_loop(run: Callable[[], Any]) -> None:
    """Run a coroutine on a loop of its own: hypothesis calls plain functions."""
    with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
        runner.run(asyncio.wait_for(run(), 30))


CHUNKS = st.lists(st.integers(1, 5_000), max_size=8)
FAULTS = st.sampled_from(
    ["", "slice=7", "slice=1000, slice-gap=100us", "delay=1ms, jitter=1ms", "rate=100MB/s", "stall=5ms"]
)


@settings(max_examples=12, deadline=None)
@given(st.binary(max_size=20_000), st.binary(max_size=20_000), CHUNKS, CHUNKS, FAULTS, st.integers(1, 65_536))
def test_both_sides_read_byte_for_byte_what_the_other_sent(
    up: bytes, down: bytes, up_chunks: list[int], down_chunks: list[int], fault: str, read_size: int
) -> None:
    async def run() -> None:
        async with both_ends(fault=fault) as (relay, client, server):
            _, _, came_up, came_down = await asyncio.gather(
                send_in_chunks(client, up, up_chunks),
                send_in_chunks(server, down, down_chunks),
                read_to_the_end(server, read_size if fault != "slice=7" else 65_536),
                read_to_the_end(client),
            )
            assert (came_up, came_down) == (up, down)
            passed = figures(relay)
            assert (passed.up.bytes_in, passed.up.bytes_out) == (len(up), len(up))
            assert (passed.down.bytes_in, passed.down.bytes_out) == (len(down), len(down))
            await until(lambda: not relay.recorder.live)
            assert relay.recorder.closed[-1].close_reason is CloseReason.EOF

    on_a_loop(run)


async def test_a_half_close_lets_the_other_direction_go_on() -> None:
    loop = asyncio.get_running_loop()
    async with both_ends() as (_, client, server):
        await send_in_chunks(client, b"question", [3])
        assert await read_to_the_end(server) == b"question"
        await send_in_chunks(server, b"answer" * 20_000, [7], ends=False)
        got = b""
        while len(got) < 120_000:
            got += await loop.sock_recv(client, 65_536)
        server.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(client, 10) == b""


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_is_passed_on_as_a_reset(who: str) -> None:
    loop = asyncio.get_running_loop()
    async with both_ends() as (relay, client, server):
        one, other = (client, server) if who == "client" else (server, client)
        await loop.sock_sendall(one, b"last words")
        assert await loop.sock_recv(other, 100) == b"last words"
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        one.close()
        with pytest.raises(ConnectionResetError):
            await loop.sock_recv(other, 100)
        assert relay.recorder.closed[-1].close_reason is CloseReason.RESET


async def test_a_reset_is_passed_on_while_the_other_side_does_not_read() -> None:
    async with both_ends() as (relay, client, server):
        with contextlib.suppress(BlockingIOError):
            while not figures(relay).up.held:
                with contextlib.suppress(BlockingIOError):
                    client.send(bytes(65_536))
                await asyncio.sleep(0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        client.close()
        await until(lambda: not relay.recorder.live, what="the splice is closed")
        with pytest.raises(ConnectionResetError):
            await read_to_the_end(server)


@pytest.mark.parametrize(
    ("fault", "together", "most"),
    [("", 0, 2 << 20), ("delay=50ms", 256 << 20, 2 << 20), ("delay=2ms", 0, 512 << 10)],
    ids=["", "delay", "delay-crowded"],
)
async def test_of_a_reader_that_does_not_read_little_is_held_and_its_writer_is_stopped(
    monkeypatch: pytest.MonkeyPatch, fault: str, together: int, most: int
) -> None:
    monkeypatch.setattr(way, "MOST_TOGETHER_BYTES", together)
    size = 24 << 20
    async with both_ends(fault=fault) as (relay, client, server):
        sending = asyncio.create_task(send_in_chunks(client, bytes(size), []))
        before = -1
        while (now := figures(relay).up.bytes_in) != before or not now:
            before = now
            for _ in range(20):
                await asyncio.sleep(0.002)
        assert not sending.done()
        assert figures(relay).up.held_bytes <= most
        assert now < size
        assert len(await read_to_the_end(server)) == size
        await sending


async def test_nobody_listens_behind_it() -> None:
    async with listening() as (_, target):
        pass
    loop = asyncio.get_running_loop()
    async with relaying(target) as (relay, address):
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, address)
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(client, 10)
        await until(lambda: relay.recorder.closed)
        assert relay.recorder.closed[-1].close_reason is CloseReason.REFUSED
        assert relay.snapshot(Cursors()).totals.connections_refused == 1


async def test_more_connections_than_it_may_hold_are_closed() -> None:
    loop = asyncio.get_running_loop()
    async with listening() as (_, target), relaying(target, most=1) as (relay, address):
        with socket.socket() as first, socket.socket() as second:
            for sock in (first, second):
                sock.setblocking(False)
                await loop.sock_connect(sock, address)
            assert await loop.sock_recv(second, 10) == b""
        assert relay.snapshot(Cursors()).totals.connections_rejected == 1


@pytest.mark.parametrize(("client_family", "target"), [("ipv4", "::1"), ("ipv6", "127.0.0.1")])
async def test_the_families_of_both_sides_may_differ(client_family: str, target: str) -> None:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.create_server((target, 0), family=family) as listener:
        listener.setblocking(False)
        found = listener.getsockname()[:2]
        async with relaying(found, family=client_family) as (_, address):
            with socket.socket(socket.AF_INET if client_family == "ipv4" else socket.AF_INET6) as client:
                client.setblocking(False)
                await loop.sock_connect(client, address)
                server, _ = await loop.sock_accept(listener)
                with server:
                    server.setblocking(False)
                    await loop.sock_sendall(server, b"hello")
                    assert await loop.sock_recv(client, 10) == b"hello"


# Datagrams.


@asynccontextmanager
async def udp_target() -> AsyncIterator[tuple[socket.socket, Address]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        yield sock, sock.getsockname()


async def next_from(sock: socket.socket) -> tuple[bytes, Any]:
    """Return the next datagram and where it came from."""
    found: list[tuple[bytes, Any]] = []

    def came() -> bool:
        with contextlib.suppress(BlockingIOError):
            found.append(sock.recvfrom(65_536))
        return bool(found)

    await until(came, what="a datagram comes")
    return found[0]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.binary(max_size=2_000), min_size=1, max_size=12))
def test_boundaries_of_datagrams_are_kept_both_ways(datagrams: list[bytes]) -> None:
    async def run() -> None:
        async with (
            udp_target() as (server, target),
            relaying(target, transport="udp") as (relay, address),
        ):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(address)
                for sent in datagrams:
                    client.send(sent)
                    came, peer = await next_from(server)
                    assert came == sent
                    server.sendto(sent[::-1], peer)
                    assert (await next_from(client))[0] == sent[::-1]
            passed = figures(relay)
            assert passed.up.datagrams_in == passed.up.datagrams_out == len(datagrams)
            assert passed.down.datagrams_in == passed.down.datagrams_out == len(datagrams)

    on_a_loop(run)


async def test_clients_beyond_the_limit_are_declined_and_those_within_are_served() -> None:
    async with (
        udp_target() as (server, target),
        relaying(target, most=3, transport="udp") as (relay, address),
    ):
        with contextlib.ExitStack() as stack:
            made = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(10))
            clients = [stack.enter_context(sock) for sock in made]
            for number, client in enumerate(clients):
                client.setblocking(False)
                client.connect(address)
                client.send(bytes([number]))
            await until(lambda: figures(relay).up.datagrams_in == 10)
            passed = figures(relay)
            assert (passed.up.declined, passed.up.datagrams_out) == (7, 3)
            for _ in range(3):
                came, peer = await next_from(server)
                server.sendto(came, peer)
                assert (await next_from(clients[came[0]]))[0] == came
        assert relay.snapshot(Cursors()).connections_open == 3


async def test_datagrams_that_are_due_later_when_it_ends_are_counted() -> None:
    async with (
        udp_target() as (_, target),
        relaying(target, transport="udp", fault="delay=50s") as (relay, address),
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"late", address)
            await until(lambda: figures(relay).up.held == 1)
        await relay.stop(0.0)
        up = figures(relay).up
        assert (up.datagrams_in, up.undelivered, up.held, up.inside) == (1, 1, 0, 0)
