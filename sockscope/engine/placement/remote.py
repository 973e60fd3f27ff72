"""A role that is played in child processes, one or several: the same calls, carried over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, Generic, TypeVar

from sockscope.core.config.division import part
from sockscope.core.connection import Address
from sockscope.core.events import CloseReason, Event
from sockscope.core.run.merging import merged
from sockscope.core.run.snapshot import (
    Capture,
    ConnectionQuery,
    Cursors,
    Exchange,
    RoleSnapshot,
    ServerSide,
    Totals,
)
from sockscope.engine.placement.layout import busy_of, share_of
from sockscope.engine.placement.process import ANSWER_S, SILENT_S, START_S, ChildProcess
from sockscope.engine.placement.sparse_ring import SparseRing
from sockscope.engine.recorder import CAPTURES, EVENTS
from sockscope.engine.role import WHOLE, Assignment, Share
from sockscope.errors import EngineError

STOP_S = 2.0
"""How much longer than its grace a role may take to stop, before its process is killed."""
WISH_S = 1.0
"""What a reader asked for is fetched for it this long, though it asks for less in between."""

T = TypeVar("T")


class Wish(Generic[T]):
    """What readers want of the next reports: the newest that is not nothing, for a while."""

    def __init__(self, nothing: T) -> None:
        self._nothing = self._wanted = nothing
        self._until_s = 0.0

    def note(self, wanted: T) -> None:
        """A reader wants this; to want nothing is not to take back what was wanted."""
        if wanted != self._nothing:
            self._wanted, self._until_s = wanted, perf_counter() + WISH_S

    def now(self) -> T:
        """Return what is wanted."""
        return self._wanted if perf_counter() < self._until_s else self._nothing


class Seat:
    """One role in one child: what it told last, and how far it has been read."""

    def __init__(self, process: ChildProcess) -> None:
        self.process = process
        self.snapshot: RoleSnapshot | None = None
        self.events_cursor = 0
        self.exchanges_cursor = 0


class RemoteRole:
    """A server or a swarm in the given processes, each of which plays its share of it.

    Snapshots are the newest that came, and at most a tenth of a second old while the processes answer. What
    one of several processes counts is added up.
    """

    def __init__(self, name: str, processes: Sequence[ChildProcess]) -> None:
        self._name = name
        self._seats = [Seat(process) for process in processes]
        self._assignment: Assignment | None = None
        self._address: Address = ("", 0)
        self._events: SparseRing[Event] = SparseRing(EVENTS)
        self._exchanges: SparseRing[tuple[Seat, Exchange]] = SparseRing(CAPTURES)
        self._held: SparseRing[tuple[Seat, Exchange]] | None = None
        self._wished_events = Wish(0)
        self._wished_exchanges = Wish(0)
        self._wished_connections: Wish[ConnectionQuery | None] = Wish(None)
        self._all_events = False

    @property
    def processes(self) -> list[ChildProcess]:
        """Where the role is played."""
        return [seat.process for seat in self._seats]

    @property
    def intact(self) -> bool:
        """Whether all of the processes still play it."""
        return all(process.alive for process in self.processes)

    # Control.

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Begin in every process; the first server gets the port, the others share it with SO_REUSEPORT."""
        self._exchanges = SparseRing(CAPTURES, share.first_record)
        shares = self._shares(assignment, share)
        address = await self._spread(assignment, "start", shares, START_S)
        self._assignment, self._address = assignment, address
        for seat in self._seats:
            seat.process.attend(self._name, partial(self._wanted, seat), partial(self._take, seat))
        await self.refresh()
        return address

    def _shares(self, assignment: Assignment, share: Share) -> list[Share]:
        of = len(self._seats)
        # A process without clients has no use for a part of the budget.
        busy = busy_of(assignment.tuning, of)
        budgets = [None if share.budget is None else part(share.budget, index, busy) for index in range(of)]
        first_turn = -(-share.first_turn // of)
        return [Share(index, of, first_turn, budget=budgets[index]) for index in range(of)]

    async def apply(self, assignment: Assignment) -> Address:
        """Go over to another assignment in every process; in none of them if one cannot."""
        before = self._assignment
        assert before is not None
        try:
            address = await self._spread(assignment, "apply", None, ANSWER_S)
        except EngineError:
            await self._spread_back(before)
            raise
        self._assignment, self._address = assignment, address
        await self.refresh()
        return address

    async def _spread(
        self, assignment: Assignment, method: str, shares: list[Share] | None, within_s: float
    ) -> Address:
        """Call ``start`` or ``apply`` in each process with its part; return the address."""
        of = len(self._seats)

        async def ask(index: int, address: Address) -> Address:
            tuning = share_of(self._name, assignment.tuning, index, of)
            arguments = [replace(assignment, tuning=tuning, address=address)]
            process = self._seats[index].process
            rest = [shares[index]] if shares is not None else []
            found: Address = await process.ask(self._name, method, *arguments, *rest, within_s=within_s)
            return found

        address = await ask(0, assignment.address)
        rest_at = address if self._name == "server" else assignment.address
        await _all(ask(index, rest_at) for index in range(1, of))
        return address

    async def _spread_back(self, before: Assignment) -> None:
        """Return to the assignment before, also in processes that have yet to go over to the other."""
        before = replace(before, address=self._address)
        with contextlib.suppress(EngineError):
            await self._spread(before, "apply", None, ANSWER_S)

    def pause(self, paused: bool) -> None:
        """Stop or resume making requests."""
        for process in self.processes:
            process.tell(self._name, "pause", paused)

    def refill(self, requests: int) -> None:
        """Make so many more requests; each process with clients makes its part."""
        assert self._assignment is not None
        of = busy_of(self._assignment.tuning, len(self._seats))
        for index, process in enumerate(self.processes):
            process.refill(self._name, part(requests, index, of))

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment, or let them go."""
        if not held:
            self._held = None
        elif self._held is None:
            self._held = self._exchanges.copy()
        for process in self.processes:
            process.tell(self._name, "hold", held)

    async def drain(self, grace_s: float) -> None:
        """Let every server accept nobody new and serve who is here, for ``grace_s`` at the longest."""
        await _all(
            process.ask(self._name, "drain", grace_s, within_s=grace_s + ANSWER_S)
            for process in self.processes
            if process.alive
        )

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Stop in every process, take what was counted to the end, and let the processes end."""
        self._all_events = True
        await asyncio.gather(*(self._stop(seat.process, grace_s, reason) for seat in self._seats))

    async def _stop(self, process: ChildProcess, grace_s: float, reason: CloseReason) -> None:
        try:
            if process.alive:
                await process.ask(self._name, "stop", grace_s, reason, within_s=grace_s + STOP_S)
                await process.refresh()
        except EngineError as error:
            # It is ended all the same, and what it told before stays; but that may not be all.
            process.on_trouble(f"{error}; what it counted last is not known", False)
            process.kill()
        # Not when it is cancelled: whoever stops it again hears what it counted.
        await process.release(self._name)

    # Readings.

    @property
    def exhausted(self) -> bool:
        """Whether every process has made its part of the requests."""
        return self._name == "swarm" and all(process.exhausted for process in self.processes)

    async def refresh(self) -> None:
        """Wait for a report of this moment from each process that answers."""
        await asyncio.gather(*(process.refresh() for process in self.processes))

    def _wanted(self, seat: Seat) -> Cursors:
        """Return what the next report of a process is to tell of this role."""
        return Cursors(
            events=seat.events_cursor,
            exchanges=seat.exchanges_cursor,
            most_events=EVENTS if self._all_events else min(self._wished_events.now(), EVENTS),
            most_exchanges=min(self._wished_exchanges.now(), CAPTURES),
            connections=self._wished_connections.now(),
        )

    def _take(self, seat: Seat, asked: Cursors, taken: RoleSnapshot) -> None:
        """Keep what a process told; what nobody wanted to read can still be fetched later."""
        if asked.most_events:
            self._events.extend(taken.events, taken.events_missed)
            seat.events_cursor = taken.events_cursor
        if asked.most_exchanges:
            self._exchanges.extend([(seat, exchange) for exchange in taken.exchanges], taken.exchanges_missed)
            seat.exchanges_cursor = taken.exchanges_cursor
        seat.snapshot = replace(taken, events=(), events_missed=0, exchanges=(), exchanges_missed=0)

    def snapshot(self, cursors: Cursors) -> RoleSnapshot:
        """Return what the processes told last, as one; ask them for what this reader wants."""
        for process in self.processes:
            process.note_reader()
        self._wished_events.note(cursors.most_events)
        self._wished_exchanges.note(cursors.most_exchanges)
        if cursors.connections is not None and cursors.connections.role == self._name:
            self._wished_connections.note(cursors.connections)
        told = [seat.snapshot for seat in self._seats if seat.snapshot is not None]
        if not told:
            return RoleSnapshot(self._name, "", "", Totals(), 0, time_s=perf_counter())
        events = self._events.since(cursors.events, cursors.most_events)
        exchanges = self._exchanges.since(cursors.exchanges, cursors.most_exchanges)
        times = [seat.snapshot.time_s for seat in self._seats if seat.snapshot and seat.process.alive]
        return replace(
            merged(told, cursors.connections),
            time_s=sum(times) / len(times) if times else max(snapshot.time_s for snapshot in told),
            events=tuple(event for _, event in events.items),
            events_missed=events.missed,
            events_cursor=events.cursor,
            exchanges=tuple(item[1]._replace(record_id=number) for number, item in exchanges.items),
            exchanges_missed=exchanges.missed,
            exchanges_cursor=exchanges.cursor,
        )

    # Looking closer. Who looks can do without an answer: a process that is busy has none for now.

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes, or None when it is gone or its process does not answer."""
        found = (self._held or self._exchanges).get(record_id)
        if found is None:
            return None
        seat, exchange = found
        capture: Capture | None = await self._look(seat.process, "capture", exchange.record_id)
        return replace(capture, exchange=exchange._replace(record_id=record_id)) if capture else None

    async def find_answer(self, seen_by_client: Capture) -> ServerSide | None:
        """Return the server's side of an exchange; whichever process served it knows."""
        asked = (self._look(process, "find_answer", seen_by_client) for process in self.processes)
        found: list[ServerSide | None] = await asyncio.gather(*asked)
        return next((side for side in found if side is not None), None)

    async def close_connection(self, conn_id: int) -> bool:
        """Close one connection, in the process that its number tells."""
        process = self.processes[(conn_id - 1) % len(self._seats)]
        return bool(await self._look(process, "close_connection", conn_id))

    async def _look(self, process: ChildProcess, method: str, argument: object) -> Any:
        try:
            return await process.ask(self._name, method, argument, within_s=SILENT_S)
        except EngineError:
            return None


async def _all(calls: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Wait for all of ``calls``; then raise what the first that failed raised."""
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
