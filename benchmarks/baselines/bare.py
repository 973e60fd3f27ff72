"""Bare Python echo pairs on the running loop: nothing observed but one counter per client.

Rules of this file:
- the callbacks do the least that keeps the loop closed: read, count, write. No framing, no clock, no check:
  a client takes one read for one answer, which holds on loopback up to `LARGEST_MESSAGE_BYTES`;
- everything is connected before the first message, and warming up is not timed;
- a run that lost a peer or a datagram raises `BaselineError`: it has no figure;
- whatever was opened is closed when the function returns or raises.

The loop is the caller's, and the figure depends on it. On the stdlib loop it also depends on the state of
malloc: run it in a process of its own, in a stated environment.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from time import perf_counter
from typing import Any, Protocol, cast

from benchmarks.baselines import BaselineError
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.engine.tls.contexts import ClientTls, ServerTls
from sockscope.engine.tls.throw_away import make_certificate

Address = tuple[str, int] | bytes
"""A host and a port, or the abstract name of a Unix socket."""

LOOPBACK = "127.0.0.1"
NO_TLS: Mapping[str, Any] = {}
LARGEST_MESSAGE_BYTES = 16 * 1024
UDP_BUFFER_BYTES = 4 * 1024 * 1024
"""Asked for at the server's UDP socket; the kernel grants at most net.core.rmem_max."""
DATAGRAMS_PER_WAKE_UP = 64
CONNECTS_AT_ONCE = 100
SETUP_LIMIT_S = 30.0
CLOSE_LIMIT_S = 10.0
ANSWER_LIMIT_S = 1.0


async def bare_tcp(connections: int, size: int, seconds: float, *, warmup: float) -> float:
    """Round trips per second of a bare `asyncio.Protocol` at both ends of every connection."""
    message = _message(connections, size, seconds)
    async with _tcp_server() as (address, ends):
        return await _tcp_rate(connections, message, seconds, warmup, address, ends, 2 * connections)


async def bare_unix(connections: int, size: int, seconds: float, *, warmup: float) -> float:
    """The same over Unix stream sockets, the listener's name chosen by the kernel."""
    message = _message(connections, size, seconds)
    async with _unix_server() as (address, ends):
        return await _tcp_rate(connections, message, seconds, warmup, address, ends, 2 * connections)


async def bare_tls(connections: int, size: int, seconds: float, *, warmup: float) -> float:
    """The same over TLS as the loop speaks it, with a certificate made for the occasion."""
    message = _message(connections, size, seconds)
    experiment, server = Experiment(Tuning(tls=True)), ServerTls()
    server.certificate = certificate = make_certificate()
    async with _tcp_server(server.for_loop(experiment)) as (address, ends):
        tls = ClientTls(experiment, certificate).for_loop(address, None, SETUP_LIMIT_S)
        return await _tcp_rate(connections, message, seconds, warmup, address, ends, 2 * connections, tls)


