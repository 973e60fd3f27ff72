"""Handlers that wait for news while their clients hang up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

CLIENTS = 50
PATIENCE_S = 10.0
WATCH_S = 0.5

Wait = Callable[[asyncio.StreamReader, asyncio.Event], Awaitable[bool]]


async def wait_for_news(reader: asyncio.StreamReader, news: asyncio.Event) -> bool:
    """Wait for news, whatever the client does."""
    return await news.wait()


async def wait_for_either(reader: asyncio.StreamReader, news: asyncio.Event) -> bool:
    """Wait for news, or for the end of the connection; return whether there are news."""
    told = asyncio.create_task(news.wait())
    gone = asyncio.create_task(reader.read())
    try:
        await asyncio.wait([told, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        gone.cancel()
    return news.is_set()


async def hang_up(*, watch: bool = False) -> dict[str, float]:
    """Let clients subscribe and hang up; count what is left of them in the server."""
    news = asyncio.Event()
    wait: Wait = wait_for_either if watch else wait_for_news
    handlers: set[asyncio.Task[object]] = set()
    ended = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ended
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await reader.readline()
            writer.write(b"subscribed\n")
            await wait(reader, news)
        finally:
            writer.close()
            handlers.discard(task)
            ended += 1

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        before = _descriptors()
        for _ in range(CLIENTS):
            await _visit(server.sockets[0].getsockname()[1])
        waited_s = 0.0
        while waited_s < (PATIENCE_S if watch else WATCH_S) and _descriptors() > before:
            await asyncio.sleep(0.05)
            waited_s += 0.05
        left, descriptors = len(handlers), _descriptors() - before
        news.set()
        if handlers:
            await asyncio.wait(handlers)
    return {"visited": CLIENTS, "left_tasks": left, "left_descriptors": descriptors, "ended": ended}


async def _visit(port: int) -> None:
    """Subscribe, and hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"subscribe\n")
    await reader.readline()
    writer.close()
    await writer.wait_closed()


def _descriptors() -> int:
    return len(os.listdir("/dev/fd"))
