"""How often a run is looked at: seldom where nobody sees it, and seldom drawn while nothing has changed."""

from __future__ import annotations

from sockscope.core.run.snapshot import RunState, Snapshot

STILL_TICKS = 5
"""Of so many ticks one takes a picture while nothing happens, or nobody can see it."""
MOST_LINES_PER_TICK = 500
"""Lines of the log since the picture before, for each tick: were there more, the log of the run, which keeps
10,000, could overwrite some until the next picture."""
OVERLAID_PICTURES = 5
"""One of so many pictures is shown behind the palette or a sheet, in one turn: each blends all the screen."""
CALM_PICTURES, PAUSED_PICTURES = 5, 10
"""Of so many pictures one is shown while nothing has happened for a while, as time goes on."""
SETTLED_S = 3.0
"""So long after something has happened every picture differs: rates and the last change follow it."""


class Pace:
    """Tells which ticks take a picture of a run, and which of these pictures are shown."""

    def __init__(self) -> None:
        self._ticks = 0
        self._not_shown = 0
        self._lines_per_tick = 0.0
        self._seen: object = None
        self._seen_s = 0.0

    def takes(self, *, still: bool) -> bool:
        """Tell whether this tick takes a picture; ``still`` if nothing happens, or nobody can see it."""
        self._ticks += 1
        every = STILL_TICKS if still and self._lines_per_tick <= MOST_LINES_PER_TICK else 1
        return self._ticks >= every

    def took(self, snapshot: Snapshot) -> None:
        """Take note of a picture that was taken, with its lines of the log."""
        self._lines_per_tick = len(snapshot.events) / max(1, self._ticks)
        self._ticks = 0
        seen = (
            snapshot.generation,
            snapshot.events_cursor,
            *((role.totals, role.in_flight) for role in snapshot.roles.values()),
        )
        if seen != self._seen:
            self._seen, self._seen_s = seen, snapshot.time_s

    def shows(self, snapshot: Snapshot, *, overlaid: bool) -> bool:
        """Tell whether a picture that was taken in its turn is shown."""
        every = 1
        if overlaid:
            every = OVERLAID_PICTURES
        elif snapshot.time_s - self._seen_s > SETTLED_S:
            every = CALM_PICTURES if snapshot.state is RunState.RUNNING else PAUSED_PICTURES
        self._not_shown = (self._not_shown + 1) % every
        return not self._not_shown
