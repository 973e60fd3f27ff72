"""One contestant of a race: its server, if it is none elsewhere, and its clients, each a run of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import perf_counter
from typing import Any

from sockscope.core.config.applicability import without_effect
from sockscope.core.config.experiment import FIELDS_BY_ATTRIBUTE, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.contest import Contest, Contestant, Lap, lap_of, verdict_of
from sockscope.core.roles import SWARM
from sockscope.core.run.kinds import Kind
from sockscope.core.run.snapshot import STOPPED, RunState, Snapshot
from sockscope.core.run.window import window
from sockscope.core.units import counted
from sockscope.engine.engine import Engine
from sockscope.errors import EngineError, TargetGoneError

CLIENTS_LOOP = "uvloop"
"""The loop of all clients, whatever loop the server has: the clients are the same for every contestant."""
WARMUP_REQUESTS = 10
"""Requests before a batch that are not measured: both processes have slept meanwhile."""
WATCH_S = 0.02
"""How often it is looked whether requests are done."""
QUIET_S = 5.0
"""How long the requests in flight at the end of a slice may take before the next contestant begins."""
STALL_S = 5.0
"""A batch in which nothing happens for this long, the timeouts added, is given up."""


class Lane:
    """A contestant's two runs, started paused, that are measured slice by slice.

    :meth:`start`, :meth:`measure` and :meth:`stop` raise SockscopeError; after a failed start or a failed
    measurement :meth:`stop` is still to be called.
    """

    def __init__(self, contestant: Contestant, contest: Contest) -> None:
        self.contestant = contestant
        self._contest = contest
        self._tuning = contestant.experiment.tuning
        experiment = contestant.experiment
        self._server = None if experiment.role == SWARM else Engine(_server_of(experiment))
        self._swarm: Engine | None = None
        self._before: tuple[Snapshot, Snapshot] | None = None
        self._asked = 0

    async def start(self) -> None:
        """Start the server and its clients; the clients then wait for their first slice."""
        experiment, certificate, address = self.contestant.experiment, None, self.contestant.experiment.target
        if self._server is not None:
            await self._server.start()
            served = self._server.snapshot().server
            assert served is not None
            certificate, address = self._server.certificate, served.address
        self._asked = _first_requests(experiment) if self._contest.requests else 0
        self._swarm = Engine(_swarm_of(experiment, address, self._asked), certificate)
        await self._swarm.start()
        if self._contest.requests:
            await self._done()
        else:
            self._swarm.pause()
            await self._swarm.all_connected()
        self._rest(True)

    async def turn(self, tuning: Tuning) -> None:
        """Go over to a tuning that needs no new sockets, and wait until the clients have their connections.

        Raises SockscopeError; what was in force before then goes on.
        """
        self._rest(False)
        for engine in self._engines():
            await engine.apply(_known_to(engine, tuning))
        self._tuning = tuning
        if not tuning.lifetime:
            await self._connected(tuning.connections)

    async def measure(self) -> Lap:
        """Measure one slice."""
        self._check()
        self._rest(False)
        try:
            lap = await (self._batch() if self._contest.requests else self._rate())
        finally:
            self._rest(True)
        self._check()
        return lap

    @property
    def is_drained(self) -> bool:
        """Whether no more requests of an open loop wait from before than clients ask at once."""
        return self._clients().snapshot().main.queued <= self._tuning.clients

    def partial(self) -> Lap | None:
        """Return the figures of the slice that is being measured, so far; None while it warms up."""
        return None if self._before is None else self._lap(self._before, self._now())

    async def stop(self) -> None:
        """Close everything."""
        for engine in (self._swarm, self._server):
            if engine is not None:
                await engine.stop()

    def _rest(self, resting: bool) -> None:
        for engine in self._engines():
            engine.rest(resting)

    async def _rate(self) -> Lap:
        swarm = self._clients()
        swarm.resume()
        try:
            await asyncio.sleep(self._contest.warmup_s)
            self._before = await self._fresh()
            await asyncio.sleep(self._contest.slice_s)
            lap = _served(self._with_verdict(self._before, await self._fresh()))
        finally:
            self._before = None
            swarm.pause()
        await self._quiet()
        return lap

    async def _batch(self) -> Lap:
        await self._ask(min(WARMUP_REQUESTS, self._contest.requests))
        self._before = await self._fresh()
        try:
            await self._ask(self._contest.requests)
            after = await self._fresh()
            seen = after[1].main
            duration_s = seen.last_answer_s - seen.began_s
            if duration_s <= 0:
                raise EngineError(_unanswered(after[1], "no request of the batch was answered"))
            return self._lap(self._before, after, duration_s)
        finally:
            self._before = None

    async def _ask(self, requests: int) -> None:
        """Let the clients make so many more requests, and wait until they are done."""
        self._asked += requests
        self._clients().refill(requests)
        await self._done()

    async def _done(self) -> None:
        """Wait until each request is answered or has failed; raise EngineError when nothing goes on."""
        swarm = self._clients()
        patience_s = STALL_S + swarm.tuning.request_timeout_s + swarm.tuning.connect_timeout_s
        progress, since_s = -1, perf_counter()
        while True:
            self._check()
            now = swarm.snapshot()
            totals = now.main.totals
            done = totals.responses + totals.failed
            if done >= self._asked:
                return
            if done != progress:
                progress, since_s = done, perf_counter()
            elif perf_counter() - since_s > patience_s:
                raise EngineError(_unanswered(now, _left(self._asked - done)))
            await asyncio.sleep(WATCH_S)

    async def _connected(self, connections: int) -> None:
        """Wait until so many connections are open, or for a while no more and no fewer are."""
        last, since_s = -1, perf_counter()
        while (now := self._clients().snapshot().main.connections_open) != connections:
            self._check()
            if now != last:
                last, since_s = now, perf_counter()
            elif perf_counter() - since_s > QUIET_S:
                return
            await asyncio.sleep(WATCH_S)

    async def _quiet(self) -> None:
        """Wait for what is in flight, so that it takes nothing from the next contestant."""
        deadline = perf_counter() + QUIET_S
        while perf_counter() < deadline and self._clients().state is RunState.PAUSED:
            if not self._clients().snapshot().main.in_flight:
                return
            await asyncio.sleep(WATCH_S)

    def _now(self) -> tuple[Snapshot, Snapshot]:
        """Return what is known of the server and of the clients; one elsewhere is known by these alone."""
        swarm = self._clients().snapshot()
        return (swarm if self._server is None else self._server.snapshot()), swarm

    async def _fresh(self) -> tuple[Snapshot, Snapshot]:
        """Return snapshots of this moment: those of a child are a little old otherwise."""
        await asyncio.gather(*(engine.settle() for engine in self._engines()))
        now = self._now()
        for process in (*now[0].processes, *now[1].processes):
            if process.state == STOPPED:
                raise EngineError(f"{process.name} process {process.pid} is stopped: it answers nothing")
        return now

    def _lap(
        self,
        before: tuple[Snapshot, Snapshot],
        after: tuple[Snapshot, Snapshot],
        duration_s: float | None = None,
    ) -> Lap:
        return lap_of(window(before[0], after[0]), window(before[1], after[1]), duration_s)

    def _with_verdict(self, before: tuple[Snapshot, Snapshot], after: tuple[Snapshot, Snapshot]) -> Lap:
        server, swarm = (window(then, now) for then, now in zip(before, after, strict=True))
        tuned = replace(self.contestant.experiment, tuning=self._tuning)
        return replace(lap_of(server, swarm), verdict=verdict_of(server, swarm, tuned))

    def _check(self) -> None:
        """Raise EngineError when one of the runs has failed."""
        for engine in self._engines():
            if engine.state is RunState.FAILED:
                raise EngineError(engine.error)

    def _engines(self) -> tuple[Engine, ...]:
        """The server's run, unless it is elsewhere, and the clients'."""
        return (self._clients(),) if self._server is None else (self._server, self._clients())

    def _clients(self) -> Engine:
        assert self._swarm is not None
        return self._swarm


def _served(lap: Lap) -> Lap:
    """Return a slice in which there was a server; raise TargetGoneError of another."""
    found = lap.verdict
    never = (Kind.NO_SERVER, Kind.NO_CONNECTION) if not lap.requests_per_s else ()
    if found is not None and found.kind in (Kind.SERVER_GONE, *never):
        raise TargetGoneError(found.sentence)
    return lap


def _left(requests: int) -> str:
    return f"{counted(requests, 'request')} {'was' if requests == 1 else 'were'} not answered"


def _unanswered(swarm: Snapshot, what: str) -> str:
    trouble = swarm.main.last_trouble
    return f"{what}: {trouble}" if trouble else what


def _known_to(engine: Engine, tuning: Tuning) -> Tuning:
    """Return the tuning of a run with what ``tuning`` has for the fields that mean something to it."""
    vain = without_effect(engine.experiment)
    asked: dict[str, Any] = {
        name: new
        for name, (_, new) in engine.tuning.changes_to(tuning).items()
        if FIELDS_BY_ATTRIBUTE[name].spec.key not in vain
    }
    return replace(engine.tuning, **asked)


def _server_of(experiment: Experiment) -> Experiment:
    # Alone it demands a certificate of its clients where it knows who has signed theirs.
    known_by = (experiment.tls_ca or experiment.tls_client_cert) if experiment.tls_client_cert else ""
    return replace(
        experiment, role="server", requests=0, duration_s=0.0, warmup_s=0.0, tls_ca=known_by,
        tls_client_cert="", tls_client_key="",
    )  # fmt: skip


def _swarm_of(experiment: Experiment, address: str, requests: int) -> Experiment:
    return replace(
        experiment,
        role="swarm",
        target=address,
        # A server of ours may be on another machine of the cluster.
        allow_remote=experiment.allow_remote or experiment.role != SWARM,
        tls_ca="" if experiment.tls_insecure else experiment.tls_ca or experiment.tls_cert,
        tls_cert="",
        tls_key="",
        bind="",
        loop=CLIENTS_LOOP,
        allocator="calm",
        requests=requests,
        duration_s=0.0,
        warmup_s=0.0,
    )


def _first_requests(experiment: Experiment) -> int:
    """Return how many requests the clients begin with: one, or one each if they keep their connections."""
    return 1 if experiment.tuning.lifetime else experiment.tuning.clients
