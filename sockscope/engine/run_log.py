"""The log of one run: what was noted of it, and what its roles tell, in the order of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from time import perf_counter

from sockscope.core.events import Event, EventKind, EventLog
from sockscope.core.ring import RingPage
from sockscope.core.run.snapshot import RoleSnapshot
from sockscope.engine.recorder import EVENTS


class RunLog:
    """Notes wait here until events of the roles are read, so that they get their place among them."""

    def __init__(self) -> None:
        self._log = EventLog(EVENTS)
        self._notes: deque[Event] = deque(maxlen=EVENTS)

    def note(self, kind: EventKind, text: str, generation: int, time_s: float | None = None) -> None:
        """Write a line about the run as a whole, under the tuning with this number; now, or of ``time_s``."""
        at_s = perf_counter() if time_s is None else time_s
        self._notes.append(Event(at_s, kind, "run", text=text, generation=generation))

    def take(self, roles: Collection[RoleSnapshot]) -> None:
        """Take the events that were read of each role."""
        news = [*self._notes, *(event for role in roles for event in role.events)]
        self._notes.clear()
        missed = sum(role.events_missed for role in roles)
        self._log.extend(sorted(news, key=lambda event: event.time_s), missed)

    def since(self, cursor: int, most: int) -> RingPage[Event]:
        """Return the events from number ``cursor`` on: all of the run, at most the newest ``most`` others."""
        return self._log.since(cursor, most)
