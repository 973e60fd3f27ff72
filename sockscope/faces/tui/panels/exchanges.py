"""The inspector: a list of exchanges, and the bytes of one of them from both ends."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from sockscope.core import units
from sockscope.core.roles import SERVER, SWARM, numbered
from sockscope.core.run.snapshot import Capture, Cursors, Exchange, Payload
from sockscope.faces.tui.messages import ExchangeRequested, HoldRequested
from sockscope.faces.tui.offer import Clipping
from sockscope.faces.tui.panels.listing import ListingPanel
from sockscope.faces.tui.panels.panel import PanelEntry
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.hexview import HexPane, HexView, dump
from sockscope.faces.tui.widgets.plain import plain
from sockscope.faces.tui.widgets.table import Column, Row, Table

SHORT_BELOW = 24
"""In a panel with fewer rows the times stand in one line, so that there is room for the bytes."""
LINES = 1_000
"""Exchanges kept for scrolling back in the list."""


class ExchangeTimes(Widget):
    """When the exchange was written, read, answered and back."""

    DEFAULT_CSS = "ExchangeTimes { width: 1fr; height: auto; color: $foreground 85%; margin-bottom: 1; }"

    content_shown = Content("")

    def render(self) -> Content:
        """Return the text."""
        return self.content_shown


class ExchangesPanel(ListingPanel):
    """A row per exchange, the newest last; Enter shows its bytes."""

    columns = (
        Column("time", "time s", 9, "right", priority=6),
        Column("conn", "conn", 6, priority=7),
        Column("length", "request → answer", 16, "right", priority=5),
        Column("took", "took", 8, "right", priority=8),
        Column("outcome", "", 8, priority=9),
        Column("head", "first bytes", 11, flexible=True, priority=4),
    )
    follows = True
    empty = "exchanges appear here as soon as a request has been answered"

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(entry)
        self._lines: deque[Row] = deque(maxlen=LINES)
        self._newest = -1
        self._seen = 0
        self._overwritten = 0
        self._shown: int | None = None

    def compose_detail(self) -> ComposeResult:
        """Times and bytes, hidden until an exchange is selected."""
        detail = Vertical(ExchangeTimes(), HexView(), classes="detail")
        detail.display = False
        yield detail

    def interest(self, cursors: Cursors, *, still: bool) -> Cursors:
        """Ask for exchanges that the list has not got: while they stream by, for those that can be seen."""
        return replace(
            cursors, exchanges=self._newest + 1, most_exchanges=LINES if still else self.size.height
        )

    def draw(self, state: ScreenState) -> None:
        """Add the exchanges of this tick while the list follows."""
        snapshot = state.snapshot
        role = snapshot.main
        if self.table.follow:
            for exchange in role.exchanges:
                if exchange.record_id > self._newest:
                    self._add(exchange, role.role, snapshot.started_s)
        self._seen, self._overwritten = role.captures_recorded, role.captures_overwritten
        self.shown_rows = self.matching(list(self._lines))
        self.table.show(self.shown_rows)
        kept = self._seen - self._overwritten
        notes = [f"last {kept:,} of {self._seen:,} kept"]
        totals = role.totals
        if totals.messages_torn or totals.reads_merged:
            notes.append(
                f"{totals.messages_torn:,} torn, {units.counted(totals.reads_merged, 'read')} merged"
            )
        if not self.table.follow:
            notes.append("held: f follows")
        if self.filter_text:
            notes.append(f"“{self.filter_text}”")
        self.retitle("  ".join(notes))

    def _add(self, exchange: Exchange, role: str, started_s: float) -> None:
        skipped = exchange.record_id - self._newest - 1
        if skipped and self._newest >= 0:
            # Negative numbers are no exchanges: such a row cannot be opened.
            self._lines.append(Row(-exchange.record_id, ("", "", "", "", "", f"… {skipped:,} more"), "muted"))
        self._newest = exchange.record_id
        self._lines.append(_row(exchange, role, started_s))

    def on_table_follow_changed(self, message: Table.FollowChanged) -> None:
        """Hold the captures while the reader looks at old rows."""
        message.stop()
        self.post_message(HoldRequested(not message.follow))

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Ask for the bytes of the row."""
        message.stop()
        self._ask_for(message.key)

    def on_table_row_highlighted(self, message: Table.RowHighlighted) -> None:
        """While the detail is open it follows the cursor."""
        message.stop()
        if self._shown is not None and message.key != self._shown and not self.table.follow:
            self._ask_for(message.key)

    def _ask_for(self, key: object) -> None:
        if not isinstance(key, int) or key < 0:
            return
        if self.table.follow:
            self.table.follow = False
            self.table.move_to(key)
            self.post_message(HoldRequested(True))
        if self._shown is None:
            self.post_message(self.DetailChanged(self))
        self._shown = key
        self.post_message(ExchangeRequested(key, partial(self._show_capture, key)))

    def _show_capture(self, record_id: int, capture: Capture | None) -> None:
        """Show the bytes that were asked for, or say that they are gone; unless others are wanted by now."""
        if record_id != self._shown:
            return
        self.query_one(".detail").display = True
        self.set_class(True, "with-detail")
        times, view = self.query_one(ExchangeTimes), self.query_one(HexView)
        if capture is None:
            times.content_shown = Content(
                "This exchange has been overwritten: the ring keeps the last 10,000. "
                "Freeze the view first (space), or slow the traffic down."
            )
            view.show([])
        else:
            short = self.size.height < SHORT_BELOW
            started_s = self.state.snapshot.started_s if self.state is not None else 0.0
            times.content_shown = _times(capture, started_s, short=short, wants_echo=self._wants_echo)
            view.show(_panes(capture, self._wants_echo), compared=self._wants_echo)
        times.refresh(layout=True)
        # The list has just become smaller; the exchange that is shown must stay in sight.
        self.call_after_refresh(self.table.move_to, record_id)

    @property
    def has_detail(self) -> bool:
        """Whether the bytes of an exchange are shown, or asked for."""
        return self._shown is not None

    @property
    def _wants_echo(self) -> bool:
        """Whether an answer ought to be the request again."""
        return self.state is None or self.state.snapshot.experiment.dialogue.wants_echo

    def close_detail(self) -> None:
        """Close the detail; the list stays where it is."""
        if self._shown is not None:
            self.post_message(self.DetailChanged(self))
        self._shown = None
        self.query_one(".detail").display = False
        self.set_class(False, "with-detail")
        self.table.focus()

    def clipping(self) -> Clipping:
        """Return times and bytes of the exchange that is open, or the row."""
        if self._shown is None:
            return super().clipping()
        view = self.query_one(HexView)
        text = "\n\n".join([self.query_one(ExchangeTimes).content_shown.plain, *map(dump, view.panes)])
        sizes = [f"{pane.title} {units.format_bytes(len(pane.data))}" for pane in view.panes]
        return Clipping(text, f"the exchange: {'; '.join(sizes)}" if sizes else "the exchange")


