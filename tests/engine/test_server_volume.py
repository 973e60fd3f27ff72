"""Many clients and many bytes through every server model: none is turned away, none is lost.

``SOCKSCOPE_TEST_TRANSFER_BYTES`` makes the transfer larger; the suite keeps it short.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
from contextlib import AsyncExitStack

import pytest

from sockscope.core.config.models import FD_SETSIZE, ServerModel
from sockscope.core.events import CloseReason
from sockscope.core.wire.framing import encode
from sockscope.engine.limits import descriptor_limit, open_descriptors, raise_descriptor_limit
from tests.engine.test_server_conformance import (
    Peer,
    Served,
    connected,
    numbered,
    one_at_a_time_models,
    serving,
    tcp_models,
    udp_models,
)
from tests.engine.test_server_models import out_of_the_way
from tests.waiting import until

CLIENTS = 200
CLIENTS_IN_TURN = 100
"""Clients of a model that serves one at a time."""
TRANSFER_BYTES = int(os.environ.get("SOCKSCOPE_TEST_TRANSFER_BYTES", str(2 << 20)))
"""Bytes that one connection carries in each direction."""
LARGEST_PAYLOAD_BYTES = 50_000
BUFFER_BYTES = 131_072
"""Small enough to fill up; below a segment of loopback the kernel's timers would set the pace."""
RESETS = 12


async def ask_once(peer: Peer, number: int) -> None:
    """Send one request and read its answer."""
    wire = encode("length", b"client %06d" % number)
    await peer.send(wire)
    assert await peer.recv_exactly(len(wire)) == wire
    peer.sock.close()


def clients_for(model: ServerModel) -> int:
    """Return how many clients the model is to serve here, where their sockets are in the same process."""
    if (model.transport, model.at_once) == ("tcp", 1):
        return CLIENTS_IN_TURN
    if model.name == "select":
        return FD_SETSIZE - 24 - (open_descriptors() or FD_SETSIZE)
    return CLIENTS


@tcp_models
async def test_hundreds_of_clients_at_once_are_served_without_one_error(model: ServerModel) -> None:
    """All are connected before the first asks; each leaves when it is answered."""
    raise_descriptor_limit()
    if descriptor_limit() < 2 * CLIENTS + 200:
        pytest.skip(f"so many clients need more than {descriptor_limit():,} descriptors")
    count = clients_for(model)
    async with serving(model) as served, AsyncExitStack() as stack:
        peers: list[Peer] = []
        for _ in range(count):
            peer = await stack.enter_async_context(connected(served))
            if model.name == "select":
                peer.sock = out_of_the_way(peer.sock)
            peers.append(peer)
            # The server has its turn, so that the backlog does not overflow where the system keeps it small.
            await asyncio.sleep(0)
        await asyncio.gather(*(ask_once(peer, number) for number, peer in enumerate(peers)))
        await until(lambda: served.recorder.totals().connections_closed == count)
        totals = served.recorder.totals()
        assert (totals.requests, totals.responses, totals.connections_opened) == (count,) * 3
        assert (totals.errors, totals.connections_reset, totals.connections_rejected) == (0, 0, 0)
        assert {record.close_reason for record in served.recorder.closed} == {CloseReason.EOF}


@udp_models
async def test_hundreds_of_peers_are_answered(model: ServerModel) -> None:
    """Fifty at a time, which the receive buffer of any system holds."""
    turn = asyncio.Semaphore(50)

    async def ask(served: Served, number: int) -> None:
        async with turn, connected(served) as peer:
            await peer.send(numbered(1, b"%06d" % number))
            assert await peer.recv() == numbered(1, b"%06d" % number)

    async with serving(model) as served:
        await asyncio.gather(*(ask(served, number) for number in range(CLIENTS)))
        await until(lambda: served.recorder.totals().responses == CLIENTS)
        totals = served.recorder.totals()
        assert (totals.requests, totals.errors, totals.datagrams_lost) == (CLIENTS, 0, 0)


