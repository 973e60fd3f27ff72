"""The control surface: everything that a face, a script or a test can do with a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

from sockscope.core.connection import Address, format_address
from sockscope.core.events import Event, EventKind
from sockscope.core.experiment import FIELDS, LOOPBACK, Experiment, Tuning, split_address
from sockscope.core.ring import Ring
from sockscope.core.snapshot import (
    Capture,
    Cursors,
    RoleSnapshot,
    RunState,
    Snapshot,
)
from sockscope.core.window import difference
from sockscope.engine.limits import check_descriptors, raise_descriptor_limit
from sockscope.engine.loops import calm_allocator, loop_name
from sockscope.engine.placement.in_loop import Placed, place_in_loop
from sockscope.engine.recorder import EVENTS
from sockscope.engine.role import Assignment, Role
from sockscope.engine.sampler import Sampler
from sockscope.errors import ConfigError, SockscopeError, StateError

_LIVE = (RunState.RUNNING, RunState.PAUSED)
_WATCH_S = 0.02
"""How often the end of the run (duration, number of requests, warm-up) is looked for."""


class Engine:
    """One run of an experiment on the running event loop.

    ::

        engine = Engine(Experiment(tuning=Tuning(clients=50)))
        await engine.start()
        await engine.apply(replace(engine.tuning, permits=10))
        print(engine.snapshot().main.totals)
        await engine.stop()

    or ``async with Engine(...) as engine:``. All times are seconds on ``time.perf_counter``.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.tuning = experiment.tuning
        self.generation = 0
        self.state = RunState.IDLE
        self.error = ""
        self._roles = Placed(None, None)
        self._sampler: Sampler | None = None
        self._log: Ring[Event] = Ring(EVENTS)
        self._log_cursors = {"server": 0, "client": 0}
        self._log_missed = 0
        self._applying = asyncio.Lock()
        self._finished = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._address: Address = ("", 0)
        self._started_s = perf_counter()
        self._ended_s: float | None = None
        self._baseline: Snapshot | None = None
        self._warming_up = False
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
        """Check the limits, listen, and let the clients come.

        Raises ConfigError, ResourceLimitError or ListenError; nothing is left behind then.
        """
        if self.state is not RunState.IDLE:
            raise StateError(self.state.value, "start")
        self.experiment.validated()
        raise_descriptor_limit()
        check_descriptors(self.experiment, self.tuning)
        calm_allocator()
        loop = asyncio.get_running_loop()
        self._loop_name = loop_name(loop)
        self._outer_exception_handler = loop.get_exception_handler()
        loop.set_exception_handler(self._on_loop_exception)
        self.state = RunState.STARTING
        self._roles = place_in_loop(self.experiment)
        self._sampler = Sampler()
        try:
            address = self._listen_address(self.tuning)
            if self._roles.server is not None:
                address = await self._roles.server.start(Assignment(self.tuning, 0, address))
            self._address = address
            if self._roles.swarm is not None:
                await self._roles.swarm.start(Assignment(self.tuning, 0, _aim(address)))
        except BaseException as error:
            self.state = RunState.FAILED
            self.error = str(error)
            await self._stop_roles(0.0)
            raise
        self._sampler.start()
        self._started_s = perf_counter()
        self._warming_up = self.experiment.warmup_s > 0
        self.state = RunState.RUNNING
        self._note(EventKind.RUN, f"started: {self.tuning.transport.upper()} {format_address(address)}")
        self._watcher = loop.create_task(self._watch())

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop the traffic, let what is in flight finish for at most ``grace_s``, close everything."""
        if self.state in (RunState.STOPPING, RunState.STOPPED, RunState.IDLE):
            return
        failed = self.state is RunState.FAILED
        self._ended_s = perf_counter()
        if not failed:
            self.state = RunState.STOPPING
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        await self._stop_roles(grace_s)
        if not failed:
            self.state = RunState.STOPPED
        self._note(EventKind.RUN, "stopped")
        self._finished.set()

    async def _stop_roles(self, grace_s: float) -> None:
        if self._roles.swarm is not None:
            await self._roles.swarm.stop(grace_s)
        if self._roles.server is not None:
            await self._roles.server.stop(grace_s)
        if self._sampler is not None:
            self._sampler.stop()
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
            if self._roles.server is None:
                _refuse_server_changes(before, tuning)
            generation = self.generation + 1
            address = self._address
            if self._roles.server is not None:
                wanted = self._listen_address(tuning)
                address = await self._roles.server.apply(Assignment(tuning, generation, wanted))
            if self._roles.swarm is not None:
                await self._roles.swarm.apply(Assignment(tuning, generation, _aim(address)))
            self.tuning, self.generation, self._address = tuning, generation, address
            self._note(EventKind.TUNING, describe_change(before, tuning))

    def pause(self) -> None:
        """Stop the traffic; connections stay open."""
        if self.state is RunState.RUNNING and self._roles.swarm is not None:
            self._roles.swarm.pause(True)
            self.state = RunState.PAUSED
            self._note(EventKind.RUN, "paused")

    def resume(self) -> None:
        """Let the traffic go on."""
        if self.state is RunState.PAUSED and self._roles.swarm is not None:
            self._roles.swarm.pause(False)
            self.state = RunState.RUNNING
            self._note(EventKind.RUN, "resumed")

    def give_way(self, wanted: bool) -> None:
        """Let the traffic take short turns of the loop while somebody waits for the screen (or no longer).

        Requests go out as fast as before, but fewer at once: a key is answered within a few of these turns.
        """
        if self._roles.swarm is not None:
            self._roles.swarm.give_way(wanted)

    def mark(self, text: str) -> None:
        """Write a marker into the log."""
        self._note(EventKind.MARKER, text)

    def clear(self) -> None:
        """Let the cumulative figures begin anew; connections, captures and the log stay."""
        self._baseline = self._take(Cursors(most_events=0, most_exchanges=0))
        self._note(EventKind.RUN, "figures cleared")

    async def close_connection(self, role: str, conn_id: int) -> bool:
        """Close one connection of ``server`` or ``client``; False when there is none with this number."""
        place = self._roles.server if role == "server" else self._roles.swarm
        return place is not None and await place.close_connection(conn_id)

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment readable, whatever is overwritten meanwhile; or let them go."""
        for role in (self._roles.server, self._roles.swarm):
            if role is not None:
                role.hold(held)

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes, from both ends where both are of this run.

        None when it has been overwritten.
        """
        server, swarm = self._roles.server, self._roles.swarm
        if swarm is None:
            return await server.capture(record_id) if server is not None else None
        seen = await swarm.capture(record_id)
        if seen is None or server is None:
            return seen
        return replace(seen, server=await server.find_answer(seen))

    # Readings.

    async def settle(self) -> None:
        """Bring what is known of each role up to this moment, so that the next snapshot is exact.

        Await it before figures that are to stand; roles on this loop are always up to date.
        """
        for role in (self._roles.server, self._roles.swarm):
            if role is not None:
                await role.refresh()

    def snapshot(self, cursors: Cursors | None = None) -> Snapshot:
        """Return everything at this moment; synchronous, therefore consistent.

        ``cursors`` tell how far the caller has read; without them no events and exchanges are copied.
        """
        taken = self._take(cursors or Cursors(most_events=0, most_exchanges=0))
        return taken if self._baseline is None else difference(self._baseline, taken)

    def _take(self, cursors: Cursors) -> Snapshot:
        """Return a snapshot whose figures count from the beginning of the run."""
        if self._sampler is None:
            raise StateError(self.state.value, "take a snapshot")
        # The swarm's exchanges are the run's; the server's side of one is looked up when it is asked for.
        unlisted = replace(cursors, most_exchanges=0) if self._roles.swarm is not None else cursors
        server = self._role_snapshot("server", self._roles.server, unlisted)
        swarm = self._role_snapshot("client", self._roles.swarm, cursors)
        news = [event for role in (server, swarm) if role is not None for event in role.events]
        for event in sorted(news, key=lambda event: event.time_s):
            self._log.append(event)
        events = self._log.since(cursors.events, cursors.most_events)
        main = swarm or server
        return Snapshot(
            time_s=self._ended_s or (main.time_s if main is not None else perf_counter()),
            started_s=self._started_s,
            measured_since_s=self._started_s,
            state=self.state,
            experiment=self.experiment,
            tuning=self.tuning,
            generation=self.generation,
            loop_name=self._loop_name,
            server=server,
            swarm=swarm,
            resources=self._sampler.sample(),
            events=tuple(events.items),
            events_missed=events.missed + self._log_missed,
            events_cursor=events.cursor,
            error=self.error,
            warming_up=self._warming_up,
        )

    def _role_snapshot(self, name: str, role: Role | None, cursors: Cursors) -> RoleSnapshot | None:
        if role is None:
            return None
        taken = role.snapshot(replace(cursors, events=self._log_cursors[name], most_events=EVENTS))
        self._log_cursors[name] = taken.events_cursor
        self._log_missed += taken.events_missed
        return taken

    # The run itself.

    async def _watch(self) -> None:
        """End the warm-up and the run when they are due."""
        experiment = self.experiment
        try:
            if experiment.warmup_s:
                await asyncio.sleep(experiment.warmup_s)
                self._warming_up = False
                self.clear()
            deadline = perf_counter() + experiment.duration_s if experiment.duration_s else None
            swarm = self._roles.swarm
            while deadline is None or perf_counter() < deadline:
                if swarm is not None and swarm.exhausted:
                    break
                left = _WATCH_S if deadline is None else min(_WATCH_S, max(0.0, deadline - perf_counter()))
                await asyncio.sleep(left if experiment.requests or left < _WATCH_S else _WATCH_S)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # the boundary of the run's task
            self.fail(error)
            return
        self._finished.set()

    def fail(self, error: BaseException) -> None:
        """End the run in the state FAILED; the face stops it and shows ``error``."""
        if self.state is RunState.FAILED:
            return
        self.state = RunState.FAILED
        self.error = str(error) if isinstance(error, SockscopeError) else f"internal error: {error!r}"
        self._note(EventKind.ERROR, self.error)
        self._finished.set()

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or isinstance(error, OSError):
            self._note(EventKind.ERROR, f"{context.get('message', '')}: {error}")
        else:
            self.fail(error)

    def _note(self, kind: EventKind, text: str) -> None:
        self._log.append(Event(perf_counter(), kind, "run", text=text, generation=self.generation))

    def _listen_address(self, tuning: Tuning) -> Address:
        if self.experiment.role == "swarm":
            return split_address(self.experiment.target)
        return self.experiment.bind or LOOPBACK[tuning.family], self.experiment.port


def _aim(address: Address) -> Address:
    """Return where clients connect to for a server that listens on ``address``."""
    host, port = address
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port


def _refuse_server_changes(before: Tuning, after: Tuning) -> None:
    """A swarm alone cannot change what the server at the other end does."""
    if before.family != after.family:
        raise ConfigError.of("family", after.family, "is that of the target's address")


def describe_change(before: Tuning, after: Tuning) -> str:
    """Return what changed in words: ``permits 50 → 100``."""
    by_attribute = {entry.attribute: entry.spec for entry in FIELDS.values() if entry.live}
    return ", ".join(
        f"{by_attribute[name].label} {by_attribute[name].format(old)} → {by_attribute[name].format(new)}"
        for name, (old, new) in before.changes_to(after).items()
    )
