"""Handlers that are cancelled, and handlers that do not care."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any

from sockscope.engine.loops import break_off
from sockscope.engine.servers.faults.counts import Counts
from sockscope.engine.servers.faults.ticking import PerSecond


class CancelStorm:
    """Cancels handlers; those whose turn is longest ago come first."""

    def __init__(self, counts: Counts, cancels: Callable[[], Iterable[Callable[[], object]]]) -> None:
        self._counts = counts
        self._cancels = cancels
        self._skip = 0
        self.rate = PerSecond(self._strike)

    def _strike(self, count: int) -> None:
        """Cancel so many, going round among those that are there."""
        cancels = list(self._cancels())
        if not cancels:
            return
        begin = self._skip % len(cancels)
        chosen = [*islice(cancels, begin, begin + count)]
        chosen += cancels[: min(count - len(chosen), begin)]
        self._skip = begin + len(chosen)
        for cancel in chosen:
            cancel()
        self._counts.add("handlers_cancelled", len(chosen))


class Deafness:
    """Whether handlers swallow their cancellation, and which of them have."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._on = False
        self._deaf: set[asyncio.Task[Any]] = set()

    def __bool__(self) -> bool:
        return self._on

    @property
    def deaf(self) -> int:
        """How many handlers have been cancelled and run still."""
        return len(self._deaf)

    def apply(self, on: bool) -> None:
        """Let handlers swallow cancellations; or no longer, and cancel again those that have."""
        self._on = on
        for task in [] if on else list(self._deaf):
            task.cancel()

    def swallows(self) -> bool:
        """Tell whether the running handler, which has been cancelled, is to go on nevertheless."""
        if not self._on:
            return False
        task = asyncio.current_task()
        if task is None or task.done():
            return False
        task.uncancel()
        self._counts.add("cancellations_swallowed")
        if task not in self._deaf:
            self._deaf.add(task)
            task.add_done_callback(self._deaf.discard)
        return True

    async def end(self) -> None:
        """Return when those that had swallowed a cancellation have ended."""
        if self._deaf:
            await asyncio.wait(set(self._deaf), timeout=END_S)

    async def wrapped(self, handler: Coroutine[Any, Any, object]) -> None:
        """Run the user's handler where no cancellation reaches it that is to be swallowed."""
        inner = asyncio.ensure_future(handler)
        try:
            while True:
                try:
                    await asyncio.shield(inner)
                    return
                except asyncio.CancelledError:
                    if inner.done() or not self.swallows():
                        raise
        finally:
            if not inner.done():
                inner.cancel()
                await _ended(inner, handler)


END_S = 0.5
"""How long cancelled handlers of the user's may take to end."""


async def _ended(inner: asyncio.Task[object], handler: Coroutine[Any, Any, object]) -> None:
    """Wait until a cancelled handler has ended; close it when this is closed itself."""
    try:
        await asyncio.wait({inner}, timeout=END_S)
    except GeneratorExit:
        break_off(handler)
        raise
