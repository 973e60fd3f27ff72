"""Names that are looked up while every thread of the default executor is taken by slow work."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Event

THREADS = 8
JOBS = 3 * THREADS
LOOK_UPS = 5
TIMEOUT_S = 1.0
PATIENCE_S = 15.0


async def look_up() -> bool:
    """Look a name up as open_connection() does; tell whether that timed out."""
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loop.getaddrinfo("localhost", 80), TIMEOUT_S)
    except TimeoutError:
        return True
    return False


def resolve() -> int:
    """Ask the resolver itself, with no executor in between; return how many addresses it knows."""
    return len(socket.getaddrinfo("localhost", 80))


def start_jobs(executor: Executor | None, done: Event) -> list[asyncio.Future[bool]]:
    """Start blocking work, more of it than there are threads; it waits until ``done`` is set."""
    loop = asyncio.get_running_loop()
    return [loop.run_in_executor(executor, done.wait, PATIENCE_S) for _ in range(JOBS)]


async def look_ups(*, busy: bool = False, own: bool = False) -> dict[str, float]:
    """Look one name up a few times, beside slow work in the default executor or in one of its own."""
    loop = asyncio.get_running_loop()
    default = ThreadPoolExecutor(THREADS)
    loop.set_default_executor(default)
    done = Event()
    with ThreadPoolExecutor(THREADS) as bulkhead:
        jobs = start_jobs(bulkhead if own else None, done) if busy else []
        late = [await look_up() for _ in range(LOOK_UPS)]
        addresses = resolve()  # blocks the loop, and shows that nothing is wrong with the resolver
        done.set()
        await asyncio.gather(*jobs)
    return {
        "jobs": len(jobs),
        "timeouts": sum(late),
        "answered": LOOK_UPS - sum(late),
        "addresses": addresses,
    }
