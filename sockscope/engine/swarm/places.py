"""Who may ask a server that serves a limited number of connections at a time.

The others wait in its backlog: connected, but unheard until one of those ends. A request of theirs that held
a permit would keep it, unanswered, from those that are served, until it times out. So connections go in here
before they queue up for anything else, the longest waiting first, and never more than there are places or
permits: then each that is served finds a permit. Served is a connection that has had an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from sockscope.engine.stopwatch import Stopwatch

AT_ONCE = 64
"""Connections that go in, in one turn of the loop."""


class Guest(Protocol):
    """What places need of a connection."""

    def go_in(self) -> None:
        """The wait is over."""
        ...


class Places:
    """The ``count`` connections that are served at a time, with ``permits`` for them; 0 places: no limit.

    ``soon`` calls something in the next turn of the loop.
    """

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        self.waited = 0
        """Requests that waited here, and not for a permit besides; the guests count them."""
        self._soon = soon
        self._count = self._permits = 0
        # Since when.
        self._waiting: dict[Guest, float] = {}
        # In, but without an answer so far.
        self._unserved: set[Guest] = set()
        self._served: set[Guest] = set()
        self.waits = Stopwatch()
        """How long connections have waited, all together."""
        # Whether the guests are connections of a pool, whose clients wait for them there.
        self._pooled = False
        self._wait_before_s = self._untold_s = 0.0
        # Whether guests are going in, now or in the next turn.
        self._going = False

    @property
    def waiting(self) -> int:
        """How many connections wait to go in."""
        return len(self._waiting)

    @property
    def clients_waiting(self) -> int:
        """How many clients wait with them; 0 in a pool, whose clients wait for a connection there."""
        return 0 if self._pooled else len(self._waiting)

    @property
    def wait_s(self) -> float:
        """How long all clients together have waited, those who wait still included."""
        return self._wait_before_s if self._pooled else self.waits.total_s(perf_counter()) - self._untold_s

    def resize(self, count: int, permits: int, *, pooled: bool = False) -> None:
        """Have so many places and permits from now on; who is in stays in."""
        self._wait_before_s = self.wait_s
        self._untold_s = self.waits.total_s(perf_counter()) - self._wait_before_s
        self._count, self._permits, self._pooled = count, permits, pooled
        self._go_on()

    def enter(self, guest: Guest) -> bool:
        """Return whether the guest is in; if not, it waits until :meth:`Guest.go_in`, or leaves."""
        if guest in self._unserved or guest in self._served:
            return True
        if guest not in self._waiting:
            if self._has_room and not self._waiting:
                self._unserved.add(guest)
                return True
            self._waiting[guest] = self.waits.begin(perf_counter())
        return False

    def serve(self, guest: Guest) -> None:
        """A guest that is in is served."""
        self._unserved.discard(guest)
        self._served.add(guest)

    def leave(self, guest: Guest) -> None:
        """The connection of the guest ends, wherever it is."""
        if (since_s := self._waiting.pop(guest, None)) is not None:
            self.waits.end(since_s, perf_counter())
            return
        self._unserved.discard(guest)
        self._served.discard(guest)
        self._go_on()

    @property
    def _has_room(self) -> bool:
        served, count = len(self._served), self._count
        return not count or (served < count and served + len(self._unserved) < max(count, self._permits))

    def _go_on(self) -> None:
        if self._waiting and not self._going:
            self._going = True
            self._go_in()

    def _go_in(self) -> None:
        # Guests may leave from within their call; the loop sees it, so it need not recurse.
        left = AT_ONCE
        while left and self._waiting and self._has_room:
            left -= 1
            guest = next(iter(self._waiting))
            self.waits.end(self._waiting.pop(guest), perf_counter())
            self._unserved.add(guest)
            guest.go_in()
        if self._waiting and self._has_room:
            self._soon(self._go_in)
        else:
            self._going = False
