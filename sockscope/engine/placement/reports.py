"""What the hosts of a role report of it, kept here for readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import is_
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

from sockscope.core.events import Event
from sockscope.core.run.merging import lost, merged
from sockscope.core.run.snapshot import ConnectionQuery, Cursors, Exchange, RoleSnapshot, Totals
from sockscope.engine.captures import CAPTURES
from sockscope.engine.placement.clock import snapshot_later
from sockscope.engine.placement.hosts.host import Host
from sockscope.engine.placement.sparse_ring import SparseRing
from sockscope.engine.recorder import EVENTS

INTEREST_S = 1.0
"""What a reader asked for is fetched for it this long, though it asks for less in between."""

T = TypeVar("T")


class Interest(Generic[T]):
    """What readers ask for of the next reports: the newest that is not nothing, for a while."""

    def __init__(self, nothing: T) -> None:
        self._nothing = self._asked = nothing
        self._until_s = 0.0

    def note(self, asked: T) -> None:
        """Note what a reader asks for; asking for nothing does not withdraw an earlier request."""
        if asked != self._nothing:
            self._asked, self._until_s = asked, perf_counter() + INTEREST_S

    def now(self) -> T:
        """Return what is asked for at this moment."""
        return self._asked if perf_counter() < self._until_s else self._nothing


class Part:
    """The part of a role that runs in one host: its newest snapshot, and how far it has been read."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.snapshot: RoleSnapshot | None = None
        self._is_lost = False
        self.events_cursor = 0
        self.exchanges_cursor = 0

    def now(self) -> RoleSnapshot:
        """Return its newest snapshot, which there is; of a process that is dead it is the last."""
        assert self.snapshot is not None
        if not (self.host.alive or self._is_lost):
            self.snapshot, self._is_lost = lost(self.snapshot), True
        return self.snapshot


class _Together(NamedTuple):
    """Parts of a role, and what they are together as one reader wants it."""

    parts: list[RoleSnapshot]
    query: ConnectionQuery | None
    whole: RoleSnapshot


def _same(parts: Sequence[RoleSnapshot], others: Sequence[RoleSnapshot]) -> bool:
    return len(parts) == len(others) and all(map(is_, parts, others))


class Reports:
    """The reports about one role from all of its hosts, as one snapshot.

    It is at most a tenth of a second old while the hosts answer and somebody reads.
    """

    def __init__(self, role: str, hosts: Sequence[Host]) -> None:
        self._role = role
        self._parts = [Part(host) for host in hosts]
        self._events: SparseRing[Event] = SparseRing(EVENTS)
        self._exchanges: SparseRing[tuple[Part, Exchange]] = SparseRing(CAPTURES)
        self._held: SparseRing[tuple[Part, Exchange]] | None = None
        self._events_interest = Interest(0)
        self._exchanges_interest = Interest(0)
        self._connections_interest: Interest[ConnectionQuery | None] = Interest(None)
        self._clients_interest = Interest((False, True))
        self._all_events = False
        self._together: _Together | None = None

    def begin(self, first_record: int) -> None:
        """Ask the hosts for reports from now on; the first exchange gets the number ``first_record``."""
        self._exchanges = SparseRing(CAPTURES, first_record)
        for part in self._parts:
            part.host.attend(self._role, partial(self._cursors_of, part), partial(self._take, part))

    def take_all_events(self) -> None:
        """Fetch every event from now on: the role is about to end, and a reader may still come."""
        self._all_events = True

    def _cursors_of(self, part: Part) -> Cursors:
        """Return what the next report of a host is to contain of this role."""
        clients, ends = self._clients_interest.now()
        return Cursors(
            events=part.events_cursor,
            exchanges=part.exchanges_cursor,
            most_events=self._of_each(EVENTS if self._all_events else self._events_interest.now(), EVENTS),
            most_exchanges=self._of_each(self._exchanges_interest.now(), CAPTURES),
            connections=self._connections_interest.now(),
            clients=clients,
            ends=ends,
        )

    def _of_each(self, most: int, kept: int) -> int:
        """How many of what is ``kept`` here each host is asked for: together twice that at most."""
        return min(most, kept, max(2 * kept // len(self._parts), 1))

    def _take(self, part: Part, asked: Cursors, reported: RoleSnapshot) -> None:
        """Keep what a host reported; what nobody asked to read can still be fetched later."""
        taken = snapshot_later(reported, part.host.clock_offset_s)
        if asked.most_events:
            self._events.extend(taken.events, taken.events_missed)
            part.events_cursor = taken.events_cursor
        if asked.most_exchanges:
            self._exchanges.extend([(part, exchange) for exchange in taken.exchanges], taken.exchanges_missed)
            part.exchanges_cursor = taken.exchanges_cursor
        part.snapshot = replace(taken, events=(), events_missed=0, exchanges=(), exchanges_missed=0)

    def snapshot(self, cursors: Cursors) -> RoleSnapshot:
        """Return what the hosts reported last, as one; ask them for what this reader is interested in."""
        for part in self._parts:
            part.host.note_reader()
        self._events_interest.note(cursors.most_events)
        self._exchanges_interest.note(cursors.most_exchanges)
        if cursors.connections is not None and cursors.connections.role == self._role:
            self._connections_interest.note(cursors.connections)
        self._clients_interest.note((cursors.clients, cursors.ends))
        reported = [part.now() for part in self._parts if part.snapshot is not None]
        if not reported:
            return RoleSnapshot(self._role, "", "", Totals(), 0, time_s=perf_counter())
        events = self._events.since(cursors.events, cursors.most_events)
        exchanges = self._exchanges.since(cursors.exchanges, cursors.most_exchanges)
        times = [part.snapshot.time_s for part in self._parts if part.snapshot and part.host.alive]
        return replace(
            self._merged(reported, cursors.connections),
            time_s=sum(times) / len(times) if times else max(snapshot.time_s for snapshot in reported),
            events=tuple(event for _, event in events.items),
            events_missed=events.missed,
            events_cursor=events.cursor,
            exchanges=tuple(item[1]._replace(record_id=number) for number, item in exchanges.items),
            exchanges_missed=exchanges.missed,
            exchanges_cursor=exchanges.cursor,
        )

    def _merged(self, parts: list[RoleSnapshot], query: ConnectionQuery | None) -> RoleSnapshot:
        """Return parts as one: of many hosts most have told nothing new since the last picture."""
        known = self._together
        if known is None or known.query != query or not _same(known.parts, parts):
            known = self._together = _Together(parts, query, merged(parts, query))
        return known.whole

    def part_of(self, host: Host) -> RoleSnapshot | None:
        """Return what a host reported last of its part of the role."""
        return next((part.now() for part in self._parts if part.snapshot and part.host is host), None)

    def hold(self, held: bool) -> None:
        """Keep the list of exchanges of this moment, or let it go."""
        if not held:
            self._held = None
        elif self._held is None:
            self._held = self._exchanges.copy()

    def find(self, record_id: int) -> tuple[Host, Exchange] | None:
        """Return which host has an exchange, and the exchange as it numbers it; None when it is gone."""
        found = (self._held or self._exchanges).get(record_id)
        return (found[0].host, found[1]) if found is not None else None
