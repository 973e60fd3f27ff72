"""What a thread has used so far, read without giving the interpreter away."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import threading
from dataclasses import dataclass
from time import perf_counter, process_time, thread_time

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


class Clocks:
    """Those of the thread that makes this object, which must be the one to read them."""

    def __init__(self) -> None:
        # PyDLL keeps the interpreter during the call: with os.read() a thread that computes would get it
        # for 5 ms each time.
        self._pread = ctypes.PyDLL(None).pread
        self._bytes = ctypes.create_string_buffer(_MOST_BYTES)
        self._descriptor = -1
        with contextlib.suppress(OSError):  # another system
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> Stand:
        """Return where they stand; takes a few microseconds."""
        return Stand(
            time_s=perf_counter(),
            thread_s=thread_time(),
            process_s=process_time(),
            core_wait_s=self._core_wait_s(),
            switches=resource.getrusage(_THREAD).ru_nvcsw,
        )

    def _core_wait_s(self) -> float:
        if self._descriptor < 0 or self._pread(self._descriptor, self._bytes, _MOST_BYTES, 0) <= 0:
            return 0.0
        return int(self._bytes.value.split()[1]) / 1e9

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
