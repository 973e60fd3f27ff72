"""The open loop: requests are due on a schedule, whatever the answers do.

The schedule and the queue are the swarm's. A request that is due goes out on the connection that has had room
for longest; while none has room, or no permit is free, it waits in the queue, which is bounded. One timer
wakes the swarm up when the next request is due, and all that is due by then goes: the clock paces, not the
timer, so a schedule may be finer than a timer is.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import chain, islice, takewhile
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.arrivals import Poisson, Schedule, Turn, Uniform
from sockscope.core.events import CloseReason
from sockscope.engine.standstill import LOOP_STANDSTILL
from sockscope.engine.stops import STOPS
from sockscope.engine.swarm.client import FREE, IN_FLIGHT, WAITING, ClientState
from sockscope.engine.swarm.pacing.closed import IDLE
from sockscope.engine.swarm.pacing.paced import Paced
from sockscope.engine.timers import Alarm

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

QUEUED_MOST = 65_536
"""Requests that wait in the queue of a swarm at most; those that find it full are dropped."""
COUNTED_AT_ONCE = 4_096
"""Moments of a schedule that are counted in one turn of the loop at most."""
AT_ONCE = 64
"""Requests that go out in one turn of the loop at most, as many as the answers that one takes. One that goes
out behind others of its connection counts twice: what is unread must become less, or on a machine that is
too slow every answer comes too late for ever."""
LAPSE_S = 0.002
"""Without catching up a request is dropped when it is late by more than this, or by more than the interval of
the schedule if that is longer: timers lie on a grid of a millisecond, which is no stall."""
TICK_S = 0.000_2
"""Shortest time until the timer wakes the loop up again: what is due by then goes together."""


class OpenLoop(Paced):
    """The pacer of one connection in an open loop."""

    __slots__ = ("permits",)

    def __init__(self, client: Client, swarm: SwarmContext) -> None:
        super().__init__(client, swarm)
        self.permits = 0
        """Those that it holds: one for each request under way."""

    # From the client.

    def ready(self) -> None:
        """Be there for the next request that is due."""
        client, swarm = self._client, self._swarm
        if swarm.paused:
            client.state = ClientState.PARKED
            self.idle()
        elif swarm.tuning.lifetime and self._is_worn():
            client.leave(CloseReason.LIFETIME)
        elif not (self.has_place or self._enters()):
            client.state = WAITING
            self.idle()
        else:
            self._waited_for_place = False
            client.state = FREE
            self.idle()
            swarm.arrivals.offer(self)

    def answered(self) -> None:
        """Give the permits back, and be there for the next request."""
        if self.permits == 1:  # as a rule
            self.permits = 0
            self._swarm.limiter.release()
        else:
            self._settle()
        if not self.has_place:
            self._is_served()
        if self._client.link.record is not None and self._client.state is IN_FLIGHT:
            self._client.proceed()

    def answered_some(self) -> None:
        """Give permits back; there may be room for another request behind those that are under way."""
        self._settle()
        if self.has_room:
            self._swarm.arrivals.offer(self)

    def retune(self) -> bool:
        """Return whether nothing is under way."""
        return self._client.state in IDLE

    def resume(self) -> None:
        """Go on if the connection was parked."""
        if self._client.state is ClientState.PARKED:
            self._client.proceed()

    def step_back(self) -> None:
        """Be there for no more requests, and give back the permits of those that are not under way."""
        self._swarm.arrivals.withdraw(self)
        self._settle()
        self._swarm.arrivals.serve_soon()

    def withdraw(self) -> None:
        """Leave the connection."""
        self.step_back()
        self._busy(perf_counter())
        self._leave_place()

    def wants(self) -> None:
        """Nothing to do: clients of an open loop want nothing by themselves."""

    # From the arrivals.

    @property
    def has_room(self) -> bool:
        """Whether a request can go out on the connection now."""
        client = self._client
        # Written out what `must_leave` returns: this is asked for every request.
        if client.retiring or client._socket_generation != self._swarm.socket_generation:
            return False
        if client.state is FREE:
            return True
        link = client.link
        goes_on = client.state is IN_FLIGHT and not link.outdated
        return goes_on and link.under_way < link.most_under_way and not self._is_worn()

    def ask(self, now_s: float, waited_s: float) -> bool:
        """Send a request that holds a permit and has waited; return whether it went out."""
        client, link = self._client, self._client.link
        if self.idle_since_s:
            # Written out what `_busy` does: this comes before every request.
            self._swarm.idle.end(self.idle_since_s, now_s)
            self.idle_since_s = 0.0
        if self._waited_for_place:
            self._came_in()
        if link.outdated:
            self._renew()
            if self._swarm.varied and link.record is not None and not link.record.frames_out:
                # The second one is another: an answer that comes twice is soon noticed.
                link.outdate()
        client.state = IN_FLIGHT
        most = link.most_under_way
        if most == 1:
            link.send(waited_s, now_s)
        else:
            link.send_behind(waited_s, now_s)
        if link.under_way <= self.permits:
            # A blocking client has heard that its connection is over, and given the request back.
            self._swarm.may_send()
            return False
        if most == 1:  # as a rule
            self.permits = 1
        else:
            self._hold(self.permits + 1)
            if self.has_room:
                self._swarm.arrivals.offer(self)
        return True

    def _settle(self) -> None:
        left = self._client.link.under_way
        done, release = self.permits - left, self._swarm.limiter.release
        if done > 0:
            self._hold(left)
            for _ in range(done):
                release()

    def _hold(self, permits: int) -> None:
        before, self.permits = self.permits, permits
        if before > 1 or permits > 1:
            self._swarm.arrivals.behind += max(permits - 1, 0) - max(before - 1, 0)


class Arrivals:
    """The requests of an open loop: when they are due, and those that wait.

    ``due``, ``sent`` and ``dropped`` are cumulative; at any moment ``due = sent + dropped + queued``. Moments
    are those of the swarm's clock, which stands still while the traffic does.
    """

    def __init__(self, swarm: SwarmContext) -> None:
        self.due = self.sent = self.dropped = 0
        self.behind = 0
        """Requests under way behind the oldest of their connection, each with a permit of its own."""
        self._swarm = swarm
        self._at, self._on_late_by = swarm.clock.at, swarm.recorder.on_late_by
        self._schedule: Schedule | None = None
        self._planned: tuple[int, str, Turn] | None = None
        self._random = Random()
        # When each was due that has not had its turn, the oldest first: nobody but the generator keeps it.
        self._unsent: deque[float] = deque()
        # From how late on a request is dropped, which is none where what was missed is caught up.
        self._lapse_s = math.inf
        # When each was due that waits for a connection with room, or for a permit, the oldest first.
        self._queue: deque[float] = deque()
        # Those that have room, or have had it when they were offered.
        self._free: OrderedDict[OpenLoop, None] = OrderedDict()
        self._alarm = Alarm(swarm.loop, self._wake)
        # Whether requests are being sent, from which connections may be offered.
        self._sending = False
        # Requests that may go out until the loop has made a turn, whoever has them sent.
        self._left = AT_ONCE
        self._is_over = False

    @property
    def queued(self) -> int:
        """Requests that are due and not sent."""
        return len(self._queue) + len(self._unsent)

    def ages_s(self, most: int) -> tuple[list[float], int]:
        """Return how long requests have been due that are not sent, and for how many each stands.

        Of more than ``most`` every so many of them stands for those before it, which are no younger.
        """
        now_s, each = self._now_s(), self.queued // most + 1
        due = islice(chain(self._queue, self._unsent), each - 1, None, each)
        return [now_s - due_s for due_s in due], each

    # From the swarm.

    def seed(self, seed: int) -> None:
        """Let the random schedule be that of ``seed``."""
        self._random = Random(seed)

    def plan(self, turn: Turn) -> None:
        """Go over to the rate and the arrivals of the tuning; ``turn`` says which requests are ours."""
        tuning = self._swarm.tuning
        self._lapse_s = math.inf if tuning.catchup else max(LAPSE_S, 1 / max(tuning.rate, 1))
        planned = (tuning.rate, tuning.arrivals, turn)
        if planned != self._planned:
            self._leave_schedule()
            self._planned = planned
        if not tuning.rate:
            self._drop_queued(len(self._queue))
        self.go_on()

    def begin_anew(self) -> None:
        """Only now may all connections ask: requests are due from now on, and none has been queued."""
        self.due -= self.queued
        self._queue.clear()
        self._unsent.clear()
        self._schedule = None
        self.go_on()

    def go_on(self) -> None:
        """Go on after a pause, with another number of permits, or with a new budget of requests; or pause."""
        if self._swarm.paused:
            self._count_due()
        may_begin = not (self._is_over or self._swarm.paused)
        if may_begin and self._schedule is None and self._planned is not None:
            self._begin(*self._planned)
        self._tick()

    def _begin(self, rate: int, arrivals: str, turn: Turn) -> None:
        if not rate or turn.index >= turn.of:
            return
        now_s = self._now_s()
        if arrivals == "uniform":
            self._schedule = Uniform(rate, turn, now_s)
        else:
            self._schedule = Poisson(rate, turn, now_s, self._random)

    def stop(self) -> None:
        """Nothing goes out any more; what is queued never will, and is as old as it is now."""
        self._leave_schedule()
        self._is_over = True
        self._arm()
        self._drop_queued(len(self._queue))

    def _leave_schedule(self) -> None:
        self._count_due()
        self._schedule = None

    def _count_due(self) -> None:
        """Queue up what is due by now and has not gone out: it was due, however late the generator is."""
        now_s = self._now_s()
        while self._schedule is not None and self._schedule.next_s <= now_s:
            self._take_due(self._schedule, now_s)
        self._queue_up()

    def close(self) -> None:
        """Let go of the timer."""
        self._alarm.close()

    # From a connection.

    def offer(self, connection: OpenLoop) -> None:
        """A connection has room, for the request that has waited longest, if one does."""
        self._free[connection] = None
        if self._sending:
            return
        if self._queue:
            self.serve()
        elif (
            self._left
            and (schedule := self._schedule) is not None
            and not (self._swarm.paused or STOPS.is_continued)
        ):
            clock_s = perf_counter()
            if schedule.next_s <= self._at(clock_s):
                # The timer is late, or its turn has not come: the loop is busy with answers. It goes on as it
                # was set: to set it each time would cost as much as a request.
                self._send_due(clock_s)

    def withdraw(self, connection: OpenLoop) -> None:
        """A connection is there for no more requests."""
        self._free.pop(connection, None)

    def serve_soon(self) -> None:
        """There is room or a permit again, though no connection was offered."""
        if self._queue:
            self._swarm.loop.call_soon(self.serve)

    # The schedule.

    def _now_s(self) -> float:
        return self._at(perf_counter())

    def _arm(self) -> None:
        if self._schedule is None or self._swarm.paused or not self._left:
            self._alarm.cancel()
        else:
            delay_s = self._schedule.next_s - self._now_s()
            # What is due already was too much for a turn of the loop.
            self._alarm.set(max(delay_s, TICK_S) if delay_s > 0 else 0.0)

    def _wake(self) -> None:
        """It is time, unless this process was stopped: then no time has passed."""
        if STOPS.is_continued:
            STOPS.look()
        self._tick()

    def _tick(self) -> None:
        """Send what is due by now, or queue it up; wake up again for the next."""
        if self._queue:
            self.serve()
        if not self._swarm.paused:
            self._send_due(perf_counter())
        self._arm()

    def _take_due(self, schedule: Schedule, now_s: float) -> None:
        """Count what is due, as far as the budget goes; what finds no room is dropped."""
        swarm = self._swarm
        due = schedule.take(now_s, COUNTED_AT_ONCE)
        if swarm.has_budget:
            due = [due_s for due_s in due if swarm.may_send()]
            if not due:
                self._schedule = None
        self.due += len(due)
        room = QUEUED_MOST - self.queued
        self._unsent.extend(due[:room])
        self._drop(due[room:])

    def _send_due(self, clock_s: float) -> None:
        """Send what is due by now, and so much of it in a turn; queue it up if there is no room."""
        schedule, unsent = self._schedule, self._unsent
        now_s = self._at(clock_s)
        if schedule is not None and schedule.next_s <= now_s:
            self._take_due(schedule, now_s)
        self._sending = True
        try:
            while unsent and self._left:
                late_s = self._at(clock_s) - unsent[0]
                if late_s > self._lapse_s:
                    self._drop_unsent(self._at(clock_s))
                elif self._queue or (connection := self._take_free()) is None:
                    self._queue_up()
                else:
                    if late_s <= LAPSE_S:
                        self._on_late_by(late_s)
                    else:
                        self._note_late((unsent[0],), self._at(clock_s))
                    self._send(connection, unsent.popleft(), clock_s, late_s)
                    if unsent:
                        clock_s = perf_counter()
        finally:
            self._sending = False

    def _queue_up(self) -> None:
        """Have what is due wait for room: from now on that is what it waits for."""
        self._note_late(self._unsent, self._now_s())
        self._queue.extend(self._unsent)
        self._unsent.clear()

    def _note_late(self, due: Sequence[float], now_s: float) -> None:
        if due and now_s - due[0] > LAPSE_S and LOOP_STANDSTILL.ended_s:
            self._swarm.recorder.on_late(_own_lateness(due, now_s))
        else:
            self._swarm.recorder.on_late([now_s - due_s for due_s in due])

    def _drop(self, due: list[float]) -> None:
        """Drop what has not been queued."""
        if due:
            self._note_late(due, self._now_s())
            self.dropped += len(due)
            self._swarm.recorder.response_unanswered.add_exactly(0.0, len(due))

    def _drop_unsent(self, now_s: float) -> None:
        """Drop what has not had its turn and is later than it may be without catching up."""
        unsent, lapse_s = self._unsent, self._lapse_s
        lapsed = sum(1 for _ in takewhile(lambda due_s: now_s - due_s > lapse_s, unsent))
        self._drop([unsent.popleft() for _ in range(lapsed)])

    def _drop_queued(self, count: int) -> None:
        now_s = self._now_s()
        for _ in range(count):
            self._swarm.recorder.response_unanswered.add(now_s - self._queue.popleft())
        self.dropped += count

    def _drop_lapsed(self) -> None:
        """Drop what has waited in the queue for longer than it may without catching up."""
        before_s = self._now_s() - self._lapse_s
        self._drop_queued(sum(1 for _ in takewhile(before_s.__ge__, self._queue)))

    # Sending.

    def _next_turn(self) -> None:
        """The loop has made a turn: go on with what is queued, and with what is due."""
        self._left = AT_ONCE
        self._tick()

    def _take_free(self) -> OpenLoop | None:
        """Return the connection that has had room for longest, with a permit for it; None: there is none.

        One that has no room any more will be offered again.
        """
        free = self._free
        while free:
            connection, _ = free.popitem(last=False)
            if not connection.has_room:
                continue
            if self._swarm.limiter.try_acquire():
                return connection
            free[connection] = None
            free.move_to_end(connection, last=False)
            break
        return None

    def serve(self) -> None:
        """Send what is queued, as far as there is room, and so much of it in a turn."""
        swarm, queue = self._swarm, self._queue
        if self._sending or swarm.paused or not queue:
            return
        self._sending = True
        try:
            if not swarm.tuning.catchup:
                self._drop_lapsed()
            while self._left and queue and (connection := self._take_free()) is not None:
                clock_s, due_s = perf_counter(), queue.popleft()
                self._send(connection, due_s, clock_s, self._at(clock_s) - due_s)
        finally:
            self._sending = False

    def _send(self, connection: OpenLoop, due_s: float, clock_s: float, waited_s: float) -> None:
        """Send a request on a connection that has room, and has a permit; queue it up first if that fails."""
        self._left -= 2 if connection.permits else 1
        if self._left <= 0:
            self._left = 0
            self._swarm.loop.call_soon(self._next_turn)
        if connection.ask(clock_s, waited_s):
            self.sent += 1
        else:
            self._swarm.limiter.return_unused(waited=False)
            self._queue.appendleft(due_s)


def _own_lateness(due: Sequence[float], now_s: float) -> list[float]:
    """Return how late requests are, but for the time for which a stalled server has held this loop up."""
    clock_s = perf_counter()
    ago_s = clock_s - now_s
    return [now_s - due_s - LOOP_STANDSTILL.within_s(due_s + ago_s, clock_s) for due_s in due]
