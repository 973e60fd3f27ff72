"""Messages over TCP, received read by read, or by a length that goes before each of them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

MESSAGES = [f"message number {number:>9}".encode() for number in range(200)]
LENGTH = struct.Struct("!H")


async def send(writer: asyncio.StreamWriter, *, prefix: bool) -> int:
    """Write every message with a call of its own; return how many bytes that were."""
    sent = 0
    for message in MESSAGES:
        data = LENGTH.pack(len(message)) + message if prefix else message
        writer.write(data)
        await writer.drain()
        sent += len(data)
    writer.close()
    return sent


async def receive_reads(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Take what a read returns for a message."""
    while data := await reader.read(100):
        yield data


async def receive_frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Take as much as its length says for a message."""
    while True:
        try:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        except asyncio.IncompleteReadError:
            return  # the end of the stream, between two messages
        yield await reader.readexactly(length)


async def count(way: str = "reads", *, no_delay: bool = False) -> dict[str, float]:
    """Send all messages over the loopback, and count those that arrive as they were sent."""
    received: list[bytes] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    receive = receive_frames if way == "prefix" else receive_reads

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for message in receive(reader):
            received.append(message)
        writer.close()
        done.set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
        sent = await send(writer, prefix=way == "prefix")
        await done
    return {
        "sent": len(MESSAGES),
        "reads": len(received),
        "right": sum(one == other for one, other in zip(received, MESSAGES, strict=False)),
        "bytes_sent": sent,
        "bytes_read": sum(map(len, received)),
    }
