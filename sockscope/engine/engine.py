"""The control surface: everything that a face, a script or a test can do with a run."""

from __future__ import annotations

import asyncio
import math
import os
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from time import perf_counter
from typing import Any

from sockscope.core.addresses import Address, format_address
from sockscope.core.config.applicability import without_effect
from sockscope.core.config.experiment import (
    FIELDS_BY_ATTRIBUTE,
    LOOPBACK,
    READY,
    Experiment,
    Tuning,
)
from sockscope.core.events import Event, EventKind, EventLog
from sockscope.core.roles import SWARM
from sockscope.core.run.adding import difference
from sockscope.core.run.figures import Figures, figures
from sockscope.core.run.snapshot import (
    Capture,
    Cursors,
    ProcessUse,
    Resources,
    RoleSnapshot,
    RunState,
    Snapshot,
)
from sockscope.core.run.window import window
from sockscope.core.units import format_duration
from sockscope.engine.addresses import check_reach
from sockscope.engine.limits import check_descriptors, raise_descriptor_limit
from sockscope.engine.loops import calm_allocator, loop_name
from sockscope.engine.patience import Patience
from sockscope.engine.placement.hosts.child_process import stated_environment
from sockscope.engine.placement.placed_role import NOTHING
from sockscope.engine.placement.placement import Placement
from sockscope.engine.recorder import EVENTS
from sockscope.engine.sampler import Sampler
from sockscope.engine.servers.registry import LACKING
from sockscope.engine.stops import STOPS
from sockscope.engine.target import TargetProcess
from sockscope.errors import ConfigError, EngineError, Fault, SockscopeError, StateError

