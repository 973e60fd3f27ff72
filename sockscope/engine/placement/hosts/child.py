"""The engine's end of a child process: asking its roles, hearing from them, and telling of its end."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

from sockscope.core import units
from sockscope.core.config.experiment import Experiment
from sockscope.core.run.lens import Hold
from sockscope.core.run.snapshot import STOPPED, Cursors, ProcessUse
from sockscope.core.run.tasks import Cancelled
from sockscope.engine.placement.channel import (
    Answer,
    Call,
    CancelTask,
    Channel,
    Exhausted,
    Heartbeat,
    Look,
    Message,
    Report,
    ReportRequest,
    Setup,
    Trouble,
)
from sockscope.engine.placement.clock import holds_later
from sockscope.engine.placement.hosts.carrier import IDLE_REPORTS_S, CarrierFactory
from sockscope.engine.placement.hosts.child_process import ChildProcess
from sockscope.engine.placement.hosts.host import (
    ANSWER_S,
    RUNNING,
    SILENT_S,
    DeathHandler,
    ReportHandler,
    TroubleHandler,
)
from sockscope.engine.role import Role
from sockscope.engine.roles import title_of
from sockscope.errors import EngineError

READER_S = 0.3
"""How long after a reading the next one is expected."""
OFTEN_S = 0.7
"""Who reads less often has no use for reports in between; a screen on a busy machine reads this often."""
AWAITED_S = 1.2
"""Who waits for a report as often as this needs no others."""
AWAITED_RATIO = 1.2
"""So many times as long as between two such reports the next one is expected."""
EARLY_S = 0.002
"""A timer may be so much early: they lie on a grid of a millisecond."""
TOGETHER_S = 0.05
"""Readings within so short a time are one look."""
END_S = 2.0
"""How long a child may take to end when nothing is left for it to do; then it is killed."""


class ChildHost:
    """Hosts roles in a process of its own: a child of this one, unless another ``carrier`` is given.

    ``at`` is the address of the other machine that it is on, if it is on one, and ``cores_of`` of the one
    whose cores it has.
    """

    def __init__(
        self,
        experiment: Experiment,
        roles: tuple[str, ...],
        index: int,
        on_trouble: TroubleHandler,
        on_death: DeathHandler,
        carrier: CarrierFactory = ChildProcess,
        at: str = "",
        cores_of: str = "",
    ) -> None:
        self._roles = roles
        self.machine = at
        self._cores_of = cores_of
        self.name = title_of(roles, index) + (f" at {at}" if at else "")
        self._experiment = experiment
        self._on_trouble = on_trouble
        self._on_death = on_death
        self._loop = asyncio.get_running_loop()
        self._process = carrier(self.name, experiment.allocator, self._exited, self._expects)
        self._channel = Channel(self._received, self._channel_ended)
        self._kill_timer: asyncio.TimerHandle | None = None
        self._state = "starting"
        self._broken = ""
        self._ending = False
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next_number = 1
        self._tells: Counter[str] = Counter()
        self._exhausted: set[str] = set()
        self._attended: dict[str, tuple[Callable[[], Cursors], ReportHandler]] = {}
        self._asked: dict[str, Cursors] = {}
        self._fresh: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._report: Report | None = None
        # Holds of its loop on our clock, by when they began on its own.
        self._holds: dict[float, Hold] = {}
        self._heard_s = perf_counter()
        self._asked_s = -math.inf
        # When somebody has read, and has waited for a report, and how long after the time before.
        self._read_s = self._awaited_s = -math.inf
        self._read_every_s = self._awaited_every_s = math.inf
        self._resting = False

    # Life.

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.alive

    @property
    def clock_offset_s(self) -> float:
        """Seconds to add to a time there to get one of ours."""
        return self._process.clock_offset_s

    @property
    def clock_error_s(self) -> float:
        """How far that may be off."""
        return self._process.clock_error_s

    @property
    def outcome(self) -> str:
        """What became of the process, in a sentence with the last line of its standard error."""
        line = self._process.last_line
        return f"{self.name} process {self._process.pid} {self._state}" + (f": {line}" if line else "")

    async def start(self) -> None:
        """Start the process; its first answer is not waited for here."""
        await self._process.start(self._channel)
        self._channel.send(Setup(self._experiment, self._roles, self._process.path, bool(self.machine)))

    def local(self, role: str) -> Role | None:
        """Return None: it runs elsewhere."""
        return None

    async def release(self, role: str) -> None:
        """One of the roles has ended; with the last one the process ends."""
        self._attended.pop(role, None)
        if not self._attended:
            await self.end()

    async def end(self) -> None:
        """Let the process end; kill it when it does not."""
        self._ending = True
        self._stop_polling()
        self._channel.close()
        try:
            await self._process.wait(END_S)
        finally:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def _exited(self, how: str) -> None:
        """Fail the calls that still wait; report the end if it was not asked for."""
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        self._stop_polling()
        expected = self._ending and not self._broken
        self._state = "ended" if expected else self._broken or how
        error = EngineError(self.outcome)
        for waiting in [*self._waiting.values(), *([self._fresh] if self._fresh else [])]:
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()
        self._waiting.clear()
        self._channel.close()
        if not expected:
            self._on_death(self, self.outcome)

    def _channel_ended(self, text: str) -> None:
        """The channel is closed: the process has ended, or is killed because it broke the protocol."""
        if text:
            self._broken = f"was ended: {text}"
            self.kill()
        elif self.alive and not self._ending:
            # The process is ending and may still have something to report; it gets END_S for that.
            self._kill_timer = self._loop.call_later(END_S, self.kill)

    # Asking.

    async def ask(self, role: str, method: str, *arguments: Any, within_s: float = ANSWER_S) -> Any:
        """Call a method of a role and return what it returned."""
        return await self._request(lambda number: Call(number, role, method, arguments), within_s)

    async def cancel_task(self, task: int) -> Cancelled:
        """Cancel a task of own code there and return what became of it."""
        outcome: Cancelled = await self._request(lambda number: CancelTask(number, task), ANSWER_S)
        return outcome

    async def _request(self, message: Callable[[int], Message], within_s: float) -> Any:
        """Send the message with a number of its own, and return the answer to it."""
        if not self.alive:
            raise EngineError(self.outcome)
        number = self._next_number
        self._next_number += 1
        answer = self._waiting[number] = self._loop.create_future()
        try:
            self._channel.send(message(number))
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            waited = units.format_duration(within_s)
            raise EngineError(
                f"{self.name} process {self._process.pid} has not answered for {waited}"
            ) from None
        finally:
            self._waiting.pop(number, None)

    def _expects(self) -> bool:
        """Tell whether an answer or a report is awaited."""
        return self._fresh is not None or any(not answer.done() for answer in self._waiting.values())

    def tell(self, role: str, method: str, *arguments: Any) -> None:
        """Call a method of a role that returns nothing.

        It may give the role a new budget: whether that is spent is known when the child has said so since.
        """
        if self.alive:
            self._tells[role] += 1
            self._exhausted.discard(role)
            self._channel.send(Call(0, role, method, arguments))

    def exhausted(self, role: str) -> bool:
        """Tell whether the role has said that its budget is spent."""
        return role in self._exhausted

    def rest(self, resting: bool) -> None:
        """Ask for no reports while nobody looks, or ask for them again; :meth:`refresh` still does."""
        if resting == self._resting or not self.alive:
            return
        self._resting = resting
        if resting:
            self._stop_polling()
        else:
            self._heard_s = perf_counter()
            self._poll()

    def beat(self, beating: bool) -> None:
        """Let the process measure how late its loop is, or do without."""
        if self.alive:
            self._channel.send(Heartbeat(beating))

    def look(self, lens: bool) -> None:
        """Switch the lens on the loop of the process on or off."""
        if self.alive:
            self._channel.send(Look(lens))

    # Reports.

    def attend(self, role: str, cursors_of: Callable[[], Cursors], on_report: ReportHandler) -> None:
        """Ask for reports of ``role`` from now on."""
        self._attended[role] = (cursors_of, on_report)
        if self._timer is None:
            self._poll()

    async def refresh(self) -> None:
        """Wait for a report of this moment; give up after ``SILENT_S``, or when the process ends."""
        if not self.alive or not self._attended:
            return
        now = perf_counter()
        self._awaited_every_s, self._awaited_s = now - self._awaited_s, now
        if self._fresh is not None:
            # One that was asked for earlier is of an earlier moment.
            await asyncio.wait([self._fresh], timeout=SILENT_S)
        if self.alive and self._fresh is None:
            self._request_report()
        if self._fresh is not None:
            left_s = self._asked_s + SILENT_S + EARLY_S - perf_counter()
            await asyncio.wait([self._fresh], timeout=max(0.0, left_s))

    def _poll(self) -> None:
        """Ask for a report at the next step of a grid, which is the same for all children."""
        now = perf_counter()
        is_read = self._is_read(now)
        every_s = self._process.reports_s if is_read else IDLE_REPORTS_S
        is_wanted = is_read or not self._is_awaited(now)
        if is_wanted and self.alive and self._fresh is None and self._attended:
            self._request_report()
        self._timer = self._loop.call_later(every_s - now % every_s, self._poll)

    def _is_read(self, now_s: float) -> bool:
        return now_s - self._read_s <= READER_S and self._read_every_s <= OFTEN_S

    def _is_awaited(self, now_s: float) -> bool:
        every_s = self._awaited_every_s
        return every_s <= AWAITED_S and now_s - self._awaited_s <= AWAITED_RATIO * every_s

    def note_reader(self) -> None:
        """Ask for reports more often for a while, if somebody reads as often.

        Who reads once a second has no use for it, and waits for a report of that moment: each holds up the
        roles for a millisecond or two.
        """
        now = perf_counter()
        if now - self._read_s < TOGETHER_S:
            return
        was_read = self._is_read(now)
        self._read_every_s, self._read_s = now - self._read_s, now
        if not was_read and self._is_read(now) and self._timer is not None:
            self._stop_polling()
            self._poll()

    def _stop_polling(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _request_report(self) -> None:
        self._fresh = self._loop.create_future()
        self._asked_s = perf_counter()
        self._asked = {role: cursors_of() for role, (cursors_of, _) in self._attended.items()}
        self._channel.send(ReportRequest(self._asked))

    # Hearing.

    def _received(self, message: Message) -> None:
        self._heard_s = perf_counter()
        self._state = RUNNING
        match message:
            case Report():
                self._take(message)
            case Answer():
                self._answered(message)
            case Exhausted(role, tells):
                # What was told meanwhile may have been a new budget.
                if tells == self._tells[role]:
                    self._exhausted.add(role)
            case Trouble():
                self._on_trouble(message.text, message.fatal)
            case _:
                raise EngineError(f"garbage from a child process: {type(message).__name__}")

    def _answered(self, message: Answer) -> None:
        answer = self._waiting.get(message.number)
        if answer is None or answer.done():
            return
        if message.error is not None:
            answer.set_exception(message.error)
        else:
            answer.set_result(message.value)

    def _take(self, report: Report) -> None:
        self._report = self._with_lens(report)
        fresh, self._fresh = self._fresh, None
        for role, snapshot in report.roles.items():
            if role in self._attended:
                self._attended[role][1](self._asked[role], snapshot)
        if fresh is not None and not fresh.done():
            fresh.set_result(None)

    def _with_lens(self, report: Report) -> Report:
        """Return a report whose lens has times on our clock, and the tasks of the one before if unchanged."""
        if report.lens is None:
            return report
        lens, by_s = report.lens, self.clock_offset_s
        if by_s:
            self._holds = holds_later(lens.holds, by_s, self._holds)
            tasks = lens.tasks and replace(lens.tasks, time_s=lens.tasks.time_s + by_s)
            lens = replace(lens, holds=tuple(self._holds.values()), tasks=tasks)
        before = self._report.lens if self._report is not None else None
        if before is not None and lens.is_on and lens.tasks is None:
            lens = replace(lens, tasks=before.tasks)
        return replace(report, lens=lens)

    def _silent_s(self) -> float:
        """Return for how long an answer is overdue; who has not been asked is not silent."""
        if not self.alive or self._resting or self._fresh is None:
            return 0.0
        return perf_counter() - max(self._heard_s, self._asked_s)

    def use(self) -> ProcessUse | None:
        """Return what the process uses, or None before its first report."""
        if self._report is None:
            return None
        silent_s = self._silent_s()
        state = self._state
        if self.alive and silent_s >= SILENT_S and self._process.stopped:
            state = STOPPED
        elif self.alive and silent_s >= SILENT_S:
            state = f"no answer for {units.format_duration(silent_s)}"
        return ProcessUse(
            name=self.name,
            pid=self._process.pid,
            roles=self._roles,
            resources=self._report.resources,
            loop_name=self._experiment.loop,
            environment=self._process.environment,
            state=state,
            alive=self.alive or self._state == "ended",
            silent_s=silent_s,
            clock_offset_s=self.clock_offset_s,
            clock_error_s=self.clock_error_s,
            lens=self._report.lens,
            generation=self._report.generation,
            machine=self.machine,
            cores_of=self._cores_of,
            worker=self._process.worker,
            worker_cpu_s=self._process.worker_cpu_s,
        )
