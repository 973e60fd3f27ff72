"""The closed loop: a client sends, waits for the answer, thinks, and sends again.

Before each request it may have to wait for a place at a server that serves few connections at a time, for a
turn of the shared pool of connections and for a permit of the semaphore, in this order.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.events import CloseReason
from sockscope.engine.limiter import Waiter
from sockscope.engine.loops import seconds_left
from sockscope.engine.swarm.client import ClientState

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext


class ClosedLoop:
    """The pacer of one client in a closed loop."""

    __slots__ = (
        "_client",
        "_has_place",
        "_has_turn",
        "_holds_permit",
        "_idle_since_s",
        "_swarm",
        "_think",
        "_waited_for_place",
        "_waiter",
    )

    def __init__(self, client: Client, swarm: SwarmContext) -> None:
        self._client = client
        self._swarm = swarm
        self._holds_permit = False
        # Whether the connection is known to be served.
        self._has_place = False
        # Whether what was waited for before the next request was a place and nothing after it.
        self._waited_for_place = False
        # Whether the connection is taken by a client of the pool.
        self._has_turn = False
        self._waiter: Waiter | None = None
        self._think: asyncio.TimerHandle | None = None
        # Since when the connection asks nothing; 0: it asks, or is not there.
        self._idle_since_s = 0.0

    # From the client.

    def ready(self) -> None:
        """Send as soon as the traffic is not paused, it is this connection's turn, and a permit is held."""
        client, swarm = self._client, self._swarm
        if swarm.paused:
            client.state = ClientState.PARKED
            self._idle()
        elif swarm.tuning.lifetime and self._is_worn():
            client.leave(CloseReason.LIFETIME)
        elif not (self._has_place or swarm.places.enter(self)):
            client.state = ClientState.WAITING
            self._idle()
        elif swarm.tuning.pool and not self._has_turn:
            client.state = ClientState.FREE
            self._idle()
            swarm.pool.offer(self)
        elif swarm.limiter.try_acquire():
            self._send(waited=False)
        else:
            client.state = ClientState.WAITING
            self._idle()
            self._waited_for_place = False
            self._waiter = swarm.limiter.enqueue(self._admitted)

    def answered(self) -> None:
        """Give back permit and turn; think, or go on at once."""
        client, tuning = self._client, self._swarm.tuning
        record = client.link.record
        if record is None or client.state is not ClientState.IN_FLIGHT:
            self._release()
            self._end_turn()
            return
        # Connections stay open while the traffic is paused.
        leaves = tuning.lifetime and not self._swarm.paused and self._is_worn()
        if not (leaves or self._has_place) and record.frames_in:
            self._has_place = True
            self._swarm.places.serve(self)
        self._release()
        self._end_turn()
        if leaves:
            client.leave(CloseReason.LIFETIME)
        elif tuning.think_time_s and not tuning.pool and not client.retiring:
            client.state = ClientState.THINKING
            self._idle()
            self._think = self._swarm.call_later(tuning.think_time_s, self._think_time_over)
        else:
            client.proceed()

    def retune(self) -> bool:
        """Shorten the time to think to what it is now. Return whether nothing is under way."""
        think = self._think
        if think is not None:
            think.cancel()
            loop, tuning = self._swarm.loop, self._swarm.tuning
            left_s = 0.0 if tuning.pool else min(seconds_left(think, loop), tuning.think_time_s)
            self._think = self._swarm.call_later(max(left_s, 0.0), self._think_time_over)
        return self._client.state in _IDLE

    def resume(self) -> None:
        """Go on if the client was parked."""
        if self._client.state is ClientState.PARKED:
            self._client.proceed()

    def withdraw(self) -> None:
        """Stop thinking, leave the queues, and give back permit and turn unless a request is under way."""
        if self._think is not None:
            self._think.cancel()
            self._think = None
        if self._waiter is not None:
            self._swarm.limiter.forget(self._waiter)
            self._waiter = None
        if self._client.state is ClientState.FREE:
            self._swarm.pool.withdraw(self)
        self._busy()
        if not self._client.link.under_way:
            # No permit is held: nothing was asked in this turn.
            asked = self._holds_permit
            self._release()
            self._end_turn(used=asked)
        self._has_place = self._waited_for_place = False
        self._swarm.places.leave(self)

    # From the places.

    def go_in(self) -> None:
        """The server may have a place for the connection."""
        self._waited_for_place = True
        self._client.proceed()

    # From the pool.

    def take(self) -> None:
        """A client of the pool has this connection for its next request."""
        self._has_turn = True
        # Nobody waited with the connection while it was not in the pool.
        self._waited_for_place = False
        self._client.proceed()

    def ask(self) -> None:
        """There is no pool any more; go on alone."""
        self._client.proceed()

    # Steps of the loop.

    def _admitted(self) -> None:
        self._waiter = None
        if self._swarm.paused or self._client.must_leave:
            self._swarm.limiter.return_unused(waited=True)
            self._client.proceed()
        else:
            self._send(waited=True)

    def _send(self, *, waited: bool) -> None:
        client, swarm = self._client, self._swarm
        if not swarm.may_send():
            swarm.limiter.return_unused(waited=waited)
            self._nothing_left()
            return
        self._holds_permit = True
        if self._waited_for_place:
            self._waited_for_place = False
            swarm.places.waited += 1
        self._busy()
        link = client.link
        if link.outdated:
            link.renew(swarm.request_bytes_for(client))
            link.steady = self._is_steady()
        client.state = ClientState.IN_FLIGHT
        depth = swarm.tuning.depth
        if depth == 1:
            link.send()
        else:
            link.send_several(self._turn_of(depth), swarm.tuning.batch)

    def _nothing_left(self) -> None:
        """The budget is spent: let a connection go that would have ended anyway: others may wait."""
        if self._swarm.tuning.lifetime:
            self._client.leave(CloseReason.CLOSED, "nothing left to ask")
        else:
            self._client.state = ClientState.PARKED
            self._idle()

    def _turn_of(self, depth: int) -> int:
        """Return how many requests go out before their answers are awaited; one is in the budget already."""
        swarm, record = self._swarm, self._client.link.record
        assert record is not None
        lifetime = swarm.tuning.lifetime
        most = min(depth, lifetime - record.frames_out) if lifetime else depth
        count = 1
        while count < most and swarm.may_send():
            count += 1
        return count

    def _is_steady(self) -> bool:
        """Whether nothing stands between an answer and the next request."""
        swarm = self._swarm
        tuning = swarm.tuning
        return not (
            swarm.paused
            or swarm.has_budget
            or tuning.permits
            or tuning.think_time_s
            or tuning.lifetime
            or tuning.depth > 1
            or tuning.pool
        )

    def _is_worn(self) -> bool:
        """Whether the connection has carried as many requests as it is to carry."""
        record = self._client.link.record
        return record is not None and record.frames_out >= self._swarm.tuning.lifetime

    def _think_time_over(self) -> None:
        self._think = None
        self._client.proceed()

    def _idle(self) -> None:
        """The connection asks nothing for now."""
        if not self._idle_since_s:
            self._idle_since_s = now_s = perf_counter()
            self._swarm.idle.begin(now_s)

    def _busy(self) -> None:
        """It asks, or is not there any more."""
        if self._idle_since_s:
            self._swarm.idle.end(self._idle_since_s, perf_counter())
            self._idle_since_s = 0.0

    def _release(self) -> None:
        if self._holds_permit:
            self._holds_permit = False
            self._swarm.limiter.release()

    def _end_turn(self, *, used: bool = True) -> None:
        if self._has_turn:
            self._has_turn = False
            self._swarm.pool.give_back(self, used=used)


_IDLE = frozenset(
    {ClientState.LISTENING, ClientState.FREE, ClientState.WAITING, ClientState.THINKING, ClientState.PARKED}
)
