"""Timers that are never early: what is asked to take 5 ms takes 5 ms or longer, on either loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from time import perf_counter
from typing import Any, Protocol

from sockscope.engine.loops import loop_name


class CallLater(Protocol):
    """A ``call_later`` of a loop."""

    def __call__(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Have ``callback`` called when ``delay`` seconds have passed."""
        ...


def punctual(loop: asyncio.AbstractEventLoop) -> CallLater:
    """Return a ``call_later`` of ``loop`` that never calls early.

    uvloop counts in whole milliseconds, rounded to the nearest, from the beginning of its turn: of 5 ms up to
    one is missing, and of 1 ms all in a turn that has lasted so long already. Here they are rounded up, and
    counted from now.
    """
    if loop_name(loop) != "uvloop":
        return loop.call_later
    turn_began_s, call_later = loop.time, loop.call_later

    def call_in_time(delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        behind_s = max(0.0, perf_counter() - turn_began_s())
        return call_later(ceil((delay + behind_s) * 1_000) / 1_000, callback, *args)

    return call_in_time


async def sleep_out(delay_s: float, call_later: CallLater) -> None:
    """Sleep for ``delay_s`` or longer; for a turn of the loop when that is 0."""
    if delay_s <= 0:
        await asyncio.sleep(0)
        return
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = call_later(delay_s, _wake, over)
    try:
        await over
    finally:
        timer.cancel()


def _wake(over: asyncio.Future[None]) -> None:
    # A sleeper may be cancelled in the very turn in which it is to wake up.
    if not over.done():
        over.set_result(None)
