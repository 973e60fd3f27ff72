"""Handlers and protocols of one's own, as a user would write them and as no user should."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import itertools
import signal
import socket
import socketserver
import ssl
import sys
import threading
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast


async def echo(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def echo_in_thread(sock: socket.socket) -> None:
    while data := sock.recv(65_536):
        sock.sendall(data)


async def leave_open(reader: Reader, writer: Writer) -> None:
    """Answers once and returns without closing."""
    writer.write(await reader.read(100))


async def raise_on_third(reader: Reader, writer: Writer) -> None:
    for _ in range(2):
        writer.write(await reader.readexactly(68))
    await reader.readexactly(68)
    fail()


def fail() -> None:
    raise ValueError("third \x1b[2J is\nenough")


async def read_exactly(reader: Reader, writer: Writer) -> None:
    """Does not mind the end of the stream, as the textbook does not."""
    while True:
        writer.write(await reader.readexactly(68))


async def never_end(reader: Reader, writer: Writer) -> None:
    writer.write(await reader.read(100))
    await asyncio.Event().wait()


async def deaf_to_cancel(reader: Reader, writer: Writer) -> None:
    writer.write(await reader.read(100))
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def exit_process(reader: Reader, writer: Writer) -> None:
    await reader.read(100)
    raise SystemExit("bye")


async def cancel_itself(reader: Reader, writer: Writer) -> None:
    await reader.read(100)
    raise asyncio.CancelledError


WEB_ANSWERS = itertools.cycle(
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ]
)


async def web(reader: Reader, writer: Writer) -> None:
    """Answer in the three ways of HTTP, the last of which ends the connection."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            answer = next(WEB_ANSWERS)
            writer.write(answer)
            if answer.endswith(b"\r\n\r\nhello") and b"Length" not in answer:
                break
    writer.close()


async def says_and_closes(reader: Reader, writer: Writer) -> None:
    """Answer once, in two writes, and close."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"hello, ")
    await asyncio.sleep(0)
    writer.write(b"world")
    writer.close()


async def mail(reader: Reader, writer: Writer) -> None:
    """Speaks first, wants to be greeted, and answers in one line or several."""
    await asyncio.sleep(0.01)
    writer.write(b"220-mail\r\n220 ready\r\n")
    assert (await reader.readline()).startswith(b"EHLO")
    writer.write(b"250-mail\r\n250-SIZE 1\r\n")
    await asyncio.sleep(0)
    writer.write(b"250 HELP\r\n")
    while await reader.readline():
        writer.write(b"250 ok\r\n")


async def pushes(reader: Reader, writer: Writer) -> None:
    """Says something that nobody asked for before each answer, behind it, and a moment later."""
    while line := await reader.readline():
        writer.write(line + b"push\n")
        await asyncio.sleep(0.001)
        writer.write(b"push\n")


async def tells_and_answers(reader: Reader, writer: Writer) -> None:
    """Says by a push that it is about to answer, and a moment later answers what it was asked."""
    while line := await reader.readline():
        writer.write(b">1\r\n+soon\r\n")
        await asyncio.sleep(0.001)
        writer.write(b"+" + line)


async def tells_much_and_answers(reader: Reader, writer: Writer) -> None:
    while line := await reader.readline():
        writer.write(b">0\r\n" * 3_000 + b"+" + line)


FLOOD = 30_000


async def answers_and_floods(reader: Reader, writer: Writer) -> None:
    """Says, behind each answer, many thousand lines at once that nobody asked for."""
    while await reader.readline():
        writer.write(b"pong\n" + b"\n" * FLOOD)
        await writer.drain()


async def floods(reader: Reader, writer: Writer) -> None:
    """Speaks for ever."""
    while True:
        writer.write(b"ever " * 10_000)
        await writer.drain()


async def every_third_fails(reader: Reader, writer: Writer) -> None:
    answers = itertools.cycle([b"+PONG\r\n", b"+PONG\r\n", b"-ERR\r\n"])
    while await reader.readline():
        writer.write(next(answers))


async def pong(reader: Reader, writer: Writer) -> None:
    """Answers in two writes what Redis would."""
    while await reader.readline():
        writer.write(b"+PO")
        await asyncio.sleep(0)
        writer.writelines([b"N", b"G\r", b"\n"])


async def shout(reader: Reader, writer: Writer) -> None:
    """Answers lines with other lines."""
    while line := await reader.readline():
        writer.write(line.upper() * 2 if line.startswith(b"twice") else line.upper())


async def close_at_once(reader: Reader, writer: Writer) -> None:
    writer.close()


greeting = contextvars.ContextVar("greeting", default=b"")
lived: list[str] = []


async def prepare() -> None:
    greeting.set(b"prepared ")


def end() -> None:
    lived.append(f"ended {greeting.get()!r}")


@contextlib.asynccontextmanager
async def around() -> AsyncIterator[None]:
    """Has a task group around the server, as only one task can."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.Event().wait())
        greeting.set(b"around ")
        yield
        task.cancel()
    lived.append("left")


