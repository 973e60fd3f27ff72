"""The control surface: everything that a face, a script or a test can do with a run."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from sockscope.core.addresses import Address, format_address
from sockscope.core.config.applicability import refuse_vain_changes
from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.experiment import LOOPBACK, READY, Experiment
from sockscope.core.config.tls import Certificate
from sockscope.core.config.tuning import Tuning, describe_change
from sockscope.core.events import EventKind
from sockscope.core.roles import RELAY, ROLE_NAMES, SERVER, SWARM
from sockscope.core.run.adding import difference
from sockscope.core.run.datagrams import flows
from sockscope.core.run.figures import Figures, figures
from sockscope.core.run.snapshot import (
    MAIN,
    Capture,
    Cursors,
    ProcessKey,
    ProcessUse,
    Resources,
    RoleSnapshot,
    RunState,
    Snapshot,
)
from sockscope.core.run.tasks import Cancelled
from sockscope.core.run.window import window
from sockscope.core.units import format_duration
from sockscope.engine.addresses import check_reach
from sockscope.engine.lens.hold_log import HoldLog
from sockscope.engine.lens.lens import Lens
from sockscope.engine.limits import check_descriptors, raise_descriptor_limit
from sockscope.engine.loops import calm_allocator, loop_name
from sockscope.engine.own_revisions import check_out, remove
from sockscope.engine.patience import Patience
from sockscope.engine.placement.hosts.child_process import stated_environment
from sockscope.engine.placement.placed_role import NOTHING
from sockscope.engine.placement.placement import Placement
from sockscope.engine.redivision import Redivision
from sockscope.engine.run_clock import RunClock
from sockscope.engine.run_log import RunLog
from sockscope.engine.sampler import Sampler
from sockscope.engine.servers.registry import LACKING
from sockscope.engine.stops import IDLE_STEP_S, STOPS
from sockscope.engine.target import TargetProcess
from sockscope.engine.tls.contexts import check_files
from sockscope.errors import EngineError, SockscopeError, StateError

CANCELLED = "its tasks were cancelled by own code"
"""Why a run has failed whose tasks were cancelled although nobody had asked for its end."""
_LIVE = (RunState.RUNNING, RunState.PAUSED)
_WATCH_S = 0.02
"""How often the end of a number of requests, and of a warm-up, is looked for."""
_WATCH_RATIO = 0.02
"""Share of the time that looking whether every client is connected takes at most."""
STALL_MISSES_S = 0.01
"""By so much a planned stall may come too early, or too late after a pause."""
NO_SERVER = "the server cannot be stalled: its process has ended"
READY_PATIENCE_S = 5.0
"""How long a warm-up that ends when every client is connected waits for the next one to be."""


class Engine:
    """One run of an experiment on the running event loop.

    ::

        engine = Engine(Experiment(tuning=Tuning(clients=50)))
        await engine.start()
        await engine.apply(replace(engine.tuning, permits=10))
        print(engine.figures())
        await engine.stop()

    or ``async with Engine(...) as engine:``. All times are seconds on ``time.perf_counter``. It is a
    :class:`~sockscope.core.run.source.RunSource` that is always live.
    ``certificate`` is what clients of a server of another run are to trust, as that one has it.
    """

    is_live = True
    lacking = LACKING

    def __init__(self, experiment: Experiment, certificate: Certificate | None = None) -> None:
        self.experiment = experiment.settled()
        self.tuning = self.experiment.tuning
        self.generation = 0
        self.state = RunState.IDLE
        self.error = ""
        self._applying = asyncio.Lock()
        self._redivision = Redivision(
            self._applying, lambda: self.state in _LIVE, self._divide, self._refuse, self.fail
        )
        self._placement = Placement(
            self.experiment, self._on_trouble, certificate, self._redivision.lose, self._redivision.join
        )
        self._checkout = ""
        self._sampler: Sampler | None = None
        self._lens: Lens | None = None
        self._hold_log = HoldLog(self._note_hold, self._placement.count_held_up)
        self._target: TargetProcess | None = None
        self._log = RunLog()
        self.closing_s = 0.0
        """How long :meth:`stop` took."""
        self._finished = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._clock = RunClock(experiment.duration_s, perf_counter())
        self._baseline: Snapshot | None = None
        self._warming_up = False
        self._patience = Patience(experiment)
        self._resting = False
        self._stalled_until_s = self._stalled_s = 0.0
        self._stall_timer: asyncio.TimerHandle | None = None
        self._loop_name = ""
        self._outer_exception_handler: (
            Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
        ) = None

    async def __aenter__(self) -> Engine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # Control.

    async def start(self) -> None:
        """Check the limits, listen, and start the clients.

        Raises ConfigError, ResourceLimitError or ListenError; nothing is left behind then.
        """
        if self.state is not RunState.IDLE:
            raise StateError(self.state.value, "start")
        self.experiment.validated()
        check_reach(self.experiment)
        check_files(self.experiment)
        if self.experiment.role == "swarm" and self.experiment.pid:
            self._target = TargetProcess(self.experiment.pid)
        raise_descriptor_limit()
        check_descriptors(self.experiment, self.tuning)
        if self.experiment.allocator == "calm":
            calm_allocator()
        loop = asyncio.get_running_loop()
        self._loop_name = loop_name(loop)
        self._outer_exception_handler = loop.get_exception_handler()
        loop.set_exception_handler(self._on_loop_exception)
        self.state = RunState.STARTING
        self._sampler = Sampler()
        self._lens = Lens(self._sampler)
        self._look(self.tuning.lens)
        try:
            await self._check_out()
            await self._placement.start(self.tuning, self._listen_address(self.tuning))
        except BaseException as error:
            self.state = RunState.FAILED
            self.error = str(error)
            self._stop_measuring()
            raise
        self._sampler.start()
        STOPS.listeners.add(self._skip)
        self._clock.started_s = self._placement.began_s
        # What the processes used to get ready is no figure of the run; what the roles have done since is.
        # So is what the kernel has counted: clients in another process may have begun by now.
        ready = self._take(NOTHING)
        resources = replace(ready.resources, kernel_udp=None, kernel_tcp=None)
        self._baseline = replace(ready, time_s=self._clock.started_s, roles={}, resources=resources)
        self._warming_up = self.experiment.warmup_s != 0
        self.state = RunState.RUNNING
        self._note(
            EventKind.RUN,
            f"started: {self.tuning.carrier} {format_address(self._placement.address)}",
        )
        self._note_clocks()
        self._watcher = loop.create_task(self._watch())
        self._redivision.begin()

    def _note_clocks(self) -> None:
        """Write into the log how well the clocks of other machines are known."""
        for use in self._placement.processes():
            if use.clock_error_s:
                off, error = format_duration(abs(use.clock_offset_s)), format_duration(use.clock_error_s)
                sign = "behind" if use.clock_offset_s > 0 else "ahead"
                self._note(EventKind.RUN, f"the clock of {use.name} is {off} {sign} of ours, ±{error}")

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop the traffic, let what is in flight finish for at most ``grace_s``, close everything."""
        if self.state is RunState.IDLE or self._clock.ended_s is not None:
            return
        self._clock.ended_s = ended_s = perf_counter()
        if self.state is not RunState.FAILED:
            self.state = RunState.STOPPING
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        if undivided := self._placement.undivided:
            lost = " and of ".join(undivided)
            self._note(EventKind.ERROR, f"the run ends before the part of {lost} is divided anew")
        await self._redivision.end()
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        async with self._applying:
            await self._placement.stop(grace_s)
        self._stop_measuring()
        # What goes wrong in the end is a failure, too.
        if self.state is RunState.STOPPING:
            self.state = RunState.STOPPED
        self.closing_s = perf_counter() - ended_s
        self._note(EventKind.RUN, "stopped")
        self._finished.set()

    async def _check_out(self) -> None:
        """Have the files of the revision that own code is of, where it is of one."""
        key, reference = self.experiment.own_key, self.experiment.own_server
        if reference:
            self._checkout = await asyncio.to_thread(check_out, key, reference)
            self._placement.place_code(self._checkout)

    def _stop_measuring(self) -> None:
        remove(self._checkout)
        if self._sampler is not None:
            self._sampler.stop()
        if self._lens is not None:
            self._lens.look(False)
        self._hold_log.close()
        STOPS.listeners.discard(self._skip)
        asyncio.get_running_loop().set_exception_handler(self._outer_exception_handler)

    async def wait(self) -> None:
        """Return when the run has ended: duration or number of requests reached, stopped, or failed."""
        await self._finished.wait()

    async def apply(self, tuning: Tuning) -> None:
        """Go over to ``tuning`` while the run goes on.

        Raises ConfigError, ResourceLimitError or ListenError; the run then goes on as before.
        """
        async with self._applying:
            if self.state not in _LIVE:
                raise StateError(self.state.value, "change the tuning")
            before = self.tuning
            if tuning == before:
                return
            replace(self.experiment, tuning=tuning).validated()
            check_descriptors(self.experiment, tuning)
            refuse_vain_changes(self.experiment, before, tuning)
            generation, present = self.generation + 1, self._placement.present
            try:
                await self._placement.apply(tuning, generation, self._listen_address(tuning))
            except SockscopeError as error:
                # Roles may have begun and left meanwhile: what happened to the traffic has this reason.
                self._note(EventKind.ERROR, f"{describe_change(before, tuning)} could not be done: {error}")
                raise
            self._look(tuning.lens)
            self.tuning, self.generation = tuning, generation
            self._look_at_machines()
            self._note(EventKind.TUNING, describe_change(before, tuning))
            self._note_coming(present, self._placement.present)

    def _note_coming(self, before: Collection[str], now: Collection[str]) -> None:
        """Write into the log which roles have come and which have gone."""
        for name in [name for name in now if name not in before]:
            address = self._placement.read(name, NOTHING).address
            self._note(EventKind.RUN, f"{ROLE_NAMES[name].title} begins: {address}")
        for name in [name for name in before if name not in now]:
            self._note(EventKind.RUN, f"{ROLE_NAMES[name].title} leaves when nothing passes it any more")

    async def reload(self) -> str:
        """Let the user's own code serve as it is in its files by now, on new connections.

        Return what was done: nothing where no file was edited. Raises ConfigError when the code will not
        do any more, and StateError. The run goes on in any case.
        """
        async with self._applying:
            if self.state not in _LIVE:
                raise StateError(self.state.value, "take up what was edited")
            generation = self.generation + 1
            address = self._listen_address(self.tuning)
            done = await self._placement.reload(self.tuning, generation, address)
            if done:
                self.generation = generation
                self._note(EventKind.TUNING, done)
            return done

    def pause(self) -> None:
        """Stop the traffic; connections stay open."""
        if self.state is RunState.RUNNING and self._placement.generates:
            self._placement.pause(True)
            self._clock.pause(perf_counter())
            self.state = RunState.PAUSED
            self._beat()
            self._note(EventKind.RUN, "paused")

    def resume(self) -> None:
        """Let the traffic go on."""
        if self.state is RunState.PAUSED:
            self._placement.pause(False)
            self._clock.resume(perf_counter())
            self.state = RunState.RUNNING
            self._beat()
            self._note(EventKind.RUN, "resumed")

    def _beat(self) -> None:
        """Measure loop lag unless the run is paused or rests: an idle run costs little else."""
        if self._sampler is not None:
            beating = self.state is RunState.RUNNING and not self._resting
            (self._sampler.start if beating else self._sampler.stop)()
            self._placement.beat(beating)

    def _look(self, lens: bool) -> None:
        """Switch the lens on the loop of every process on or off."""
        if self._lens is not None:
            self._lens.look(lens)
        self._placement.look(lens)

    async def all_connected(self) -> None:
        """Return when every client has got a connection, or for a while no more of them have one."""
        most, since_s = -1, perf_counter()
        while self._placement.generates and not self._placement.exhausted:
            looked_s = perf_counter()
            swarm = self._placement.read(self._placement.main, NOTHING)
            took_s = perf_counter() - looked_s
            if swarm.ready_s:
                return
            # Not how many have been made: clients that time out connect again for ever.
            if swarm.connections_open > most:
                most, since_s = swarm.connections_open, perf_counter()
            elif perf_counter() - since_s > READY_PATIENCE_S:
                asked = self.tuning.connections
                text = f"the figures begin with {swarm.connections_open:,} of {asked:,} connections"
                self._note(EventKind.ERROR, text)
                return
            await asyncio.sleep(max(_WATCH_S, took_s / _WATCH_RATIO))

    def rest(self, resting: bool) -> None:
        """Suspend or resume reports and sampling, so that a run nobody looks at leaves the CPU to others.

        Its figures then stand still until :meth:`settle`, and loop lag is not measured.
        """
        if self._sampler is None or resting == self._resting or self.state not in _LIVE:
            return
        self._resting = resting
        self._placement.rest(resting)
        self._beat()

    def refill(self, requests: int) -> None:
        """Let the clients make so many more requests; :meth:`wait` returns when these are done.

        It is for runs with a number of requests that is used up.
        """
        if self.state not in _LIVE or not self._placement.generates:
            raise StateError(self.state.value, "make more requests")
        self._placement.refill(requests)
        self._finished.clear()
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def mark(self, text: str) -> None:
        """Write a marker into the log."""
        self._note(EventKind.MARKER, text)

    def stall(self) -> None:
        """Let the server stand still for ``stall_s``, as in a call that blocks: its loop, or its threads.

        Whatever shares that loop stands still with it. Raises EngineError where the server is elsewhere, has
        ended or still stands, and StateError: of a paused run nothing would wait for it.
        """
        if self.state is not RunState.RUNNING:
            raise StateError(self.state.value, "stall the server")
        seconds, now_s = self.experiment.stall_s, perf_counter()
        if now_s < self._stalled_until_s:
            raise EngineError("the server still stands: it can be stalled again when it goes on")
        if not self._placement.stall(seconds):
            target = self.experiment.target
            why = f"{target} cannot be stalled: it is not a server of this run" if target else NO_SERVER
            raise EngineError(why)
        self._stalled_until_s = now_s + seconds
        self._stalled_s += seconds
        self._note(EventKind.MARKER, f"server stalled for {format_duration(seconds)}")

    def _plan_stall(self, in_s: float) -> None:
        self._stall_timer = asyncio.get_running_loop().call_later(in_s, self._stall_as_planned)

    def _stall_as_planned(self) -> None:
        left_s = self.experiment.stall_at_s - self._clock.counted_s(perf_counter())
        if left_s > STALL_MISSES_S or self.state is RunState.PAUSED:  # what was paused does not count
            self._plan_stall(max(left_s, STALL_MISSES_S))
            return
        try:
            self.stall()
        except SockscopeError as error:
            self._note(EventKind.ERROR, str(error))

    def clear(self) -> None:
        """Let the cumulative figures begin anew; connections, captures and the log stay."""
        self._baseline = _without_under_way(self._take(NOTHING))
        self._note(EventKind.RUN, "figures cleared")

    async def close_connection(self, role: str, conn_id: int) -> bool:
        """Close one connection of ``server`` or ``swarm``; False when there is none with this number."""
        return await self._placement.close_connection(role, conn_id)

    async def cancel_task(self, process: ProcessKey, task: int) -> Cancelled:
        """Cancel a task of own code in a process of the run; return what became of it within a second.

        ``task`` is its number in what the lens shows. The log has both. Raises StateError and EngineError.
        """
        if self.state not in _LIVE or self._lens is None:
            raise StateError(self.state.value, "cancel a task")
        self._note(EventKind.RUN, f"cancel requested: {self._task_name(process, task)}")
        placement, here = self._placement, process == self._own_key
        cancelled = await (self._lens.cancel_task(task) if here else placement.cancel_task(process, task))
        self._note(EventKind.ERROR if cancelled.is_fault else EventKind.RUN, cancelled.sentence)
        return cancelled

    @property
    def _own_key(self) -> ProcessKey:
        return MAIN, os.getpid()

    def _task_name(self, process: ProcessKey, task: int) -> str:
        lenses = {use.key: use.lens for use in self._placement.processes()}
        lenses[self._own_key] = self._lens.view() if self._lens is not None else None
        lens = lenses.get(process)
        tasks = lens.tasks.tasks if lens is not None and lens.tasks is not None else ()
        return next((view.title for view in tasks if view.number == task), f"task {task}")

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment readable, whatever is overwritten meanwhile; or let them go."""
        self._placement.hold(held)

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes, from both ends where both are of this run.

        None when it has been overwritten.
        """
        return await self._placement.capture(record_id)

    # Readings.

    @property
    def latest_end_s(self) -> float:
        """When the run has ended by all means, if its loop is not held up; inf where nothing bounds it.

        That is ``give_up_s`` beyond its due end, beyond the last moment at which an answer could have come
        in a run of a number of requests, and beyond its end for what is left to do then.
        """
        experiment, give_up_s = self.experiment, self.experiment.give_up_s or math.inf
        clock, now_s = self._clock, perf_counter()
        if clock.ended_s is not None:
            return clock.ended_s + give_up_s
        due_s = clock.due_s(now_s)
        if due_s == math.inf and experiment.duration_s:  # as late as it may begin from now on
            due_s = max(now_s, clock.started_s + experiment.warmup_s) + experiment.duration_s
        return min(due_s + give_up_s, self._patience.until_s)

    @property
    def certificate(self) -> Certificate | None:
        """The throw-away certificate of the server, if it has one by now."""
        return self._placement.certificate

    async def settle(self) -> None:
        """Bring what is known of each role up to this moment, so that the next snapshot is exact.

        Await it before figures that are to stand; roles on this loop are always up to date.
        """
        await self._placement.settle()

    async def conclude(self) -> None:
        """Ask nothing more, and settle: the next snapshot has everything that was ever asked.

        What is under way goes on, until :meth:`stop`.
        """
        if self.state in _LIVE:
            self._placement.pause(True)
        await self.settle()
        self._hear_of_holds()
        await self._hold_log.settle()

    def snapshot(self, cursors: Cursors | None = None) -> Snapshot:
        """Return everything at this moment; synchronous, therefore consistent.

        ``cursors`` tell how far the caller has read; without them no events and exchanges are copied.
        """
        taken = self._take(cursors or NOTHING)
        return taken if self._baseline is None else difference(self._baseline, taken)

    def figures(self, since: Snapshot | None = None) -> Figures:
        """Return requests/s, percentiles and the rest, since an earlier snapshot or since they began.

        They begin with the run, after its warm-up, or with :meth:`clear`.
        """
        now = self.snapshot()
        return figures(now if since is None else window(since, now))

    def _take(self, cursors: Cursors) -> Snapshot:
        """Return a snapshot whose figures count from the beginning of the run."""
        if self._sampler is None:
            raise StateError(self.state.value, "take a snapshot")
        roles, clock = self._read_roles(cursors), self._clock
        main, resources = roles.get(self._placement.main), self._sampler.sample()
        # What this machine counts is nothing of a run on others.
        resources = self._placement.read_machines(resources)
        processes = self._processes(resources)
        if cursors.most_events:
            self._log.take(roles.values())
        events = self._log.since(cursors.events, cursors.most_events)
        time_s = clock.ended_s or (main.time_s if main is not None else perf_counter())
        # What another process told last may be of a moment before the run was said to begin.
        time_s = max(time_s, clock.started_s)
        return Snapshot(
            time_s=time_s,
            started_s=clock.started_s,
            measured_since_s=clock.started_s,
            state=self.state,
            experiment=self.experiment,
            tuning=self.tuning,
            generation=self.generation,
            loop_name=self._loop_name,
            roles=roles,
            resources=resources,
            processes=processes,
            stalled_until_s=self._stalled_until_s,
            stalled_s=self._stalled_s - max(0.0, self._stalled_until_s - time_s),
            events=tuple(events.items),
            events_missed=events.missed,
            events_cursor=events.cursor,
            error=self.error,
            warming_up=self._warming_up,
            paused_s=clock.paused_s(time_s),
        )

    def _read_roles(self, cursors: Cursors) -> dict[str, RoleSnapshot]:
        # The exchanges are those of the main role; another side of one is looked up when it is asked for.
        without_exchanges = replace(cursors, most_exchanges=0)
        main = self._placement.main
        return {
            name: self._placement.read(name, cursors if name == main else without_exchanges)
            for name in self._placement.roles
        }

    def _processes(self, resources: Resources) -> tuple[ProcessUse, ...]:
        """Return the processes of the run, this one first; its log hears what has held up their loops."""
        return self._hold_log.take(
            (self._own_process(resources), *self._placement.processes(), *self._target_use())
        )

    def _hear_of_holds(self) -> None:
        """Let the log hear what has held up the loops, also where nobody takes a snapshot."""
        if self._lens is not None:
            self._hold_log.hear(self._own_key, self._placement.roles_here(), self._lens.holds)
        self._hold_log.take(self._placement.processes())

    def _own_process(self, resources: Resources) -> ProcessUse:
        return ProcessUse(
            *self._own_key,
            roles=self._placement.roles_here(),
            resources=resources,
            loop_name=self._loop_name,
            environment=stated_environment(self.experiment.allocator, os.environ),
            lens=self._lens.view() if self._lens is not None else None,
            generation=self.generation,
        )

    def _target_use(self) -> list[ProcessUse]:
        return [self._target.use()] if self._target is not None else []

    # The run itself.

    async def _watch(self) -> None:
        """End the warm-up and the run when they are due."""
        experiment = self.experiment
        try:
            if experiment.warmup_s:
                await self._warm_up(experiment.warmup_s)
            self._clock.begin(perf_counter() if experiment.warmup_s else self._clock.started_s)
            if experiment.stall_at_s and experiment.role != SWARM:
                self._plan_stall(experiment.stall_at_s)
            patience = self._patience = Patience(experiment)
            while (left := self._clock.due_s(now_s := perf_counter()) - now_s) > 0:
                if self._placement.exhausted:
                    break
                if patience.is_due and (why := self._given_up(patience)):
                    self.fail(EngineError(why))
                    return
                if self.tuning.lens:
                    self._hear_of_holds()
                await asyncio.sleep(min(self._look_again_s(), left))
        except asyncio.CancelledError:
            if self._clock.ended_s is None:
                self.fail(EngineError(CANCELLED))
            raise
        except Exception as error:  # noqa: BLE001  # the boundary of the run's task
            self.fail(error)
            return
        self._finished.set()

    def _look_again_s(self) -> float:
        """Look whether the process was stopped, while nobody else does; return when to look again."""
        if self.state is RunState.PAUSED:
            STOPS.look(IDLE_STEP_S)
        elif self.experiment.requests:
            return _WATCH_S
        return IDLE_STEP_S

    async def _warm_up(self, warmup_s: float) -> None:
        """Wait for the end of the warm-up, and let the figures begin there."""
        if warmup_s == READY:
            await self.all_connected()
        else:
            await asyncio.sleep(self._clock.started_s + warmup_s - perf_counter())
        await self.settle()
        self._warming_up = False
        self.clear()

    def _skip(self, stopped_s: float) -> None:
        """This process was stopped: that is no time of the run, unless its traffic is made elsewhere."""
        self._note(EventKind.RUN, f"resumed after being stopped for {format_duration(stopped_s)}")
        self._patience.skip(stopped_s)
        if self.state is RunState.RUNNING and self._placement.generates_here:
            self._clock.skip(stopped_s)

    def _given_up(self, patience: Patience) -> str:
        """Return why nobody is to wait for answers any longer, or nothing."""
        swarm = self._read_roles(NOTHING).get(SWARM)
        return patience.look(swarm, self.tuning, self.state is RunState.PAUSED)

    def fail(self, error: BaseException) -> None:
        """End the run in the state FAILED; the face stops it and shows ``error``."""
        if self.state is RunState.FAILED:
            return
        self.state = RunState.FAILED
        self.error = str(error) if isinstance(error, SockscopeError) else f"internal error: {error!r}"
        self._note(EventKind.ERROR, self.error)
        self._finished.set()

    def _on_trouble(self, text: str, fatal: bool) -> None:
        """Something went wrong in a child process, or with one."""
        if fatal and self.state in _LIVE:
            self.fail(EngineError(text))
        else:
            self._note(EventKind.ERROR, text)

    def _refuse(self, error: SockscopeError) -> None:
        self._note(EventKind.ERROR, f"a worker that has come is not used: {error}")

    async def _divide(self, lost: int, come: Sequence[str]) -> None:
        """Apply the tuning in force once more, with workers that have come; raises SockscopeError."""
        tuning = self.tuning
        await self._placement.divide_anew(tuning, self.generation, self._listen_address(tuning), come)
        self._look_at_machines()
        if lost:
            self._note(EventKind.RUN, "what was lost is divided anew")
        follows = ": the clients are divided anew" if tuning.layout == CLUSTER else ""
        for worker in come:
            self._note(EventKind.RUN, f"the worker {worker} has joined{follows}")

    def _look_at_machines(self) -> None:
        """Learn what the machines have counted while those who go and those who come can tell."""
        if self._sampler is not None and not self._placement.is_here:
            self._placement.read_machines(self._sampler.sample())

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or isinstance(error, OSError):
            self._note(EventKind.ERROR, f"{context.get('message', '')}: {error}")
        else:
            self.fail(error)

    def _note_hold(self, begin_s: float, text: str) -> None:
        if begin_s >= self._clock.started_s:  # what held up the start is no event of the run
            self._log.note(EventKind.MARKER, text, self.generation, begin_s)

    def _note(self, kind: EventKind, text: str) -> None:
        self._log.note(kind, text, self.generation)

    def _listen_address(self, tuning: Tuning) -> Address:
        if self.experiment.role in (SWARM, RELAY):
            return self.experiment.targets[0]
        return self.experiment.bind or LOOPBACK[tuning.family], self.experiment.port


def _without_under_way(snapshot: Snapshot) -> Snapshot:
    """Return a beginning of figures to which the requests under way belong, since their outcomes will.

    So do those that are queued, which are due and will be sent or dropped.
    """
    swarm = snapshot.swarm
    if swarm is None:
        return snapshot
    to_server, to_clients = flows(snapshot)
    sent = swarm.totals.datagrams_sent - ((to_server and to_server.on_the_way) or 0)
    requests = swarm.totals.requests - swarm.in_flight
    due = requests + swarm.totals.requests_dropped
    totals = replace(swarm.totals, requests=requests, requests_due=due, datagrams_sent=sent)
    roles = {SWARM: replace(swarm, totals=totals)}
    if (server := snapshot.server) is not None and to_clients is not None:
        sent = server.totals.datagrams_sent - (to_clients.on_the_way or 0)
        roles[SERVER] = replace(server, totals=replace(server.totals, datagrams_sent=sent))
    return replace(snapshot, roles={**snapshot.roles, **roles})
