"""Timers that are never early: what is asked to take 5 ms takes 5 ms or longer, on either loop.

:class:`Alarm` is as fine as the kernel's clock where there is timerfd_create(2); the timers of the loops lie
on a grid of a millisecond (epoll_wait(2) has no finer timeout), and those of uvloop are up to two late.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
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


_CLOCK_MONOTONIC = 1
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK, TFD_CLOEXEC (linux/timerfd.h)


class _Itimerspec(ctypes.Structure):
    """struct itimerspec (timerfd_settime(2)): the interval, which is none, and the time until it expires."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """Calls ``ring`` on the loop once whenever it has been set, never early."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], object]) -> None:
        self._loop = loop
        self._ring = ring
        self._call_later = punctual(loop)
        self._timer: asyncio.TimerHandle | None = None
        self._spec = _Itimerspec()
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        # The descriptor of the kernel's timer; -1: there is none so far, or this system has none.
        self._fd = -1
        # Whether it was set since it rang.
        self._is_set = False

    def set(self, delay_s: float) -> None:
        """Ring when ``delay_s`` seconds have passed, and not when it was to ring before."""
        if self._fd < 0 and self._libc is not None:
            self._open()
        if self._fd < 0:
            self.cancel()
            self._timer = self._call_later(max(delay_s, 0.0), self._ring)
            return
        # Of 0 it would never ring.
        self._settime(max(ceil(delay_s * 1e9), 1))

    def cancel(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fd >= 0:
            self._settime(0)

    def close(self) -> None:
        """Never ring again."""
        self.cancel()
        self._libc = None
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._loop.remove_reader(fd)
            os.close(fd)

    def _open(self) -> None:
        assert self._libc is not None
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self._fd < 0:
            self._libc = None  # no descriptor is left, say
        else:
            self._loop.add_reader(self._fd, self._expired)

    def _settime(self, delay_ns: int) -> None:
        # This takes back what has expired, so nobody needs to read it.
        assert self._libc is not None
        self._is_set = True
        self._spec.value_s, self._spec.value_ns = divmod(delay_ns, 1_000_000_000)
        self._libc.timerfd_settime(self._fd, 0, ctypes.byref(self._spec), None)

    def _expired(self) -> None:
        # As a rule it is set again by whom it rings: one call of the kernel instead of two.
        self._is_set = False
        try:
            self._ring()
        finally:
            if not self._is_set and self._fd >= 0:
                self._settime(0)