def _row(exchange: Exchange, role: str, started_s: float) -> Row:
    came = exchange.outcome == "ok" or exchange.response_bytes
    answer = units.format_bytes(exchange.response_bytes) if came else units.DASH
    head = "".join(chr(b) if 32 <= b < 127 else "·" for b in exchange.head)
    return Row(
        exchange.record_id,
        (
            f"{exchange.time_s - started_s:.4f}",
            numbered(role, exchange.conn_id),
            f"{units.format_bytes(exchange.request_bytes)} → {answer}",
            units.format_duration(exchange.service_time_s),
            _outcome(exchange),
            head,
        ),
        "" if exchange.outcome == "ok" else "error",
    )


def _outcome(exchange: Exchange) -> str:
    """Return how an exchange went; where it went well, how its answer was read, unless alone and at once."""
    if exchange.outcome != "ok":
        return exchange.outcome
    if exchange.reads > 1:
        return f"{exchange.reads:,} reads"
    return "merged" if exchange.merged else "ok"


def _times(capture: Capture, started_s: float, *, short: bool, wants_echo: bool) -> Content:
    exchange, server = capture.exchange, capture.server
    begin = exchange.time_s
    ends = f"{numbered(SWARM, exchange.conn_id)} {capture.local_address} ⇄ {capture.remote_address}"
    if server is not None:
        ends += f" {numbered(SERVER, server.conn_id)}"
    steps = [("written", f"{begin - started_s:.6f} s", "")]
    if server is not None:
        steps.append(("read", _after(server.read_s, begin), "by the server"))
        same = "" if server.answered_s > server.read_s else "in the same callback"
        steps.append(("answered", _after(server.answered_s, begin), same))
    if exchange.service_time_s is not None:
        steps.append(("back", _after(begin + exchange.service_time_s, begin), _verdict(capture, wants_echo)))
    else:
        steps.append(("back", "never", " ".join((exchange.outcome, _part(capture))).strip()))
    lines = [f"{capture.transport.upper()} {capture.framing}   {ends}"]
    if short:
        lines.append("  ".join(f"{name} {time}" for name, time, _ in steps))
    else:
        lines.extend(f"{name:<9}{time:>16}   {note}".rstrip() for name, time, note in steps)
    return Content("\n".join(plain(line) for line in lines))


def _verdict(capture: Capture, wants_echo: bool) -> str:
    answer = capture.response
    if answer is None:
        return ""
    reads = _reads(answer)
    if not wants_echo:
        return reads
    same = answer.data == capture.request.data and answer.real_length == capture.request.real_length
    verdict = f"answer {'equal to' if same else 'DIFFERENT from'} the request"
    return f"{verdict}, {reads}"


def _part(capture: Capture) -> str:
    """Return in words what came of an answer that is not whole."""
    if capture.response is None:
        return ""
    came = capture.response
    return f"{units.format_bytes(came.real_length)} of it came, {_reads(came)}"


def _after(time_s: float, begin_s: float) -> str:
    return f"{(time_s - begin_s) * 1e6:+,.1f} µs"


def _panes(capture: Capture, wants_echo: bool) -> list[HexPane]:
    """Return the request, and beside it what the server read; or the answer where it says something new."""
    request = capture.request
    panes = [HexPane("request, as written", request.data, request.real_length, request.reads)]
    if capture.server is not None and (wants_echo or capture.response is None):
        seen = capture.server.request
        panes.append(HexPane("as the server read it", seen.data, seen.real_length, seen.reads, _reads(seen)))
    elif capture.response is not None:
        answer = capture.response
        panes.append(
            HexPane("answer, as read", answer.data, answer.real_length, answer.reads, _reads(answer))
        )
    return panes


def _reads(came: Payload) -> str:
    if came.read_count > 1:
        return f"in {came.read_count:,} reads"
    return "in one read with others" if came.merged else "in one read"
