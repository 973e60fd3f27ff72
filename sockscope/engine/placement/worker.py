"""What a child process runs: one role or several on a loop of its own, and answers to the engine.

Started as ``python -m sockscope.engine.placement.worker DESCRIPTOR NAME``; NAME is for those who list
processes. Standard input tells whether the engine's process lives: it holds the other end of the pipe and
never writes. When that process ends, however it ends, reading meets the end of the file, and this process
goes too, even while its loop is blocked. Terminals do not reach it: it is in a session of its own, and Ctrl+C
stops the engine, which stops its children in order.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from threading import Thread
from typing import Any

from sockscope.core.run.snapshot import Cursors, RoleSnapshot
from sockscope.core.run.tasks import TasksView
from sockscope.core.units import format_duration
from sockscope.engine.lens.lens import Lens
from sockscope.engine.limits import raise_descriptor_limit
from sockscope.engine.loops import attach, calm_allocator, calm_collector, run_on
from sockscope.engine.own_process import lent_process
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
    check_hello,
    framed,
    hello,
    receive,
    unpacked,
)
from sockscope.engine.process_tree import end_descendants
from sockscope.engine.role import ASKED, TOLD, Assignment, Role
from sockscope.engine.roles import ROLE_KINDS
from sockscope.engine.sampler import Sampler
from sockscope.engine.stops import STOPS, leave_stops_to_main
from sockscope.engine.unix_sockets import remove_socket_files
from sockscope.errors import EngineError, SockscopeError

EXHAUSTED_S = 0.01
"""How often a role with a budget of requests is asked whether that is spent."""


class Worker:
    """Answers the engine's messages with the roles of this process."""

    def __init__(self, setup: Setup) -> None:
        self._experiment = setup.experiment
        self._roles: dict[str, Role] = {name: ROLE_KINDS[name].make(setup.experiment) for name in setup.roles}
        self._waiting_to_start = set(setup.roles)
        self._generations: dict[str, int] = {}
        self._sampler = Sampler(idle_threads=1, machine=setup.machine)
        self._lens = Lens(self._sampler)
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_tasks: TasksView | None = None
        self._tells: Counter[str] = Counter()
        self._exhausted_timers: dict[str, asyncio.TimerHandle] = {}
        # Roles whose budget is looked at: when it is spent, the engine hears of it.
        self._budgeted: set[str] = set()
        self.channel = Channel(self._received, self._ended, greeted=True)
        self.gone = asyncio.Event()

    def begin(self) -> None:
        """Begin to measure, and to tell of exceptions that nobody waits for."""
        self._sampler.start()
        STOPS.listeners.add(self._continued)
        asyncio.get_running_loop().set_exception_handler(self._on_loop_exception)

    async def end(self) -> None:
        """Give up what is still under way."""
        self._sampler.stop()
        self._lens.look(False)
        for timer in self._exhausted_timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _continued(self, stopped_s: float) -> None:
        text = f"resumed after being stopped for {format_duration(stopped_s)}"
        self.channel.send(Trouble(text, fatal=False))

    def _ended(self, text: str) -> None:
        if text:
            print(text, file=sys.stderr)
        self.gone.set()

    def _received(self, message: Message) -> None:
        match message:
            case ReportRequest(cursors):
                self._make_report(chain.from_iterable(self._roles[name].ahead() for name in cursors), cursors)
            case Call(number=0):
                self._call(message)
            case Heartbeat(beating):
                (self._sampler.start if beating else self._sampler.stop)()
            case Look(on):
                self._lens.look(on)
            case Call():
                self._run(self._answer(message.number, self._called(message)))
            case CancelTask(number, task):
                self._run(self._answer(number, self._lens.cancel_task(task)))
            case _:
                raise EngineError(f"a child process has no use for a {type(message).__name__}")

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _make_report(self, ahead: Iterator[Callable[[], None]], cursors: Mapping[str, Cursors]) -> None:
        """Make a report in several turns of the loop: each part of it takes half a millisecond or more.

        Not in a task: the user's own code may cancel all there are.
        """
        soon = asyncio.get_running_loop().call_soon
        if (part := next(ahead, None)) is not None:
            part()
            soon(self._make_report, ahead, cursors)
        else:
            soon(self._report, {name: self._roles[name].snapshot(seen) for name, seen in cursors.items()})

    def _report(self, roles: dict[str, RoleSnapshot]) -> None:
        lens = self._lens.view()
        if lens is not None and lens.tasks is self._told_tasks:
            lens = replace(lens, tasks=None)
        elif lens is not None:
            self._told_tasks = lens.tasks
        generation = min(self._generations.values(), default=0)
        self.channel.send_soon(Report(roles, self._sampler.sample(), lens, generation))

    def _call(self, call: Call) -> None:
        if call.method not in TOLD or call.role not in self._roles:
            raise EngineError(_impossible(call))
        getattr(self._roles[call.role], call.method)(*call.arguments)
        self._tells[call.role] += 1
        if call.role in self._budgeted:
            self._look_whether_exhausted(call.role)

    async def _answer(self, number: int, work: Coroutine[Any, Any, Any]) -> None:
        try:
            value = await work
        except SockscopeError as error:
            self.channel.send(Answer(number, error=error))
        except Exception as error:  # noqa: BLE001  # the boundary of the process: it is the engine's to judge
            self.channel.send(Answer(number, error=EngineError(f"internal error: {error!r}")))
        else:
            self.channel.send(Answer(number, value))

    async def _called(self, call: Call) -> Any:
        if call.method not in ASKED or call.role not in self._roles:
            raise EngineError(_impossible(call))
        if call.method == Role.start.__name__ and self._waiting_to_start == {call.role}:
            # It takes 20 ms, by which whatever is due from the start of the role on would be late.
            calm_collector()
        value = await getattr(self._roles[call.role], call.method)(*call.arguments)
        if call.method in (Role.start.__name__, Role.apply.__name__):
            assignment: Assignment = call.arguments[0]
            self._generations[call.role] = assignment.generation
        if call.method == Role.start.__name__:
            self._started(call.role)
        return value

    def _started(self, name: str) -> None:
        self._waiting_to_start.discard(name)
        if not self._waiting_to_start:
            gc.freeze()  # the clients, too
        if ROLE_KINDS[name].generates and self._experiment.requests:
            self._budgeted.add(name)
            self._look_whether_exhausted(name)

    def _look_whether_exhausted(self, name: str) -> None:
        """Tell when a role has spent its budget, and once more whenever it may have got another."""
        if (timer := self._exhausted_timers.get(name)) is not None:
            timer.cancel()
        if self._roles[name].exhausted:
            self.channel.send(Exhausted(name, self._tells[name]))
        else:
            self._exhausted_timers[name] = asyncio.get_running_loop().call_later(
                EXHAUSTED_S, self._look_whether_exhausted, name
            )

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or isinstance(error, OSError):
            self.channel.send(Trouble(f"{context.get('message', '')}: {error}", fatal=False))
        else:
            self.channel.send(Trouble(f"internal error: {error!r}", fatal=True))


