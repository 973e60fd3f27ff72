"""The inspector: a list of exchanges, and the bytes of one of them from both ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from sockscope.core import units
from sockscope.core.addresses import family_name, split_address
from sockscope.core.config.models import carrier
from sockscope.core.roles import RELAY, SERVER, SWARM, numbered
from sockscope.core.run.lens import HELD_UP_S, Hold, call_at, held_up_by
from sockscope.core.run.one_way import one_way_s
from sockscope.core.run.snapshot import Capture, Cursors, Exchange, Passing, Payload, ServerSide
from sockscope.core.wire.dialogue import Dialogue
from sockscope.core.wire.prologue import GREETING, PREAMBLE
from sockscope.faces.tui.messages import ExchangeRequested, HoldRequested
from sockscope.faces.tui.offer import Clipping
from sockscope.faces.tui.panels.listing import ListingPanel
from sockscope.faces.tui.panels.panel import PanelEntry
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.hexview import HexPane, HexView, dump
from sockscope.faces.tui.widgets.plain import plain, plain_lines
from sockscope.faces.tui.widgets.table import Column, Row, Table

SHORT_BELOW = 24
"""In a panel with fewer rows the times stand in one line, so that there is room for the bytes."""
LINES = 1_000
"""Exchanges kept for scrolling back in the list."""

_PROLOGUE = (GREETING, PREAMBLE)
_STYLES = {"ok": "", **dict.fromkeys(_PROLOGUE, "muted")}
"""How rows look by the outcome of their exchanges: what else there is has failed."""
ANSWERING = ("running", "leaving")
"""States of processes that still tell what they have."""


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
    tapped = 2, Column("tap", "tap", 15, priority=5)
    follows = True
    empty = "exchanges appear here as soon as a request has been answered"

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(entry)
        self._lines: deque[Row] = deque(maxlen=LINES)
        self._newest = -1
        self._slow: dict[int, Exchange] = {}
        self._marked_s = 0.0
        self._shown: int | None = None
        self._capture: Capture | None = None

    def compose_detail(self) -> ComposeResult:
        """Times and bytes, hidden until an exchange is selected."""
        detail = Vertical(ExchangeTimes(), HexView(empty_text=""), classes="detail")
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
        role, holds = snapshot.main, _holds(state)
        if holds and holds[-1].begin_s > self._marked_s:
            self._marked_s = holds[-1].begin_s
            self._lines = deque((self._marked(row, holds) for row in self._lines), maxlen=LINES)
        self.tell_taps(bool(snapshot.experiment.also))
        if self.table.follow:
            for exchange in role.exchanges:
                if exchange.record_id > self._newest:
                    self._add(exchange, role.role, snapshot.started_s, holds)
        self.shown_rows = self.matching(list(self._lines))
        self.table.show(self.shown_rows)
        kept = role.captures_recorded - role.captures_overwritten
        notes = [f"last {kept:,} of {role.captures_recorded:,} kept"]
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

    def _add(self, exchange: Exchange, role: str, started_s: float, holds: Sequence[Hold]) -> None:
        skipped = exchange.record_id - self._newest - 1
        if skipped and self._newest >= 0:
            # Negative numbers are no exchanges: such a row cannot be opened.
            blank = ("",) * (len(self.table.columns) - 1)
            self._lines.append(Row(-exchange.record_id, (*blank, f"… {skipped:,} more"), "muted"))
        self._newest = exchange.record_id
        if exchange.service_time_s is None or exchange.service_time_s >= HELD_UP_S:
            self._slow[exchange.record_id] = exchange
            if len(self._slow) > LINES:
                del self._slow[next(iter(self._slow))]
        taps = len(self.table.columns) > len(self.columns)
        self._lines.append(self._marked(_row(exchange, role, started_s, taps), holds))

    def _marked(self, row: Row, holds: Sequence[Hold]) -> Row:
        """Return the row with what held its exchange up, if something did."""
        exchange = self._slow.get(row.key) if isinstance(row.key, int) else None
        hold = _held_up(exchange, holds) if exchange is not None else None
        if hold is None:
            return row
        outcome = "held up" if row.cells[-2] == "ok" else row.cells[-2]
        cells = (*row.cells[:-2], outcome, f"held up by {call_at(hold)}")
        return Row(row.key, cells, row.style or "changed")

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
        self._capture = capture
        view = self.query_one(HexView)
        if capture is None:
            view.show([])
        else:
            wants_echo = (
                self._dialogue.wants_echo
                and capture.passing is None
                and capture.exchange.outcome not in _PROLOGUE
            )
            view.show(_panes(capture, wants_echo), compared=wants_echo)
        self._show_times()
        # The list has just become smaller; the row must stay in sight, but a key may have moved the cursor on
        # by then.
        self.call_after_refresh(self.table.show_cursor)

    def on_resize(self) -> None:
        """Tell more of the times, or less."""
        if self._capture is not None:
            self._show_times()

    def _show_times(self) -> None:
        times, capture = self.query_one(ExchangeTimes), self._capture
        if capture is None:
            times.content_shown = Content(plain(self._why_gone()))
        else:
            short = self.size.height < SHORT_BELOW
            started_s = self.state.snapshot.started_s if self.state is not None else 0.0
            shown = times_of(capture, started_s, self._dialogue, short=short)
            holds = _holds(self.state) if self.state is not None else []
            if (hold := _held_up(capture.exchange, holds)) is not None:
                told = f"held up by {call_at(hold)}, {units.format_duration(hold.duration_s)}"
                shown += Content(f"\n{plain(told)}")
            times.content_shown = shown
        times.refresh(layout=True)

    def _why_gone(self) -> str:
        """Return in a sentence why there are no bytes of an exchange."""
        processes = self.state.snapshot.processes if self.state is not None else ()
        for process in processes:
            if process.state not in ANSWERING:
                return f"These bytes are in a process that does not answer: {process.name}, {process.state}."
        return (
            "This exchange has been overwritten by newer ones. "
            "Freeze the view first (space), or slow the traffic down."
        )

    @property
    def has_detail(self) -> bool:
        """Whether the bytes of an exchange are shown, or asked for."""
        return self._shown is not None

    @property
    def _dialogue(self) -> Dialogue:
        """How the server is spoken to."""
        if self.state is None:
            return Dialogue()
        snapshot = self.state.snapshot
        return replace(snapshot.experiment, tuning=snapshot.tuning).dialogue

    def close_detail(self) -> None:
        """Close the detail; the list stays where it is."""
        if self._shown is not None:
            self.post_message(self.DetailChanged(self))
        self._shown = self._capture = None
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


def _holds(state: ScreenState) -> list[Hold]:
    """Return the holds of the loops that requests go through, the earliest first."""
    processes = (process for process in state.snapshot.processes if process.roles)
    found = [hold for process in processes if process.lens is not None for hold in process.lens.holds]
    return sorted(found, key=lambda hold: hold.begin_s)


def _held_up(exchange: Exchange, holds: Sequence[Hold]) -> Hold | None:
    took_s = exchange.service_time_s
    return held_up_by(holds, exchange.time_s, exchange.time_s + took_s if took_s is not None else 0.0)


def _row(exchange: Exchange, role: str, started_s: float, taps: bool) -> Row:
    came = exchange.outcome == "ok" or exchange.response_bytes
    answer = units.format_bytes(exchange.response_bytes) if came else units.DASH
    head = "".join(chr(b) if 32 <= b < 127 else "·" for b in exchange.head)
    return Row(
        exchange.record_id,
        (
            f"{exchange.time_s - started_s:.4f}",
            numbered(role, exchange.conn_id),
            *([exchange.tap] if taps else ()),
            f"{units.format_bytes(exchange.request_bytes)} → {answer}",
            units.format_duration(exchange.service_time_s),
            _outcome(exchange),
            head,
        ),
        _STYLES.get(exchange.outcome, "error"),
    )


def _outcome(exchange: Exchange) -> str:
    """Return how an exchange went; where it went well, how its answer was read, unless alone and at once."""
    if exchange.outcome != "ok":
        return exchange.outcome
    if exchange.reads > 1:
        return f"{exchange.reads:,} reads"
    return "merged" if exchange.merged else "ok"


def times_of(capture: Capture, started_s: float, dialogue: Dialogue, *, short: bool) -> Content:
    """Return the times of an exchange and what it went through, in fewer lines where it is ``short``."""
    exchange, server = capture.exchange, capture.server
    begin = exchange.time_s
    if capture.passing is not None:
        return _passing(capture, capture.passing, started_s, short=short)
    ends = f"{numbered(SWARM, exchange.conn_id)} {capture.local_address} ⇄ {capture.remote_address}"
    if (relayed := capture.relayed) is not None:
        ends += f" {numbered(RELAY, relayed.conn_id)} {relayed.address} ⇄"
    if server is not None:
        ends += f" {numbered(SERVER, server.conn_id)}"
    through = ", through the relay" if relayed is not None else ""
    steps = [("written", f"{begin - started_s:.6f} s", "")]
    told = _verdict(capture, dialogue)
    if server is not None:
        steps += _at_server(capture, server, through)
        told = "; ".join(filter(None, (told, _way_back(capture, server))))
    if exchange.service_time_s is not None:
        steps.append(("back", _after(begin + exchange.service_time_s, begin), told))
    else:
        steps.append(("back", "never", " ".join((exchange.outcome, _part(capture))).strip()))
    family = family_name(split_address(capture.local_address)[0])
    carried = carrier(capture.transport, family, capture.tls)
    framing = "" if carried.endswith(capture.framing) else f" {capture.framing}"
    lines = [f"{carried}{framing}   {ends}"]
    if short:
        lines.append("  ".join(f"{name} {time}" for name, time, _ in steps))
        if exchange.outcome != "ok":
            lines.append(steps[-1][-1])
    else:
        lines.extend(f"{name:<9}{time:>16}   {note}".rstrip() for name, time, note in steps)
    return Content(plain_lines(lines))


def _at_server(capture: Capture, server: ServerSide, through: str) -> list[tuple[str, str, str]]:
    """Return when the server read and answered: on a clock of its own, it tells the time between the two."""
    begin = capture.exchange.time_s
    same = "" if server.answered_s > server.read_s else "in the same callback"
    error_s = capture.clock_error_s + server.clock_error_s
    by = f"by the server{through}"
    if not error_s:
        answered = _after(server.answered_s, begin), same
        return [("read", _after(server.read_s, begin), by), ("answered", *answered)]
    off = f"the clocks' error, ±{units.format_duration(error_s)}"
    took = f"{(server.answered_s - server.read_s) * 1e6:,.1f} µs"
    if one_way_s(begin, server.read_s, error_s) is None:
        read = units.DASH, f"{by}, within {off}"
    else:
        read = _after(server.read_s, begin), f"{by}, give or take {off}"
    return [("read", *read), ("served in", took, same)]


def _way_back(capture: Capture, server: ServerSide) -> str:
    """Return how long the answer was on its way, of an exchange between two clocks."""
    exchange, error_s = capture.exchange, capture.clock_error_s + server.clock_error_s
    if not error_s or exchange.service_time_s is None:
        return ""
    took_s = one_way_s(server.answered_s, exchange.time_s + exchange.service_time_s, error_s)
    return f"{units.format_duration(took_s)} on its way" if took_s is not None else ""


def _passing(capture: Capture, passing: Passing, started_s: float, *, short: bool) -> Content:
    """Return the times of an exchange that a tap has seen: each of them is its own."""
    exchange, begin_s = capture.exchange, capture.exchange.time_s
    number = numbered(RELAY, exchange.conn_id)
    at = f" at {exchange.tap}" if exchange.tap else ""
    speaks = f" {capture.framing}" if capture.framing not in ("", "datagram") else ""
    carried = carrier(capture.transport, family_name(split_address(capture.remote_address)[0]), False)
    first = passing.read_s or begin_s
    steps = [("read", f"{first - started_s:.6f} s", "from the client")]
    if passing.read_s:
        steps.append(("passed on", _after(begin_s, first), "to the target"))
    else:
        steps[0] = ("passed on", f"{first - started_s:.6f} s", "to the target, when a fault let it go")
    if exchange.service_time_s is None:
        steps.append(("answer", "never", " ".join((exchange.outcome, _part(capture))).strip()))
    else:
        answered_s = begin_s + exchange.service_time_s
        took = units.format_duration(exchange.service_time_s)
        steps.append(("answer", _after(answered_s, first), f"read: the target took {took}"))
        if passing.passed_back_s:
            added_s = passing.added_s(begin_s, answered_s)
            adds = f", the tap adds {units.format_duration(added_s)}" if added_s is not None else ""
            steps.append(("back", _after(passing.passed_back_s, first), f"to the client{adds}"))
        else:
            steps.append(("back", units.DASH, "a fault holds it back, or the client has gone"))
    lines = [f"{carried}{speaks}   {capture.remote_address} ⇄ {number}{at} ⇄ {capture.local_address}"]
    if short:
        lines.append("  ".join(f"{name} {time}" for name, time, _ in steps))
        lines.append(steps[-1][-1])
    else:
        lines.extend(f"{name:<9}{time:>16}   {note}".rstrip() for name, time, note in steps)
    return Content(plain_lines(lines))


def _verdict(capture: Capture, dialogue: Dialogue) -> str:
    answer, outcome = capture.response, capture.exchange.outcome
    if answer is None:
        return ""
    reads = _reads(answer)
    if outcome in _PROLOGUE:
        return f"{reads}; before the first request, in no figure"
    if outcome != "ok":
        return "; ".join(filter(None, (reads, f"{outcome}: {dialogue.fault_of(answer.data)}".rstrip(": "))))
    if not dialogue.wants_echo:
        return f"{reads}; it ends as told: {capture.framing}" if dialogue.tells_ends else reads
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
    request, outcome = capture.request, capture.exchange.outcome
    said = PREAMBLE if outcome == PREAMBLE else "request"
    done = "written" if capture.passing is None else "read"
    panes = [HexPane(f"{said}, as {done}", request.data, request.real_length, request.reads)]
    if outcome == GREETING:
        panes.clear()
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
