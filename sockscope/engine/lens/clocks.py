"""What a thread has used so far, read without giving the interpreter away."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import threading
from dataclasses import dataclass
from resource import getrusage
from time import perf_counter, process_time, thread_time
from typing import NamedTuple

_THREAD = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
_MOST_BYTES = 100
"""Three numbers of 64 bits take less."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Seconds that this thread and the process have computed so far, at ``time_s``.

    ``core_wait_s`` is how long the thread has waited for a core (Linux; 0 elsewhere), and ``switches`` how
    often it gave its core away, to wait for something.
    """

    time_s: float
    thread_s: float
    process_s: float
    core_wait_s: float
    switches: int


class Reading(NamedTuple):
    """What the system has told, in its own words: most are forgotten, and :meth:`stand` reads the others."""

    time_s: float
    thread_s: float
    process_s: float
    usage: resource.struct_rusage
    schedstat: bytes

    def stand(self) -> Stand:
        """Return what that says."""
        fields = self.schedstat.split()
        return Stand(
            time_s=self.time_s,
            thread_s=self.thread_s,
            process_s=self.process_s,
            core_wait_s=int(fields[1]) / 1e9 if fields else 0.0,
            switches=self.usage.ru_nvcsw,
        )


class Clocks:
    """Those of the thread that makes this object, which must be the one to read them."""

    def __init__(self) -> None:
        # PyDLL keeps the interpreter during the call: with os.read() a thread that computes would get it
        # for 5 ms each time.
        self._pread = ctypes.PyDLL(None).pread
        # It is written over its beginning, by numbers that never get shorter.
        self._bytes = ctypes.create_string_buffer(_MOST_BYTES)
        self._descriptor = -1
        with contextlib.suppress(OSError):  # another system
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> Reading:
        """Read them; takes a few microseconds."""
        if self._descriptor >= 0:
            self._pread(self._descriptor, self._bytes, _MOST_BYTES, 0)
        return Reading(perf_counter(), thread_time(), process_time(), getrusage(_THREAD), self._bytes.value)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