def _impossible(call: Call) -> str:
    return f"a child process cannot {call.method} for {call.role}"


async def serve(sock: socket.socket, setup: Setup) -> None:
    """Answer the engine until it closes the channel."""
    worker = Worker(setup)
    worker.begin()
    await attach(sock, worker.channel)
    await worker.gone.wait()
    await worker.end()


def main(descriptor: int) -> None:
    """Host the roles that the first message names, until the engine closes the channel."""
    Thread(target=_end_with_the_engine, daemon=True).start()
    # The engine ends it; the user's own code may raise KeyboardInterrupt by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCONT, STOPS.continued)
    if sys.platform == "linux":
        # For a child that lets no thread run: it is stopped, or in a call that keeps the interpreter's lock.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    with socket.socket(fileno=descriptor) as sock:
        sock.sendall(framed(hello()))
        check_hello(receive(sock))
        setup = unpacked(receive(sock))
        if not isinstance(setup, Setup):
            raise EngineError(f"a child process begins with a Setup, not with a {type(setup).__name__}")
        if setup.path:
            sys.path[:] = setup.path
        raise_descriptor_limit()
        if setup.experiment.allocator == "calm":
            calm_allocator()
        sock.setblocking(False)
        with lent_process({signal.SIGINT, signal.SIGCONT}):
            run_on(setup.experiment.loop, serve(sock, setup))
        end_descendants()


_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends to a process whose parent has ended."""


def _end_with_the_engine() -> None:
    leave_stops_to_main()
    while os.read(0, 1):
        pass
    remove_socket_files()
    end_descendants()
    os._exit(1)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except SockscopeError as fault:
        sys.exit(str(fault))
