"""A run without sockets and without a clock: its time passes when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning, describe_change
from sockscope.core.connection import TCP_COLUMNS, ConnectionState, ConnectionView, TcpInfo, tcp_figure
from sockscope.core.events import CloseReason, Event, EventKind, EventLog
from sockscope.core.histogram import Histogram
from sockscope.core.ring import Ring
from sockscope.core.roles import SERVER, SWARM, numbered
from sockscope.core.run.adding import total
from sockscope.core.run.client_states import ClientSample, Doing
from sockscope.core.run.snapshot import (
    Capture,
    ConnectionQuery,
    Cursors,
    Exchange,
    LimiterStatistics,
    Payload,
    ProcessKey,
    ProcessUse,
    Resources,
    RoleSnapshot,
    RunState,
    ServerSide,
    Snapshot,
    Totals,
)
from sockscope.core.run.tasks import Cancelled, CancelOutcome
from sockscope.errors import SockscopeError, StateError

START_S = 1_000.0
STEP_S = 0.25
REQUESTS = 10
"""Requests in one step."""
SERVICE_S = 0.005
CAPTURES = 10_000
CLIENT_PORT = 51_000
"""The first client's port; the others follow."""

_LIVE = (RunState.RUNNING, RunState.PAUSED)
_SORTS: dict[str, Callable[[ConnectionView], Any]] = {
    "conn_id": lambda c: (c.state is ConnectionState.CLOSED, c.conn_id),
    "requests": lambda c: c.requests,
    "in": lambda c: c.bytes_in,
    "out": lambda c: c.bytes_out,
    "age": lambda c: c.age_s,
    "state": lambda c: c.state.value,
    "closed": lambda c: c.close_reason.value if c.close_reason else "",
    **{column: partial(tcp_figure, name=name) for column, name in TCP_COLUMNS.items()},
}


@dataclass
class Pair:
    """One connection, whose ends have the same number at both sides."""

    number: int
    opened_s: float
    exchanges: int = 0
    closed: dict[str, CloseReason] = field(default_factory=dict)
    """Why it was closed, by role; empty while it is open."""

    @property
    def client(self) -> str:
        """The client's address."""
        return f"127.0.0.1:{CLIENT_PORT + self.number}"


