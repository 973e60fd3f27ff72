"""Tasks that fail, and who is told: depending on who holds them, and who waits for them."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter

TASKS = 5
counts: Counter[str] = Counter()


async def connect(port: int) -> None:
    """Connect to a port that nobody listens on."""
    counts["begun"] += 1
    await asyncio.open_connection("127.0.0.1", port)
    counts["connected"] += 1


def start(port: int, failures: list[BaseException]) -> set[asyncio.Task[None]]:
    """Start the tasks, and hold them."""
    return {asyncio.create_task(connect(port)) for _ in range(TASKS)}


def start_told(port: int, failures: list[BaseException]) -> set[asyncio.Task[None]]:
    """Start the tasks, hold them, and look at how each ends."""

    def ended(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            failures.append(error)  # or log it, or end the program

    tasks = {asyncio.create_task(connect(port)) for _ in range(TASKS)}
    for task in tasks:
        task.add_done_callback(ended)
    return tasks


async def fail(*, told: bool = False) -> dict[str, float]:
    """Let tasks fail; count the messages while they are held, after they are dropped, and failures seen."""
    messages: list[str] = []
    failures: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: messages.append(context["message"]))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, so that nobody else gets the port, and not listening
        tasks = (start_told if told else start)(nobody.getsockname()[1], failures)
        await asyncio.wait(list(tasks))
    gc.collect()
    while_held = _never_retrieved(messages)
    tasks.clear()
    gc.collect()
    return {
        "failed": counts["begun"] - counts["connected"],
        "held_messages": while_held,
        "dropped_messages": _never_retrieved(messages) - while_held,
        "failures_seen": sum(isinstance(error, ConnectionRefusedError) for error in failures),
    }


def _never_retrieved(messages: list[str]) -> int:
    return sum("never retrieved" in message for message in messages)
