"""A role through the whole run, wherever it runs: what it counted before, and hosts yet to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sockscope.core.events import CloseReason, Event
from sockscope.core.run.merging import leaving, merged, past
from sockscope.core.run.snapshot import Cursors, RoleSnapshot
from sockscope.engine.placement.hosted_role import HostedRole
from sockscope.engine.placement.hosts.host import Host
from sockscope.engine.placement.layout import Place
from sockscope.engine.recorder import EVENTS
from sockscope.engine.role import Share
from sockscope.engine.roles import RoleKind

MOST_NEW_CONNECTIONS = 1_000
"""Connections that the old place may still get while the new one begins, besides two for each client."""
NOTHING = Cursors(most_events=0, most_exchanges=0)


class PlacedRole:
    """One role of a run: the place and the hosts it has now, and what it has counted in earlier ones.

    Some roles come and go while the run goes on: :attr:`present` tells whether it is there now.
    """

    def __init__(self, kind: RoleKind, paused: bool = False) -> None:
        self.kind = kind
        self.place: Place | None = None
        self.paused = paused
        self._role: HostedRole | None = None
        self._quiet = False
        self._retiring: list[HostedRole] = []
        self._past: RoleSnapshot | None = None
        self._ready_s = 0.0
        self._events_cursors: dict[HostedRole, int] = {}
        self._unread: list[Event] = []
        self._unread_missed = 0

    @property
    def present(self) -> bool:
        """Whether it is there at the moment."""
        return self._role is not None

    @property
    def known(self) -> bool:
        """Whether it is there, or has been."""
        return self.present or bool(self._retiring) or self._past is not None

    @property
    def role(self) -> HostedRole:
        """The role where it runs now; only while it is present."""
        assert self._role is not None
        return self._role

    @property
    def intact(self) -> bool:
        """Whether all of its hosts are there."""
        return all(host.alive for host in self.role.hosts)

    @property
    def retiring(self) -> Sequence[HostedRole]:
        """What has handed over and has not ended yet."""
        return self._retiring

    @property
    def hosted(self) -> Sequence[HostedRole]:
        """The role where it runs now, and wherever it is about to end."""
        return [*([self._role] if self._role is not None else []), *self._retiring]

    def hosts(self) -> list[Host]:
        """Return the hosts of all of these."""
        return [host for role in self.hosted for host in role.hosts]

    def pause(self, paused: bool) -> None:
        """Stop or resume making requests, here and wherever it runs later."""
        self.paused = paused
        if self._role is not None:
            self._role.pause(paused or self._quiet)

    def be_quiet(self, quiet: bool) -> None:
        """Make no requests until it is handed over, or no longer, whether the run is paused or not."""
        self._quiet = quiet
        self.role.pause(self.paused or quiet)

    # Going over to another place.

    def share_after(self, clients: int, budget: int | None) -> Share:
        """Return where a successor goes on to count; ``clients`` may still be connecting here."""
        if not self.known:
            return Share(budget=budget)
        now = self.snapshot(NOTHING)
        first_record = self._role.first_record if self._role is not None else 0
        return Share(
            first_turn=now.last_conn_id + 2 * clients + MOST_NEW_CONNECTIONS,
            first_record=max(now.exchanges_cursor, first_record),
            budget=budget,
        )

    def take(self, role: HostedRole, place: Place) -> HostedRole | None:
        """Go on as ``role`` from now on; return the one before, if any, which is to be retired."""
        before = self.leave()
        self._role, self.place = role, place
        # The run may have been paused, or resumed, while the new one was started.
        self._quiet = False
        role.pause(self.paused)
        self._events_cursors[role] = 0
        return before

    async def drop(self, role: HostedRole) -> None:
        """End a successor that is not taken after all, and keep what it counted if it has begun."""
        if role.has_begun:
            self._retiring.append(role)
            self._events_cursors[role] = 0
        await self.retire(role, 0.0, CloseReason.REPLACED)

    def leave(self) -> HostedRole | None:
        """Be there no longer; return what is to be retired, if it was."""
        before = self._role
        if before is not None:
            self._ready_s = self._ready_s or before.snapshot(NOTHING).ready_s
            self._retiring.append(before)
        self._role = self.place = None
        return before

    async def retire(self, role: HostedRole, grace_s: float, reason: CloseReason) -> None:
        """End what has handed over, and keep what it counted."""
        await role.stop(grace_s, reason)
        if role not in self._retiring:
            return
        ended = self._take(role, replace(NOTHING, most_events=EVENTS))
        self._unread += ended.events
        self._unread_missed += ended.events_missed
        self._retiring.remove(role)
        del self._events_cursors[role]
        kept = past(replace(ended, events=(), events_missed=0))
        self._past = merged([self._past, kept]) if self._past is not None else kept

    # Readings.

    def read(self, cursors: Cursors) -> RoleSnapshot:
        """Return the figures of the whole run so far, with the events since the last time some were read."""
        taken = self.snapshot(cursors)
        if cursors.most_events and (self._unread or self._unread_missed):
            events = sorted([*self._unread, *taken.events], key=lambda event: event.time_s)
            taken = replace(
                taken, events=tuple(events), events_missed=taken.events_missed + self._unread_missed
            )
            self._unread, self._unread_missed = [], 0
        return taken

    def snapshot(self, cursors: Cursors) -> RoleSnapshot:
        """Return the figures of the whole run so far; only the first time that all were ready counts."""
        parts = []
        if self._role is not None:
            exchanges = max(cursors.exchanges, self._role.first_record)
            parts.append(self._take(self._role, replace(cursors, exchanges=exchanges)))
        parts += [leaving(self._take(role, replace(cursors, most_exchanges=0))) for role in self._retiring]
        if self._past is not None:
            parts.append(self._past)
        whole, ready_s = merged(parts, cursors.connections), self._ready_s or parts[0].ready_s
        return whole if whole.ready_s == ready_s else replace(whole, ready_s=ready_s)

    def _take(self, role: HostedRole, cursors: Cursors) -> RoleSnapshot:
        taken = role.snapshot(replace(cursors, events=self._events_cursors[role]))
        if not cursors.most_events:
            # They stay where they are until somebody asks for them.
            return replace(taken, events=(), events_missed=0)
        self._events_cursors[role] = taken.events_cursor
        return taken
