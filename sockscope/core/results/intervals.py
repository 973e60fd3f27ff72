"""A run second by second, for whoever looks at it later: bounded, however long the run is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sockscope.core.results.run_result import interval
from sockscope.core.run.adding import joined, origin
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.window import window

LENGTH_S = 1.0
"""Length of an interval, until a run is so long that its intervals are joined."""
MOST = 300
"""When there are this many intervals each two neighbours become one: five minutes are kept by the second,
ten by two seconds, an hour by sixteen. Nothing is left out by that, and the memory of an hour is that of
five minutes."""
_SLACK_S = 0.1
"""A reader that comes at even times comes a little early or late each time."""


class Intervals:
    """Absorbs the snapshots of a run, as often as they come, and keeps a window per ``length_s``.

    ``windows`` are those so far, in order and without rows.
    """

    def __init__(self, most: int = MOST) -> None:
        self.length_s = LENGTH_S
        self._most = most
        self._edge: Snapshot | None = None
        self.windows: list[Snapshot] = []

    def absorb(self, snapshot: Snapshot) -> None:
        """Take the next snapshot; it ends an interval when the one that is under way is long enough."""
        if self._edge is None:
            self._edge = _slim(snapshot)
            return
        if snapshot.measured_since_s != self._edge.measured_since_s:
            # The figures began anew, and an interval with them: what was measured before is in none of them.
            self.windows = [one for one in self.windows if one.warming_up]
            self._edge = _slim(origin(snapshot))
        if snapshot.time_s - self._edge.time_s >= self.length_s - _SLACK_S:
            self._cut(snapshot)

    def finish(self, snapshot: Snapshot) -> None:
        """Take the last snapshot of the run; the last interval may be shorter than the others."""
        if self._edge is not None and snapshot.time_s > self._edge.time_s:
            self._cut(snapshot)

    def reports(self) -> list[dict[str, Any]]:
        """Return the objects of ``--json-stream`` for the intervals, in order."""
        return [interval(one) for one in self.windows]

    def _cut(self, snapshot: Snapshot) -> None:
        assert self._edge is not None
        edge = _slim(snapshot)
        self.windows.append(window(self._edge, edge))
        self._edge = edge
        if len(self.windows) >= self._most:
            self.windows = list(_pairs(self.windows))
            self.length_s *= 2


def _pairs(windows: list[Snapshot]) -> Iterator[Snapshot]:
    """Yield each two neighbours joined; the warm-up does not mix with what follows it."""
    rest = iter(windows)
    for first in rest:
        second = next(rest, None)
        if second is None:
            yield first
        elif first.warming_up != second.warming_up:
            yield from (first, second)
        else:
            yield joined(first, second)


def _slim(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot without its rows."""
    roles = {
        name: replace(role, events=(), exchanges=(), connections=()) for name, role in snapshot.roles.items()
    }
    return replace(snapshot, events=(), roles=roles)
