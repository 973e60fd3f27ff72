"""What every server model must do, seen from plain sockets; one suite for all of them.

A model is found in the registry, so that a new one is tested as soon as it is registered. ``blocking`` serves
one connection at a time: what needs a second one beside the first has tests of its own there.
"""

from __future__ import annotations

import asyncio
import errno
import random
import resource
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import pytest

from sockscope.core.addresses import Address
from sockscope.core.config.models import ServerModel
from sockscope.core.connection import ConnectionRecord, ConnectionState
from sockscope.core.events import CloseReason
from sockscope.core.wire.framing import MOST_FRAMES, encode
from sockscope.engine.limits import open_descriptors
from sockscope.engine.recorder import Recorder
from sockscope.engine.sampler import kernel_udp
from sockscope.engine.servers import udp_endpoint
from sockscope.engine.servers.conversation import MOST_QUEUED_BYTES
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.registry import PRESENT_MODELS
from tests.engine.conftest import open_sockets
from tests.engine.runs import experiment, opened
from tests.ports import unused_port
from tests.waiting import until

TCP_MODELS = [model for model in PRESENT_MODELS if model.transport == "tcp"]
UDP_MODELS = [model for model in PRESENT_MODELS if model.transport == "udp"]
CONCURRENT_MODELS = [model for model in TCP_MODELS if model.at_once != 1]
ONE_AT_A_TIME_MODELS = [model for model in TCP_MODELS if model.at_once == 1]
tcp_models = pytest.mark.parametrize("model", TCP_MODELS, ids=lambda model: model.name)
concurrent_models = pytest.mark.parametrize("model", CONCURRENT_MODELS, ids=lambda model: model.name)
one_at_a_time_models = pytest.mark.parametrize("model", ONE_AT_A_TIME_MODELS, ids=lambda model: model.name)
udp_models = pytest.mark.parametrize("model", UDP_MODELS, ids=lambda model: model.name)
families = pytest.mark.parametrize("family", ["ipv4", "ipv6"])
WAIT_S = 60.0


@dataclass
class Served:
    """An endpoint under test and what it has recorded."""

    model: ServerModel
    endpoint: Endpoint
    unfolded: Recorder

    @property
    def recorder(self) -> Recorder:
        """Return the recorder with everything that threads have told it by now."""
        self.unfolded.fold()
        return self.unfolded

    def record(self) -> ConnectionRecord:
        """Return the record of the newest connection."""
        return max(self.recorder.records(), key=lambda record: record.conn_id)

    async def accepted(self, count: int = 1) -> None:
        """Wait until so many connections have been accepted."""
        await until(lambda: self.recorder.opened >= count, what=f"{count} connections accepted")

    async def asked(self, frames: int) -> None:
        """Wait until so many requests have been read on all connections together."""
        await until(lambda: self.recorder.totals().requests >= frames, what=f"{frames} requests read")

    async def closed(self) -> ConnectionRecord:
        """Wait for the newest connection to end and return its record."""
        await until(lambda: self.recorder.closed, what="the server closes the connection")
        return self.recorder.closed[-1]


@asynccontextmanager
async def serving(model: ServerModel, host: str = "", **values: Any) -> AsyncIterator[Served]:
    recorder = Recorder("server")
    # A port of its own: one that is given may be that of a server that has gone, whose clients still try it.
    values.setdefault("port", unused_port())
    chosen = experiment(transport=model.transport, server=model.name, **values)
    endpoint = opened(ServerContext(chosen, recorder), host)
    try:
        yield Served(model, endpoint, recorder)
    finally:
        endpoint.close(CloseReason.STOPPED)
        await until(lambda: endpoint.drained)
        recorder.fold()
        assert not recorder.live