@contextlib.asynccontextmanager
async def fails_at_the_end() -> AsyncIterator[None]:
    yield
    fail()


@contextlib.asynccontextmanager
async def fails_meanwhile() -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        group.create_task(_raise_later(ValueError("meanwhile")))
        yield


async def fails_at_once() -> None:
    fail()


async def generates() -> AsyncIterator[None]:
    yield


async def never_returns() -> None:
    await asyncio.Event().wait()


async def greets(reader: Reader, writer: Writer) -> None:
    while line := await reader.readline():
        writer.write(greeting.get() + line)


class Awaitable:
    async def __call__(self, reader: Reader, writer: Writer) -> None:
        await echo(reader, writer)


awaitable = Awaitable()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Fragile(Echo):
    """Raises in the callback that ``at`` names."""

    at = ""

    def _maybe(self, callback: str) -> None:
        if self.at == callback:
            raise RuntimeError(f"in {callback}")

    def __init__(self) -> None:
        self._maybe("__init__")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._maybe("connection_made")
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._maybe("data_received")
        super().data_received(data)

    def eof_received(self) -> bool:
        self._maybe("eof_received")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._maybe("connection_lost")


class FragileAtMaking(Fragile):
    at = "__init__"


class FragileAtOpening(Fragile):
    at = "connection_made"


class FragileAtReading(Fragile):
    at = "data_received"


class FragileAtEnd(Fragile):
    at = "eof_received"


class FragileAtLoss(Fragile):
    at = "connection_lost"


class HalfCloser(Echo):
    """Goes on after the peer has finished sending."""

    def eof_received(self) -> bool:
        asyncio.get_running_loop().call_soon(self._say_goodbye)
        return True

    def _say_goodbye(self) -> None:
        self.transport.write(b"goodbye")
        self.transport.close()


def make_echo() -> Echo:
    return Echo()


async def async_on_a_socket(sock: Any, address: Any) -> None:
    """What no coroutine is called with."""


def either(a, b):  # type: ignore[no-untyped-def]
    """Nothing tells what it wants."""


def make_nothing() -> object:
    return object()


def make_handler() -> Any:
    return echo


async def prefixes(reader: Reader, writer: Writer, prefix: str, times: int = 1) -> None:
    while line := await reader.readline():
        writer.write(prefix.encode() * times + line)


class Prefixing:
    """A handler that is made of arguments."""

    def __init__(self, prefix: str, times: int = 1) -> None:
        self.prefix, self.times = prefix, times

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        await prefixes(reader, writer, self.prefix, self.times)


def make_prefixing(prefix: str, times: int = 1) -> Prefixing:
    return Prefixing(prefix, times)


def calls_back(reader: Reader, writer: Writer) -> None:
    """Leaves the connection to a task of its own, as a plain callback may."""
    kept.add(asyncio.ensure_future(echo(reader, writer)))


kept: set[asyncio.Future[None]] = set()


def returns_a_task(reader: Reader, writer: Writer) -> asyncio.Future[None]:
    return asyncio.ensure_future(echo(reader, writer))


class Methods:
    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        self.calls += 1
        await echo(reader, writer)

    async def bound(self, reader: Reader, writer: Writer) -> None:
        await echo(reader, writer)

    @staticmethod
    async def static(reader: Reader, writer: Writer) -> None:
        await echo(reader, writer)


methods = Methods()
partial_echo = functools.partial(echo)


@functools.wraps(echo)
def decorated(*args: Any, **more: Any) -> Any:
    return echo(*args, **more)


class EchoFromABuffer(asyncio.BufferedProtocol):
    """Reads at most 16 bytes at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = bytearray(16)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))


class FragileBuffer(EchoFromABuffer):
    def get_buffer(self, sizehint: int) -> bytearray:
        raise RuntimeError("in get_buffer")


class Upgrades(Echo):
    """Lets another protocol, with a buffer, have what follows the first read."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        buffered = EchoFromABuffer()
        self.transport.set_protocol(buffered)
        buffered.connection_made(self.transport)


