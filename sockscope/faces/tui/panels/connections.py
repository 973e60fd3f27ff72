"""The connections: one row each, with how it lives and how it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import asdict, replace

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from sockscope.core import units
from sockscope.core.connection import TCP_COLUMNS, ConnectionState, ConnectionView, TcpInfo
from sockscope.core.events import EventKind
from sockscope.core.roles import RELAY, ROLE_NAMES, SERVER, SWARM, numbered
from sockscope.core.run.datagrams import flows
from sockscope.core.run.snapshot import ConnectionQuery, Cursors, RoleSnapshot, Snapshot
from sockscope.faces.flows import DIRECTIONS, UNBROKEN, sum_of
from sockscope.faces.tui.messages import CloseRequested, QueryChanged
from sockscope.faces.tui.panels.listing import DetailListing
from sockscope.faces.tui.panels.panel import PanelEntry
from sockscope.faces.tui.panels.unread import Unread
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.plain import plain_lines
from sockscope.faces.tui.widgets.table import Column, Row, Table

MOST_ROWS = 500
"""Rows that can be scrolled through; the rest is counted in the title, and the filter finds it."""
ROWS_UNATTENDED = 128
"""Rows asked for while nobody moves among them, if no more are in view: each costs the loop about 5 µs."""
FAULTS_KEPT = 1_000
"""Faults of connections that are remembered, the last ones,"""
MOST_FAULTS = 5
"""and those of one connection that its detail tells, the newest first."""
_SORTS = ("conn_id", "requests", "in", "out", "age", "rtt", "retrans", "state", "closed")
_LARGEST_FIRST = ("requests", "in", "out", "age", *TCP_COLUMNS)
_UNKNOWN = TcpInfo()


class ConnectionsPanel(DetailListing):
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
        Column("retrans", "retrans", 7, "right", priority=1),
        Column("cwnd", "cwnd", 5, "right", priority=0),
        Column("delivery", "delivery", 9, "right", priority=-1),
        Column("rttvar", "rttvar", 8, "right", priority=-2),
        Column("acked", "acked", 8, "right", priority=-3),
        Column("busy", "busy", 8, "right", priority=-4),
        Column("closed", "closed", 10, priority=6),
    )
    tapped = 2, Column("tap", "tap", 15, priority=8)
    empty = "connections appear here as soon as there are clients"

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(entry)
        self._role = ""
        self._sides = [SERVER, SWARM]
        self._sort = "conn_id"
        self._reverse = False
        self._over_udp = False
        self._faults: deque[tuple[str, int, str]] = deque(maxlen=FAULTS_KEPT)
        self._unread = Unread()
        self._views: dict[int, ConnectionView] = {}
        self._flows = ""

    def compose(self) -> ComposeResult:
        """Where the datagrams went, over UDP, and the rows."""
        line = Static("", markup=False, classes="flows")
        line.display = False
        yield line
        yield from super().compose()

    def on_mount(self) -> None:
        """Show by what the rows are sorted."""
        super().on_mount()
        self.table.sort_key = self._sort

    def watch_state(self, state: ScreenState | None) -> None:
        """Remember what went wrong on connections, drawn or not."""
        if state is not None:
            started_s = state.snapshot.started_s
            self._faults.extend(
                (event.role, event.conn_id, f"{event.time_s - started_s:.3f} s  {event.text}")
                for _, event in self._unread.of(state.snapshot)
                if event.kind is EventKind.ERROR and event.conn_id
            )
        super().watch_state(state)

    def interest(self, cursors: Cursors, *, still: bool) -> Cursors:
        """Ask for the connections of one side that match the filter."""
        query = ConnectionQuery(
            role=self._role or "server",
            sort=self._sort,
            reverse=self._reverse,
            limit=self._limit(still),
            text=self.filter_text,
            looks=2 * self.table.rows_down_to_view,
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
            alone = RELAY if snapshot.experiment.role == RELAY else SWARM
            self._role = SERVER if snapshot.server is not None else alone
            self.post_message(QueryChanged())
        self._sides = [name for name in ROLE_NAMES if name in snapshot.roles or name in (SERVER, SWARM)]
        if snapshot.experiment.role == RELAY:
            self._sides = [RELAY]
        role = snapshot.roles.get(self._role)
        views = role.connections if role is not None else ()
        self._views = {view.conn_id: view for view in views}
        self._over_udp = snapshot.tuning.transport == "udp"
        taps = bool(snapshot.experiment.also)
        self.tell_taps(taps)
        self.shown_rows = [_row(view, taps) for view in views]
        if state.frozen:
            self.shown_rows = self.matching(self.shown_rows)  # the engine is not asked again
        self.table.show(self.shown_rows)
        matching = role.connections_matching if role is not None else 0
        here = _how_many(role) if role is not None else "elsewhere"
        if not self.filter_text:
            elsewhere = f"the {ROLE_NAMES[self._role].side} is elsewhere: w shows the other"
            self.table.empty_text = self.empty if role is not None else elsewhere
        notes = [ROLE_NAMES[self._role].side, here]
        if role is not None and role.relay is not None:
            notes.append(f"adds p50 {units.format_duration(role.relay.delay.percentile(0.5))}")
            if snapshot.experiment.role == RELAY:
                notes.append(_told_apart(role))
        if matching > MOST_ROWS:
            notes.append(f"first {MOST_ROWS:,} of {matching:,}")
        if self.filter_text:
            notes.append(f"“{self.filter_text}”")
        self.retitle("  ".join(notes))
        self._draw_flows(snapshot)
        self.draw_detail()

    def _draw_flows(self, snapshot: Snapshot) -> None:
        """Show where the datagrams of each direction went, as sums."""
        states = [process.state for process in snapshot.processes]
        lines = [
            f"{direction:{max(map(len, DIRECTIONS))}} {told.replace(UNBROKEN, ' ')}"
            for direction, flow in zip(DIRECTIONS, flows(snapshot), strict=True)
            if flow is not None and (told := sum_of(asdict(flow), states))
        ]
        line, text = self.query_one(".flows", Static), "\n".join(lines)
        if text != self._flows:
            self._flows = text
            line.update(Content(text))
            line.display = bool(text)

    def detail_of(self, key: Hashable) -> str | None:
        """Return all that is known of a connection."""
        view = self._views.get(key) if isinstance(key, int) else None
        if view is None:
            return None
        faults = [line for role, conn_id, line in self._faults if (role, conn_id) == (view.role, key)]
        return _detail(view, faults[: -MOST_FAULTS - 1 : -1], self._over_udp)

    def filter_changed(self) -> None:
        """Ask for other rows."""
        super().filter_changed()
        self.post_message(QueryChanged())

    def switch_side(self) -> None:
        """Show the connections of the other end, or of the relay between them, where there is one."""
        place = self._sides.index(self._role) if self._role in self._sides else -1
        self._role = self._sides[(place + 1) % len(self._sides)]
        self.forget_rows()  # they are the other side's
        self.close_detail()
        self.post_message(QueryChanged())

    def sort_by_next(self) -> bool:
        """Sort by the next column that makes sense to sort by."""
        self._sort_by(
            _SORTS[(_SORTS.index(self._sort) + 1) % len(_SORTS)] if self._sort in _SORTS else "conn_id"
        )
        return True

    def _sort_by(self, key: str) -> None:
        self._reverse = not self._reverse if key == self._sort else key in _LARGEST_FIRST
        self._sort = key
        self.table.sort_key, self.table.sort_reverse = key, self._reverse
        self.post_message(QueryChanged())

    def on_table_header_selected(self, message: Table.HeaderSelected) -> None:
        """Sort by the column that was clicked; again, the other way round."""
        message.stop()
        self._sort_by(message.column_key)

    def end_selected(self) -> bool:
        """Ask for the connection under the cursor to be closed."""
        key = self.table.cursor_key
        if isinstance(key, int):
            # The row is about to move down to the closed ones: the cursor goes with it, or a second key
            # press would close the next connection.
            self.table.move_to(key)
            self.post_message(CloseRequested(self._role, key))
        return True


def _how_many(role: RoleSnapshot) -> str:
    """Return how many connections there are; a UDP server is not told when a peer closes its socket."""
    heard = role.role == SERVER and role.transport == "udp"
    return f"{role.connections_open:,} {'peers heard' if heard else 'open'}"


def _told_apart(role: RoleSnapshot) -> str:
    """Return what a tap has told apart, and how many answers only silence has ended."""
    silent = sum(tap.ended_by_silence for tap in role.relay.taps) if role.relay is not None else 0
    ended = f"{units.counted(silent, 'answer')} ended by silence" if silent else ""
    return "  ".join(filter(None, (role.serves_as, ended)))


def _row(view: ConnectionView, taps: bool) -> Row:
    closed = view.close_reason.value if view.close_reason else ""
    style = ""
    if view.close_reason is not None:
        style = "error" if view.close_reason.is_fault else "muted"
    elif view.state is ConnectionState.PAUSED:
        style = "warning"
    tcp = view.tcp or _UNKNOWN
    return Row(
        view.conn_id,
        (
            numbered(view.role, view.conn_id),
            # The end that tells connections apart: clients all have the server's address as their remote one.
            view.local_address if view.role == SWARM else view.remote_address,
            *([view.tap] if taps else ()),
            view.state.value,
            units.format_age(view.age_s),
            _count(view.requests),
            units.format_bytes(view.bytes_in),
            units.format_bytes(view.bytes_out),
            units.format_duration(tcp.rtt_s),
            _count(tcp.retransmits),
            _count(tcp.cwnd),
            _rate(tcp.delivery_bytes_per_s),
            units.format_duration(tcp.rttvar_s),
            units.format_bytes(tcp.bytes_acked),
            units.format_duration(tcp.busy_s),
            closed,
        ),
        style,
    )


def _count(value: int | None) -> str:
    return units.DASH if value is None else f"{value:,}"


def _rate(bytes_per_s: float | None) -> str:
    return units.DASH if bytes_per_s is None else f"{units.format_bytes(bytes_per_s)}/s"


def _kernel_lines(view: ConnectionView, over_udp: bool) -> list[str]:
    """Return what the kernel told of this end (TCP_INFO), or over UDP the jitter of answers, if any."""
    if view.jitter_s is not None:
        return [f"jitter     {units.format_duration(view.jitter_s):>10}  between answers"]
    if view.tcp is None and over_udp:
        return []
    tcp = view.tcp or _UNKNOWN
    busy_s, limits = tcp.busy_s, (tcp.rwnd_limited_s, tcp.sndbuf_limited_s)
    rwnd, sndbuf = (one_s / busy_s if busy_s and one_s is not None else None for one_s in limits)
    return [
        f"kernel rtt {units.format_duration(tcp.rtt_s):>10}  varies by {units.format_duration(tcp.rttvar_s)}",
        f"cwnd       {_count(tcp.cwnd):>10}  segments",
        f"retransmits{_count(tcp.retransmits):>10}  segments",
        f"delivery   {_rate(tcp.delivery_bytes_per_s):>10}  as of full segments",
        f"acked      {units.format_bytes(tcp.bytes_acked):>10}",
        f"busy       {units.format_duration(busy_s):>10}  {units.format_ratio(rwnd)} for the peer's window, "
        f"{units.format_ratio(sndbuf)} for the send buffer",
    ]


def _detail(view: ConnectionView, notes: list[str], over_udp: bool) -> str:
    ended = "still open"
    if view.close_reason is not None:
        ended = f"{view.close_reason.value}{': ' + view.close_text if view.close_text else ''}"
    end = "client" if view.role == SWARM else ROLE_NAMES[view.role].title
    lines = [
        f"{end} {numbered(view.role, view.conn_id)}   {view.state.value}",
        f"{view.local_address}  ⇄  {view.remote_address}",
        *([f"came in at {view.tap}"] if view.tap else []),
        *([f"speaks {view.speaks}"] if view.speaks else []),
        "Esc back" if view.state is ConnectionState.CLOSED else "x closes it   Esc back",
        "",
        f"ended      {ended}",
        *notes,
        f"age        {units.format_age(view.age_s):>10}",
        f"requests   {_count(view.requests):>10}",
        f"responses  {_count(view.responses):>10}",
        f"reads      {view.reads:>10,}  {units.format_bytes(view.bytes_in):>8} in",
        f"writes     {view.writes:>10,}  {units.format_bytes(view.bytes_out):>8} out",
        *_kernel_lines(view, over_udp),
    ]
    return plain_lines(lines)