CANCELLED = "its tasks were cancelled by own code"
"""Why a run has failed whose tasks were cancelled although nobody had asked for its end."""
_LIVE = (RunState.RUNNING, RunState.PAUSED)
_WATCH_S = 0.02
"""How often the end of the run (duration, number of requests, warm-up) is looked for."""
_WATCH_RATIO = 0.02
"""Share of the time that looking whether every client is connected takes at most."""
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
    """

    is_live = True
    lacking = LACKING

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment.settled()
        self.tuning = self.experiment.tuning
        self.generation = 0
        self.state = RunState.IDLE
        self.error = ""
        self._placement = Placement(self.experiment, self._on_trouble)
        self._sampler: Sampler | None = None
        self._target: TargetProcess | None = None
        self._log = EventLog(EVENTS)
        self._notes: deque[Event] = deque(maxlen=EVENTS)
        self._log_missed = 0
        self._applying = asyncio.Lock()
        self.closing_s = 0.0
        """How long :meth:`stop` took."""
        self._finished = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._started_s = perf_counter()
        self._ended_s: float | None = None
        self._baseline: Snapshot | None = None
        self._warming_up = False
        self._paused_s = 0.0
        self._paused_since_s = 0.0
        self._stopped_s = 0.0
        self._patience = Patience(experiment)
        self._resting = False
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
        try:
            await self._placement.start(self.tuning, self._listen_address(self.tuning))
        except BaseException as error:
            self.state = RunState.FAILED
            self.error = str(error)
            self._stop_measuring()
            raise
        self._sampler.start()
        STOPS.listeners.add(self._skip)
        self._started_s = self._placement.began_s
        # What the processes used to get ready is no figure of the run; what the roles have done since is.
        # So are the kernel's datagrams: clients in another process may have sent some by now.
        ready = self._take(NOTHING)
        resources = replace(ready.resources, kernel_udp=None)
        self._baseline = replace(ready, time_s=self._started_s, roles={}, resources=resources)
        self._warming_up = self.experiment.warmup_s != 0
        self.state = RunState.RUNNING
        self._note(
            EventKind.RUN,
            f"started: {self.tuning.transport.upper()} {format_address(self._placement.address)}",
        )
        self._watcher = loop.create_task(self._watch())

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop the traffic, let what is in flight finish for at most ``grace_s``, close everything."""
        if self.state is RunState.IDLE or self._ended_s is not None:
            return
        self._ended_s = perf_counter()
        if self.state is not RunState.FAILED:
            self.state = RunState.STOPPING
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        async with self._applying:
            await self._placement.stop(grace_s)
        self._stop_measuring()
        # What goes wrong in the end is a failure, too.
        if self.state is RunState.STOPPING:
            self.state = RunState.STOPPED
        self.closing_s = perf_counter() - self._ended_s
        self._note(EventKind.RUN, "stopped")
        self._finished.set()

    def _stop_measuring(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()
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
            _refuse_vain_changes(self.experiment, before, tuning)
            generation = self.generation + 1
            await self._placement.apply(tuning, generation, self._listen_address(tuning))
            self.tuning, self.generation = tuning, generation
            self._note(EventKind.TUNING, describe_change(before, tuning))

    def pause(self) -> None:
        """Stop the traffic; connections stay open."""
        if self.state is RunState.RUNNING and self._placement.generates:
            self._placement.pause(True)
            self._paused_since_s = perf_counter()
            self.state = RunState.PAUSED
            self._note(EventKind.RUN, "paused")

    def resume(self) -> None:
        """Let the traffic go on."""
        if self.state is RunState.PAUSED:
            self._placement.pause(False)
            self._paused_s += perf_counter() - self._paused_since_s
            self._paused_since_s = 0.0
            self.state = RunState.RUNNING
            self._note(EventKind.RUN, "resumed")

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
        (self._sampler.stop if resting else self._sampler.start)()

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

    def clear(self) -> None:
        """Let the cumulative figures begin anew; connections, captures and the log stay."""
        self._baseline = _without_under_way(self._take(NOTHING))
        self._note(EventKind.RUN, "figures cleared")

    async def close_connection(self, role: str, conn_id: int) -> bool:
        """Close one connection of ``server`` or ``swarm``; False when there is none with this number."""
        return await self._placement.close_connection(role, conn_id)

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment readable, whatever is overwritten meanwhile; or let them go."""
        self._placement.hold(held)

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes, from both ends where both are of this run.

        None when it has been overwritten.
        """
        return await self._placement.capture(record_id)

    # Readings.

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
        roles = self._read_roles(cursors)
        main = roles.get(self._placement.main)
        if cursors.most_events:
            self._keep_log(roles.values())
        events = self._log.since(cursors.events, cursors.most_events)
        time_s = self._ended_s or (main.time_s if main is not None else perf_counter())
        # What another process told last may be of a moment before the run was said to begin.
        time_s = max(time_s, self._started_s)
        resources = self._sampler.sample()
        return Snapshot(
            time_s=time_s,
            started_s=self._started_s,
            measured_since_s=self._started_s,
            state=self.state,
            experiment=self.experiment,
            tuning=self.tuning,
            generation=self.generation,
            loop_name=self._loop_name,
            roles=roles,
            resources=resources,
            processes=(self._own_process(resources), *self._placement.processes(), *self._target_use()),
            events=tuple(events.items),
            events_missed=events.missed + self._log_missed,
            events_cursor=events.cursor,
            error=self.error,
            warming_up=self._warming_up,
            paused_s=self._paused_s
            + (max(0.0, time_s - since_s) if (since_s := self._paused_since_s) else 0.0),
        )

    def _read_roles(self, cursors: Cursors) -> dict[str, RoleSnapshot]:
        # The exchanges are those of the main role; another side of one is looked up when it is asked for.
        without_exchanges = replace(cursors, most_exchanges=0)
        main = self._placement.main
        return {
            name: self._placement.read(name, cursors if name == main else without_exchanges)
            for name in self._placement.roles
        }

    def _keep_log(self, roles: Collection[RoleSnapshot]) -> None:
        """Put what the roles tell and what was noted here into one log, in order of time."""
        news = [*self._notes, *(event for role in roles for event in role.events)]
        self._notes.clear()
        self._log.extend(sorted(news, key=lambda event: event.time_s))
        self._log_missed += sum(role.events_missed for role in roles)

    def _own_process(self, resources: Resources) -> ProcessUse:
        return ProcessUse(
            name="main",
            pid=os.getpid(),
            roles=self._placement.roles_here(),
            resources=resources,
            loop_name=self._loop_name,
            environment=stated_environment(self.experiment.allocator, os.environ),
        )

    def _target_use(self) -> list[ProcessUse]:
        return [self._target.use()] if self._target is not None else []

    # The run itself.

    async def _watch(self) -> None:
        """End the warm-up and the run when they are due."""
        experiment = self.experiment
        try:
            begin_s = self._started_s
            if experiment.warmup_s:
                await self._warm_up(experiment.warmup_s)
                begin_s = perf_counter()
            deadline = begin_s + (experiment.duration_s or math.inf)
            patience = self._patience = Patience(experiment)
            while (left := deadline + self._stopped_s - perf_counter()) > 0:
                if self._placement.exhausted:
                    break
                if patience.is_due and (why := self._given_up(patience)):
                    self.fail(EngineError(why))
                    return
                await asyncio.sleep(min(_WATCH_S, left))
        except asyncio.CancelledError:
            if self._ended_s is None:
                self.fail(EngineError(CANCELLED))
            raise
        except Exception as error:  # noqa: BLE001  # the boundary of the run's task
            self.fail(error)
            return
        self._finished.set()

    async def _warm_up(self, warmup_s: float) -> None:
        """Wait for the end of the warm-up, and let the figures begin there."""
        if warmup_s == READY:
            await self.all_connected()
        else:
            await asyncio.sleep(self._started_s + warmup_s - perf_counter())
        await self.settle()
        self._warming_up = False
        self.clear()

    def _skip(self, stopped_s: float) -> None:
        """This process was stopped: that is no time of the run, unless its traffic is made elsewhere."""
        self._note(EventKind.RUN, f"continued after a stop of {format_duration(stopped_s)}")
        self._patience.skip(stopped_s)
        if self.state is RunState.RUNNING and self._placement.generates_here:
            self._paused_s += stopped_s
            self._stopped_s += stopped_s

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

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or isinstance(error, OSError):
            self._note(EventKind.ERROR, f"{context.get('message', '')}: {error}")
        else:
            self.fail(error)

    def _note(self, kind: EventKind, text: str) -> None:
        self._notes.append(Event(perf_counter(), kind, "run", text=text, generation=self.generation))

    def _listen_address(self, tuning: Tuning) -> Address:
        if self.experiment.role == "swarm":
            return self.experiment.targets[0]
        return self.experiment.bind or LOOPBACK[tuning.family], self.experiment.port


def _without_under_way(snapshot: Snapshot) -> Snapshot:
    """Return a beginning of figures to which the requests under way belong, since their outcomes will."""
    swarm = snapshot.swarm
    if swarm is None:
        return snapshot
    totals = replace(swarm.totals, requests=swarm.totals.requests - swarm.in_flight)
    return replace(snapshot, roles={**snapshot.roles, SWARM: replace(swarm, totals=totals)})


def _refuse_vain_changes(experiment: Experiment, before: Tuning, after: Tuning) -> None:
    """Raise ConfigError for changes that would do nothing here, such as a swarm alone turning its server."""
    vain = without_effect(experiment)
    asked = {FIELDS_BY_ATTRIBUTE[name].spec.key: new for name, (_, new) in before.changes_to(after).items()}
    if faults := [Fault(key, new, vain[key]) for key, new in asked.items() if key in vain]:
        raise ConfigError(faults)


def describe_change(before: Tuning, after: Tuning) -> str:
    """Return what changed in words: ``permits 50 → 100``."""
    changes = before.changes_to(after).items()
    described = ((FIELDS_BY_ATTRIBUTE[name].spec, old, new) for name, (old, new) in changes)
    return ", ".join(f"{spec.label} {spec.format(old)} → {spec.format(new)}" for spec, old, new in described)
