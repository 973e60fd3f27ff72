"""The engine's end of a child process on a worker of the cluster: what carries the channel there and back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from time import perf_counter
from typing import Any

from sockscope.engine.placement.cluster.actor import LEASE_S, MOST_UNREAD_BYTES, Exchanged
from sockscope.engine.placement.cluster.asking import asking, shown
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.engine.placement.cluster.machine import clock_name, clock_offset, versions
from sockscope.engine.placement.hosts.carrier import IDLE_REPORTS_S, REPORTS_S
from sockscope.errors import EngineError

WAIT_S = 1.0
"""How long an exchange waits for what the child has to say, while an answer is expected."""
IDLE_S = 0.2
"""How often the child is listened to while nothing is expected of it."""
CLOCK_TIMES = 16
"""How often its clock is asked for; the fastest answer counts."""
CLOCK_S = 1.0
"""How long that may take, if it has answered once."""
CLOCK_EVERY_S = 10.0
"""How often that is done: good clocks drift by less than half a millisecond meanwhile."""
MOST_UNDER_WAY = 4
"""Exchanges that may be under way at once: one that waits, those that let it go."""
SLOW_S = 1.0
"""Whoever wakes up so much later than asked for has been stopped, or held up, and has heard nothing."""
LOST_S = 10.0
"""A worker that has not answered for so long is lost; one that is cut off for less goes on."""
KILL_S = 2.0
"""How long a worker may take to end a child; then it is taken for lost."""
MOST_INCOMING_BYTES = 2 * MOST_UNREAD_BYTES
"""More than a worker has for one exchange: what it keeps unread, and what one last reading adds."""
MOST_REPORTS_PER_S = 100
"""How many reports of all workers are asked for, down to two a second of each: each costs us CPU."""


class WorkerProcess:
    """A :class:`~sockscope.engine.placement.hosts.carrier.Carrier` whose process is a child of a worker.

    Nothing is sent that was not asked for: the bytes of the channel travel in exchanges, one at each tick in
    which a report is requested, and none while nothing is said but one each :data:`IDLE_S`.
    """

    def __init__(
        self,
        cluster: Cluster,
        worker: str,
        name: str,
        allocator: str,
        on_exit: Callable[[str], None],
        expects: Callable[[], bool],
    ) -> None:
        self.name = name
        self.pid = 0
        self.alive = False
        self.stopped = False  # not told from a loop that is held up
        self.last_line = ""
        self.clock_offset_s = self.clock_error_s = 0.0
        """Seconds to add to a time there to get one of ours, and how far that may be off."""
        self.worker = worker
        self.worker_cpu_s = 0.0
        """What that has used since its first answer."""
        self._worker_cpu_before_s: float | None = None
        self._clock_timer: asyncio.TimerHandle | None = None
        self.environment: Mapping[str, str] = {}
        self.path: tuple[str, ...] = cluster.path
        self._cluster = cluster
        self._allocator = allocator
        self._on_exit = on_exit
        self._expects = expects
        self._loop = asyncio.get_running_loop()
        self._actor: Any = None
        self._channel: asyncio.Protocol | None = None
        self._out = bytearray()
        self._closes = False
        self._is_due = False
        self._number = self._fetched = self._under_way = 0
        self._early: dict[int, Exchanged] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    @property
    def _whom(self) -> str:
        return f"the worker {self.worker}"

    @property
    def reports_s(self) -> float:
        """How often it is to be asked for a report: the more workers, the less often, down to an idle one."""
        return reports_s(len(self._cluster.workers))

    async def start(self, channel: asyncio.Protocol) -> None:
        """Let the worker start the process; raise EngineError when it cannot."""
        actor, begun = await self._cluster.begin(self.worker, self.name, self._allocator)
        with asking(self._whom):
            theirs = begun.versions
        if theirs != (ours := versions()):
            with contextlib.suppress(EngineError), asking(self._whom):
                async with asyncio.timeout(KILL_S):
                    await actor.kill()
            raise EngineError(f"the worker {self.worker} has {theirs}; use the same as here: {ours}")
        self._actor = actor
        self.pid, self.environment, self.alive = begun.pid, begun.environment, True
        self._cluster.on_loss.add(self._worker_lost)
        if not begun.clock or begun.clock != clock_name():
            await self._look_at_clock(actor)
            if not self.alive:
                raise EngineError(f"the worker {self.worker} is lost")
            if not self.clock_error_s:  # which would say that it is ours
                raise EngineError(f"the worker {self.worker} does not answer: its clock is not known")
        self._channel = channel
        channel.connection_made(_Transport(self))

    async def _look_at_clock(self, actor: Any) -> None:
        """Find out how far its clock is from ours, and again from time to time: they drift apart."""
        with contextlib.suppress(Exception):  # an exchange finds out what is wrong
            async with asyncio.timeout(LOST_S):
                self.clock_offset_s, self.clock_error_s = await clock_offset(
                    actor.time_s, CLOCK_TIMES, CLOCK_S
                )
        if self.alive:
            self._clock_timer = self._loop.call_later(
                CLOCK_EVERY_S, lambda: self._run(self._look_at_clock(actor))
            )

    async def wait(self, within_s: float | None = None) -> None:
        """Return when the process has ended, after ``within_s`` at the latest."""
        if self._actor is None:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._ended.wait()
        except TimeoutError:
            return

    def kill(self) -> None:
        """Let the worker end the process at once; one that does not answer is lost with it."""
        if self.alive:
            self._run(self._kill(self._actor))

    async def _kill(self, actor: Any) -> None:
        try:
            async with asyncio.timeout(KILL_S):
                await actor.kill()
                self._ask_soon()  # what became of it
                await self._ended.wait()
        except Exception:  # noqa: BLE001  # see above
            self._lose()

    def say(self, data: bytes) -> None:
        """Send this with the next exchange, which is the one of this turn of the loop."""
        self._out += data
        self._ask_soon()

    def close(self) -> None:
        """Let the process hear that nothing follows."""
        self._closes = True
        self._ask_soon()

    # Exchanges.

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _ask_soon(self) -> None:
        if self.alive and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        if not (self.alive and self._is_due) or self._under_way >= MOST_UNDER_WAY:
            return  # the next one that is done asks
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
        number, outgoing = self._number, bytes(self._out)
        self._number += 1
        self._out.clear()
        self._under_way += 1
        self._run(self._exchange(self._actor, number, outgoing))

    async def _exchange(self, actor: Any, number: int, outgoing: bytes) -> None:
        within_s = WAIT_S if self._closes or self._expects() else 0.0
        try:
            asked = actor.exchange(number, outgoing, self._closes, within_s)
            told = _checked(await _answer(asked, within_s + LOST_S))
        except (OSError, RuntimeError):
            self._lose()
            return
        except Exception as error:  # noqa: BLE001  # whatever unpickling an answer raises
            self._lose(f"answers garbage: {shown(error)}")
            return
        self._under_way -= 1
        self._early[number] = told
        while self.alive and self._fetched in self._early:
            self._take(self._early.pop(self._fetched))
            self._fetched += 1
        if self._is_due:
            self._ask()
        elif self.alive and not self._under_way:
            if self._closes or self._expects():
                self._ask_soon()
            else:
                self._timer = self._loop.call_later(IDLE_S, self._ask_soon)

    def _take(self, told: Exchanged) -> None:
        if self._worker_cpu_before_s is None:
            self._worker_cpu_before_s = told.cpu_s
        self.worker_cpu_s = told.cpu_s - self._worker_cpu_before_s
        if told.incoming and self._channel is not None:
            try:
                self._channel.data_received(told.incoming)
            except Exception as error:  # noqa: BLE001  # as the transport of a socket does: it ends the channel
                channel, self._channel = self._channel, None
                channel.connection_lost(error)
        if told.outcome:
            self.last_line = told.last_line
            self._end(told.outcome)

    # Its end.

    def _worker_lost(self, worker: str) -> None:
        if worker == self.worker:
            self._lose()

    def _lose(self, why: str = "does not answer any more") -> None:
        if self.alive:
            self._cluster.lose(self.worker)
            self._run(_kill_late(self._actor))
        self._end(f"is lost: the worker {self.worker} {why}")

    def _end(self, outcome: str) -> None:
        if not self.alive:
            return
        self.alive = False
        for timer in (self._timer, self._clock_timer):
            if timer is not None:
                timer.cancel()
        self._cluster.on_loss.discard(self._worker_lost)
        self._ended.set()
        self._actor = None  # with which the worker lets it go
        channel, self._channel = self._channel, None
        self._on_exit(outcome)
        if channel is not None:
            channel.connection_lost(None)


def reports_s(workers: int) -> float:
    """Return how often each of so many workers is asked for a report: at the same moments for all of them."""
    return min(max(REPORTS_S, workers / MOST_REPORTS_PER_S), IDLE_REPORTS_S)


async def _answer(asked: Awaitable[Exchanged], within_s: float) -> Exchanged:
    """Return the answer; raise TimeoutError where there is none in time.

    Time for which this process was stopped is none in which an answer could have been heard.
    """
    answer = asyncio.ensure_future(asked)
    try:
        while not answer.done():
            due_s = perf_counter() + within_s
            await asyncio.wait([answer], timeout=within_s)
            if not answer.done() and perf_counter() < due_s + SLOW_S:
                raise TimeoutError
        return answer.result()
    finally:
        answer.cancel()


def _checked(told: Any) -> Exchanged:
    """Return what a worker has answered; raise TypeError or ValueError where no exchange says that."""
    if not isinstance(told, Exchanged):
        raise TypeError(type(told).__name__)
    for field, kind in (("incoming", bytes), ("outcome", str), ("last_line", str), ("cpu_s", float)):
        if not isinstance(value := getattr(told, field), kind):
            raise TypeError(f"{field} is of type {type(value).__name__}")
    if len(told.incoming) > MOST_INCOMING_BYTES:
        raise ValueError(f"{len(told.incoming):,} B at once")
    if not told.cpu_s >= 0:  # nan is no time, either
        raise ValueError(f"a processor time of {told.cpu_s:g} s")
    return told


async def _kill_late(actor: Any) -> None:
    """Let a worker that was only slow, stopped or cut off end what it goes on with, when it hears again."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(LEASE_S):
            await actor.kill()


class _Transport(asyncio.Transport):
    """What the channel writes to."""

    def __init__(self, process: WorkerProcess) -> None:
        super().__init__()
        self._process = process
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closing:
            self._process.say(bytes(data))

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._process.close()

    def abort(self) -> None:
        self._is_closing = True
        self._process.kill()
