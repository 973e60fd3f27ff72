"""Two ends that exchange data, each of which writes all of its own before it reads."""

from __future__ import annotations

import asyncio
import socket

BUFFER_BYTES = 64 * 1024
WATCH_S = 1.0
PATIENCE_S = 15.0


async def write_then_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> int:
    """Send everything, then receive as much."""
    writer.write(data)
    await writer.drain()
    return len(await reader.readexactly(len(data)))


async def write_and_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> int:
    """Send and receive at the same time."""

    async def send() -> None:
        writer.write(data)
        await writer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        received = group.create_task(reader.readexactly(len(data)))
    return len(received.result())


async def exchange(size_bytes: int = 1024, *, both: bool = False) -> dict[str, float]:
    """Let both ends exchange ``size_bytes`` each way, and tell how many came to their end."""
    talk = write_and_read if both else write_then_read
    one, other = _connected()
    ends = [await asyncio.open_connection(sock=end) for end in (one, other)]
    tasks = [asyncio.create_task(talk(reader, writer, bytes(size_bytes))) for reader, writer in ends]
    left = _to_send(ends)
    still_s = waited_s = 0.0
    while not all(task.done() for task in tasks) and still_s < WATCH_S and waited_s < PATIENCE_S:
        await asyncio.sleep(0.05)
        waited_s += 0.05
        now_left = _to_send(ends)
        still_s = still_s + 0.05 if now_left == left else 0.0
        left = now_left
    figures = {
        "done": sum(task.done() for task in tasks),
        "bytes_each_way": size_bytes,
        "left_one_bytes": left[0],
        "left_other_bytes": left[1],
        "still": float(still_s >= WATCH_S),
    }
    for task, (_, writer) in zip(tasks, ends, strict=True):
        task.cancel()
        writer.transport.abort()
    await asyncio.gather(*tasks, return_exceptions=True)
    return figures


def _to_send(ends: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> list[int]:
    return [writer.transport.get_write_buffer_size() for _, writer in ends]


def _connected() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection with small buffers."""
    with socket.socket() as listener, socket.socket() as one:
        for each in (listener, one):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one.connect(listener.getsockname())
        other, _ = listener.accept()
        return one.dup(), other
