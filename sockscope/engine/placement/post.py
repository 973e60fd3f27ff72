"""A role through the whole run, wherever it is played: its past, and the parts that are being wound up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sockscope.core.events import CloseReason, Event
from sockscope.core.run.merging import leaving, merged, past
from sockscope.core.run.snapshot import Cursors, RoleSnapshot
from sockscope.engine.placement.layout import Site
from sockscope.engine.placement.process import ChildProcess
from sockscope.engine.placement.remote import RemoteRole
from sockscope.engine.recorder import EVENTS
from sockscope.engine.role import Role, Share

MOST_NEW_CONNECTIONS = 1_000
"""Connections that the old place may still get while the new one begins, besides two for each client."""
NOTHING = Cursors(most_events=0, most_exchanges=0)


class Post:
    """``server`` or ``swarm`` of a run: the role that plays it now, and what earlier ones have counted."""

    def __init__(self, name: str, site: Site, role: Role) -> None:
        self.name = name
        self.site = site
        self.role = role
        self.paused = False
        self._quiet = False
        self._leaving: list[Role] = []
        self._past: RoleSnapshot | None = None
        self._read: dict[Role, int] = {role: 0}
        self._unread: list[Event] = []
        self._unread_missed = 0
        self._first_record = 0

    @property
    def intact(self) -> bool:
        """Whether everybody who is to play it is there."""
        return not isinstance(self.role, RemoteRole) or self.role.intact

    def processes(self) -> list[ChildProcess]:
        """Return the children in which it is played, and those in which it is being wound up."""
        return [p for role in (self.role, *self._leaving) for p in processes_of(role)]

    def pause(self, paused: bool) -> None:
        """Stop or resume making requests, here and wherever it is played later."""
        self.paused = paused
        self.role.pause(paused or self._quiet)

    def be_quiet(self, quiet: bool) -> None:
        """Make no requests until it is handed over, or no longer, whether the run is paused or not."""
        self._quiet = quiet
        self.role.pause(self.paused or quiet)

    # Going over to another place.

    def share_after(self, clients: int, budget: int | None) -> Share:
        """Return where a successor goes on to count; ``clients`` may still be connecting here."""
        now = self.snapshot(NOTHING)
        return Share(
            first_turn=now.last_conn_id + 2 * clients + MOST_NEW_CONNECTIONS,
            first_record=max(now.exchanges_cursor, self._first_record),
            budget=budget,
        )

    def hand_over(self, role: Role, site: Site, share: Share) -> Role:
        """Let ``role`` play it from now on; return the one before, which is to be wound up."""
        before = self.role
        self._leaving.append(before)
        for process in processes_of(before):
            process.leaving = True
        self.role, self.site = role, site
        # The run may have been paused, or resumed, while the new one was started.
        self._quiet = False
        role.pause(self.paused)
        self._read[role] = 0
        self._first_record = share.first_record
        return before

    async def wind_up(self, role: Role, grace_s: float, reason: CloseReason) -> None:
        """End a role that has handed over, and keep what it counted."""
        await role.stop(grace_s, reason)
        if role not in self._leaving:
            return
        ended = self._take(role, replace(NOTHING, most_events=EVENTS))
        self._unread += ended.events
        self._unread_missed += ended.events_missed
        self._leaving.remove(role)
        del self._read[role]
        kept = past(replace(ended, events=(), events_missed=0))
        self._past = merged([self._past, kept]) if self._past is not None else kept

    @property
    def leaving(self) -> Sequence[Role]:
        """The roles that have handed over and have not ended yet."""
        return self._leaving

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
        """Return the figures of the whole run so far."""
        exchanges = max(cursors.exchanges, self._first_record)
        parts = [self._take(self.role, replace(cursors, exchanges=exchanges))]
        parts += [leaving(self._take(role, replace(cursors, most_exchanges=0))) for role in self._leaving]
        if self._past is not None:
            parts.append(self._past)
        return merged(parts, cursors.connections)

    def _take(self, role: Role, cursors: Cursors) -> RoleSnapshot:
        taken = role.snapshot(replace(cursors, events=self._read[role]))
        if not cursors.most_events:
            # They stay where they are until somebody wants to read them.
            return replace(taken, events=(), events_missed=0)
        self._read[role] = taken.events_cursor
        return taken


def processes_of(role: Role) -> list[ChildProcess]:
    """Return the children in which ``role`` is played: none when it is here."""
    return role.processes if isinstance(role, RemoteRole) else []
