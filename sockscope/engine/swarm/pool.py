"""Clients that share connections: one that has a request to make takes a free connection and gives it back.

In a pool the swarm's :class:`Client` objects are its connections, and the clients are what makes them ask:
each is a place in the queue, a timer while it thinks, or the turn that a connection is having for it. Both
queues are first come, first served: who has waited longest gets the connection that was free longest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from time import perf_counter
from typing import Protocol

from sockscope.core.run.snapshot import LimiterStatistics
from sockscope.engine.loops import seconds_left
from sockscope.engine.stopwatch import Stopwatch
from sockscope.engine.timers import punctual


class Connection(Protocol):
    """What a pool needs of a connection."""

    def take(self, since_s: float) -> None:
        """Have a turn for a client: :meth:`Pool.use` it, and :meth:`Pool.give_back` the connection after.

        ``since_s`` is since when the client has waited for it, in the time of ``Pool.waits``; 0: not at all.
        """
        ...

    def ask(self) -> None:
        """There is no pool any more; go on alone."""
        ...


class Pool:
    """So many ``clients`` that share ``connections``; 0 connections: there is no pool.

    Fewer clients leave as soon as they have no request under way; connections come and go by
    :meth:`offer` and :meth:`withdraw`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connections = 0
        self.clients = 0
        self._loop = loop
        self._call_later = punctual(loop)
        self._present = 0
        self._think_s = 0.0
        # Since when.
        self._waiting: deque[float] = deque()
        self._free: dict[Connection, None] = {}
        self._thinking: dict[int, asyncio.TimerHandle] = {}
        self._thoughts = 0
        # Who has a turn, and whether its client had to wait for it.
        self._turns: dict[Connection, bool] = {}
        self._acquired = 0
        self._waited = 0
        self.waits = Stopwatch()
        """How long those who wait have waited, all together."""

    # From the swarm.

    def resize(self, clients: int, connections: int, think_s: float) -> None:
        """Have so many clients share so many connections from now on."""
        self.clients, self.connections, self._think_s = clients, connections, think_s
        for thought, timer in list(self._thinking.items()):
            if seconds_left(timer, self._loop) > think_s:
                timer.cancel()
                self._thinking[thought] = self._call_later(think_s, self._think_time_over, thought)
        while self._present > clients and (self._waiting or self._thinking):
            self._present -= 1
            if self._waiting:
                self.waits.end(self._waiting.pop(), perf_counter())
            else:
                self._thinking.popitem()[1].cancel()
        while self._present < clients:
            self._present += 1
            self._come()
        if not connections:
            free, self._free = self._free, {}
            for connection in free:
                connection.ask()

    def close(self) -> None:
        """Let nobody come any more."""
        self.resize(0, self.connections, 0.0)

    # From a connection.

    def offer(self, connection: Connection, now_s: float = 0.0) -> None:
        """A connection is free, ``now_s`` if that is known; it is taken at once if somebody waits."""
        self._free[connection] = None
        if self._waiting:
            since_s = self._waiting.popleft()
            self.waits.end(since_s, now_s or perf_counter())
            self._take(since_s)

    def withdraw(self, connection: Connection) -> None:
        """A connection is not free any more, without having been taken."""
        self._free.pop(connection, None)

    def use(self, connection: Connection) -> None:
        """The client that has the connection asks: only now does its turn count."""
        self._acquired += 1
        self._waited += self._turns[connection]

    def give_back(self, connection: Connection, *, used: bool) -> None:
        """A client has had its turn: it thinks, and then has the next request to make.

        If the turn was not ``used``, it still has the same one, and is the next to have a turn.
        """
        del self._turns[connection]
        if self._present > self.clients:
            self._present -= 1
        elif not used:
            self._come(first=True)
        elif self._think_s:
            self._thoughts += 1
            self._thinking[self._thoughts] = self._call_later(
                self._think_s, self._think_time_over, self._thoughts
            )
        else:
            self._come()

    # A client.

    def _think_time_over(self, thought: int) -> None:
        del self._thinking[thought]
        self._come()

    def _come(self, *, first: bool = False) -> None:
        if self._free:
            self._take(0.0)
            return
        since_s = self.waits.begin(perf_counter())
        if first:
            self._waiting.appendleft(since_s)
        else:
            self._waiting.append(since_s)

    def _take(self, since_s: float) -> None:
        connection = next(iter(self._free))
        del self._free[connection]
        self._turns[connection] = since_s > 0
        connection.take(since_s)

    def has_turn(self, connection: object) -> bool:
        """Whether a client has this connection."""
        return connection in self._turns

    @property
    def waiting(self) -> int:
        """How many clients wait for a connection."""
        return len(self._waiting)

    @property
    def thinking(self) -> int:
        """How many clients think."""
        return len(self._thinking)

    def ages_s(self, now_s: float, most: int) -> tuple[list[float], int]:
        """Return how long clients have waited, ``now_s`` in the time of :attr:`waits`, and for how many each
        stands: of more than ``most`` every so many of them, which are no younger than it."""
        each = self.waiting // most + 1
        return [max(now_s - since_s, 0.0) for since_s in islice(self._waiting, each - 1, None, each)], each

    def statistics(self) -> LimiterStatistics:
        """Return the figures of this moment: connections are the permits, and clients wait for them."""
        now_s = perf_counter()
        return LimiterStatistics(
            permits=self.connections,
            in_flight=len(self._turns),
            waiting=len(self._waiting),
            acquired=self._acquired,
            waited=self._waited,
            wait_s=self.waits.total_s(now_s),
            longest_wait_s=self.waits.at(now_s) - self._waiting[0] if self._waiting else 0.0,
        )
