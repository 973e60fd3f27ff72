"""A request that ends where its stream ends, and a client that still wants the answer."""

from __future__ import annotations

import asyncio

LINES = 1000
WAIT_S = 1.0
MOST_WRITES = 200


async def ask(port: int, end: str) -> bytes:
    """Send lines without saying how many, end them in one of three ways, and wait for the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"a line\n" * LINES)
    await writer.drain()
    if end == "close":
        writer.close()
    elif end == "write_eof":
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), WAIT_S if end == "nothing" else None)
    except TimeoutError:
        return b""
    finally:
        writer.close()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Count lines until the client has no more to say, then answer; return how many there were."""
    counted = 0
    while await reader.readline():
        counted += 1
    writer.write(f"{counted} lines\n".encode())
    await writer.drain()
    return counted


async def converse(end: str = "nothing") -> dict[str, float]:
    """Let a client ask, and tell what it and the server know afterwards."""
    counted: list[int] = []
    over = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted.append(await serve(reader, writer))
        counted.append(await _writes_until_lost(writer) if end == "close" else 0)
        writer.close()
        over.set()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        answer = await ask(server.sockets[0].getsockname()[1], end)
        at_answer = len(counted)
        await over.wait()
    return {
        "sent": LINES,
        "counted": counted[0],
        "answered": float(answer == f"{LINES} lines\n".encode()),
        "server_waited": float(at_answer == 0),
        "more_writes": counted[1],
    }


async def _writes_until_lost(writer: asyncio.StreamWriter) -> int:
    """Write on, and count the writes until one of them fails."""
    for number in range(MOST_WRITES):
        try:
            writer.write(b"more\n")
            await writer.drain()
        except ConnectionError:
            return number + 1
        await asyncio.sleep(0.02)
    return 0