class PrefixingProtocol(Echo):
    def __init__(self, prefix: str, times: int = 1) -> None:
        self.prefix = prefix.encode() * times

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.prefix + data)


def make_prefixing_protocol(prefix: str, times: int = 1) -> Callable[[], PrefixingProtocol]:
    return functools.partial(PrefixingProtocol, prefix, times)


def make_buffering() -> type[EchoFromABuffer]:
    return EchoFromABuffer


async def sends_a_file(reader: Reader, writer: Writer) -> None:
    """Answers each line with this very file."""
    with open(__file__, "rb") as file:  # noqa: ASYNC230
        while await reader.readline():
            await asyncio.get_running_loop().sendfile(writer.transport, file)


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("localhost.pem"))
    return context


async def starts_tls(reader: Reader, writer: Writer) -> None:
    """Echoes lines, in TLS from STARTTLS on."""
    while line := await reader.readline():
        writer.write(line)
        if line == b"STARTTLS\n":
            await writer.start_tls(tls_context())


# Over UDP.


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class LateDatagrams(EchoDatagrams):
    def datagram_received(self, data: bytes, addr: Any) -> None:
        asyncio.get_running_loop().call_soon(self.transport.sendto, data, addr)


class EchoEither(Echo, EchoDatagrams):
    """Serves over TCP as over UDP."""

    transport: Any


class ShoutDatagrams(EchoDatagrams):
    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data.upper(), addr)


class FailingDatagrams(EchoDatagrams):
    """Raises for one datagram of ten."""

    count = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.count += 1
        if self.count % 10 == 0:
            fail()
        super().datagram_received(data, addr)

    def connection_lost(self, exc: Exception | None) -> None:
        lived.append("lost")


class UnmadeDatagrams(EchoDatagrams):
    def __init__(self) -> None:
        fail()


# In threads.


def blocks(sock: socket.socket) -> None:
    while data := sock.recv(65_536):
        sock.sendall(data)


def blocks_with_address(conn: Any, peer: Any) -> None:
    assert conn.getpeername() == peer
    with conn:
        while data := conn.recv(16):
            conn.send(data)


def blocks_on_files(sock: socket.socket) -> None:
    with sock.makefile("rwb") as file:
        for line in file:
            file.write(line)
            file.flush()


def blocks_on_pieces(sock: socket.socket) -> None:
    buffer = bytearray(1_000)
    while size := sock.recv_into(buffer):
        sock.sendmsg([buffer[:2], buffer[2:size]])


def blocks_on_the_rest(sock: socket.socket, peer: Any) -> None:
    first, rest = bytearray(2), bytearray(1_000)
    while size := sock.recvfrom_into(first)[0]:
        size += sock.recvmsg_into([rest[:0], memoryview(rest)])[0]
        sock.sendto(first + rest[: size - 2], peer)


