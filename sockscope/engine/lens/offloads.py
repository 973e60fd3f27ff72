"""What is handed to the default executor of a loop while the lens is on it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from sockscope.core.run.tasks import CallView, ExecutorView
from sockscope.core.wire.octets import printable
from sockscope.engine.lens.await_chain import NAME_CHARACTERS, place_of_code

MOST_CALLS = 16
"""Calls that are listed, those that have waited or run longest."""


class Offload:
    """One call, which an executor makes in the place of what it wraps."""

    __slots__ = ("_call", "_offloads", "since_s")

    def __init__(self, call: Callable[..., Any], offloads: Offloads) -> None:
        self._call = call
        self._offloads = offloads
        self.since_s = perf_counter()

    def __call__(self, *arguments: Any) -> Any:
        """Call it, in a thread of the executor."""
        self._offloads.begun(self)
        try:
            return self._call(*arguments)
        finally:
            self._offloads.ended(self)

    @property
    def name(self) -> str:
        """What is called, and where it is defined; printable."""
        called: Any = self._call
        # asyncio.to_thread calls Context.run, whose first argument is what it is for.
        while isinstance(called, functools.partial):
            called = (
                called.args[0]
                if getattr(called.func, "__name__", "") == "run" and called.args
                else called.func
            )
        name = printable(str(getattr(called, "__qualname__", type(called).__name__)), NAME_CHARACTERS)
        code = getattr(getattr(called, "__func__", called), "__code__", None)
        return f"{name} {place_of_code(code, code.co_firstlineno)}" if code is not None else name


class Offloads:
    """Counts the calls; threads add and remove with single operations on dictionaries, which need no lock."""

    def __init__(self) -> None:
        self._queued: dict[Offload, None] = {}
        self._running: dict[Offload, None] = {}
        self._threads: set[int] = set()

    def wrapped(self, call: Callable[..., Any]) -> Offload:
        """Return what an executor is to be given instead of ``call``; :meth:`submitted` comes next."""
        offload = Offload(call, self)
        self._queued[offload] = None
        return offload

    def submitted(self, offload: Offload, future: asyncio.Future[Any] | None) -> None:
        """It is the executor's now; ``future`` may be cancelled before it begins. None: it was not taken."""
        if future is None:
            self._queued.pop(offload, None)
        else:
            future.add_done_callback(lambda _: self._queued.pop(offload, None))

    def begun(self, offload: Offload) -> None:
        """A thread has taken it."""
        self._threads.add(threading.get_ident())
        offload.since_s = perf_counter()
        self._running[offload] = None
        self._queued.pop(offload, None)  # last: a view that comes in between knows it as running

    def ended(self, offload: Offload) -> None:
        """It has returned, or raised."""
        self._running.pop(offload, None)

    def view(self) -> ExecutorView:
        """Return the figures of this moment."""
        now_s = perf_counter()
        waiting, running = list(self._queued), dict.fromkeys(self._running)
        queued = [offload for offload in waiting if offload not in running]
        longest = sorted(running, key=lambda o: o.since_s)[:MOST_CALLS]
        longest += sorted(queued, key=lambda o: o.since_s)[: MOST_CALLS - len(longest)]
        return ExecutorView(
            queued=len(queued),
            running=len(running),
            threads=len(self._threads),
            calls=tuple([CallView(o.name, now_s - o.since_s, o in running) for o in longest]),
        )
