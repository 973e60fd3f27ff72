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
from sockscope.engine.swarm.client import FREE, IN_FLIGHT, WAITING, ClientState
from sockscope.engine.swarm.pacing.paced import Paced

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext


class ClosedLoop(Paced):
    """The pacer of one client in a closed loop."""

    __slots__ = ("_has_turn", "_holds_permit", "_think", "_waiter", "_wanted_at_s")

    def __init__(self, client: Client, swarm: SwarmContext) -> None:
        super().__init__(client, swarm)
        self._holds_permit = False
        # Whether the connection is taken by a client of the pool.
        self._has_turn = False
        self._waiter: Waiter | None = None
        self._think: asyncio.TimerHandle | None = None
        # Since when the client wants to ask and cannot, on the swarm's clock; 0: it does not.
        self._wanted_at_s = 0.0

    # From the client.

    def ready(self) -> None:
        """Send as soon as the traffic is not paused, it is this connection's turn, and a permit is held."""
        client, swarm = self._client, self._swarm
        if swarm.paused:
            client.state = ClientState.PARKED
            self.idle()
        elif swarm.tuning.lifetime and self._is_worn():
            client.leave(CloseReason.LIFETIME)
        elif not (self.has_place or self._enters()):
            client.state = WAITING
            self.wants()
            self.idle()
        elif swarm.tuning.pool and not self._has_turn:
            client.state = FREE
            now_s = perf_counter()
            swarm.pool.offer(self, now_s)
            if client.state is FREE:  # else a client that waited has taken it at once
                self.idle(now_s)
        elif swarm.limiter.try_acquire():
            self._send(0.0)
        else:
            client.state = WAITING
            now_s = perf_counter()
            self.idle(now_s)
            self._waited_for_place = False
            self._waiter = swarm.limiter.enqueue(self._admitted, now_s)

    def answered(self) -> None:
        """Give back permit and turn; think, or go on at once."""
        client, tuning = self._client, self._swarm.tuning
        record = client.link.record
        if record is None or client.state is not IN_FLIGHT:
            self._release()
            self._end_turn()
            return
        # Connections stay open while the traffic is paused.
        leaves = tuning.lifetime and not self._swarm.paused and self._is_worn()
        if not (leaves or self.has_place):
            self._is_served()
        # Written out what `_release` and `_end_turn` do: this comes after every answer.
        if self._holds_permit:
            self._holds_permit = False
            self._swarm.limiter.release()
        if self._has_turn:
            self._has_turn = False
            self._wanted_at_s = 0.0
            self._swarm.pool.give_back(self, used=True)
        thinks = tuning.think_time_s and not (tuning.pool or tuning.rate or client.retiring)
        if thinks:
            client.asks_at_s = perf_counter() + tuning.think_time_s
        if leaves:
            client.leave(CloseReason.LIFETIME)
        elif thinks:
            client.state = ClientState.THINKING
            self.idle()
            self._think = self._swarm.call_later(tuning.think_time_s, self._think_time_over)
        else:
            client.proceed()

    def answered_some(self) -> None:
        """Nothing to do: a turn is over when all of its requests are answered."""

    def retune(self) -> bool:
        """Shorten the time to think to what it is now. Return whether nothing is under way."""
        think = self._think
        if think is not None:
            think.cancel()
            loop, tuning = self._swarm.loop, self._swarm.tuning
            most_s = 0.0 if tuning.pool or tuning.rate else tuning.think_time_s
            left_s = min(seconds_left(think, loop), most_s)
            self._think = self._swarm.call_later(max(left_s, 0.0), self._think_time_over)
        return self._client.state in IDLE

    @property
    def wanted_since_s(self) -> float:
        """Since when its client waits for a permit or a place, on the swarm's clock; 0: it does not."""
        if self._client.state is not ClientState.WAITING:
            return 0.0
        # The limiter counts its waits on the clock of the swarm.
        return self._wanted_at_s or (self._waiter.since_s if self._waiter is not None else 0.0)

    def resume(self) -> None:
        """Go on if the client was parked."""
        if self._client.state is ClientState.PARKED:
            self._client.proceed()

    def withdraw(self) -> None:
        """Leave the connection; permit and turn are kept as long as a request is under way."""
        self.step_back()
        self._busy(perf_counter())
        self._leave_place()

    def step_back(self) -> None:
        """Stop thinking, leave the queues, and give back permit and turn unless a request is under way."""
        if self._think is not None:
            self._think.cancel()
            self._think = None
        if self._waiter is not None:
            # The limiter counts its waits on the clock of the swarm.
            self._wanted_at_s = self._wanted_at_s or self._waiter.since_s
            self._swarm.limiter.forget(self._waiter)
            self._waiter = None
        if self._client.state is FREE:
            self._swarm.pool.withdraw(self)
        if not self._client.link.under_way:
            # No permit is held: nothing was asked in this turn.
            asked = self._holds_permit
            self._release()
            self._end_turn(used=asked)

    # From the pool.

    def take(self, since_s: float) -> None:
        """A client of the pool has this connection for its next request."""
        self._has_turn = True
        # The pool counts its waits on the clock of the swarm.
        self._wanted_at_s = since_s
        # Nobody waited with the connection while it was not in the pool.
        self._waited_for_place = False
        client, swarm = self._client, self._swarm
        changed = swarm.paused or swarm.pacing is not ClosedLoop or client.must_leave
        if changed or swarm.tuning.lifetime or not self.has_place or not swarm.limiter.try_acquire():
            client.proceed()
        else:
            # Of what comes before a request it has done the rest when it was offered.
            self._send(0.0)

    def ask(self) -> None:
        """There is no pool any more; go on alone."""
        self._client.proceed()

    # Steps of the loop.

    def _admitted(self) -> None:
        waiter, self._waiter = self._waiter, None
        # Already, where there is room at once by now.
        waited_s = waiter.waited_s if waiter is not None else 0.0
        client, swarm = self._client, self._swarm
        # The link of who must leave is outdated, as soon as it is told.
        if swarm.paused or (client.link.outdated and client.must_leave):
            swarm.limiter.return_unused(waited=True)
            client.proceed()
        else:
            self._send(waited_s, queued=True)

    def _send(self, waited_s: float, *, queued: bool = False) -> None:
        """Ask, with the permit that was waited for so long; ``queued``: in the limiter's queue."""
        client, swarm = self._client, self._swarm
        if not swarm.may_send():
            swarm.limiter.return_unused(waited=queued)
            self._nothing_left()
            return
        self._holds_permit = True
        if self._has_turn:
            swarm.pool.use(self)
        now_s = perf_counter()
        if self.idle_since_s:
            self._busy(now_s)
        if self._waited_for_place:
            self._came_in()
        link = client.link
        if link.outdated:
            self._renew()
            link.steady = self._is_steady()
            if swarm.varied and link.record is not None and not link.record.frames_out:
                # The second one is another: an answer that comes twice is soon noticed.
                link.outdate()
        if self._wanted_at_s:
            # That was before it waited for a permit.
            waited_s = max(swarm.clock.at(now_s) - self._wanted_at_s, 0.0)
            self._wanted_at_s = 0.0
        if waited_s and link.steady:
            # The one after this asks the pacer again: what a steady link sends has not waited.
            link.outdate()
        client.state = IN_FLIGHT
        depth = swarm.tuning.depth
        if depth == 1:
            link.send(waited_s, now_s)
        else:
            link.send_several(self._turn_of(depth), swarm.tuning.batch, waited_s)

    def _nothing_left(self) -> None:
        """The budget is spent: let a connection go that would have ended anyway: others may wait."""
        self._wanted_at_s = 0.0
        if self._swarm.tuning.lifetime:
            self._client.leave(CloseReason.CLOSED, "nothing left to ask")
        else:
            self._client.state = ClientState.PARKED
            self.idle()

    def _turn_of(self, depth: int) -> int:
        """Return how many requests go out before their answers are awaited; one is in the budget already."""
        swarm, record = self._swarm, self._client.link.record
        assert record is not None
        if swarm.opening.first is self._client:
            return 1
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
            or tuning.rate
            or swarm.dialogue.varies
        )

    def _think_time_over(self) -> None:
        self._think = None
        self._client.proceed()

    def wants(self) -> None:
        """The client wants to ask from now on, if it did not before, and cannot yet.

        In a pool the clients that want to ask are not the connections.
        """
        if not (self._wanted_at_s or (self._swarm.tuning.pool and not self._has_turn)):
            self._wanted_at_s = self._swarm.clock.at(perf_counter())

    def _release(self) -> None:
        if self._holds_permit:
            self._holds_permit = False
            self._swarm.limiter.release()

    def _end_turn(self, *, used: bool = True) -> None:
        if self._has_turn:
            self._has_turn = False
            self._wanted_at_s = 0.0
            self._swarm.pool.give_back(self, used=used)


IDLE = frozenset(
    {
        ClientState.LISTENING,
        ClientState.PROLOGUE,
        ClientState.FREE,
        ClientState.WAITING,
        ClientState.THINKING,
        ClientState.PARKED,
    }
)
