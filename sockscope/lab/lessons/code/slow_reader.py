"""A writer whose peer does not read: with drain(), and without."""

from __future__ import annotations

import asyncio
import socket

CHUNK = bytes(64 * 1024)
CHUNKS = 512
WATCH_S = 1.0
PATIENCE_S = 15.0


async def write_all(writer: asyncio.StreamWriter) -> None:
    """Write 32 MiB."""
    for _ in range(CHUNKS):
        writer.write(CHUNK)
        await asyncio.sleep(0)


async def write_and_drain(writer: asyncio.StreamWriter) -> None:
    """Write 32 MiB, no faster than they can go."""
    for _ in range(CHUNKS):
        writer.write(CHUNK)
        await writer.drain()


async def serve_slow(*, drain: bool = False) -> dict[str, float]:
    """Serve one client that reads nothing until the server has written all, or stands still for a second."""
    buffered: list[int] = []
    writers: list[asyncio.StreamWriter] = []
    over = asyncio.Event()

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await (write_and_drain if drain else write_all)(writer)
        buffered.append(writer.transport.get_write_buffer_size())
        over.set()
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.setblocking(False)
        async with server:
            await loop.sock_connect(client, server.sockets[0].getsockname())
            before_reading = await _until_still(writers, over)
            written_early = float(over.is_set())
            received = 0
            while data := await loop.sock_recv(client, 1 << 20):
                received += len(data)
            await over.wait()
    return {
        "to_send_bytes": len(CHUNK) * CHUNKS,
        "in_memory_bytes": max([before_reading, *(buffered if written_early else [])]),
        "writer_waited": 1.0 - written_early,
        "received_bytes": received,
    }


async def _until_still(writers: list[asyncio.StreamWriter], over: asyncio.Event) -> int:
    """Wait until all is written, or nothing has moved for a second; return what waits in the process."""
    size, still_s, waited_s = -1, 0.0, 0.0
    while not over.is_set() and still_s < WATCH_S and waited_s < PATIENCE_S:
        await asyncio.sleep(0.05)
        waited_s += 0.05
        now = writers[0].transport.get_write_buffer_size() if writers else -1
        still_s = still_s + 0.05 if now == size and writers else 0.0
        size = now
    return size