class Peer:
    """A plain non-blocking socket that counts what it sends and reads."""

    def __init__(self, endpoint: Endpoint, kind: socket.SocketKind, rcvbuf: int = 0) -> None:
        host, _ = endpoint.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, kind)
        self.sock.setblocking(False)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sent = self.received = self.reads = 0
        self.patience_s = WAIT_S

    async def ready(self, *, to_write: bool) -> None:
        """Wait until the socket can be read or written."""
        loop = asyncio.get_running_loop()
        is_ready = asyncio.Event()
        add, remove = (
            (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
        )
        add(self.sock, is_ready.set)
        try:
            async with asyncio.timeout(self.patience_s):
                await is_ready.wait()
        finally:
            remove(self.sock)

    async def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                count = self.sock.send(view)
            except BlockingIOError:
                await self.ready(to_write=True)
                continue
            self.sent += count
            view = view[count:]

    async def recv(self, most: int = 65_536) -> bytes:
        while True:
            try:
                data = self.sock.recv(most)
            except BlockingIOError:
                await self.ready(to_write=False)
                continue
            self.received += len(data)
            self.reads += 1
            return data

    async def recv_exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            data = await self.recv(size - len(found))
            assert data, f"closed after {len(found)} of {size} B"
            found += data
        return found

    async def recv_all(self) -> bytes:
        """Read until the end, which may be a reset."""
        found = b""
        try:
            while data := await self.recv():
                found += data
        except ConnectionResetError:
            pass
        return found

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@asynccontextmanager
async def connected(served: Served, rcvbuf: int = 0) -> AsyncIterator[Peer]:
    kind = socket.SOCK_STREAM if served.model.transport == "tcp" else socket.SOCK_DGRAM
    peer = Peer(served.endpoint, kind, rcvbuf)
    try:
        # Over loopback the kernel connects at once, and the second call says so: the server has had no turn.
        address = served.endpoint.address
        if peer.sock.connect_ex(address) and peer.sock.connect_ex(address) not in (0, errno.EISCONN):
            await peer.ready(to_write=True)
        yield peer
    finally:
        peer.sock.close()


# Echo.


@tcp_models
@pytest.mark.parametrize(
    ("family", "framing", "service_time_s"),
    [
        *product(["ipv4"], ["length", "newline", "fixed"], [0.0, 0.001]),
        ("ipv6", "length", 0.0),
    ],
)
async def test_frames_cut_anyhow_are_echoed_in_order(
    model: ServerModel, family: str, framing: str, service_time_s: float
) -> None:
    chance = random.Random(f"{family} {framing}")
    sizes = [40] * 30 if framing == "fixed" else [chance.choice((0, 1, 40, 40, 3000)) for _ in range(30)]
    frames = [encode(framing, chance.randbytes(size).replace(b"\n", b"n")) for size in sizes]
    stream = b"".join(frames)
    async with (
        serving(
            model, family=family, framing=framing, service_time_s=service_time_s, request_bytes=40
        ) as served,
        connected(served) as peer,
    ):

        async def talk() -> None:
            position = 0
            while position < len(stream):
                size = chance.choice((1, 3, 44, 500, 5000))
                await peer.send(stream[position : position + size])
                position += size
                if chance.random() < 0.5:
                    await asyncio.sleep(0)

        talking = asyncio.create_task(talk())
        assert await peer.recv_exactly(len(stream)) == stream
        await talking
        record = served.record()
        assert (record.bytes_in, record.bytes_out) == (peer.sent, peer.received)
        assert (record.frames_in, record.frames_out, record.writes) == (30, 30, 30)


@tcp_models
async def test_the_record_counts_what_a_plain_client_counts(model: ServerModel) -> None:
    wire = encode("length", b"x" * 60)
    async with serving(model) as served, connected(served) as peer:
        await served.accepted()
        for turn in range(1, 21):
            # Whole at first, then as a beginning and an end, each read by the server on its own.
            parts = [wire] if turn <= 10 else [wire[:turn], wire[turn:]]
            for part in parts:
                await peer.send(part)
                await until(lambda: served.record().bytes_in == peer.sent)
            assert await peer.recv_exactly(len(wire)) == wire
        record = served.record()
        assert (record.bytes_in, record.bytes_out) == (peer.sent, peer.received)
        assert (record.reads, record.writes) == (30, 20)
        assert served.recorder.exchanges.count == 20
        assert record.local_address == served.endpoint.address
        assert record.remote_address == peer.sock.getsockname()[:2]


@tcp_models
@pytest.mark.parametrize("service_time_s", [0.0, 1e-6])
async def test_a_flood_of_empty_frames_is_served_a_part_at_a_time(
    model: ServerModel, service_time_s: float
) -> None:
    wires = encode("length", b"") * (2 * MOST_FRAMES + 7)
    async with (
        serving(model, service_time_s=service_time_s, work="block") as served,
        connected(served) as peer,
    ):
        await peer.send(wires)
        assert await peer.recv_exactly(len(wires)) == wires
        await peer.send(encode("length", b"last"))
        assert await peer.recv_exactly(8) == encode("length", b"last")
        assert served.record().frames_in == served.record().frames_out == 2 * MOST_FRAMES + 7 + 1


@pytest.mark.parametrize("name", ["protocol", "buffered", "streams"])
async def test_a_flood_of_empty_frames_holds_up_nobody_else(name: str) -> None:
    (model,) = (model for model in TCP_MODELS if model.name == name)
    flood = encode("length", b"") * (14 * MOST_FRAMES)
    async with serving(model) as served, connected(served) as peer, connected(served) as other:
        await served.accepted(2)
        flooded = min(served.recorder.records(), key=lambda record: record.conn_id)
        await peer.send(flood)
        await until(lambda: flooded.frames_out)
        await other.send(encode("length", b"me"))
        assert await other.recv_exactly(6) == encode("length", b"me")
        assert flooded.frames_out < 14 * MOST_FRAMES


@tcp_models
async def test_none_echoes_each_read(model: ServerModel) -> None:
    async with serving(model, framing="none") as served, connected(served) as peer:
        for text in (b"a", b"bc", b"bc", b"d" * 9000):
            await peer.send(text)
            assert await peer.recv_exactly(len(text)) == text
        assert served.record().frames_in == served.record().reads


@tcp_models
async def test_a_service_time_is_awaited_one_request_after_the_other(model: ServerModel) -> None:
    wires = [encode("length", b"%03d" % n) for n in range(5)]
    async with serving(model, service_time_s=0.02) as served, connected(served) as peer:
        await peer.send(b"".join(wires))
        assert await peer.recv_exactly(len(wires) * 7) == b"".join(wires)
        answered = [(read_s, replied_s) for read_s, replied_s, *_ in served.recorder.exchanges.since(0).items]
        assert all(replied_s - answered[0][0] >= 0.02 * (n + 1) for n, (_, replied_s) in enumerate(answered))


@concurrent_models
async def test_other_connections_go_on_while_one_is_served(model: ServerModel) -> None:
    wire = encode("length", b"x")
    async with serving(model, service_time_s=0.05) as served, connected(served) as slow:
        await slow.send(wire * 100)
        await served.asked(100)
        async with connected(served) as other:
            await other.send(wire)
            assert await other.recv_exactly(len(wire)) == wire
            assert slow.received < 100 * len(wire)


@tcp_models
async def test_the_order_is_kept_when_the_service_time_goes(model: ServerModel) -> None:
    first, second = encode("length", b"first"), encode("length", b"second")
    async with serving(model, service_time_s=0.05) as served, connected(served) as peer:
        await peer.send(first)
        await served.asked(1)
        await peer.send(second)
        await served.asked(2)
        tuning = replace(experiment().tuning, service_time_s=0.0)
        await served.endpoint.apply(tuning, 1)
        for frames in (3, 4):
            await peer.send(second)
            await served.asked(frames)
        expected = first + second * 3
        assert await peer.recv_exactly(len(expected)) == expected
        await peer.send(second)
        assert await peer.recv_exactly(len(second)) == second


@tcp_models
@pytest.mark.parametrize("turns", range(1, 4))
async def test_who_arrives_while_a_tuning_is_applied_is_served_by_it(model: ServerModel, turns: int) -> None:
    async with serving(model, service_time_s=60.0) as served:
        # The kernel has connected it, and the server is as far with it as so many turns take.
        with socket.create_connection(served.endpoint.address) as sock:
            for _ in range(turns):
                await asyncio.sleep(0)
            await served.endpoint.apply(replace(experiment().tuning, service_time_s=0.0), 1)
            sock.setblocking(False)
            await served.accepted()
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(WAIT_S):
                await loop.sock_sendall(sock, encode("length", b"quick"))
                assert await loop.sock_recv(sock, 100) == encode("length", b"quick")


# Peers that misbehave.


@contextmanager
def free_descriptors(count: int) -> Iterator[None]:
    """Leave the process so many descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, ((open_descriptors() or 0) + count, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@concurrent_models
async def test_peers_that_use_up_the_descriptors_stop_the_accepting_and_nothing_else(
    model: ServerModel,
) -> None:
    wire = encode("length", b"x")
    with free_descriptors(100):
        async with serving(model) as served, connected(served) as good, AsyncExitStack() as crowd:
            await served.accepted()
            # One after the other: whom the server does not accept any more is in its backlog.
            while not (served.endpoint.not_accepting and served.endpoint.backlog):
                await crowd.enter_async_context(connected(served))
                await until(lambda: not served.endpoint.backlog or served.endpoint.not_accepting)
            async with connected(served) as waiting:
                await waiting.send(wire)
                await good.send(wire)
                assert await good.recv_exactly(len(wire)) == wire
                assert (served.recorder.accept_stops, waiting.received) == (1, 0)
                await crowd.aclose()
                assert await waiting.recv_exactly(len(wire)) == wire
            await until(lambda: not served.endpoint.not_accepting)
            assert (served.recorder.accept_stops, served.recorder.rejected) == (1, 0)


@tcp_models
async def test_a_peer_that_never_reads_is_not_read_from(model: ServerModel) -> None:
    wire = encode("length", b"x" * 1000)
    block = wire * 64
    async with (
        serving(model, rcvbuf_bytes=8192, sndbuf_bytes=8192) as served,
        connected(served, rcvbuf=8192) as peer,
    ):
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        # The server has stopped reading when the kernel takes nothing more, in many turns of the loop.
        refusals = sent = 0
        while refusals < 50 and sent < 50_000_000:
            try:
                sent += peer.sock.send(block[sent % len(block) :])
                refusals = 0
            except BlockingIOError:
                refusals += 1
                await asyncio.sleep(0.002)
        record = served.record()
        assert sent < 8_000_000
        assert record.bytes_in - record.bytes_out < 3_000_000
        assert record.bytes_out < 8_000_000


@cache
def a_long_stream() -> bytes:
    """Return 120,000 tiny frames, each of them another."""
    return b"".join(encode("length", b"%06d" % n) for n in range(120_000))


@tcp_models
async def test_what_waits_for_a_slow_reader_stays_bounded_and_in_order(model: ServerModel) -> None:
    """Tiny frames are many to a read; when the peer reads a little, the server must not read on and on."""
    stream = a_long_stream()
    async with (
        serving(model, sndbuf_bytes=8192) as served,
        connected(served, rcvbuf=8192) as peer,
    ):
        talking = asyncio.create_task(peer.send(stream))
        await served.accepted()
        await until(lambda: served.record().state is ConnectionState.PAUSED)
        found = b""
        waiting = 0
        while len(found) < 60_000:
            found += await peer.recv(16_384)
            for _ in range(20):
                await asyncio.sleep(0)
            waiting = max(waiting, served.record().bytes_in - served.record().bytes_out)
        talking.cancel()
        await asyncio.wait([talking])
        assert found == stream[: len(found)]
        # The bound of the queue, and what one read and the one before may bring: 256 KiB each at the most.
        assert waiting <= 10 * 1024 + 2 * 262_144


@tcp_models
async def test_what_is_queued_is_bounded_in_bytes_and_a_frame_above_the_bound_passes(
    model: ServerModel,
) -> None:
    sizes = [100_000] * 18 + [2 * MOST_QUEUED_BYTES] + [100_000] * 18
    frames = [encode("length", bytes([number]) * size) for number, size in enumerate(sizes)]
    stream = b"".join(frames)
    async with serving(model, service_time_s=0.005) as served, connected(served) as peer:
        talking = asyncio.create_task(peer.send(stream))
        await served.accepted()
        found = bytearray()
        held = 0
        while len(found) < len(stream):
            record = served.record()
            held = max(held, record.bytes_in - record.bytes_out)
            found += await peer.recv(262_144)
        await talking
        assert found == stream
        # One large frame that is served or the last to come, the bound, and small change.
        assert held < 3 * MOST_QUEUED_BYTES + 1_000_000


@tcp_models
async def test_half_close_with_answers_due_gets_them_and_then_the_end(model: ServerModel) -> None:
    wires = b"".join(encode("length", b"%d" % n) for n in range(5))
    async with serving(model, service_time_s=0.005) as served, connected(served) as peer:
        await peer.send(wires)
        peer.sock.shutdown(socket.SHUT_WR)
        assert await peer.recv_all() == wires
        record = await served.closed()
        assert record.close_reason is CloseReason.EOF
        assert (record.frames_in, record.frames_out) == (5, 5)


@tcp_models
async def test_the_end_of_file_inside_a_frame_is_told(model: ServerModel) -> None:
    async with serving(model) as served, connected(served) as peer:
        await peer.send(encode("length", b"12345678")[:7])
        peer.sock.shutdown(socket.SHUT_WR)
        assert await peer.recv_all() == b""
        record = await served.closed()
        assert record.close_reason is CloseReason.EOF
        assert record.close_text == "7 B of an unfinished frame"


@concurrent_models
@pytest.mark.parametrize("service_time_s", [0.0, 0.05])
async def test_a_reset_ends_the_connection_and_nothing_else(
    model: ServerModel, service_time_s: float
) -> None:
    wire = encode("length", b"x")
    async with serving(model, service_time_s=service_time_s) as served, connected(served) as other:
        async with connected(served) as peer:
            await peer.send(wire * 3)
            await served.asked(3)
            peer.reset()
            record = await served.closed()
        assert record.close_reason is CloseReason.RESET
        assert served.recorder.totals().connections_reset == 1
        await other.send(wire)
        assert await other.recv_exactly(len(wire)) == wire


@tcp_models
async def test_nobody_is_answered_who_has_reset_the_connection(
    model: ServerModel, caplog: pytest.LogCaptureFixture
) -> None:
    wire = encode("length", b"x")
    async with serving(model) as served, connected(served) as peer:
        await peer.send(wire * 500)
        peer.reset()
        record = await served.closed()
        assert record.close_reason is CloseReason.RESET
    assert "exception" not in caplog.text, "asyncio complains of writes to a lost connection"


@tcp_models
@pytest.mark.parametrize(
    ("garbage", "why"),
    [(b"\x01\x00\x00\x01", "B are accepted"), (b"GET / HTTP/1.1\r\n\r\n", "not --framing length")],
)
async def test_a_claim_of_gigabytes_is_refused_without_waiting_for_them(
    model: ServerModel, garbage: bytes, why: str
) -> None:
    async with serving(model) as served, connected(served) as peer:
        await peer.send(garbage)
        assert await peer.recv_all() == b""
        record = await served.closed()
        assert record.close_reason is CloseReason.GARBAGE
        assert why in record.close_text
        assert served.recorder.totals().errors == 1
        assert record.bytes_in == len(garbage)


@tcp_models
@pytest.mark.parametrize("service_time_s", [0.0, 0.002])
async def test_what_was_asked_before_garbage_is_answered_though_one_read_has_both(
    model: ServerModel, service_time_s: float
) -> None:
    wire = encode("length", b"x")
    async with serving(model, service_time_s=service_time_s) as served, connected(served) as peer:
        await peer.send(wire * 3 + b"\xff\xff\xff\xff")
        assert await peer.recv_exactly(3 * len(wire)) == wire * 3
        record = await served.closed()
        assert record.close_reason is CloseReason.GARBAGE
        totals = served.recorder.totals()
        assert (totals.requests, totals.responses, totals.errors) == (3, 3, 1)


@pytest.mark.parametrize(
    "model", [model for model in TCP_MODELS if not model.threaded], ids=lambda model: model.name
)
async def test_garbage_from_a_peer_that_does_not_read_does_not_hold_the_connection(
    model: ServerModel,
) -> None:
    wire = encode("length", b"x" * 60_000)
    async with serving(model, sndbuf_bytes=4096) as served, connected(served, rcvbuf=4096) as peer:
        await peer.send(wire)
        await served.asked(1)
        await peer.send(b"\xff\xff\xff\xff")
        record = await served.closed()
        assert record.close_reason is CloseReason.GARBAGE


@pytest.mark.parametrize(
    "model", [model for model in TCP_MODELS if model.threaded], ids=lambda model: model.name
)
async def test_a_model_that_writes_before_it_reads_on_lets_a_peer_that_does_not_read_wait(
    model: ServerModel,
) -> None:
    """What such a peer sends is not read, garbage or not; the idle timeout ends the connection."""
    wire = encode("length", b"x" * 200_000)
    async with (
        serving(model, sndbuf_bytes=4096, idle_timeout_s=0.5) as served,
        connected(served, rcvbuf=4096) as peer,
    ):
        await served.accepted()
        await peer.send(wire)
        await until(lambda: served.record().state is ConnectionState.PAUSED)
        await peer.send(b"\xff\xff\xff\xff")
        await until(lambda: served.recorder.unwritable.running)
        record = await served.closed()
        assert record.closed_s is not None
        stood_still_s = served.recorder.unwritable.total_s(record.closed_s + 60)
        assert 0 < stood_still_s <= record.closed_s - record.opened_s, "what is closed is not waited for"
        assert record.close_reason is CloseReason.IDLE
        assert (record.bytes_in, served.recorder.totals().errors) == (len(wire), 0)


@tcp_models
async def test_escape_sequences_are_bytes_like_any_other(model: ServerModel) -> None:
    wire = encode("newline", b"\x1b[2J\x1b]0;owned\x07[red]x[/red]\x00")
    async with serving(model, framing="newline") as served, connected(served) as peer:
        await peer.send(wire)
        assert await peer.recv_exactly(len(wire)) == wire
        assert served.recorder.exchanges.since(0).items[0][3] == wire


async def of_all(models: Sequence[ServerModel], check: Callable[[ServerModel], Awaitable[None]]) -> None:
    """Check all models at once, where each has to wait."""

    async def of(model: ServerModel) -> None:
        try:
            await check(model)
        except BaseException as error:
            error.add_note(f"with {model.name}")
            raise

    async with asyncio.TaskGroup() as group:
        for model in models:
            group.create_task(of(model))


async def test_who_waits_for_an_answer_is_not_idle() -> None:
    wire = encode("length", b"x")

    async def check(model: ServerModel) -> None:
        async with (
            serving(model, idle_timeout_s=0.05, service_time_s=0.3) as served,
            connected(served) as peer,
        ):
            await peer.send(wire)
            assert await peer.recv_exactly(len(wire)) == wire
            assert await peer.recv_all() == b""
            assert (await served.closed()).close_reason is CloseReason.IDLE

    await of_all(TCP_MODELS, check)


async def test_a_silent_connection_is_closed_and_a_busy_one_is_not() -> None:
    wire = encode("length", b"x")

    async def check(model: ServerModel) -> None:
        async with (
            serving(model, idle_timeout_s=1.0) as served,
            connected(served) as silent,
            connected(served) as busy,
        ):
            await served.accepted(2)
            waiting = asyncio.create_task(silent.recv_all())
            while not waiting.done():
                await busy.send(wire)
                assert await busy.recv_exactly(len(wire)) == wire
                await asyncio.sleep(0.02)
            assert waiting.result() == b""
            record = await served.closed()
            assert record.close_reason is CloseReason.IDLE
            assert record.remote_address == silent.sock.getsockname()[:2]

    await of_all(CONCURRENT_MODELS, check)


@concurrent_models
async def test_more_connections_than_may_be_are_turned_away(model: ServerModel) -> None:
    wire = encode("length", b"x")
    async with serving(model, max_connections=2) as served:
        async with connected(served) as first, connected(served) as second, connected(served) as third:
            assert await third.recv_all() == b""
            for peer in (first, second):
                await peer.send(wire)
                assert await peer.recv_exactly(len(wire)) == wire
            assert (served.recorder.opened, served.recorder.rejected) == (2, 1)
            faults = [event.reason for event in served.recorder.events.since(0).items if event.is_fault]
            assert faults == [CloseReason.LIMIT]
        await until(lambda: served.endpoint.open_connections == 0)
        async with connected(served) as fourth:
            await fourth.send(wire)
            assert await fourth.recv_exactly(len(wire)) == wire


# One at a time.


@one_at_a_time_models
async def test_the_second_client_waits_in_the_backlog_until_the_first_hangs_up(model: ServerModel) -> None:
    wire = encode("length", b"x")
    async with serving(model) as served, connected(served) as second, connected(served) as third:
        for peer in (second, third):
            await peer.send(wire)
        assert await second.recv_exactly(len(wire)) == wire
        await second.send(wire)
        assert await second.recv_exactly(len(wire)) == wire
        # Connected and asking, as far as the third can tell; the server has not met it.
        assert (served.recorder.opened, third.received) == (1, 0)
        second.sock.close()
        assert await third.recv_exactly(len(wire)) == wire
        assert served.recorder.opened == 2


@one_at_a_time_models
async def test_a_reset_lets_the_next_one_in(model: ServerModel) -> None:
    wire = encode("length", b"x")
    async with serving(model, service_time_s=0.02) as served, connected(served) as first:
        await first.send(wire * 3)
        await served.asked(3)
        async with connected(served) as second:
            await second.send(wire)
            first.reset()
            assert await second.recv_exactly(len(wire)) == wire
            assert (await served.closed()).close_reason is CloseReason.RESET


@one_at_a_time_models
async def test_silence_costs_the_connection_and_lets_the_next_one_in(model: ServerModel) -> None:
    wire = encode("length", b"x")
    async with (
        serving(model, idle_timeout_s=0.1) as served,
        connected(served) as silent,
        connected(served) as second,
    ):
        await served.accepted()
        await second.send(wire)
        assert await silent.recv_all() == b""
        assert (await served.closed()).close_reason is CloseReason.IDLE
        assert await second.recv_exactly(len(wire)) == wire


@one_at_a_time_models
async def test_who_waits_in_the_backlog_keeps_the_framing_it_came_with(model: ServerModel) -> None:
    async with serving(model, framing="length") as served, connected(served) as first:
        await served.accepted()
        async with connected(served) as second:
            await second.send(encode("length", b"second"))
            await served.endpoint.apply(replace(experiment().tuning, framing="newline"), 1)
            async with connected(served) as third:
                await third.send(b"third\n")
                first.sock.close()
                assert await second.recv_exactly(10) == encode("length", b"second")
                second.sock.close()
                assert await third.recv_exactly(6) == b"third\n"


@one_at_a_time_models
async def test_who_waits_in_the_backlog_is_served_by_a_listener_that_drains(model: ServerModel) -> None:
    wire = encode("length", b"x")
    async with serving(model) as served, connected(served) as first, connected(served) as second:
        await served.accepted()
        await second.send(wire)
        served.endpoint.drain()
        with socket.socket() as late:
            assert late.connect_ex(served.endpoint.address) != 0
        first.sock.close()
        assert await second.recv_exactly(len(wire)) == wire
        assert not served.endpoint.drained
    assert served.endpoint.drained


# From the role.


@tcp_models
async def test_a_listener_that_drains_serves_who_is_here_and_nobody_new(model: ServerModel) -> None:
    wire = encode("length", b"x")
    async with serving(model) as served, connected(served) as old:
        # Not accepted yet, but connected as far as the kernel is concerned.
        await old.send(wire)
        served.endpoint.drain()
        assert await old.recv_exactly(len(wire)) == wire
        assert not served.endpoint.drained
        with socket.socket() as late:
            assert late.connect_ex(served.endpoint.address) != 0
    assert served.endpoint.drained


@concurrent_models
async def test_a_new_framing_is_for_connections_made_after_it(model: ServerModel) -> None:
    async with serving(model, framing="length") as served, connected(served) as old:
        # In the backlog, with a request under way, when the tuning changes.
        await old.send(encode("length", b"old"))
        await served.endpoint.apply(replace(experiment().tuning, framing="newline"), 1)
        assert await old.recv_exactly(7) == encode("length", b"old")
        async with connected(served) as new:
            await new.send(b"new\n")
            assert await new.recv_exactly(4) == b"new\n"


@tcp_models
@families
async def test_options_are_known_as_asked_and_as_they_are(model: ServerModel, family: str) -> None:
    async with (
        serving(model, family=family, rcvbuf_bytes=16_384, backlog=7) as served,
        connected(served) as peer,
    ):
        await served.accepted()
        options = {option.name: option for option in served.endpoint.socket_options()}
        assert options["backlog"].requested == 7
        assert options["SO_RCVBUF"].requested == 16_384
        assert options["SO_RCVBUF"].effective == 32_768
        assert options["SO_SNDBUF"].requested is None
        assert (options["TCP_NODELAY"].requested, options["TCP_NODELAY"].effective) == (1, 1)
        await served.endpoint.apply(replace(experiment(family=family).tuning, no_delay=False), 1)
        options = {option.name: option for option in served.endpoint.socket_options()}
        assert options["TCP_NODELAY"].effective == 0
        conn_id = served.record().conn_id
        assert served.endpoint.socket_of(conn_id) is not None
        assert served.endpoint.socket_of(conn_id + 1) is None
        assert served.endpoint.close_connection(conn_id, CloseReason.CLOSED)
        assert not served.endpoint.close_connection(conn_id + 1, CloseReason.CLOSED)
        assert await peer.recv_all() == b""
        assert (await served.closed()).close_reason is CloseReason.CLOSED


@pytest.mark.parametrize("model", PRESENT_MODELS, ids=lambda model: model.name)
@families
async def test_close_closes_every_descriptor(model: ServerModel, family: str) -> None:
    wire = b"\0\0\0\x09" + (1).to_bytes(8, "big") + b"x"
    before = open_sockets()
    async with (
        serving(model, family=family, service_time_s=0.5) as served,
        connected(served) as one,
        connected(served) as two,
    ):
        for peer in (one, two):
            await peer.send(wire)
        await served.asked(1 if model in ONE_AT_A_TIME_MODELS else 2)
        served.endpoint.close(CloseReason.STOPPED)
        await until(lambda: served.endpoint.drained)
        assert not served.recorder.live
        assert served.recorder.closed[-1].close_reason is CloseReason.STOPPED
    # uvloop closes in its next turn.
    await until(lambda: open_sockets() == before)


# UDP.


def numbered(number: int, tail: bytes = b"payload") -> bytes:
    return number.to_bytes(8, "big") + tail


@udp_models
@families
@pytest.mark.parametrize("service_time_s", [0.0, 0.002])
async def test_datagrams_are_echoed_whole(model: ServerModel, family: str, service_time_s: float) -> None:
    sizes = [8, 9, 500, 9000, 0, 65_507 if family == "ipv4" else 65_000, 1]
    async with (
        serving(model, family=family, service_time_s=service_time_s) as served,
        connected(served) as peer,
    ):
        for number, size in enumerate(sizes, start=1):
            datagram = numbered(number, b"x" * size)[:size]
            peer.sock.send(datagram)
            assert await peer.recv() == datagram
        record = served.record()
        # A thread counts an answer when it is sent, and the peer may be quicker.
        await until(lambda: record.frames_out == len(sizes))
        assert (record.reads, record.writes, record.frames_in, record.frames_out) == (len(sizes),) * 4
        assert (record.bytes_in, record.bytes_out) == (sum(sizes), sum(sizes))


@udp_models
async def test_numbers_tell_what_was_lost_doubled_and_out_of_order(model: ServerModel) -> None:
    async with serving(model) as served, connected(served) as peer:
        for number in (1, 2, 5, 4, 4, 8, 8):
            peer.sock.send(numbered(number))
            await peer.recv()
        # 3, 6 and 7 never came; 4 came after 5; 4 and 8 came twice.
        served.endpoint.close(CloseReason.STOPPED)
        totals = served.recorder.totals()
        assert (totals.datagrams_lost, totals.datagrams_reordered, totals.datagrams_duplicated) == (3, 1, 2)


@udp_models
async def test_a_port_that_is_used_anew_is_a_new_connection_without_duplicates(model: ServerModel) -> None:
    async with serving(model) as served, connected(served) as peer:
        for number in (1, 2, 3, 1, 2, 1, 2, 3, 4):
            peer.sock.send(numbered(number))
            await peer.recv()
        assert served.recorder.opened == 3
        served.endpoint.close(CloseReason.STOPPED)
        totals = served.recorder.totals()
        assert (totals.datagrams_lost, totals.datagrams_duplicated, totals.requests) == (0, 0, 9)


@udp_models
async def test_a_peer_that_was_forgotten_has_lost_nothing_when_it_comes_back(model: ServerModel) -> None:
    async with serving(model) as served, connected(served) as peer:
        for number in (1, 2, 3, 4, 6, 7):
            if number in (4, 7):
                conn_id = served.record().conn_id
                assert served.endpoint.close_connection(conn_id, CloseReason.CLOSED)
                assert not served.recorder.live
            peer.sock.send(numbered(number))
            await peer.recv()
        served.endpoint.close(CloseReason.STOPPED)
        totals = served.recorder.totals()
        assert (totals.connections_opened, totals.datagrams_lost) == (3, 1)


@udp_models
async def test_a_peer_that_does_not_number_is_served_all_the_same(model: ServerModel) -> None:
    async with serving(model) as served, connected(served) as peer:
        for text in (b"hello world!", b"hello world!", b"", b"x" * 100):
            peer.sock.send(text)
            assert await peer.recv() == text
        served.endpoint.close(CloseReason.STOPPED)
        totals = served.recorder.totals()
        assert (totals.datagrams_lost, totals.datagrams_duplicated, totals.datagrams_reordered) == (0, 0, 0)


@udp_models
async def test_forged_numbers_are_an_event_and_no_loss(model: ServerModel) -> None:
    async with serving(model) as served, connected(served) as peer:
        numbers = [number for turn in range(1, 21) for number in (turn, turn + 1_000_000 * turn)]
        for number in [*numbers, 21, 22, 24]:
            peer.sock.send(numbered(number))
            assert await peer.recv() == numbered(number)
        jumps = [event for event in served.recorder.events.since(0).items if "jump" in event.text]
        assert len(jumps) == 1
        served.endpoint.close(CloseReason.STOPPED)
        totals = served.recorder.totals()
        assert (totals.datagrams_lost, totals.datagrams_duplicated, totals.datagrams_reordered) == (1, 0, 0)


def forged(source: Address, data: bytes) -> bytes:
    """Return an IPv4 packet (RFC 791) with a UDP datagram (RFC 768) from ``source`` to itself."""
    host, port = socket.inet_aton(source[0]), source[1]
    udp = struct.pack("!4H", port, port, 8 + len(data), 0) + data
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, host, host) + udp


@udp_models
@pytest.mark.parametrize("bind", ["", "0.0.0.0"])
async def test_a_datagram_from_the_servers_own_address_is_not_answered(model: ServerModel, bind: str) -> None:
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except PermissionError:
        pytest.skip("only root can forge a source")
    with raw:
        async with serving(model, host=bind) as served, connected(served) as peer:
            address = ("127.0.0.1", served.endpoint.address[1])
            for number in (1, 2):
                raw.sendto(forged(address, numbered(number)), address)
            peer.sock.send(numbered(1))
            assert await peer.recv() == numbered(1)
            # A thread counts an answer when it is sent, and the peer may be quicker.
            await until(lambda: served.recorder.totals().datagrams_sent)
            totals = served.recorder.totals()
            assert (totals.unexpected, totals.connections_opened, totals.datagrams_sent) == (2, 1, 1)
            assert len([event for event in served.recorder.events.since(0).items if event.text]) == 1


@udp_models
async def test_what_is_read_and_not_answered_yet_is_bounded_in_bytes(
    model: ServerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model.at_once or kernel_udp() is None:
        pytest.skip("no more is read than is served at once, or the kernel does not tell what it drops")
    monkeypatch.setattr(udp_endpoint, "MOST_OWED_BYTES", 100_000)
    async with serving(model, service_time_s=60.0) as served, connected(served) as peer:
        datagram = numbered(1) + bytes(40_000)
        for count in (1, 2, 3):
            peer.sock.send(datagram)
            await served.asked(count)
        async with asyncio.timeout(WAIT_S):
            while not served.endpoint.sequence_counts().dropped:
                peer.sock.send(datagram)
                await asyncio.sleep(0.001)
        assert served.recorder.totals().requests == 3


@udp_models
async def test_what_is_lost_stays_so_whenever_its_peer_is_forgotten(model: ServerModel) -> None:
    async with serving(model) as served, connected(served) as peer:
        endpoint, unfolded = served.endpoint, served.unfolded
        for count, number in enumerate((1, 5), start=1):
            peer.sock.send(numbered(number))
            await served.asked(count)
        assert endpoint.close_connection(served.record().conn_id, CloseReason.CLOSED)
        # Nothing has been folded since: no reader may look before or after that.
        assert unfolded.totals().datagrams_lost + endpoint.sequence_counts().lost == 3
        endpoint.close(CloseReason.STOPPED)
        assert (endpoint.sequence_counts().lost, served.recorder.totals().datagrams_lost) == (0, 3)


@udp_models
async def test_a_closed_peer_is_not_answered_any_more(model: ServerModel) -> None:
    async with serving(model, service_time_s=0.2) as served, connected(served) as peer:
        peer.sock.send(numbered(1))
        await until(lambda: served.recorder.live)
        served.endpoint.close_connection(served.record().conn_id, CloseReason.CLOSED)
        peer.sock.send(numbered(2))
        assert await peer.recv() == numbered(2)
        await until(lambda: served.recorder.totals().responses)
        totals = served.recorder.totals()
        assert (totals.requests, totals.responses, totals.datagrams_sent) == (2, 1, 1)


@udp_models
async def test_silent_peers_make_room_for_new_ones(model: ServerModel) -> None:
    async with serving(model, max_connections=2, idle_timeout_s=0.05) as served:
        for turn in (1, 2, 3):
            async with connected(served) as one, connected(served) as two:
                for peer in (one, two):
                    peer.sock.send(numbered(1))
                    assert await peer.recv() == numbered(1)
                assert served.recorder.opened == 2 * turn
            await until(lambda: served.endpoint.open_connections == 0)
        assert {record.close_reason for record in served.recorder.closed} == {CloseReason.IDLE}


@udp_models
async def test_more_peers_than_may_be_are_counted_and_not_answered(model: ServerModel) -> None:
    async with (
        serving(model, max_connections=1) as served,
        connected(served) as one,
        connected(served) as two,
    ):
        one.sock.send(numbered(1))
        await one.recv()
        two.sock.send(numbered(1))
        await until(lambda: served.recorder.rejected == 1)
        one.sock.send(numbered(2))
        assert await one.recv() == numbered(2)
        assert served.recorder.opened == 1


@udp_models
async def test_what_was_sent_before_the_drain_is_answered(model: ServerModel) -> None:
    async with serving(model) as served, connected(served) as peer:
        peer.sock.send(numbered(1))
        served.endpoint.drain()
        assert await peer.recv() == numbered(1)
        assert served.recorder.rejected == 0


@udp_models
async def test_an_answer_to_a_port_that_is_closed_harms_nobody(model: ServerModel) -> None:
    async with serving(model, service_time_s=0.01) as served, connected(served) as other:
        async with connected(served) as gone:
            gone.sock.send(numbered(1))
            await until(lambda: served.recorder.live)
        for number in (1, 2, 3):
            other.sock.send(numbered(number))
            assert await other.recv() == numbered(number)
