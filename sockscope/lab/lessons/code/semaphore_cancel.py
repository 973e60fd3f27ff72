"""Whose permit is it when a request is cancelled: three ways to hold one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

PERMITS = 5
GIVEN_UP = 5
"""Requests that give up while they connect."""


async def ask_unsafely(permits: asyncio.Semaphore, port: int) -> bytes:
    """Ask with a permit that gets lost when this is cancelled before ``try``."""
    await permits.acquire()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    greeting = await reader.readline()  # cancelled here, nobody gives the permit back
    try:
        writer.write(b"time?\n")
        return greeting + await reader.readline()
    finally:
        writer.close()
        permits.release()


async def ask_safely(permits: asyncio.Semaphore, port: int) -> bytes:
    """Ask with a permit that is given back however this ends."""
    async with permits:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            greeting = await reader.readline()
            writer.write(b"time?\n")
            return greeting + await reader.readline()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serving(greets: asyncio.Event, came: asyncio.Semaphore) -> AsyncIterator[int]:
    """Serve on a port that greets, and answers, only once ``greets`` is set; ``came`` counts who has come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.release()
        with contextlib.suppress(ConnectionError):
            await greets.wait()
            writer.write(b"hello\n")
            await reader.readline()
            writer.write(b"noon\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def give_up(way: str = "unsafely") -> dict[str, float]:
    """Let five requests be cancelled while they wait for the greeting, then ask five times more."""
    permits, greets, came = asyncio.Semaphore(PERMITS), asyncio.Event(), asyncio.Semaphore(0)
    ask = ask_unsafely if way == "unsafely" else ask_safely
    async with serving(greets, came) as port:
        tasks = [asyncio.create_task(ask(permits, port)) for _ in range(GIVEN_UP)]
        for _ in tasks:
            await came.acquire()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        greets.set()
        later = [asyncio.create_task(ask(permits, port)) for _ in range(5)]
        done, waiting = await asyncio.wait(later, timeout=2 if permits.locked() else None)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return {
        "cancelled": sum(task.cancelled() for task in tasks),
        "answered": len(done),
        "waiting": len(waiting),
    }


async def hand_over(permits: asyncio.Semaphore, order: list[str], name: str) -> None:
    """Take the permit, note who has it, and give it back."""
    async with permits:
        order.append(name)
        await asyncio.sleep(0)


async def cancel_waiter(*, in_same_turn: bool = False) -> dict[str, float]:
    """Let a and b wait for the one permit, and cancel a: before it is free, or when a was just woken."""
    permits, order = asyncio.Semaphore(1), list[str]()
    await permits.acquire()
    a, b = (asyncio.create_task(hand_over(permits, order, name)) for name in "ab")
    while not permits.locked() or len(permits._waiters or ()) < 2:
        await asyncio.sleep(0)
    if in_same_turn:
        permits.release()  # a is woken, and has not run yet
    a.cancel()
    if not in_same_turn:
        permits.release()
    done, _ = await asyncio.wait([a, b], timeout=5)
    b.cancel()
    return {
        "a_cancelled": a.cancelled(),
        "b_got_it": order == ["b"],
        "ended": len(done),
        "free_again": not permits.locked(),
    }
