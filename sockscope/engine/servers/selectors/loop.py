"""A loop of one thread over ``select``, ``poll``, ``epoll`` or ``kqueue``: what asyncio is built of.

It waits for whichever socket is ready and calls what was registered for it; it calls what is due at a time;
and it calls what other threads ask of it. That is all.
"""

from __future__ import annotations

import heapq
import selectors
from collections import deque
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Protocol

from sockscope.core.config.models import FD_SETSIZE
from sockscope.engine.threads import Waker

Ready = Callable[[int], None]
"""Called with what the socket is ready for: ``EVENT_READ``, ``EVENT_WRITE``, or both."""


def selector_class(mechanism: str) -> type[selectors.BaseSelector] | None:
    """Return what waits by ``select``, ``poll``, ``epoll`` or ``kqueue``, or None where there is no such."""
    found: type[selectors.BaseSelector] | None = getattr(selectors, f"{mechanism.capitalize()}Selector", None)
    return found


class HasFileno(Protocol):
    """A socket, or what has one."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class SelectorLoop:
    """Sockets, timers and calls. Every method but :meth:`call` is for the thread that runs the loop.

    ``mechanism`` is what it waits by, such as ``epoll``; the system has to have it.
    """

    def __init__(self, mechanism: str, waker: Waker) -> None:
        selector = selector_class(mechanism)
        assert selector is not None
        self._selector = selector()
        self._waker = waker
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.running = True
        self.watch(waker, selectors.EVENT_READ, self._woken)

    def run(self) -> None:
        """Wait and call until ``running`` is False."""
        while self.running:
            for key, events in self._selector.select(self._patience_s()):
                ready: Ready = key.data
                ready(events)
            self._call_what_is_due()

    def close(self) -> None:
        """Close the selector; what it watches stays open."""
        self._selector.close()

    def watch(self, sock: HasFileno, events: int, ready: Ready) -> None:
        """Call ``ready`` whenever ``sock`` is ready for one of ``events``; with 0, never."""
        known = sock in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(sock)
        elif known:
            self._selector.modify(sock, events, ready)
        else:
            self._selector.register(sock, events, ready)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call ``call`` when ``delay_s`` has passed."""
        heapq.heappush(self._timers, (perf_counter() + delay_s, next(self._numbers), call))

    def call(self, call: Callable[[], None]) -> None:
        """Have ``call`` called by the thread of the loop."""
        self._calls.append(call)
        # With more than this one, whoever was first has woken it, and all are called before the next wait.
        if len(self._calls) == 1:
            self._waker.wake()

    def can_watch(self, sock: HasFileno) -> bool:
        """Whether the mechanism has room for a socket of this number."""
        return not isinstance(self._selector, selectors.SelectSelector) or sock.fileno() < FD_SETSIZE

    def _patience_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - perf_counter()) if self._timers else None

    def _call_what_is_due(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= perf_counter():
            heapq.heappop(timers)[2]()

    def _woken(self, _: int) -> None:
        self._waker.clear()
        while self._calls:
            self._calls.popleft()()
