"""Peers that do anything, against every server model: the books stay right, and a good client is served."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from itertools import pairwise

import pytest

from sockscope.core.config.models import ServerModel
from sockscope.core.events import CloseReason
from sockscope.core.wire.framing import encode
from tests.engine.test_server_conformance import (
    Peer,
    Served,
    connected,
    numbered,
    serving,
    tcp_models,
    udp_models,
)
from tests.waiting import until

ACTS = 48
AT_ONCE = 8
seeds = pytest.mark.parametrize("seed", [1, 2])


class Hostile:
    """Acts of peers, chosen by chance; what they sent and read is counted."""

    def __init__(self, served: Served, framing: str, chance: random.Random) -> None:
        self.served = served
        self.framing = framing
        self.chance = chance
        self.made = self.sent = self.received = self.answered = 0
        self.acts: list[Callable[[Peer], Awaitable[None]]] = [
            self.asks, self.asks, self.talks_nonsense, self.claims_much, self.leaves_in_the_middle,
            self.resets_in_the_middle, self.stops_sending, self.never_reads, self.says_nothing,
        ]  # fmt: skip

    async def act(self) -> None:
        """Connect and do something, then leave or reset; what the server does about it is not minded."""
        async with connected(self.served) as peer:
            self.made += 1
            asked = self.chance.choice(self.acts)
            if asked == self.asks:
                await asked(peer)
            else:
                with suppress(OSError):
                    await asked(peer)
            if peer.sock.fileno() >= 0 and self.chance.random() < 0.3:
                peer.reset()
            self.sent += peer.sent
            self.received += peer.received

    def frames(self, most: int) -> list[bytes]:
        sizes = self.chance.choices((0, 1, 40, 3_000), k=self.chance.randint(1, most))
        return [encode(self.framing, bytes(self.chance.choices(b"abc", k=size))) for size in sizes]

    async def asks(self, peer: Peer) -> None:
        frames = self.frames(6)
        stream = b"".join(frames)
        cuts = sorted({0, len(stream), *(self.chance.randint(0, len(stream)) for _ in range(3))})
        for begin, end in pairwise(cuts):
            await peer.send(stream[begin:end])
            await asyncio.sleep(0)
        assert await peer.recv_exactly(len(stream)) == stream
        self.answered += len(frames)

    async def talks_nonsense(self, peer: Peer) -> None:
        await peer.send(self.chance.randbytes(self.chance.randint(1, 5_000)))

    async def claims_much(self, peer: Peer) -> None:
        await peer.send(b"\xff\xff\xff\xff" + b"x" * self.chance.randint(0, 300_000))

    async def leaves_in_the_middle(self, peer: Peer) -> None:
        frame = encode(self.framing, b"y" * 100)
        await peer.send(frame * self.chance.randint(0, 3) + frame[: self.chance.randint(1, 100)])

    async def resets_in_the_middle(self, peer: Peer) -> None:
        await self.leaves_in_the_middle(peer)
        peer.reset()

    async def stops_sending(self, peer: Peer) -> None:
        await self.leaves_in_the_middle(peer)
        peer.sock.shutdown(socket.SHUT_WR)

    async def never_reads(self, peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        block = encode(self.framing, b"z" * 1_000) * 16
        for _ in range(40):
            with suppress(BlockingIOError):
                # Whole blocks or parts of them: it is garbage sooner or later.
                peer.sent += peer.sock.send(block)
            await asyncio.sleep(0)

    async def says_nothing(self, peer: Peer) -> None:
        await asyncio.sleep(0)

    async def storm(self, count: int) -> None:
        """Connect many times at once and leave at once, one half by a reset."""
        async with AsyncExitStack() as crowd:
            peers = [await crowd.enter_async_context(connected(self.served)) for _ in range(count)]
            self.made += count
            for peer in peers[::2]:
                peer.reset()


@tcp_models
@seeds
async def test_whatever_peers_do_the_books_are_right_and_a_good_client_is_served(
    model: ServerModel, seed: int
) -> None:
    framing, service_time_s = [("newline", 0.0), ("length", 0.001)][seed % 2]
    async with serving(
        model, framing=framing, service_time_s=service_time_s, rcvbuf_bytes=16_384, sndbuf_bytes=16_384
    ) as served:
        hostile = Hostile(served, framing, random.Random(seed))
        for _ in range(ACTS // AT_ONCE):
            await asyncio.gather(hostile.storm(6), *(hostile.act() for _ in range(AT_ONCE)))
        async with connected(served) as good:
            wire = encode(framing, b"still here?")
            await good.send(wire)
            assert await good.recv_exactly(len(wire)) == wire
            await until(lambda: len(served.recorder.live) == 1, what="nobody but the good client is left")
            totals = served.recorder.totals()
            ended = served.recorder.closed
            assert totals.connections_opened - 1 == totals.connections_closed == len(ended) <= hostile.made
            assert hostile.answered < totals.responses <= totals.requests
            assert all(0 <= record.frames_out <= record.frames_in for record in ended)
            assert hostile.received + good.received <= totals.bytes_out
            assert totals.bytes_in <= hostile.sent + good.sent
            assert totals.errors == [record.close_reason for record in ended].count(CloseReason.GARBAGE)
            assert totals.connections_rejected == totals.accept_stops == 0


@udp_models
@seeds
async def test_whatever_datagrams_come_the_books_are_right_and_a_good_client_is_served(
    model: ServerModel, seed: int
) -> None:
    chance = random.Random(seed)
    async with serving(model, service_time_s=[0.0, 0.001][seed % 2]) as served:
        sent = 0
        for _ in range(ACTS // AT_ONCE):
            async with AsyncExitStack() as crowd:
                peers = [await crowd.enter_async_context(connected(served)) for _ in range(AT_ONCE)]
                for _ in range(5 * AT_ONCE):
                    forged = chance.choice((0, 1, 2, chance.randrange(1 << 64)))
                    data = chance.choice(
                        (numbered(forged), chance.randbytes(chance.choice((0, 1, 7, 1_400))))
                    )
                    with suppress(OSError):
                        # Whose answers have met a closed port before is told so here.
                        sent += bool(chance.choice(peers).sock.send(data) + 1)
                await asyncio.sleep(0)
        async with connected(served) as good:
            # What the kernel has no room for is lost, that of a good client too.
            good.patience_s = 1.0
            for number in range(1, 11):
                good.sock.send(numbered(number))
                with suppress(TimeoutError):
                    assert (await good.recv())[8:] == b"payload"
                    break
            assert good.received

            def settled() -> bool:
                totals = served.recorder.totals()
                return totals.requests == totals.responses + totals.errors

            await until(settled, what="each request is answered, or could not be")
            totals = served.recorder.totals()
            assert totals.requests == totals.datagrams_received <= sent + number
            counts = served.endpoint.sequence_counts()
            assert 0 <= counts.lost <= 1 << 20
            assert counts.duplicated + counts.reordered <= sent
