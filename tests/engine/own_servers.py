"""Handlers and protocols of one's own, as a user would write them and as no user should."""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Callable
from typing import cast


async def echo(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


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


def make_nothing() -> object:
    return object()


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
