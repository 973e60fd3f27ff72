"""The engine's end of a child process: starting it, asking it, hearing from it, and seeing it end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import sockscope
from sockscope.core import units
from sockscope.core.config.experiment import Experiment
from sockscope.core.run.snapshot import Cursors, ProcessUse, RoleSnapshot
from sockscope.engine.loops import attach
from sockscope.engine.placement.channel import (
    Answer,
    Call,
    Channel,
    Exhausted,
    Message,
    Report,
    ReportWanted,
    Rest,
    Setup,
    Trouble,
)
from sockscope.engine.placement.layout import title_of
from sockscope.errors import EngineError

REPORTS_S = 0.1
"""How often a child is asked for a report while somebody reads what it tells."""
LEISURE_S = 0.5
"""The same while nobody does: both ends have the cores for their work then."""
READER_S = 0.3
"""How long after a reading the next one is expected."""
SILENT_S = 1.0
"""A child that has not answered for so long is said to be silent: something holds up its loop."""
START_S = 20.0
"""How long a child may take until its first answer."""
ANSWER_S = 5.0
"""How long it may take for any other answer that the run depends on."""
END_S = 2.0
"""How long a child may take to end when nothing is left for it to do; then it is killed."""
COMPLAINT_BYTES = 4_096
"""What is kept of the last that a child wrote to its standard error."""
TUNED = {
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(1 << 20),
}
"""What ``allocator = tuned`` sets (mallopt(3)): reads of 256 KiB stay on the heap, and the heap stays."""
_STATED = (*TUNED, "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "PYTHONMALLOC")


def stated_environment(allocator: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what decides how a process allocates memory: our choice, and the variables that are set."""
    return {"allocator": allocator, **{name: environ[name] for name in _STATED if name in environ}}


Taker = Callable[[Cursors, RoleSnapshot], None]
"""Gets what a report tells of a role, and what it was asked to tell."""


