"""What strangers and dying targets do to a relay stays within bounds, and is counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import Cursors
from sockscope.engine.limits import open_descriptors
from sockscope.engine.relay import udp
from sockscope.engine.relay.relay import Relay
from tests.engine.test_relay import LINGER, figures, listening, next_from, relaying, udp_target
from tests.waiting import until

STRANGERS = 1_000
MOST = 100
BATCH = 64
"""Datagrams that fit into any receive buffer."""
LARGEST_IPV4 = 65_507


def datagram_socket(address: tuple[str, int] | None = None, source: str = "127.0.0.1") -> socket.socket:
    """Return a socket that sends from ``source``, connected if there is an address."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((source, 0))
    if address is not None:
        sock.connect(address)
    return sock


@contextmanager
def free_descriptors(count: int) -> Iterator[None]:
    """Leave the process so many descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, ((open_descriptors() or 0) + count, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def descriptors_left() -> int:
    """Return how many descriptors the process could open still."""
    taken: list[int] = []
    with contextlib.suppress(OSError):
        while len(taken) < 1_000:
            taken.append(os.dup(0))
    for descriptor in taken:
        os.close(descriptor)
    return len(taken)


async def test_thousands_of_source_ports_are_declined_counted_and_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        udp_target() as (_, target),
        relaying(target, most=MOST, transport="udp") as (relay, address),
    ):
        for number in range(STRANGERS):
            with datagram_socket(source=f"127.0.{1 + number // 250}.{1 + number % 250}") as stranger:
                stranger.sendto(b"?", address)
            if number % BATCH == BATCH - 1:
                await until(lambda sent=number + 1: figures(relay).up.datagrams_in == sent)  # type: ignore[misc]
        await until(lambda: figures(relay).up.datagrams_in == STRANGERS)
        up, known = figures(relay).up, relay.snapshot(Cursors())
        # While more than half of the places are taken, who has been silent for a second is forgotten.
        taken = known.totals.connections_opened
        assert taken >= MOST
        assert known.connections_open <= MOST
        assert up.declined == known.totals.connections_rejected == STRANGERS - taken
        assert up.datagrams_out + up.unsent == taken
        monkeypatch.setattr(udp, "CROWDED_SILENCE_S", 0.0)
        monkeypatch.setattr(udp, "SILENCE_S", 0.0)
        await until(lambda: relay.snapshot(Cursors()).connections_open == 0, what="all are forgotten")
        assert relay.snapshot(Cursors()).totals.connections_closed == taken
        assert relay.recorder.closed[-1].close_reason is CloseReason.IDLE


@pytest.mark.parametrize("fault", ["", "delay=100us"])
@pytest.mark.parametrize("size", [0, LARGEST_IPV4])
async def test_the_smallest_and_the_largest_datagram_pass_whole(size: int, fault: str) -> None:
    async with (
        udp_target() as (server, target),
        relaying(target, transport="udp", fault=fault) as (relay, address),
        asyncio.timeout(60),
    ):
        with datagram_socket(address) as client:
            sent = os.urandom(size)
            client.send(sent)
            came, peer = await next_from(server)
            assert came == sent
            server.sendto(sent, peer)
            assert (await next_from(client))[0] == sent
        assert (figures(relay).up.bytes_out, figures(relay).down.bytes_out) == (size, size)


async def test_datagrams_that_are_held_back_are_bounded_and_the_others_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(udp, "MOST_HELD", 100)
    async with (
        udp_target() as (_, target),
        relaying(target, transport="udp", fault="delay=50s") as (relay, address),
    ):
        with datagram_socket(address) as flooding:
            for number in range(5 * BATCH):
                flooding.send(b"x" * 100)
                if number % BATCH == BATCH - 1:
                    await until(lambda sent=number + 1: figures(relay).up.datagrams_in == sent)  # type: ignore[misc]
        up = figures(relay).up
        assert (up.held, up.held_bytes, up.overflowed) == (100, 10_000, 5 * BATCH - 100)


async def test_who_never_reads_its_datagrams_keeps_nobody_waiting() -> None:
    async with (
        udp_target() as (server, target),
        relaying(target, transport="udp") as (relay, address),
    ):
        with datagram_socket(address) as deaf, datagram_socket(address) as other:
            deaf.send(b"deaf")
            _, deaf_peer = await next_from(server)
            for number in range(10 * BATCH):
                server.sendto(bytes(8_000), deaf_peer)
                if number % 8 == 7:
                    await until(lambda sent=number + 1: figures(relay).down.datagrams_in == sent)  # type: ignore[misc]
            other.send(b"other")
            came, peer = await next_from(server)
            server.sendto(came, peer)
            assert (await next_from(other))[0] == b"other"
            down = figures(relay).down
            assert (down.held, down.held_bytes) == (0, 0)
            assert down.datagrams_out + down.unsent == down.datagrams_in == 10 * BATCH + 1


async def test_a_target_that_dies_under_load_is_told_of_and_nothing_stays_behind() -> None:
    loop = asyncio.get_running_loop()

    async def load(client: socket.socket) -> None:
        """Write until the connection ends, which it is to do by a reset."""
        while True:
            await loop.sock_sendall(client, bytes(20_000))

    async with listening() as (listener, target), relaying(target) as (relay, address):
        with ExitStack() as stack:
            clients, servers = [], []
            for _ in range(20):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                await loop.sock_connect(client, address)
                clients.append(client)
                server, _ = await loop.sock_accept(listener)
                servers.append(stack.enter_context(server))
                server.setblocking(False)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            loads = [asyncio.create_task(load(client)) for client in clients]
            for server in servers:
                await loop.sock_sendall(server, b"so far")
            await until(lambda: figures(relay).up.bytes_in > 1 << 20, what="the load is on")
            listener.close()
            for server in servers:
                server.close()
            ends = await asyncio.wait_for(asyncio.gather(*loads, return_exceptions=True), 60)
            assert all(isinstance(end, ConnectionError) for end in ends)
        await until(lambda: not relay.recorder.live, what="nothing stays open")
        assert (figures(relay).up.held, figures(relay).down.held) == (0, 0)
        assert {record.close_reason for record in relay.recorder.closed} == {CloseReason.RESET}
        with socket.socket() as late:
            late.setblocking(False)
            await loop.sock_connect(late, address)
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(late, 10)
        await until(lambda: relay.snapshot(Cursors()).totals.connections_refused == 1)


async def test_a_udp_target_that_dies_and_comes_back_is_talked_to_again() -> None:
    async with udp_target() as (server, target), relaying(target, transport="udp") as (relay, address):
        with datagram_socket(address) as client:
            client.send(b"one")
            assert (await next_from(server))[0] == b"one"
            server.close()
            for number in range(20):
                client.send(b"into the void")
                await until(lambda sent=number + 2: figures(relay).up.datagrams_in == sent)  # type: ignore[misc]
            await until(lambda: relay.snapshot(Cursors()).totals.connections_refused > 0)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                again.setblocking(False)
                again.bind(target)
                client.send(b"two")
                assert (await next_from(again))[0] == b"two"
            up = figures(relay).up
            assert up.datagrams_out + up.unsent == up.datagrams_in == 22


def not_accepting(relay: Relay) -> str:
    return relay.snapshot(Cursors()).not_accepting


async def test_a_flood_of_clients_gets_all_descriptors_but_a_few() -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(60)]
        async with listening() as (listener, target):
            with free_descriptors(100):
                async with relaying(target) as (relay, address):
                    for client in clients:
                        client.setblocking(False)
                        await loop.sock_connect(client, address)
                    await until(lambda: not_accepting(relay), what="no more are accepted")
                    open_now = relay.snapshot(Cursors()).connections_open
                    assert 30 <= open_now < 60
                    # The clients' share ends before the last sixteen; a connection takes two at a time.
                    assert descriptors_left() >= 10
                    # Who is connected is served, and who waits is when others have gone.
                    await loop.sock_sendall(clients[0], b"served")
                    first, _ = await loop.sock_accept(listener)
                    with first:
                        first.setblocking(False)
                        assert await loop.sock_recv(first, 10) == b"served"
                    for client in clients[:50]:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
                        client.close()
                    await until(lambda: not not_accepting(relay), what="it accepts again")
                    totals = relay.snapshot(Cursors()).totals
                    assert totals.accept_stops >= 1
                    assert totals.connections_rejected == 0
                    await until(lambda: relay.snapshot(Cursors()).totals.connections_opened >= 60)


async def test_a_flood_of_source_ports_gets_all_descriptors_but_a_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(udp, "CROWDED_SILENCE_S", 3600.0)
    async with udp_target() as (server, target):
        with free_descriptors(80):
            async with relaying(target, transport="udp") as (relay, address):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spare:
                    spare.setblocking(False)
                    for number in range(150):
                        with datagram_socket(source=f"127.0.1.{1 + number}") as stranger:
                            stranger.sendto(b"?", address)
                        await until(lambda sent=number + 1: figures(relay).up.datagrams_in == sent)  # type: ignore[misc]
                    assert not_accepting(relay)
                    assert figures(relay).up.declined >= 150 - 80
                    assert descriptors_left() >= 10
                    monkeypatch.setattr(udp, "CROWDED_SILENCE_S", 0.0)
                    await until(lambda: relay.snapshot(Cursors()).connections_open == 0)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            server.recv(10)
                    spare.sendto(b"back", address)
                    assert (await next_from(server))[0] == b"back"
                    assert not not_accepting(relay)
