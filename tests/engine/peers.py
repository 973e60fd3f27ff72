"""Servers that do as they are told: real sockets, and a plan instead of a service."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from sockscope.engine.loops import attach
from tests.waiting import until


class Scripted(asyncio.Protocol):
    """A TCP connection whose reads go to ``plan(connection, data)``."""

    def __init__(
        self, plan: Callable[[Scripted, bytes], None], everybody: set[Scripted], greeting: bytes
    ) -> None:
        self.plan = plan
        self.everybody = everybody
        self.greeting = greeting
        self.turn = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.everybody.add(self)
        if self.greeting:
            self.transport.write(self.greeting)

    def data_received(self, data: bytes) -> None:
        self.turn += 1
        self.plan(self, data)

    def connection_lost(self, error: Exception | None) -> None:
        self.everybody.discard(self)


@asynccontextmanager
async def tcp_peer(
    plan: Callable[[Scripted, bytes], None], port: int = 0, greeting: bytes = b""
) -> AsyncIterator[int]:
    """Serve by ``plan``, say ``greeting`` first, and yield the port; at the end abort every connection."""
    loop = asyncio.get_running_loop()
    everybody: set[Scripted] = set()
    adopting: set[asyncio.Task[None]] = set()
    listener = socket.create_server(("127.0.0.1", port), backlog=1000)
    listener.setblocking(False)

    def accept() -> None:
        with contextlib.suppress(BlockingIOError):
            sock, _ = listener.accept()
            sock.setblocking(False)
            task = loop.create_task(attach(sock, Scripted(plan, everybody, greeting), accepted=True))
            adopting.add(task)
            task.add_done_callback(adopting.discard)

    loop.add_reader(listener, accept)
    try:
        yield listener.getsockname()[1]
    finally:
        loop.remove_reader(listener)
        listener.close()
        await until(lambda: not adopting)
        for connection in list(everybody):
            connection.transport.abort()
        await until(lambda: not everybody)


def echo(connection: Scripted, data: bytes) -> None:
    connection.transport.write(data)


class ScriptedDatagrams(asyncio.DatagramProtocol):
    """A UDP socket that answers each datagram with what ``plan(number, datagram)`` says."""

    def __init__(self, plan: Callable[[int, bytes], list[bytes]]) -> None:
        self.plan = plan
        self.received = self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received += 1
        for answer in self.plan(int.from_bytes(data[:8], "big"), data):
            self.sent += 1
            self.transport.sendto(answer, addr)


@asynccontextmanager
async def udp_peer(plan: Callable[[int, bytes], list[bytes]]) -> AsyncIterator[ScriptedDatagrams]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: ScriptedDatagrams(plan), local_addr=("127.0.0.1", 0)
    )
    try:
        yield protocol
    finally:
        transport.close()
        await asyncio.sleep(0)
