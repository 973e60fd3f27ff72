"""What is done to a request on purpose: its handler blocks, computes or raises."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from time import perf_counter, sleep

from sockscope.core.impairment.server import ServerFaults
from sockscope.engine.servers.faults.counts import Counts
from sockscope.engine.threads import SLICE_S
from sockscope.engine.work import burn

BLOCKS_S = 1.0
"""How often a server is blocked."""
PAUSE_S = 0.1
"""How long it goes on at least before it is blocked again, however long that takes."""
EXCEPTION = "the fault 'exception'"
"""Where an exception is said to come from that is raised on purpose."""


class InjectedFault(Exception):
    """Raised in a handler on purpose."""

    def __init__(self) -> None:
        super().__init__("raised on purpose")


class RequestFaults:
    """What becomes of requests; :meth:`strike` is called for each while one of these faults is on.

    In threads a request waits in slices, so that the end of the server need not wait for all of it.
    """

    def __init__(self, counts: Counts, seed: int) -> None:
        self._counts = counts
        self._random = random.Random(seed)
        self._cpu_s = self._block_s = self._exception_ratio = 0.0
        self._next_block_s = 0.0
        self._blocking = threading.Lock()

    def apply(self, faults: ServerFaults) -> None:
        """Go over to these faults."""
        self._cpu_s = faults.cpu_s
        self._block_s = faults.block_s
        self._exception_ratio = faults.exception_ratio

    @property
    def on_loop(self) -> bool:
        """Whether anything becomes of a request that is served on an event loop."""
        return bool(self._cpu_s or self._exception_ratio)

    @property
    def in_thread(self) -> bool:
        """Whether anything becomes of a request that is served in a thread."""
        return bool(self._cpu_s or self._exception_ratio or self._block_s)

    def strike(self) -> None:
        """Do to a request on an event loop what is to be done; raises InjectedFault."""
        if self._cpu_s:
            burn(self._cpu_s)
            self._counts.add("burnt_s", self._cpu_s)
        self._raise()

    def strike_in_thread(self, over: Callable[[], object]) -> None:
        """The same in a thread, which ends early when ``over()`` says so."""
        if self._block_s:
            self._block(over)
        if cpu_s := self._cpu_s:
            self._spend("burnt_s", cpu_s, burn, over)
        self._raise()

    def _raise(self) -> None:
        ratio = self._exception_ratio
        if ratio and self._random.random() < ratio:
            self._counts.add("raised")
            raise InjectedFault

    def _block(self, over: Callable[[], object]) -> None:
        """Sleep in the thread that comes first when a block is due."""
        with self._blocking:
            block_s, now = self._block_s, perf_counter()
            if now < self._next_block_s:
                return
            self._next_block_s = now + max(BLOCKS_S, block_s + PAUSE_S)
        self._counts.add("blocks")
        self._spend("blocked_s", block_s, injected_block, over)

    def _spend(
        self, name: str, seconds: float, way: Callable[[float], object], over: Callable[[], object]
    ) -> None:
        left_s = seconds
        while left_s > 0 and not over():
            way(min(left_s, SLICE_S))
            left_s -= SLICE_S
        self._counts.add(name, seconds - max(left_s, 0.0))


def injected_block(seconds: float) -> None:
    """Sleep as a call does that blocks; a lens finds it here."""
    sleep(seconds)
