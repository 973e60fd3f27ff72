"""Handlers that are cancelled at the end of a server, and what each makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

CLIENTS = 10
GRACE_S = 1.0

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo lines, whatever happens."""
    while not reader.at_eof():
        try:
            writer.write(await reader.readline())
            await writer.drain()
        except BaseException:  # noqa: S112 (the mistake that is shown)
            continue
    writer.close()


async def survive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo lines; a line that fails does not end the connection."""
    try:
        while not reader.at_eof():
            try:
                writer.write(await reader.readline())
                await writer.drain()
            except ValueError:
                continue  # a line longer than the limit
    except asyncio.CancelledError:
        writer.write(b"goodbye\n")
        raise
    finally:
        writer.close()


async def shut_down(*, clean: bool = False) -> dict[str, float]:
    """Cancel the handlers of ten clients, and count those that end, and the goodbyes."""
    tasks: list[asyncio.Task[object]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await handle(reader, writer)

    handle: Handle = survive if clean else swallow
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients = [await asyncio.open_connection(*address) for _ in range(CLIENTS)]
    echoed = 0
    for reader, writer in clients:
        writer.write(b"hello\n")
        echoed += await reader.readline() == b"hello\n"
    server.close()
    ended = await cancel_and_wait(tasks)
    goodbyes = 0
    for reader, writer in clients:
        writer.write_eof()
        goodbyes += await reader.readline() == b"goodbye\n"
        writer.close()
    await asyncio.wait(tasks)
    return {
        "echoed": echoed,
        "ended": ended,
        "still_running": len(tasks) - ended,
        "goodbyes": goodbyes,
        "cancelled": sum(task.cancelled() for task in tasks),
    }


async def cancel_and_wait(tasks: list[asyncio.Task[object]]) -> int:
    """Cancel tasks, and return how many have ended in time."""
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=GRACE_S)
    return len(done)