class FakeSource:
    """A :class:`~sockscope.core.run.source.RunSource` in which every request is answered after 5 ms.

    :meth:`advance` lets time pass. ``refusals`` are raised by the next calls of :meth:`apply`, one each, and
    ``start_error`` by :meth:`start`. What was asked of it can be read from ``holds``, ``queries`` and
    ``cancelled``.
    """

    def __init__(
        self, experiment: Experiment, *, is_live: bool = True, start_error: SockscopeError | None = None
    ) -> None:
        self.is_live = is_live
        self.lacking: frozenset[str] = frozenset()
        self.experiment = experiment.settled()
        self.tuning = self.experiment.tuning
        self.state = RunState.IDLE
        self.error = ""
        self.start_error = start_error
        self.refusals: list[Exception] = []
        self.edited = ""
        self.holds: list[bool] = []
        self.rests: list[bool] = []
        self.cancelled: list[tuple[ProcessKey, int]] = []
        self.queries: list[ConnectionQuery] = []
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.has_captures = True
        self.processes: tuple[ProcessUse, ...] = ()
        self.may_capture = asyncio.Event()
        self.may_capture.set()
        self.evicted: set[int] = set()
        self.time_s = START_S
        self.generation = 0
        self._finished = asyncio.Event()
        self._since_s = START_S
        self._totals = Totals()
        self._service = Histogram()
        self._lag = Histogram()
        self._cpu_s = 0.0
        self._log = EventLog(10_000)
        self._exchanges: Ring[Exchange] = Ring(CAPTURES)
        self._pairs: list[Pair] = []

    # The run.

    async def start(self) -> None:
        """Begin, with all clients connected."""
        if self.start_error is not None:
            raise self.start_error
        self.state = RunState.RUNNING
        self._note(EventKind.RUN, f"started: {self.tuning.transport.upper()} {self.address}")
        self._connect()

    async def stop(self, grace_s: float = 1.0) -> None:
        """End as soon as ``may_stop`` is set, or when there is no grace."""
        if grace_s:
            await self.may_stop.wait()
        if self.state is not RunState.FAILED:
            self.state = RunState.STOPPED
        for pair in self._open():
            self._close(pair, CloseReason.STOPPED)
        self._finished.set()

    async def reload(self) -> str:
        """Take up ``edited``, as a change of the run, unless there is a refusal."""
        if self.refusals:
            raise self.refusals.pop(0)
        if self.edited:
            self.generation += 1
            self._note(EventKind.TUNING, self.edited)
        return self.edited

    async def wait(self) -> None:
        """Return when the run is over."""
        await self._finished.wait()

    async def conclude(self) -> None:
        """Nothing is asked here."""

    async def settle(self) -> None:
        """Nothing is ever late here."""

    def run_out(self) -> None:
        """Let the run have lasted as long as it should."""
        self._finished.set()

    def fail(self, error: str) -> None:
        """Let the run fail."""
        self.state, self.error = RunState.FAILED, error
        self._note(EventKind.ERROR, error)
        self._finished.set()

    async def apply(self, tuning: Tuning) -> None:
        """Change to ``tuning`` in one step."""
        if not self.is_live or self.state not in _LIVE:
            raise StateError(self.state.value, "change the tuning")
        if self.refusals:
            raise self.refusals.pop(0)
        replace(self.experiment, tuning=tuning).validated()
        text = describe_change(self.tuning, tuning)
        self.tuning, self.generation = tuning, self.generation + 1
        self._note(EventKind.TUNING, text)
        self._connect()

    def go_wrong(self, role: str, conn_id: int, text: str) -> None:
        """Note a fault of a connection that stays open."""
        self._note(EventKind.ERROR, text, role, conn_id)

    def rest(self, resting: bool) -> None:
        """Stop measuring, or go on."""
        self.rests.append(resting)

    def pause(self) -> None:
        """Stop the traffic."""
        if self.state is RunState.RUNNING:
            self.state = RunState.PAUSED
            self._note(EventKind.RUN, "paused")

    def resume(self) -> None:
        """Let the traffic go on."""
        if self.state is RunState.PAUSED:
            self.state = RunState.RUNNING
            self._note(EventKind.RUN, "resumed")

    def mark(self, text: str) -> None:
        """Write a marker into the log."""
        self._check_live("set a marker")
        self._note(EventKind.MARKER, text)

    def stall(self) -> None:
        """Remember that it was asked for."""
        self._check_live("stall the server")
        self._note(EventKind.MARKER, "server stalled for 1.00 s")

    def clear(self) -> None:
        """Let the figures begin anew."""
        self._check_live("clear the figures")
        self._since_s, self._totals, self._cpu_s = self.time_s, Totals(), 0.0
        self._service, self._lag = Histogram(), Histogram()
        self._note(EventKind.RUN, "figures cleared")

    def hold(self, held: bool) -> None:
        """Remember that it was asked for."""
        self.holds.append(held)

    async def close_connection(self, role: str, conn_id: int) -> bool:
        """Close one end; its client comes back on another connection with the next step."""
        self._check_live("close a connection")
        for pair in self._open():
            if pair.number == conn_id:
                self._close(pair, CloseReason.CLOSED, by=role)
                return True
        return False

    async def cancel_task(self, process: ProcessKey, task: int) -> Cancelled:
        """Remember that it was asked for."""
        self._check_live("cancel a task")
        self.cancelled.append((process, task))
        return Cancelled(CancelOutcome.ENDED, f"task {task}", 0.001)

    async def capture(self, record_id: int) -> Capture | None:
        """Return an exchange whose answer is its request."""
        await self.may_capture.wait()
        exchange = self._exchanges.get(record_id)
        if exchange is None or not self.has_captures:
            return None
        pair = self._pairs[exchange.conn_id - 1]
        bytes_ = Payload(exchange.head, exchange.request_bytes)
        read_s = exchange.time_s + 0.0001
        return Capture(
            exchange,
            pair.client,
            self.address,
            self.tuning.transport,
            self.tuning.framing,
            bytes_,
            bytes_,
            ServerSide(pair.number, read_s, read_s + SERVICE_S / 2, bytes_),
        )

    def _check_live(self, operation: str) -> None:
        if not self.is_live:
            raise StateError("replayed", operation)

    # Time.

    def advance(self, steps: int = 1, requests: int = REQUESTS) -> None:
        """Let so many quarters of a second pass, each with so many requests if the run goes on."""
        for _ in range(steps):
            self.time_s += STEP_S
            self._lag.add_all((0.001, 0.002))
            self._cpu_s += 0.1 * STEP_S
            if self.state is RunState.RUNNING:
                self._connect()
                self._ask(requests)

    def _ask(self, requests: int) -> None:
        pairs = self._open()
        size = self.tuning.wire_bytes
        for number in range(requests):
            pair = pairs[number % len(pairs)]
            pair.exchanges += 1
            begin_s = self.time_s - STEP_S + number * STEP_S / (requests + 1)
            head = b"\x00\x00\x00@client [b]\x1b[1m"
            self._exchanges.append(
                Exchange(self._exchanges.count, begin_s, pair.number, size, size, SERVICE_S, "ok", head)
            )
        self._service.add_all([SERVICE_S] * requests)
        datagrams = requests if self.tuning.transport == "udp" else 0
        self._count(
            requests=requests, requests_due=requests, responses=requests, reads=requests, writes=requests,
            bytes_in=size * requests, bytes_out=size * requests, response_bytes=size * requests,
            datagrams_sent=datagrams, datagrams_received=datagrams,
        )  # fmt: skip

    def _count(self, **counts: int) -> None:
        self._totals = total([self._totals, Totals(**counts)])

    # Connections.

    def _open(self) -> list[Pair]:
        return [pair for pair in self._pairs if not pair.closed]

    def _connect(self) -> None:
        """Open as many connections as there are clients, or retire some."""
        missing = self.tuning.clients - len(self._open())
        for _ in range(missing):
            pair = Pair(len(self._pairs) + 1, self.time_s)
            self._pairs.append(pair)
            self._count(connections_opened=1)
            for role in (SWARM, SERVER):
                self._note(EventKind.OPEN, "", role, pair.number, pair.client)
        for pair in self._open()[self.tuning.clients :]:
            self._close(pair, CloseReason.RETIRED, by=SWARM)

    def _close(self, pair: Pair, reason: CloseReason, by: str = SERVER) -> None:
        for role in (SERVER, SWARM):
            why = reason if role == by else CloseReason.EOF
            pair.closed[role] = why
            self._note(EventKind.CLOSE, "", role, pair.number, pair.client, why)

    def _views(self, role: str, query: ConnectionQuery) -> tuple[tuple[ConnectionView, ...], int]:
        """Return the connections that ``query`` is interested in, and how many match it altogether."""
        self.queries.append(query)
        views = [self._view(role, pair) for pair in self._pairs if pair.number not in self.evicted]
        matching = [view for view in views if query.text in _searchable(view)]
        matching.sort(key=_SORTS[query.sort], reverse=query.reverse)
        return tuple(matching[: query.limit]), len(matching)

    def _view(self, role: str, pair: Pair) -> ConnectionView:
        ends = (self.address, pair.client) if role == SERVER else (pair.client, self.address)
        size = pair.exchanges * self.tuning.wire_bytes
        return ConnectionView(
            role, pair.number, *ends,
            state=ConnectionState.CLOSED if pair.closed else ConnectionState.OPEN,
            age_s=self.time_s - pair.opened_s,
            requests=pair.exchanges, responses=pair.exchanges, bytes_in=size, bytes_out=size,
            reads=pair.exchanges, writes=pair.exchanges,
            close_reason=pair.closed.get(role),
            tcp=None if pair.closed else TcpInfo(rtt_s=41e-6),
        )  # fmt: skip

    # What is read.

    @property
    def address(self) -> str:
        """Where the server listens."""
        return f"{'127.0.0.1' if self.tuning.family == 'ipv4' else '[::1]'}:40213"

    def snapshot(self, cursors: Cursors | None = None) -> Snapshot:
        """Return this moment, which a test has made."""
        if self.state is RunState.IDLE:
            raise StateError(self.state.value, "take a snapshot")
        cursors = cursors or Cursors(most_events=0, most_exchanges=0)
        page = self._log.since(cursors.events, cursors.most_events)
        return Snapshot(
            time_s=self.time_s,
            started_s=START_S,
            measured_since_s=self._since_s,
            state=self.state,
            experiment=self.experiment,
            tuning=self.tuning,
            generation=self.generation,
            loop_name=self.experiment.loop,
            roles={
                name: self._role(name, cursors)
                for name in (SERVER, SWARM)
                if self.experiment.role in ("both", name)
            },
            resources=self._resources(),
            processes=self.processes,
            events=tuple(page.items),
            events_missed=page.missed,
            events_cursor=page.cursor,
            error=self.error,
        )

    def _role(self, role: str, cursors: Cursors) -> RoleSnapshot:
        tuning, query = self.tuning, cursors.connections
        views, matching = self._views(role, query) if query is not None and query.role == role else ((), 0)
        page = self._exchanges.since(cursors.exchanges, cursors.most_exchanges)
        in_flight = min(tuning.clients, tuning.permits or tuning.clients)
        common: dict[str, Any] = {
            "transport": tuning.transport, "address": self.address, "totals": self._totals,
            "connections_open": len(self._open()), "connections": views, "connections_matching": matching,
        }  # fmt: skip
        if role == SERVER and self.experiment.role != SERVER:
            return RoleSnapshot(role, **common)
        return RoleSnapshot(
            role,
            **common,
            clients=tuning.clients if role == SWARM else 0,
            client_samples=(self._client_sample(in_flight),) if cursors.clients and role == SWARM else (),
            in_flight=in_flight if self.state is RunState.RUNNING else 0,
            limiter=LimiterStatistics(tuning.permits, in_flight, tuning.clients - in_flight),
            service_time=self._service.copy(),
            response_time=self._service.copy(),
            exchanges=tuple(page.items),
            exchanges_cursor=page.cursor,
            captures_recorded=self._exchanges.count,
            captures_overwritten=self._exchanges.oldest,
        )

    def _client_sample(self, in_flight: int) -> ClientSample:
        """Return the clients: so many in flight, the others waiting; idle in a pause."""
        count = self.tuning.clients
        states = [Doing.IN_FLIGHT] * in_flight + [Doing.WAITING] * (count - in_flight)
        if self.state is not RunState.RUNNING:
            states = [Doing.IDLE] * count
        return ClientSample(self.time_s, range(1, count + 1), bytes(states))

    def _resources(self) -> Resources:
        return Resources(
            cpu_s=self._cpu_s,
            rss_bytes=64_000_000,
            descriptors=20,
            descriptor_limit=1_024,
            voluntary_switches=7,
            involuntary_switches=3,
            loop_lag=self._lag.copy(),
            kernel_udp=None,
            time_s=self.time_s,
            since_s=self._since_s,
        )

    def _note(
        self,
        kind: EventKind,
        text: str,
        role: str = "run",
        conn_id: int = 0,
        address: str = "",
        reason: CloseReason | None = None,
    ) -> None:
        event = Event(self.time_s, kind, role, conn_id, address, reason, text, self.generation)
        self._log.extend([event])


def _searchable(view: ConnectionView) -> str:
    ends = f"{view.remote_address} {view.local_address}"
    return f"{numbered(view.role, view.conn_id)} {ends} {view.state.value}".lower()
