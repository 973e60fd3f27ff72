"""The connections: one row each, with how it lives and how it ended."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from sockscope.core import units
from sockscope.core.connection import ConnectionState, ConnectionView
from sockscope.core.events import Event
from sockscope.core.roles import ROLE_NAMES, SERVER, numbered
from sockscope.core.run.snapshot import ConnectionQuery, Cursors, RoleSnapshot
from sockscope.faces.tui.messages import CloseRequested, QueryChanged
from sockscope.faces.tui.panels.listing import TellingPanel
from sockscope.faces.tui.panels.panel import PanelEntry
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.plain import plain
from sockscope.faces.tui.widgets.table import Column, Row, Table

MOST_ROWS = 500
"""Rows that can be scrolled through; the rest is counted in the title, and the filter finds it."""
ROWS_UNATTENDED = 128
"""Rows asked for while nobody moves among them, if no more are in view: each costs the loop about 5 µs."""
_SORTS = ("conn_id", "requests", "in", "out", "age", "state", "closed")


class ConnectionsPanel(TellingPanel):
    """A row per connection, of the server or of the clients."""

    columns = (
        Column("conn_id", "id", 6, "right", priority=10),
        Column("remote", "address", 15, flexible=True, priority=8),
        Column("state", "state", 11, priority=9),
        Column("age", "age", 7, "right", priority=3),
        Column("requests", "requests", 10, "right", priority=7),
        Column("in", "in", 8, "right", priority=5),
        Column("out", "out", 8, "right", priority=4),
        Column("rtt", "rtt", 8, "right", priority=2),
        Column("closed", "closed", 10, priority=6),
    )
    empty = "connections appear here as soon as there are clients"

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(entry)
        self._role = ""
        self._sort = "conn_id"
        self._reverse = False
        self._events: tuple[Event, ...] = ()
        self._views: dict[int, ConnectionView] = {}

    def on_mount(self) -> None:
        """Show by what the rows are sorted."""
        super().on_mount()
        self.table.sort_key = self._sort

    def interest(self, cursors: Cursors, *, still: bool) -> Cursors:
        """Ask for the connections of one side that match the filter."""
        query = ConnectionQuery(
            role=self._role or "server",
            sort=self._sort,
            reverse=self._reverse,
            limit=self._limit(still),
            text=self.filter_text,
            rtts=2 * self.table.rows_down_to_view,
        )
        return replace(cursors, connections=query)

    def _limit(self, still: bool) -> int:
        if still or self.has_focus_within:
            return MOST_ROWS
        return min(max(ROWS_UNATTENDED, 2 * self.table.rows_down_to_view), MOST_ROWS)

    def on_descendant_focus(self) -> None:
        """Somebody is about to move among the rows: have all of them."""
        self.post_message(QueryChanged())

    def draw(self, state: ScreenState) -> None:
        """Show the rows that the snapshot holds."""
        snapshot = state.snapshot
        if not self._role:
            self._role = "server" if snapshot.server is not None else "swarm"
            self.post_message(QueryChanged())
        role = snapshot.server if self._role == "server" else snapshot.swarm
        views = role.connections if role is not None else ()
        self._views = {view.conn_id: view for view in views}
        self.shown_rows = [_row(view) for view in views]
        if state.frozen:
            self.shown_rows = self.matching(self.shown_rows)  # the engine is not asked again
        self.table.show(self.shown_rows)
        matching = role.connections_matching if role is not None else 0
        here = _how_many(role) if role is not None else "elsewhere"
        if not self.filter_text:
            elsewhere = f"the {ROLE_NAMES[self._role].side} is elsewhere: w shows the other"
            self.table.empty_text = self.empty if role is not None else elsewhere
        notes = [ROLE_NAMES[self._role].side, here]
        if matching > MOST_ROWS:
            notes.append(f"first {MOST_ROWS:,} of {matching:,}")
        if self.filter_text:
            notes.append(f"“{self.filter_text}”")
        self.retitle("  ".join(notes))
        self._events = snapshot.events
        self.draw_detail()

    def tell(self, key: Hashable) -> str | None:
        """Return everything about a connection."""
        view = self._views.get(key) if isinstance(key, int) else None
        if view is None:
            return None
        events = [e for e in self._events if e.conn_id == view.conn_id and e.role == self._role]
        return _detail(view, [event.text for event in events if event.text])

    def filter_changed(self) -> None:
        """Ask for other rows."""
        super().filter_changed()
        self.post_message(QueryChanged())

    def switch_side(self) -> None:
        """Show the other end's connections."""
        self._role = "swarm" if self._role == "server" else "server"
        self.forget_rows()  # they are the other side's
        self.close_detail()
        self.post_message(QueryChanged())

    def sort_by_next(self) -> None:
        """Sort by the next column that makes sense to sort by."""
        self._sort_by(
            _SORTS[(_SORTS.index(self._sort) + 1) % len(_SORTS)] if self._sort in _SORTS else "conn_id"
        )

    def _sort_by(self, key: str) -> None:
        if key == "rtt":
            return
        figures = key in ("requests", "in", "out", "age")
        self._reverse = not self._reverse if key == self._sort else figures
        self._sort = key
        self.table.sort_key, self.table.sort_reverse = key, self._reverse
        self.post_message(QueryChanged())

    def on_table_header_selected(self, message: Table.HeaderSelected) -> None:
        """Sort by the column that was clicked; again, the other way round."""
        message.stop()
        self._sort_by(message.column_key)

    def close_selected(self) -> None:
        """Ask for the connection under the cursor to be closed."""
        key = self.table.cursor_key
        if isinstance(key, int):
            # The row is about to move down to the closed ones: the cursor goes with it, or a second key
            # press would close the next connection.
            self.table.move_to(key)
            self.post_message(CloseRequested(self._role, key))


def _how_many(role: RoleSnapshot) -> str:
    """Return how many connections there are; a UDP server is not told when a peer closes its socket."""
    heard = role.role == SERVER and role.transport == "udp"
    return f"{role.connections_open:,} {'peers heard' if heard else 'open'}"


def _row(view: ConnectionView) -> Row:
    closed = view.close_reason.value if view.close_reason else ""
    style = ""
    if view.close_reason is not None:
        style = "error" if view.close_reason.is_fault else "muted"
    elif view.state is ConnectionState.PAUSED:
        style = "warning"
    return Row(
        view.conn_id,
        (
            numbered(view.role, view.conn_id),
            # The end that tells connections apart: clients all have the server's address as their remote one.
            view.remote_address if view.role == "server" else view.local_address,
            view.state.value,
            units.format_age(view.age_s),
            _count(view.requests),
            units.format_bytes(view.bytes_in),
            units.format_bytes(view.bytes_out),
            units.format_duration(view.rtt_s),
            closed,
        ),
        style,
    )


def _count(value: int | None) -> str:
    return units.DASH if value is None else f"{value:,}"


def _detail(view: ConnectionView, notes: list[str]) -> str:
    ended = "still open"
    if view.close_reason is not None:
        ended = f"{view.close_reason.value}{': ' + view.close_text if view.close_text else ''}"
    lines = [
        f"{ROLE_NAMES[view.role].title} {numbered(view.role, view.conn_id)}   {view.state.value}",
        f"{view.local_address}  ⇄  {view.remote_address}",
        "",
        f"age        {units.format_age(view.age_s):>10}",
        f"requests   {_count(view.requests):>10}",
        f"responses  {_count(view.responses):>10}",
        f"reads      {view.reads:>10,}  {units.format_bytes(view.bytes_in):>8} in",
        f"writes     {view.writes:>10,}  {units.format_bytes(view.bytes_out):>8} out",
        f"kernel rtt {units.format_duration(view.rtt_s):>10}",
        f"ended      {ended}",
        *notes,
        "",
        "Esc back" if view.state is ConnectionState.CLOSED else "x closes it   Esc back",
    ]
    return "\n".join(plain(line) for line in lines)
