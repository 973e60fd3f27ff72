"""Transports that own code has made and left open: the task that made one has ended, and it is not closed."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, TypeVar

from sockscope.core.run.tasks import Unclosed
from sockscope.engine.lens.await_chain import Link, place_of_code

MOST_TRANSPORTS = 1_000
"""Transports that are remembered; those that are made while so many are open are not."""
MOST_PLACES = 16
T = TypeVar("T")


class Made:
    """A transport of own code: where it was made, by which task, and when."""

    __slots__ = ("made_at", "made_s", "task", "transport")

    def __init__(self, transport: Any, made_at: Link) -> None:
        task = asyncio.current_task()
        self.transport = weakref.ref(transport)
        self.task = weakref.ref(task) if task is not None else None
        self.made_at = made_at
        self.made_s = perf_counter()

    def is_gone(self) -> bool:
        """Tell whether it is closed, or was collected."""
        transport = self.transport()
        return transport is None or transport.is_closing()

    def is_left(self) -> bool:
        """Tell whether the task that has made it has ended."""
        task = self.task() if self.task is not None else None
        return task is None or task.done()


class Transports:
    """Hears of what own code connects: :meth:`hearing` is awaited in the place of what makes a transport."""

    def __init__(self, maker: Callable[[Any], Link | None]) -> None:
        self._maker = maker
        self._made: list[Made] = []

    async def hearing(self, makes: Coroutine[Any, Any, T]) -> T:
        """Await what makes a transport and a protocol, and remember that one if own code awaits it."""
        made: Any = await makes
        place = self._maker(sys._getframe(1))
        if place is not None and len(self._made) < MOST_TRANSPORTS:
            self._made.append(Made(made[0], place))
        return made  # type: ignore[no-any-return]

    def unclosed(self) -> tuple[Unclosed, ...]:
        """Return where those were made that are open although their task has ended, most of them first."""
        self._made = [made for made in self._made if not made.is_gone()]
        now_s, found = perf_counter(), dict[Link, list[float]]()
        for made in self._made:
            if made.is_left():
                found.setdefault(made.made_at, []).append(now_s - made.made_s)
        rows = [Unclosed(place_of_code(*place), len(ages), max(ages)) for place, ages in found.items()]
        return tuple(sorted(rows, key=lambda row: -row.count)[:MOST_PLACES])