def asks_for_the_lost(sock: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        sock.recv(1)
    sock.getpeername()


class StreamRequests(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert cast(Any, self.server).server_address[1] == self.request.getsockname()[1]
        for line in self.rfile:
            self.wfile.write(line)


class Requests(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        blocks(self.request)


class CallableOnSockets:
    def __call__(self, sock: socket.socket, address: object) -> None:
        blocks(sock)


def makes_a_blocking_one(size: int) -> Callable[[socket.socket], None]:
    return blocks


def blocks_in_tls(sock: socket.socket) -> None:
    with tls_context().wrap_socket(sock, server_side=True) as within:
        blocks(within)


def sends_a_file_and_leaves(sock: socket.socket) -> None:
    sock.recv(100, socket.MSG_PEEK)
    sock.recv(100)
    with open(__file__, "rb") as file:
        sock.sendfile(file)


def fails_after_one(sock: socket.socket) -> None:
    sock.sendall(sock.recv(100))
    fail()


def exits_after_one(sock: socket.socket) -> None:
    sock.sendall(sock.recv(100))
    sys.exit("bye")


def spins(sock: socket.socket) -> None:
    sock.sendall(sock.recv(100))
    while True:
        time.sleep(0.001)


spared = threading.Event()


def swallows_its_end(sock: socket.socket) -> None:
    sock.sendall(sock.recv(100))
    while not spared.is_set():
        with contextlib.suppress(BaseException):
            time.sleep(0.01)


class Namespace:
    Echo = Echo


async def _raise_later(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


class Untold:
    def __del__(self) -> None:
        raise ValueError("in __del__")


def _fail_in_a_future() -> None:
    asyncio.get_running_loop().create_future().set_exception(ValueError("never asked for"))


def _fail_in_a_signal_handler() -> None:
    signal.signal(signal.SIGUSR2, lambda *_: fail())
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGUSR2)


def _fail_in_the_exception_handler() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: fail())
    loop.call_soon(fail)


def _fail_in_the_task_factory() -> None:
    def refuse(_: object, coroutine: Any, **__: object) -> Any:
        coroutine.close()
        fail()

    loop = asyncio.get_running_loop()
    loop.set_task_factory(refuse)
    loop.call_soon(lambda: loop.create_task(asyncio.sleep(0)) and loop.create_task(_raise_later(KeyError())))


def _exit() -> None:
    sys.exit("bye")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _fail_at_base() -> None:
    raise Unspeakable


ELSEWHERE: dict[str, Callable[[], object]] = {
    "task": lambda: asyncio.ensure_future(_raise_later(ValueError("in a task"))),
    "task that exits": lambda: asyncio.ensure_future(_raise_later(SystemExit(3))),
    "callback": lambda: asyncio.get_running_loop().call_soon(fail),
    "callback that exits": lambda: asyncio.get_running_loop().call_soon(_exit),
    "callback that interrupts": lambda: asyncio.get_running_loop().call_soon(_interrupt),
    "timer": lambda: asyncio.get_running_loop().call_later(0.001, fail),
    "timer that exits": lambda: asyncio.get_running_loop().call_later(0.001, _exit),
    "future": _fail_in_a_future,
    "executor": lambda: asyncio.get_running_loop().run_in_executor(None, fail),
    "thread": lambda: threading.Thread(target=fail).start(),
    "destructor": lambda: Untold() and None,
    "stop": lambda: asyncio.get_running_loop().stop(),
    "stop in a callback": lambda: asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop),
    "signal handler": _fail_in_a_signal_handler,
    "exception handler": _fail_in_the_exception_handler,
    "task factory": _fail_in_the_task_factory,
    "exit here": _exit,
    "interrupt here": _interrupt,
    "base exception here": _fail_at_base,
}
"""Places at which the user's code may raise, by name."""


async def raise_elsewhere(reader: Reader, writer: Writer) -> None:
    """Answers, and before each answer sets going what raises in the place that ``chosen`` names."""
    while data := await reader.read(65_536):
        writer.write(data)
        ELSEWHERE[chosen[0]]()


chosen = [""]


class Unspeakable(BaseException):
    def __str__(self) -> str:
        raise KeyboardInterrupt


def raise_unspeakable() -> None:
    raise Unspeakable


def raise_group() -> None:
    try:
        fail()
    except ValueError as error:
        raise ExceptionGroup("two", [error, ExceptionGroup("inner", [KeyError("x")])]) from None


async def promise_echo() -> Callable[[], asyncio.Protocol]:
    return Echo


async def application(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application: answers at once, in parts, or not at all, and tells of its lifespan."""
    if scope["type"] == "lifespan":
        lifespan.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        lifespan.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/fails":
        fail()
    headers = [(b"content-length", b"5")] if scope["path"] == "/" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"he", "more_body": True})
    await send({"type": "http.response.body", "body": b"llo"})


async def does_not_start(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    why = "Traceback (most recent call last):\n  File\nConnectionError: no database\n"
    await send({"type": "lifespan.startup.failed", "message": why})


async def never_starts(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


class Applicable:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await application(scope, receive, send)


applicable = Applicable()
lifespan: list[str] = []
"""What the application was told of its life."""


def make_web() -> Any:
    """Return an application of aiohttp, which answers as the other one does."""
    web: Any = import_module("aiohttp.web")

    async def hello(request: Any) -> Any:
        if request.path == "/fails":
            fail()
        return web.Response(text="hello")

    application = web.Application()

    application.add_routes([web.route("*", "/{path:.*}", hello)])
    return application


def make_web_that_ends_badly() -> Any:
    async def fragile(_: Any) -> None:
        raise LookupError("at the end")

    application = make_web()
    application.on_cleanup.append(fragile)
    return application


def make_fragile_web() -> Any:
    async def exits(application: Any) -> None:
        raise SystemExit("no")

    application = make_web()
    application.on_startup.append(exits)
    return application


async def promise_nothing() -> None:
    await asyncio.Event().wait()


async def promise_web() -> Any:
    runner = import_module("aiohttp.web").AppRunner(make_web())
    await runner.setup()
    return runner.server
