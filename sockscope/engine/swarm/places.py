"""Who is served by a server that serves a limited number of connections at a time.

The others wait in its backlog: connected, but unheard until one of those ends. A request of theirs that held
a permit would keep it, unanswered, from those that are served, until it times out; so they take no permit.
Served is whose connection has had an answer.
"""

from __future__ import annotations

from typing import Protocol


class Guest(Protocol):
    """What places need of a connection."""

    def place_free(self) -> None:
        """Go on: there may be a place."""
        ...


class Places:
    """The ``count`` connections that are served at a time; 0: all of them."""

    def __init__(self) -> None:
        self.count = 0
        self.full = False
        """Whether so many connections are known to be served that no other is."""
        self._taken = 0
        self._waiting: dict[Guest, None] = {}

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    def resize(self, count: int) -> None:
        """Have so many places from now on."""
        self.count = count
        self._look()

    def take(self) -> None:
        """One more connection is served."""
        self._taken += 1
        self.full = 0 < self.count <= self._taken

    def give_back(self) -> None:
        """A connection that was served ends."""
        self._taken -= 1
        self._look()

    def wait(self, guest: Guest) -> None:
        """Queue up; :meth:`Guest.place_free` is called once, unless the guest withdraws."""
        self._waiting[guest] = None

    def withdraw(self, guest: Guest) -> None:
        """Leave the queue, if in it."""
        self._waiting.pop(guest, None)

    def _look(self) -> None:
        self.full = 0 < self.count <= self._taken
        if self._waiting and not self.full:
            waiting, self._waiting = self._waiting, {}
            for guest in waiting:
                guest.place_free()
