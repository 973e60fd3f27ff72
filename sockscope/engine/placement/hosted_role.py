"""A role in its hosts: calls are carried to each of them, with its part of what is to be done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sockscope.core.addresses import Address
from sockscope.core.arrivals import Turn
from sockscope.core.config.division import busy_processes, divided, part
from sockscope.core.events import CloseReason
from sockscope.core.run.lens import Hold
from sockscope.core.run.snapshot import (
    Capture,
    Cursors,
    PartUse,
    ProcessUse,
    Relayed,
    RoleSnapshot,
    ServerSide,
)
from sockscope.engine.placement.clock import answer_later, capture_later, hold_later
from sockscope.engine.placement.hosts.host import ANSWER_S, SILENT_S, START_S, Host, TroubleHandler
from sockscope.engine.placement.reports import Reports
from sockscope.engine.role import WHOLE, Assignment, Role, Share
from sockscope.engine.roles import RoleKind
from sockscope.errors import EngineError

STOP_S = 2.0
"""How much longer than its grace a role may take to stop, before its host is killed."""


class HostedRole(Role):
    """A role in the given hosts, each of which runs its share of it. The calls are those of ``Role``.

    On this loop its snapshots are of the very moment. From elsewhere they are the newest that were reported,
    and what one of several hosts counts is added up.
    """

    def __init__(self, kind: RoleKind, hosts: Sequence[Host], on_trouble: TroubleHandler) -> None:
        self.hosts = hosts
        self.first_record = 0
        """Number of the first exchange that it may have recorded."""
        self._kind = kind
        self._name = kind.name
        self._on_trouble = on_trouble
        self._local = hosts[0].local(kind.name)
        self._reports = Reports(kind.name, hosts)
        self._in_force: Assignment | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it has begun in every host."""
        return self._in_force is not None

    @property
    def in_force(self) -> Assignment:
        """The assignment that it was started with or went over to last, at the address that it has."""
        assert self._in_force is not None
        return self._in_force

    # Control.

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Begin in every host; of a role that listens the first host gets the port, the others share it."""
        address = await self._spread(assignment, "start", self._shares(assignment, share), START_S)
        self._take_over(assignment, address)
        self.first_record = share.first_record
        self._reports.begin(share.first_record)
        await self.refresh()
        return address

    def _shares(self, assignment: Assignment, share: Share) -> list[Share]:
        if self._local is not None:
            return [share]
        of = len(self.hosts)
        # A process without clients has no use for a part of the budget.
        busy = busy_processes(assignment.tuning, of, self._name)
        budgets = [None if share.budget is None else part(share.budget, index, busy) for index in range(of)]
        first_turn = -(-share.first_turn // of)
        return [Share(index, of, first_turn, budget=budgets[index]) for index in range(of)]

    async def apply(self, assignment: Assignment) -> Address:
        """Go over to another assignment in every host; in none of them if one cannot."""
        try:
            address = await self._spread(assignment, "apply", None, ANSWER_S)
        except EngineError:
            # Also in hosts that have yet to go over to the other.
            with contextlib.suppress(EngineError):
                await self._spread(self.in_force, "apply", None, ANSWER_S)
            raise
        self._take_over(assignment, address)
        await self.refresh()
        return address

    async def reload(self, number: int) -> str:
        """Read the user's own code anew in every host; return what was edited."""
        edited = await all_of(host.ask(self._name, "reload", number, within_s=START_S) for host in self.hosts)
        return next(filter(None, edited), "")

    def _take_over(self, assignment: Assignment, address: Address) -> None:
        self._in_force = assignment if self._kind.aimed else replace(assignment, address=address)

    async def _spread(
        self, assignment: Assignment, method: str, shares: list[Share] | None, within_s: float
    ) -> Address:
        """Call ``start`` or ``apply`` in each host with its part; return the address."""
        of = len(self.hosts)
        busy = busy_processes(assignment.tuning, of, self._name)

        async def ask(index: int, address: Address) -> Address:
            tuning = divided(assignment.tuning, self._name, index, of)
            arguments = [replace(assignment, tuning=tuning, address=address, turn=Turn(index, busy))]
            rest = [shares[index]] if shares is not None else []
            host = self.hosts[index]
            found: Address = await host.ask(self._name, method, *arguments, *rest, within_s=within_s)
            return found

        address = await ask(0, assignment.address)
        rest_at = assignment.address if self._kind.aimed else address
        await all_of(ask(index, rest_at) for index in range(1, of))
        return address

    def pause(self, paused: bool) -> None:
        """Stop or resume making requests."""
        self._tell("pause", paused)

    async def hold_connecting(self, held: bool) -> None:
        """Begin no connections, in any host, or go on with them; raises EngineError."""
        await all_of(host.ask(self._name, "hold_connecting", held, within_s=ANSWER_S) for host in self.hosts)

    def refill(self, requests: int) -> None:
        """Make so many more requests; each host with clients makes its part."""
        of = busy_processes(self.in_force.tuning, len(self.hosts), self._name)
        for index, host in enumerate(self.hosts):
            host.tell(self._name, "refill", part(requests, index, of))

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment, or let them go."""
        self._reports.hold(held)
        self._tell("hold", held)

    def stall(self, seconds: float) -> None:
        """Stand still in every host."""
        self._tell("stall", seconds)

    def _tell(self, method: str, argument: object) -> None:
        for host in self.hosts:
            host.tell(self._name, method, argument)

    async def drain(self, grace_s: float) -> None:
        """Stop accepting in every host and serve what is connected, for ``grace_s`` at the longest."""
        await all_of(
            host.ask(self._name, "drain", grace_s, within_s=grace_s + ANSWER_S)
            for host in self.hosts
            if host.alive
        )

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Stop in every host, take what was counted to the end, and let the hosts end."""
        self._reports.take_all_events()
        await asyncio.gather(*(self._stop(host, grace_s, reason) for host in self.hosts))

    async def _stop(self, host: Host, grace_s: float, reason: CloseReason) -> None:
        try:
            if host.alive:
                await host.ask(self._name, "stop", grace_s, reason, within_s=grace_s + STOP_S)
                await host.refresh()
        except EngineError as error:
            # It is ended all the same, and what it reported before stays; but that may not be all.
            self._on_trouble(f"{error}; what it counted last is not known", False)
            host.kill()
        # Not when it is cancelled: whoever stops it again hears what it counted.
        await host.release(self._name)

    # Readings.

    @property
    def exhausted(self) -> bool:
        """Whether every host has made its part of the requests."""
        return all(host.exhausted(self._name) for host in self.hosts)

    async def refresh(self) -> None:
        """Wait for a report of this moment from each host that answers."""
        if self._local is None:
            await asyncio.gather(*(host.refresh() for host in self.hosts))

    def snapshot(self, cursors: Cursors) -> RoleSnapshot:
        """Return the figures of this moment, or those that were reported last."""
        return (self._local or self._reports).snapshot(cursors)

    def use(self, host: Host) -> ProcessUse | None:
        """Return what the process of a host uses, and what it has of the clients."""
        use, reported = host.use(), self._reports.part_of(host) if self._kind.generates else None
        if use is None or reported is None:
            return use
        part = PartUse(
            reported.totals.responses, reported.service_time, reported.unanswered, reported.awaited
        )
        return replace(use, part=part)

    # Looking closer. Who looks can do without an answer: a host that is busy has none for now.

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes, or None when it is gone or its host does not answer."""
        if self._local is not None:
            return await self._local.capture(record_id)
        found = self._reports.find(record_id)
        if found is None:
            return None
        host, exchange = found
        capture: Capture | None = await self._look(host, "capture", exchange.record_id)
        if capture is None:
            return None
        exchange = exchange._replace(record_id=record_id)
        return replace(capture, exchange=exchange, clock_error_s=host.clock_error_s)

    async def find_answer(self, seen_by_client: Capture) -> ServerSide | None:
        """Return the answering side of an exchange; whichever host served it knows."""

        async def look(host: Host) -> ServerSide | None:
            offset_s = host.clock_offset_s
            seen = capture_later(seen_by_client, -offset_s)
            side: ServerSide | None = await self._look(host, "find_answer", seen)
            if side is None:
                return None
            return replace(answer_later(side, offset_s), clock_error_s=host.clock_error_s)

        found = await asyncio.gather(*(look(host) for host in self.hosts))
        return next((side for side in found if side is not None), None)

    async def find_relayed(self, seen_by_client: Capture) -> Relayed | None:
        """Return the connection that an exchange went through, in whichever host it is."""
        seen = [capture_later(seen_by_client, -host.clock_offset_s) for host in self.hosts]
        looks = (self._look(host, "find_relayed", one) for host, one in zip(self.hosts, seen, strict=True))
        found: list[Relayed | None] = await asyncio.gather(*looks)
        return next(filter(None, found), None)

    async def count_held_up(self, hold: Hold) -> int:
        """Return how many exchanges waited for the end of a hold, wherever they were made."""
        holds = [hold_later(hold, -host.clock_offset_s) for host in self.hosts]
        looks = (self._look(host, "count_held_up", one) for host, one in zip(self.hosts, holds, strict=True))
        counts = await asyncio.gather(*looks)
        return sum(filter(None, counts))

    async def close_connection(self, conn_id: int) -> bool:
        """Close one connection, in the host that its number tells."""
        host = self.hosts[(conn_id - 1) % len(self.hosts)]
        return bool(await self._look(host, "close_connection", conn_id))

    async def _look(self, host: Host, method: str, argument: object) -> Any:
        try:
            return await host.ask(self._name, method, argument, within_s=SILENT_S)
        except EngineError:
            return None


async def all_of(calls: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Wait for all of ``calls`` and return what they return; raise what the first that failed raised."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes
