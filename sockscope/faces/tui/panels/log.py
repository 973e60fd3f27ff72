"""The event log: opens, closes with their reason, errors, tunings."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from sockscope.core.events import Event, EventKind
from sockscope.core.roles import ROLE_NAMES
from sockscope.faces.tui.panels.listing import DetailListing
from sockscope.faces.tui.panels.panel import PanelEntry
from sockscope.faces.tui.panels.unread import Unread
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.plain import plain_lines
from sockscope.faces.tui.widgets.table import Column, Row, Table

LINES = 20_000
"""Events of connections kept for scrolling back, and as many of the run: those of 10,000 connections that
open, at both ends."""
MOMENT_S = 0.5
"""Events of one kind that follow each other this closely are one line,"""
LONGEST_S = 2.0
"""unless the first of them is this long ago."""
MOST_OPEN = 64
"""Lines that may still take events: messages that all differ (a number in each) stay lines of their own."""
_FOLDED = (EventKind.OPEN, EventKind.CLOSE, EventKind.ERROR)


@dataclass(slots=True)
class Line:
    """A line of the log: one event, or several that differ in nothing but whose they are."""

    number: Hashable
    events: list[Event]
    started_s: float
    _row: Row | None = field(default=None, repr=False)

    def takes(self, event: Event) -> bool:
        """Whether an event belongs to this line."""
        since_s = event.time_s - self.events[0].time_s
        return event.time_s - self.events[-1].time_s <= MOMENT_S and since_s <= LONGEST_S

    def add(self, event: Event) -> None:
        """Count one more event."""
        self.events.append(event)
        self._row = None

    @property
    def row(self) -> Row:
        """The line as a row of the table."""
        if self._row is None:
            self._row = _row(self)
        return self._row

    def matching(self, text: str) -> Iterator[Line]:
        """Yield the line if it contains a text in lower case, else those of its events that do."""
        if text in " ".join(self.row.cells).lower():
            yield self
        elif len(self.events) > 1:
            for index, event in enumerate(self.events):
                if text in f"{_who(event)} {event.address}".lower():
                    yield Line((self.number, index), [event], self.started_s)

    def detail(self) -> str:
        """Return the line whole, and each of its events, as text of several lines."""
        time, what, who, address, text = self.row.cells
        lines = [f"{time} s  {what}  {who}  {address}".rstrip(), text]
        if len(self.events) > 1:
            moments = ((event.time_s - self.started_s, event) for event in self.events)
            lines += ["", *(f"{at:>9.3f}  {_who(event):<7} {event.address}" for at, event in moments)]
        return plain_lines(lines)


class Rows(Sequence[Row]):
    """The rows of some lines, each made when it is looked at: few of them are ever seen."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> Row | Rows:
        return self._lines[index].row if isinstance(index, int) else Rows(self._lines[index])


class LogPanel(DetailListing):
    """A line per event, or per moment in which many of one kind happened, the newest last."""

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
        self._lines: deque[Line] = deque()
        self._matching: list[Line] = []
        self._open: dict[Hashable, Line] = {}
        self._kept = {True: 0, False: 0}
        self._dropped = 0
        self._unread = Unread()

    def watch_state(self, state: ScreenState | None) -> None:
        """Collect every tick's events, drawn or not."""
        if state is not None:
            self._collect(state)
        super().watch_state(state)

    def _collect(self, state: ScreenState) -> None:
        for number, event in self._unread.of(state.snapshot):
            self._add(number, event, state.snapshot.started_s)
        if max(self._kept.values()) > LINES + LINES // 10:  # a tenth at a time, as it goes through all lines
            self._drop_oldest()

    def _add(self, number: int, event: Event, started_s: float) -> None:
        self._kept[event.is_of_run] += 1
        kind = (event.kind, event.role, event.reason, event.text)
        line = self._open.get(kind)
        if line is not None and line.takes(event):
            line.add(event)
            return
        line = Line(number, [event], started_s)
        self._lines.append(line)
        if event.kind in _FOLDED and event.role in ROLE_NAMES:
            self._open[kind] = line
            if len(self._open) > MOST_OPEN:
                del self._open[next(iter(self._open))]

    def _drop_oldest(self) -> None:
        """Drop the oldest lines of the kind of which there are too many: tunings outlast connections."""
        kept: deque[Line] = deque()
        for line in self._lines:
            of_run = line.events[0].is_of_run
            if self._kept[of_run] > LINES and line is not self._lines[-1]:
                self._kept[of_run] -= len(line.events)
                self._dropped += len(line.events)
            else:
                kept.append(line)
        self._lines = kept

    def draw(self, state: ScreenState) -> None:
        """Show the lines that match."""
        text, lines = self.filter_text, self._lines
        self._matching = [found for line in lines for found in line.matching(text)] if text else list(lines)
        self.shown_rows = Rows(self._matching)
        self.table.show(self.shown_rows)
        notes = [f"“{self.filter_text}”" if self.filter_text else ""]
        notes.append("" if self.table.follow else "held: f follows")
        overwritten = state.snapshot.events_missed + self._dropped
        notes.append(f"{overwritten:,} overwritten" if overwritten else "")
        self.retitle("  ".join(filter(None, notes)))
        self.draw_detail()

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Open the text of the line, which stays where it is."""
        if self.table.follow:
            self.table.follow = False
            self.table.move_to(message.key)
        super().on_table_row_selected(message)

    def detail_of(self, key: Hashable) -> str | None:
        """Return a line whole."""
        return next((line.detail() for line in reversed(self._matching) if line.number == key), None)


def _who(event: Event) -> str:
    role = ROLE_NAMES.get(event.role)
    return f"{role.prefix}{event.conn_id or ''}" if role is not None else event.role


def _row(line: Line) -> Row:
    event, count = line.events[0], len(line.events)
    words = [event.reason.value] if event.reason is not None else []
    words.extend([event.text] if event.text else [])
    if event.kind is EventKind.OPEN:
        words.insert(0, "opened")
    text, who, address = ", ".join(words), _who(event), event.address
    if count > 1:
        times = f"{count:,}" if event.kind is EventKind.OPEN else f"{count:,} ×"
        text, who = f"{times} {text}", ROLE_NAMES[event.role].prefix
        address = address if all(other.address == address for other in line.events) else ""
    style = "error" if event.is_fault else "changed" if event.kind is EventKind.TUNING else ""
    if event.kind in (EventKind.MARKER, EventKind.RUN):
        style = "ok"
    return Row(
        line.number,
        (f"{event.time_s - line.started_s:.3f}", event.kind.value, who, address, text),
        style,
    )
