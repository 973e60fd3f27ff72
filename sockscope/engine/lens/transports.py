"""Transports that own code has made and left open: the task that made one has ended, and it is not closed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from collections.abc import Callable
from time import perf_counter
from typing import Any

from sockscope.core.run.tasks import Unclosed
from sockscope.engine.lens.await_chain import Link, place_of_code

MOST_TRANSPORTS = 1_000
"""Transports that are remembered; those that are made while so many are open are not."""
MOST_PLACES = 16
_MAKERS = ("create_connection", "create_unix_connection", "create_datagram_endpoint")


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
    """Hears of what is connected by own code on a loop, from :meth:`begin` to :meth:`end`."""

    def __init__(self, loop: Any, maker: Callable[[Any], Link | None]) -> None:
        self._loop = loop
        self._maker = maker
        self._made: list[Made] = []

    def begin(self) -> None:
        """Stand before the calls of the loop that make transports."""
        for name in _MAKERS:
            # Not by way of the loop's `__dict__`: once that was asked for, CPython 3.11 keeps the attributes
            # in it, and every call of a method of the loop is dearer for good.
            with contextlib.suppress(AttributeError):  # no such call, or no room for another
                setattr(self._loop, name, self._hearing(getattr(self._loop, name)))

    def end(self) -> None:
        """Leave the loop as it was."""
        for name in _MAKERS:
            with contextlib.suppress(AttributeError):
                delattr(self._loop, name)
        self._made.clear()

    def _hearing(self, make: Callable[..., Any]) -> Callable[..., Any]:
        async def made(*args: Any, **more: Any) -> Any:
            transport, protocol = await make(*args, **more)
            place = self._maker(sys._getframe(1))
            if place is not None and len(self._made) < MOST_TRANSPORTS:
                self._made.append(Made(transport, place))
            return transport, protocol

        return made

    def unclosed(self) -> tuple[Unclosed, ...]:
        """Return where those were made that are open although their task has ended, most of them first."""
        self._made = [made for made in self._made if not made.is_gone()]
        now_s, found = perf_counter(), dict[Link, list[float]]()
        for made in self._made:
            if made.is_left():
                found.setdefault(made.made_at, []).append(now_s - made.made_s)
        rows = [Unclosed(place_of_code(*place), len(ages), max(ages)) for place, ages in found.items()]
        return tuple(sorted(rows, key=lambda row: -row.count)[:MOST_PLACES])
