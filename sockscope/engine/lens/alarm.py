"""An alarm that a thread waits for and another one puts off: it wakes nobody while it is put off in time."""

from __future__ import annotations

import ctypes
import os
import sys
from threading import Condition
from time import perf_counter
from typing import Protocol

_CLOCK_MONOTONIC, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = 1, 0o2000000, 1
_NANO = 1_000_000_000
_AT_ONCE_S, _NEVER_S = 1e-6, 1e9


class Alarm(Protocol):
    """Goes off at a moment on ``time.perf_counter``, once; at inf it does not."""

    def set(self, at_s: float) -> None:
        """Let it go off then and not before; any thread may call this."""
        ...

    def wait(self) -> None:
        """Return when it has gone off; a little before at times."""
        ...

    def close(self) -> None:
        """Give back what it took from the system; nobody waits any more."""
        ...


class TimerAlarm:
    """A timer of the kernel (timerfd_create(2)): to put it off is one system call.

    Raises OSError when no descriptor is left.
    """

    def __init__(self) -> None:
        # PyDLL keeps the interpreter during the calls: whoever puts the alarm off must not lose it by that.
        libc = ctypes.PyDLL(None, use_errno=True)
        self._descriptor = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._settime = libc.timerfd_settime
        # struct itimerspec: the interval, and the moment, each in seconds and nanoseconds.
        self._moment = (ctypes.c_long * 4)()

    def set(self, at_s: float) -> None:
        """Let it go off then."""
        moment = self._moment
        moment[2], moment[3] = divmod(int(min(max(at_s, _AT_ONCE_S), _NEVER_S) * _NANO), _NANO)
        self._settime(self._descriptor, _TFD_TIMER_ABSTIME, moment, None)

    def wait(self) -> None:
        """Block in read(2)."""
        os.read(self._descriptor, 8)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class WaitingAlarm:
    """For systems without such a timer: who waits looks at each moment that was set whether it still is."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._at_s = float("inf")
        self._seen_s = float("inf")

    def set(self, at_s: float) -> None:
        """Let it go off then; who sleeps until an earlier moment sleeps on then."""
        with self._changed:
            self._at_s = at_s
            if at_s < self._seen_s:
                self._changed.notify()

    def wait(self) -> None:
        """Sleep until the moment has come."""
        with self._changed:
            while (left_s := self._at_s - perf_counter()) > 0:
                self._seen_s = self._at_s
                self._changed.wait(min(left_s, 3600.0))
            self._at_s = self._seen_s = float("inf")

    def close(self) -> None:
        """Nothing to do: it takes nothing."""


def alarm() -> Alarm:
    """Return the best alarm that this system has, and has left: a timer takes a descriptor."""
    try:
        return TimerAlarm() if sys.platform.startswith("linux") else WaitingAlarm()
    except OSError:
        return WaitingAlarm()
