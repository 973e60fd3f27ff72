"""The event log: opens, closes with their reason, errors, tunings."""

from __future__ import annotations

from collections import deque

from sockscope.core.events import Event, EventKind
from sockscope.core.roles import ROLE_NAMES
from sockscope.faces.tui.panels.listing import ListingPanel
from sockscope.faces.tui.panels.panel import PanelEntry
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.table import Column, Row

LINES = 5_000
"""Lines kept for scrolling back."""


class LogPanel(ListingPanel):
    """A line per event, the newest last."""

    columns = (
        Column("time", "time s", 9, "right", priority=5),
        Column("what", "what", 7, priority=6),
        Column("who", "who", 7, priority=4),
        Column("address", "peer", 15, flexible=True, priority=1),
        Column("text", "", 18, flexible=True, priority=7),
    )
    follows = True
    empty = "opens, closes, errors and turned knobs appear here"

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(entry)
        self._lines: deque[Row] = deque(maxlen=LINES)
        self._cursor = 0
        self._missed = 0

    def watch_state(self, state: ScreenState | None) -> None:
        """Collect every tick's events, drawn or not."""
        if state is not None:
            self._collect(state)
        super().watch_state(state)

    def _collect(self, state: ScreenState) -> None:
        snapshot = state.snapshot
        first = snapshot.events_cursor - len(snapshot.events)
        for number, event in enumerate(snapshot.events, first):
            if number >= self._cursor:
                self._lines.append(_line(number, event, snapshot.started_s))
        self._missed = snapshot.events_missed
        self._cursor = max(self._cursor, snapshot.events_cursor)

    def draw(self, state: ScreenState) -> None:
        """Show the lines that match."""
        self.shown_rows = self.matching(list(self._lines))
        self.table.show(self.shown_rows)
        notes = [f"“{self.filter_text}”" if self.filter_text else ""]
        notes.append("" if self.table.follow else "not following: f")
        notes.append(f"{self._missed:,} overwritten" if self._missed else "")
        self.retitle("  ".join(filter(None, notes)))


def _line(number: int, event: Event, started_s: float) -> Row:
    role = ROLE_NAMES.get(event.role)
    who = f"{role.prefix}{event.conn_id or ''}" if role is not None else event.role
    words = [event.reason.value] if event.reason is not None else []
    words.extend([event.text] if event.text else [])
    if event.kind is EventKind.OPEN:
        words.insert(0, "opened")
    style = "error" if event.is_fault else "changed" if event.kind is EventKind.TUNING else ""
    if event.kind in (EventKind.MARKER, EventKind.RUN):
        style = "ok"
    return Row(
        number,
        (f"{event.time_s - started_s:.3f}", event.kind.value, who, event.address, ", ".join(words)),
        style,
    )