class ChildProcess:
    """One child and the roles that are played in it.

    ``cursors_of`` is asked for each role what its next report is to tell, ``on_report`` gets what came.
    ``on_trouble(text, fatal)`` is told of what nobody asked for, and ``on_death(process)`` when the process
    ended although it should not have.
    """

    def __init__(self, experiment: Experiment, roles: tuple[str, ...], index: int = 0) -> None:
        self.roles = roles
        self.name = title_of(roles, index)
        self.pid = 0
        self.alive = False
        self.exhausted = False
        self._refills = 0
        self._resting = False
        self.leaving = False
        self.on_trouble: Callable[[str, bool], None] = lambda text, fatal: None
        self.on_death: Callable[[ChildProcess], None] = lambda process: None
        self._seats: dict[str, tuple[Callable[[], Cursors], Taker]] = {}
        self._asked: dict[str, Cursors] = {}
        self._loop = asyncio.get_running_loop()
        self._experiment = experiment
        self._environment = dict(os.environ)
        if experiment.allocator == "tuned":
            self._environment |= TUNED
        self._process: asyncio.subprocess.Process | None = None
        self._channel = Channel(self._received, self._channel_ended)
        self._lifeline = -1
        self._complaint_fd = -1
        self._complaint = b""
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next_number = 1
        self._fresh: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._last_call: asyncio.TimerHandle | None = None
        self._report: Report | None = None
        self._heard_s = self._read_s = perf_counter()
        self._broken = ""
        self._ending = False
        self.state = "starting"

    # Life.

    async def start(self) -> None:
        """Start the process; raise EngineError when that is not possible. It is not waited for here."""
        try:
            ours = await self._spawn()
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise EngineError(f"cannot start a child process: {error.strerror}") from error
            raise
        self.alive = True
        os.set_blocking(self._complaint_fd, False)
        self._loop.add_reader(self._complaint_fd, self._read_complaint)
        self._watcher = self._loop.create_task(self._watch())
        ours.setblocking(False)
        await attach(ours, self._channel)
        self._channel.send(Setup(self._experiment, self.roles, tuple(sys.path)))

    async def _spawn(self) -> socket.socket:
        """Start the process and return our end of the pair; raises OSError."""
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as unless_started:
            ours, given = socket.socketpair()
            unless_started.callback(ours.close)
            theirs.callback(given.close)
            lifeline, self._lifeline = os.pipe()
            theirs.callback(os.close, lifeline)
            self._complaint_fd, complaints = os.pipe()
            theirs.callback(os.close, complaints)
            self._process = await asyncio.create_subprocess_exec(
                *_command(given.fileno(), self.name),
                stdin=lifeline,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=(given.fileno(),),
                env=self._environment,
                start_new_session=True,
            )
            self.pid = self._process.pid
            unless_started.pop_all()
            return ours

    def attend(self, role: str, cursors_of: Callable[[], Cursors], on_report: Taker) -> None:
        """Ask for reports of ``role`` from now on."""
        self._seats[role] = (cursors_of, on_report)
        if self._timer is None:
            self._poll()

    async def release(self, role: str) -> None:
        """One of the roles has ended; with the last one the process ends."""
        self._seats.pop(role, None)
        if not self._seats:
            await self.end()

    async def end(self) -> None:
        """Let the process end; kill it when it does not."""
        self._ending = True
        self._stop_polling()
        self._channel.close()
        try:
            if self._watcher is not None:
                await asyncio.wait([self._watcher], timeout=END_S)
        finally:
            self.kill()
            if self._watcher is not None:
                await asyncio.wait([self._watcher])
            self._close()

    def kill(self) -> None:
        """End the process at once."""
        if self.alive:
            # Not by way of the Process object: it looks whether the process has ended, and its code would
            # be lost to whoever waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        """Wait for the end of the process, and tell of it when it should not have ended."""
        assert self._process is not None
        code = await self._process.wait()
        self._read_complaint()
        self.alive = False
        if self._last_call is not None:
            self._last_call.cancel()
        self._stop_polling()
        expected = self._ending and not self._broken
        self.state = "ended" if expected else self._broken or _how_it_ended(code)
        error = EngineError(self.told)
        for waiting in [*self._waiting.values(), *([self._fresh] if self._fresh else [])]:
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()
        self._waiting.clear()
        self._close()
        if not expected:
            self.on_death(self)

    def _close(self) -> None:
        if self._complaint_fd >= 0:
            self._loop.remove_reader(self._complaint_fd)
            os.close(self._complaint_fd)
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._complaint_fd = self._lifeline = -1
        self._channel.close()

    def _read_complaint(self) -> None:
        if self._complaint_fd < 0:
            return
        try:
            while part := os.read(self._complaint_fd, 65_536):
                self._complaint = (self._complaint + part)[-COMPLAINT_BYTES:]
        except BlockingIOError:
            return
        self._loop.remove_reader(self._complaint_fd)

    @property
    def told(self) -> str:
        """What became of the process, in a sentence with its last words."""
        words = self._complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        said = f": {words[:200]}" if words else ""
        return f"{self.name} process {self.pid} {self.state}{said}"

    # Asking.

    async def ask(self, role: str, method: str, *arguments: Any, within_s: float = ANSWER_S) -> Any:
        """Call a method of a role and return its answer.

        Raises what the method raised, and EngineError when no answer came or comes any more.
        """
        if not self.alive:
            raise EngineError(self.told)
        number = self._next_number
        self._next_number += 1
        answer = self._waiting[number] = self._loop.create_future()
        try:
            self._channel.send(Call(number, role, method, arguments))
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            waited = units.format_duration(within_s)
            raise EngineError(f"{self.name} process {self.pid} has not answered for {waited}") from None
        finally:
            self._waiting.pop(number, None)

    def tell(self, role: str, method: str, *arguments: Any) -> None:
        """Call a method of a role that returns nothing."""
        if self.alive:
            self._channel.send(Call(0, role, method, arguments))

    def refill(self, role: str, requests: int) -> None:
        """Let a swarm make so many more requests; it is exhausted when it has told so of this budget."""
        self._refills += 1
        self.exhausted = False
        self.tell(role, "refill", requests)

    def rest(self, resting: bool) -> None:
        """Ask for no reports while nobody looks, or ask for them again; :meth:`refresh` still does."""
        if resting == self._resting or not self.alive:
            return
        self._resting = resting
        self._channel.send(Rest(resting))
        if resting:
            self._stop_polling()
        else:
            self._heard_s = perf_counter()
            self._poll()

    async def refresh(self, within_s: float = SILENT_S) -> None:
        """Return when a report of this moment has come; without one after ``within_s``, or ever."""
        if not self.alive or not self._seats:
            return
        if self._fresh is not None:
            # One that was asked for earlier is of an earlier moment.
            await asyncio.wait([self._fresh], timeout=within_s)
        if self.alive and self._fresh is None:
            self._want_report()
        if self._fresh is not None:
            await asyncio.wait([self._fresh], timeout=within_s)

    def _poll(self) -> None:
        """Ask for a report at the next step of a grid, which is the same for all children."""
        if self.alive and self._fresh is None and self._seats:
            self._want_report()
        now = perf_counter()
        every_s = REPORTS_S if self._is_read(now) else LEISURE_S
        self._timer = self._loop.call_later(every_s - now % every_s, self._poll)

    def _is_read(self, now_s: float) -> bool:
        return now_s - self._read_s <= READER_S

    def note_reader(self) -> None:
        """Somebody has read what it told: ask more often for a while, from now on."""
        now = perf_counter()
        was_read, self._read_s = self._is_read(now), now
        if not was_read and self._timer is not None:
            self._stop_polling()
            self._poll()

    def _stop_polling(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _want_report(self) -> None:
        self._fresh = self._loop.create_future()
        self._asked = {role: cursors_of() for role, (cursors_of, _) in self._seats.items()}
        self._channel.send(ReportWanted(self._asked))

    # Hearing.

    def _received(self, message: Message) -> None:
        self._heard_s = perf_counter()
        self.state = "running"
        match message:
            case Report():
                self._take(message)
            case Answer():
                answer = self._waiting.get(message.number)
                if answer is None or answer.done():
                    return
                if message.error is not None:
                    answer.set_exception(message.error)
                else:
                    answer.set_result(message.value)
            case Exhausted(refills):
                # One of an earlier budget may cross a new one on its way.
                self.exhausted = refills == self._refills
            case Trouble():
                self.on_trouble(message.text, message.fatal)
            case _:
                raise EngineError(f"garbage from a child process: {type(message).__name__}")

    def _take(self, report: Report) -> None:
        self._report = report
        fresh, self._fresh = self._fresh, None
        for role, snapshot in report.roles.items():
            if role in self._seats:
                self._seats[role][1](self._asked[role], snapshot)
        if fresh is not None and not fresh.done():
            fresh.set_result(None)

    def _channel_ended(self, text: str) -> None:
        """The channel is gone: so is the process, or it cannot be talked to any more."""
        if text:
            self._broken = f"was ended: {text}"
            self.kill()
        elif self.alive and not self._ending:
            # It is on its way out, and may have something to say; but not for ever.
            self._last_call = self._loop.call_later(END_S, self.kill)

    def use(self) -> ProcessUse | None:
        """Return what the process uses, or None before its first report."""
        if self._report is None:
            return None
        silent_s = perf_counter() - self._heard_s if self.alive and not self._resting else 0.0
        state = self.state
        if self.alive and silent_s >= SILENT_S:
            state = f"no answer for {units.format_duration(silent_s)}"
        elif self.alive and self.leaving:
            state = "leaving"
        return ProcessUse(
            name=self.name,
            pid=self.pid,
            roles=self.roles,
            resources=self._report.resources,
            loop_name=self._experiment.loop,
            environment=stated_environment(self._experiment.allocator, self._environment),
            state=state,
            alive=self.alive or self.state == "ended",
            silent_s=silent_s,
        )


def _command(descriptor: int, name: str) -> list[str]:
    # Found without the current directory in the path, where any file could hide a module of the library;
    # unless it is from there that this package itself was imported.
    root = Path(sockscope.__file__).parents[1]
    safe = [] if root == Path.cwd() else ["-P"]
    return [sys.executable, *safe, "-m", "sockscope.engine.placement.child", str(descriptor), name]


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"