async def talk(peer: Peer, chance: random.Random, digest: hashlib._Hash) -> None:
    """Send frames of any size in pieces of any size, then close this side."""
    while peer.sent < TRANSFER_BYTES:
        size = min(chance.choice((0, 1, 64, 1_000, LARGEST_PAYLOAD_BYTES)), TRANSFER_BYTES - peer.sent)
        frame = memoryview(encode("length", chance.randbytes(size)))
        digest.update(frame)
        while frame:
            cut = chance.randint(1, 2 * LARGEST_PAYLOAD_BYTES)
            await peer.send(bytes(frame[:cut]))
            frame = frame[cut:]
    peer.sock.shutdown(socket.SHUT_WR)


async def listen(peer: Peer, chance: random.Random, digest: hashlib._Hash) -> None:
    """Read to the end, at times a little only, and at times not at all for a while."""
    while data := await peer.recv(chance.choice((7, 500, 65_536, 65_536))):
        digest.update(data)
        if chance.random() < 0.05:
            for _ in range(20):
                await asyncio.sleep(0)


async def transfer(served: Served, seed: int) -> None:
    """Send much through one connection, end it by a half-close, and compare."""
    chance = random.Random(seed)
    sent, received = hashlib.sha256(), hashlib.sha256()
    async with connected(served, rcvbuf=BUFFER_BYTES) as peer:
        # A minute for each 10 MB is far more than any needs; of that a stalled peer may wait for any part.
        peer.patience_s = 60 + TRANSFER_BYTES / 160_000
        async with asyncio.timeout(peer.patience_s):
            await asyncio.gather(talk(peer, chance, sent), listen(peer, random.Random(seed + 1), received))
        assert peer.received == peer.sent >= TRANSFER_BYTES
        assert received.digest() == sent.digest()
        address = peer.sock.getsockname()[:2]
    await until(lambda: address in {record.remote_address for record in served.recorder.closed})
    record = next(r for r in served.recorder.closed if r.remote_address == address)
    assert (record.bytes_in, record.bytes_out) == (peer.sent, peer.received)
    assert record.frames_in == record.frames_out
    assert record.close_reason is CloseReason.EOF


async def break_off(served: Served, seed: int) -> None:
    """Begin to talk, and reset in the middle of a frame."""
    chance = random.Random(seed)
    async with connected(served) as peer:
        await peer.send(encode("length", chance.randbytes(LARGEST_PAYLOAD_BYTES)) * 2)
        await peer.recv(chance.randint(1, 10_000))
        await peer.send(encode("length", b"x" * 100)[: chance.randint(1, 90)])
        peer.reset()


@tcp_models
@pytest.mark.timeout(60 + TRANSFER_BYTES // 50_000)
async def test_no_byte_is_lost_whatever_the_peers_do(model: ServerModel) -> None:
    async with serving(model, sndbuf_bytes=BUFFER_BYTES) as served:
        if model.at_once == 1:
            for seed in range(RESETS):
                await break_off(served, seed)
            await transfer(served, 100)
        else:
            resets = [break_off(served, seed) for seed in range(RESETS)]
            await asyncio.gather(transfer(served, 100), transfer(served, 200), *resets)
        await until(lambda: served.recorder.totals().connections_reset == RESETS)
        assert served.recorder.totals().errors == 0


@one_at_a_time_models
async def test_a_crowd_in_the_backlog_is_served_in_the_order_of_its_coming(model: ServerModel) -> None:
    async with serving(model) as served, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(connected(served)) for _ in range(20)]
        ports = [peer.sock.getsockname()[1] for peer in peers]
        await asyncio.gather(*(ask_once(peer, number) for number, peer in enumerate(reversed(peers))))
        await until(lambda: len(served.recorder.closed) == 20)
        records = sorted(served.recorder.closed, key=lambda record: record.conn_id)
        assert [record.remote_address[1] for record in records] == ports
