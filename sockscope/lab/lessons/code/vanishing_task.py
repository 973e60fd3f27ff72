"""Subscribers that read from a connection each, in tasks that somebody holds, or nobody."""

from __future__ import annotations

import asyncio
import gc

from sockscope.lab.lessons.cannot import CannotBeShown

SUBSCRIBERS = 20
PATIENCE_S = 5.0


async def subscribe(port: int, received: list[bytes]) -> None:
    """Connect, and wait for the one line of news."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"subscribe\n")
    received.append(await reader.readline())
    writer.close()


def start(port: int, received: list[bytes], held: set[asyncio.Task[None]] | None) -> None:
    """Start the subscribers, and hold their tasks if there is a set to hold them in."""
    for _ in range(SUBSCRIBERS):
        task = asyncio.create_task(subscribe(port, received))
        if held is not None:
            held.add(task)
            task.add_done_callback(held.discard)


async def publish(*, hold: bool = False) -> dict[str, float]:
    """Start subscribers, collect garbage, publish; count who has got the news."""
    received: list[bytes] = []
    told: list[str] = []
    subscribed = 0
    all_here, news = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal subscribed
        await reader.readline()
        subscribed += 1
        if subscribed == SUBSCRIBERS:
            all_here.set()
        await news.wait()
        writer.write(b"news\n")
        writer.close()

    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        held: set[asyncio.Task[None]] | None = set() if hold else None
        start(server.sockets[0].getsockname()[1], received, held)
        await all_here.wait()
        running = _subscribers()
        gc.collect()
        left = _subscribers()
        news.set()
        waiting = [task for task in asyncio.all_tasks() if _subscribes(task)]
        if waiting:
            await asyncio.wait(waiting, timeout=PATIENCE_S)
    if not hold and left == running:
        raise CannotBeShown("this version of Python holds what waits for a stream")
    return {
        "started": SUBSCRIBERS,
        "subscribed": subscribed,
        "left": left,
        "received": received.count(b"news\n"),
        "destroyed": sum("destroyed" in message for message in told),
    }


def _subscribers() -> int:
    return sum(_subscribes(task) for task in asyncio.all_tasks())


def _subscribes(task: asyncio.Task[object]) -> bool:
    return getattr(task.get_coro(), "__name__", "") == subscribe.__name__