async def bare_tcp_apart(connections: int, size: int, seconds: float, *, warmup: float) -> float:
    """The same with the server in a process of its own, on uvloop; the clients are here."""
    message = _message(connections, size, seconds)
    limit_s = SETUP_LIMIT_S + warmup + seconds + CLOSE_LIMIT_S
    serve = [sys.executable, "-m", "benchmarks.baselines", "--serve", str(limit_s)]
    server = await asyncio.create_subprocess_exec(*serve, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        address = (LOOPBACK, int(await server.stdout.readline()))
        return await _tcp_rate(connections, message, seconds, warmup, address, _Ends(), connections)
    except ValueError:
        raise BaselineError("the server told no port") from None
    finally:
        server.kill()
        await server.wait()


async def serve_tcp(seconds: float) -> None:
    """Serve on a port that is printed, for so long at the most."""
    async with _tcp_server() as (address, _):
        print(address[1], flush=True)
        await asyncio.sleep(seconds)


async def _tcp_rate(
    connections: int, message: bytes, seconds: float, warmup: float,
    address: Address, ends: _Ends, count: int, tls: Mapping[str, Any] = NO_TLS,
) -> float:  # fmt: skip
    """Round trips per second of clients on connections to ``address``; ``count`` ends are to be open here."""
    async with _tcp_clients(connections, address, ends, count, tls) as clients:
        round_trips_per_s = await _timed(clients, message, seconds, warmup)
        if len(ends) != count:
            raise BaselineError(f"only {len(ends)} of {count} ends were open at the end")
    return round_trips_per_s


async def bare_udp(connections: int, size: int, seconds: float, *, warmup: float) -> float:
    """Round trips per second of a bare `asyncio.DatagramProtocol` at both ends; the clients are connected."""
    message = _message(connections, size, seconds)
    async with _udp_ends(connections) as clients:
        round_trips_per_s = await _timed(clients, message, seconds, warmup)
        await _all_still_answered(clients)
    return round_trips_per_s


async def bare_udp_reader(connections: int, size: int, seconds: float, *, warmup: float) -> float:
    """Round trips per second of plain UDP sockets under `loop.add_reader`; the clients are connected."""
    message = _message(connections, size, seconds)
    with _udp_sockets(connections, size) as clients:
        round_trips_per_s = await _timed(clients, message, seconds, warmup)
        await _all_still_answered(clients)
    return round_trips_per_s


# -- the callbacks ------------------------------------------------------------------------------------------


class _Ends:
    """The transports that are open, of servers and clients alike."""

    def __init__(self) -> None:
        self._open: set[asyncio.BaseTransport] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, transport: asyncio.BaseTransport) -> None:
        if not transport.is_closing():
            self._open.add(transport)
            self._changed.set()

    def discard(self, transport: asyncio.BaseTransport) -> None:
        self._open.discard(transport)
        self._changed.set()

    async def reach(self, count: int) -> None:
        while len(self._open) != count:
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Close all of them, and those that a listener accepts meanwhile."""
        while self._open:
            self._changed.clear()
            for transport in tuple(self._open):
                transport.close()
            await self._changed.wait()


class _End(asyncio.BaseProtocol):
    """What all protocols here share: they say when they go."""

    __slots__ = ("_ends", "_transport")

    def __init__(self, ends: _Ends) -> None:
        self._ends = ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.discard(self._transport)


class _StreamServer(_End, asyncio.Protocol):
    __slots__ = ("_write",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ends.add(transport)
        self._write = cast(asyncio.Transport, transport).write

    def data_received(self, data: bytes) -> None:
        self._write(data)


class _StreamClient(_End, asyncio.Protocol):
    __slots__ = ("_write", "round_trips")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._write = cast(asyncio.Transport, transport).write
        self.round_trips = 0

    def start(self, message: bytes) -> None:
        self._write(message)

    def data_received(self, data: bytes) -> None:
        self.round_trips += 1
        self._write(data)


class _DatagramServer(_End, asyncio.DatagramProtocol):
    __slots__ = ("_sendto",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sendto = cast(asyncio.DatagramTransport, transport).sendto

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._sendto(data, addr)


class _DatagramClient(_End, asyncio.DatagramProtocol):
    __slots__ = ("_sendto", "round_trips")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sendto = cast(asyncio.DatagramTransport, transport).sendto
        self.round_trips = 0

    def start(self, message: bytes) -> None:
        self._sendto(message)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.round_trips += 1
        self._sendto(data)


class _SocketServer:
    __slots__ = ("_recvfrom", "_sendto", "_size")

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._recvfrom = sock.recvfrom
        self._sendto = sock.sendto
        self._size = size

    def readable(self) -> None:
        try:
            for _ in range(DATAGRAMS_PER_WAKE_UP):
                self._sendto(*self._recvfrom(self._size))
        except BlockingIOError:
            return


class _SocketClient:
    __slots__ = ("_recv", "_send", "_size", "round_trips")

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._recv = sock.recv
        self._send = sock.send
        self._size = size
        self.round_trips = 0

    def start(self, message: bytes) -> None:
        self._send(message)

    def readable(self) -> None:
        data = self._recv(self._size)
        self.round_trips += 1
        self._send(data)


# -- opening and closing ------------------------------------------------------------------------------------


@asynccontextmanager
async def _tcp_server(tls: Mapping[str, Any] = NO_TLS) -> AsyncIterator[tuple[tuple[str, int], _Ends]]:
    """Open a listener; yield its address and the ends that it accepts."""
    ends = _Ends()
    loop = asyncio.get_running_loop()
    # Not yet serving: in the turn that this takes, a cancelled call would leave the listener open.
    server = await loop.create_server(
        lambda: _StreamServer(ends), LOOPBACK, 0, backlog=CONNECTS_AT_ONCE, start_serving=False, **tls
    )
    try:
        await server.start_serving()
        yield server.sockets[0].getsockname(), ends
    finally:
        server.close()
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await ends.close()
            await server.wait_closed()


@asynccontextmanager
async def _unix_server() -> AsyncIterator[tuple[bytes, _Ends]]:
    ends = _Ends()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("")
        server = await loop.create_unix_server(
            lambda: _StreamServer(ends), sock=sock, backlog=CONNECTS_AT_ONCE, start_serving=False
        )
        try:
            await server.start_serving()
            yield sock.getsockname(), ends
        finally:
            server.close()
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await ends.close()
                await server.wait_closed()


async def _connect(
    make: Callable[[], _StreamClient], address: Address, tls: Mapping[str, Any]
) -> tuple[asyncio.Transport, _StreamClient]:
    loop = asyncio.get_running_loop()
    if not isinstance(address, bytes):
        return await loop.create_connection(make, *address, **tls)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        sock.connect(address)
        return await loop.create_unix_connection(make, sock=sock)
    except BaseException:
        sock.close()
        raise


@asynccontextmanager
async def _tcp_clients(
    connections: int, address: Address, ends: _Ends, count: int, tls: Mapping[str, Any]
) -> AsyncIterator[list[_StreamClient]]:
    """Connect the clients, until ``count`` ends are open."""
    clients: list[_StreamClient] = []

    async def connect() -> None:
        transport, client = await _connect(lambda: _StreamClient(ends), address, tls)
        ends.add(transport)
        clients.append(client)

    async def open_all() -> None:
        async for _ in _batches(connect, connections):
            await ends.reach(len(clients) * count // connections)  # accepted: so many leave the backlog

    try:
        await _set_up(open_all(), ends, count)
        yield clients
    finally:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await ends.close()


@asynccontextmanager
async def _udp_ends(connections: int) -> AsyncIterator[list[_DatagramClient]]:
    loop = asyncio.get_running_loop()
    ends = _Ends()
    clients: list[_DatagramClient] = []

    async def open_all() -> None:
        sock = _udp_server_socket()
        address = sock.getsockname()
        server, _ = await loop.create_datagram_endpoint(lambda: _DatagramServer(ends), sock=sock)
        ends.add(server)

        async def connect() -> None:
            opened = loop.create_datagram_endpoint(lambda: _DatagramClient(ends), remote_addr=address)
            transport, client = await opened
            ends.add(transport)
            clients.append(client)

        async for _ in _batches(connect, connections):
            pass

    try:
        await _set_up(open_all(), ends, 1 + connections)
        yield clients
    finally:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await ends.close()


@contextmanager
def _udp_sockets(connections: int, size: int) -> Iterator[list[_SocketClient]]:
    loop = asyncio.get_running_loop()
    clients: list[_SocketClient] = []
    with ExitStack() as stack:

        def watch(sock: socket.socket, readable: Callable[[], None]) -> None:
            loop.add_reader(sock, readable)
            stack.callback(loop.remove_reader, sock)

        server = stack.enter_context(_udp_server_socket())
        watch(server, _SocketServer(server, size).readable)
        for _ in range(connections):
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.setblocking(False)
            sock.connect(server.getsockname())
            clients.append(_SocketClient(sock, size))
            watch(sock, clients[-1].readable)
        yield clients


def _udp_server_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
        sock.bind((LOOPBACK, 0))
    except BaseException:
        sock.close()
        raise
    return sock


async def _set_up(opening: Coroutine[Any, Any, None], ends: _Ends, count: int) -> None:
    """Open all, in bounded time. When cancelled, first let it end: uvloop leaves half-made endpoints open."""
    task = asyncio.create_task(opening)
    try:
        done, _ = await asyncio.wait([task], timeout=SETUP_LIMIT_S)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=CLOSE_LIMIT_S)
        task.cancel()
        raise
    if not done:
        task.cancel()
        raise BaselineError(f"only {len(ends)} of {count} ends were open after {SETUP_LIMIT_S:g} s")
    try:
        task.result()
    except OSError as error:
        raise BaselineError(f"cannot open all ends: {error}") from error


async def _batches(connect: Callable[[], Coroutine[Any, Any, None]], connections: int) -> AsyncIterator[None]:
    """Connect all; in batches, which spare the backlog, and each batch to its end even where one fails."""
    for first in range(0, connections, CONNECTS_AT_ONCE):
        batch = range(first, min(first + CONNECTS_AT_ONCE, connections))
        outcomes = await asyncio.gather(*(connect() for _ in batch), return_exceptions=True)
        for failure in filter(None, outcomes):
            raise failure
        yield


# -- the measurement ----------------------------------------------------------------------------------------


class _Client(Protocol):
    round_trips: int

    def start(self, message: bytes) -> None: ...


def _message(connections: int, size: int, seconds: float) -> bytes:
    if connections < 1 or seconds <= 0:
        raise ValueError(f"there is nothing to measure with {connections} connections in {seconds} s")
    if not 1 <= size <= LARGEST_MESSAGE_BYTES:
        raise ValueError(f"a message has 1 to {LARGEST_MESSAGE_BYTES} bytes, not {size}")
    return bytes(size)


async def _timed(clients: Sequence[_Client], message: bytes, seconds: float, warmup: float) -> float:
    for client in clients:
        client.start(message)
    await asyncio.sleep(warmup)
    before = sum(client.round_trips for client in clients)
    start_s = perf_counter()
    await asyncio.sleep(seconds)
    elapsed_s = perf_counter() - start_s
    return (sum(client.round_trips for client in clients) - before) / elapsed_s


async def _all_still_answered(clients: Sequence[_Client]) -> None:
    """Let each client have one more answer: one that gets none lost a datagram, some time in the run."""
    loop = asyncio.get_running_loop()
    waiting = [(client, client.round_trips) for client in clients]
    deadline_s = loop.time() + ANSWER_LIMIT_S
    while waiting and loop.time() < deadline_s:
        await asyncio.sleep(0.01)
        waiting = [(client, seen) for client, seen in waiting if client.round_trips == seen]
    if waiting:
        raise BaselineError(
            f"{len(waiting)} of {len(clients)} clients got no answer; use fewer or raise net.core.rmem_max"
        )
