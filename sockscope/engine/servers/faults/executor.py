"""The default executor of the loop, full of calls that sleep."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures.thread import _threads_queues
from queue import SimpleQueue
from typing import Any

MOST_SLEEPERS = 1_024
"""Calls that are handed over at the most, should the user's code have made an executor that large."""
LOOK_S = 0.5
"""How soon a sleeper sees that the program has ended without an end of the fault."""


class FullExecutor:
    """Hands sleepers to the default executor of the running loop until one of them finds no thread.

    Whatever is handed over then (``to_thread``, ``getaddrinfo`` of asyncio's own loop) waits behind it.
    """

    def __init__(self) -> None:
        self._awake: threading.Event | None = None
        self._futures: set[asyncio.Future[None]] = set()
        self._asleep = 0
        self._queue: SimpleQueue[Any] | None = None

    @property
    def sleepers(self) -> int:
        """How many there are, asleep or waiting for a thread."""
        return len(self._futures)

    @property
    def queued(self) -> int:
        """How many calls of others wait behind the sleepers, those that were given up meanwhile included."""
        if self._awake is None or self._queue is None:
            return 0
        return max(0, self._queue.qsize() - (len(self._futures) - self._asleep))

    def apply(self, on: bool) -> None:
        """Fill it, or let all of them wake up."""
        if on and self._awake is None:
            self._awake = threading.Event()
            self._asleep = 0
            self._add(self._awake)
        elif not on and self._awake is not None:
            self._awake.set()
            self._awake = self._queue = None

    def _sleeps(self, awake: threading.Event, thread: threading.Thread) -> None:
        if not awake.is_set():
            self._asleep += 1
            # uvloop does not hand out its executor. A thread of it is entered here just after it has begun.
            self._queue = _threads_queues.get(thread)
            self._add(awake)

    def _add(self, awake: threading.Event) -> None:
        if len(self._futures) >= MOST_SLEEPERS:
            return
        loop = asyncio.get_running_loop()

        def sleeper() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._sleeps, awake, threading.current_thread())
            while not awake.wait(LOOK_S) and threading.main_thread().is_alive():
                pass

        future = loop.run_in_executor(None, sleeper)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    async def end(self) -> None:
        """Return when all of them are awake."""
        if self._futures:
            await asyncio.wait(set(self._futures))
