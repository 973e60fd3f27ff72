"""The events of a run that a panel has not read yet: a state may be shown more than once."""

from __future__ import annotations

from collections.abc import Iterator

from sockscope.core.events import Event
from sockscope.core.run.snapshot import Snapshot


class Unread:
    """Remembers up to which event the snapshots were read."""

    def __init__(self) -> None:
        self._next = 0

    def of(self, snapshot: Snapshot) -> Iterator[tuple[int, Event]]:
        """Yield the events of a snapshot that no earlier one had, each with its number in the log."""
        first = snapshot.events_cursor - len(snapshot.events)
        start, self._next = self._next, max(self._next, snapshot.events_cursor)
        yield from (found for found in enumerate(snapshot.events, first) if found[0] >= start)
