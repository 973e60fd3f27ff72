"""The header: what runs, how it goes, and what limits it; to be read from afar."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from sockscope.core import units
from sockscope.core.run import little
from sockscope.core.run.figures import Figures
from sockscope.core.run.snapshot import RunState, Snapshot
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.plain import plain
from sockscope.faces.tui.widgets.ticks import Held

_STATES = {
    RunState.IDLE: ("○", "IDLE", "quiet"),
    RunState.STARTING: ("◌", "STARTING", "quiet"),
    RunState.RUNNING: ("◉", "RUNNING", "good"),
    RunState.PAUSED: ("‖", "PAUSED", "warn"),
    RunState.STOPPING: ("◌", "STOPPING", "warn"),
    RunState.STOPPED: ("■", "STOPPED", "quiet"),
    RunState.FAILED: ("✗", "FAILED", "bad"),
}
_PLACES = {"loop": "", "child": "in a child", "server": "server apart"}
"""What a layout is called here, where its own name does not do."""
CLAUSE = "; "
"""Between the parts of a limit's sentence, of which each first few are a sentence, too."""
MOST_LIMIT_ROWS = 2
LIMIT_SHRINKS_AFTER_S = 10.0
"""The second row of the limit stays so long after it was needed: nothing below it is to jump."""
_COLOURS = {
    "good": "$text-success",
    "warn": "$text-warning",
    "bad": "$text-error",
    "quiet": "$foreground 60%",
}


class HeaderPanel(Widget):
    """What runs and its figures (one row, two where it is narrow), then the limit: one row, or two while its
    sentence needs them.
    """

    state: reactive[ScreenState | None] = reactive(None, init=False, repaint=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._content = Content("")
        self._limit_rows = Held(1, LIMIT_SHRINKS_AFTER_S)

    def watch_state(self, state: ScreenState | None) -> None:
        """Redraw when something that is written here has changed."""
        if state is None:
            return
        content = self._draw(state)
        if content != self._content:
            self._content = content
            self.refresh()

    def render(self) -> Content:
        """Return the rows."""
        return self._content

    def redraw(self) -> None:
        """Draw the state once more, in another layout."""
        self.watch_state(self.state)

    def _draw(self, state: ScreenState) -> Content:
        width = max(20, self.size.width)
        figures = _figures(state, width)
        if self.screen.has_class("-narrow"):
            what = next((w for w in _whats(state) if w.cell_length <= width), _whats(state)[-1])
            rows = [what.truncate(width, ellipsis=True), figures]
        else:
            room = width - figures.cell_length - 2
            what = next((w for w in _whats(state) if w.cell_length <= room), _whats(state)[-1])
            what = what.truncate(max(1, room), ellipsis=True)
            rows = [what.pad_right(room + 2 - what.cell_length) + figures]
        limit = _limit_lines(state, width, 1 if self.screen.has_class("-short") else MOST_LIMIT_ROWS)
        height = len(rows) + self._limit_rows.update(len(limit), state.now_s)
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height
        return Content("\n").join(rows + limit)


def _whats(state: ScreenState) -> list[Content]:
    """Return what runs, in words that get fewer: the last one leaves out what can be read elsewhere."""
    return [_what(state, parts) for parts in (5, 4, 3, 2)] + [
        _what(state, parts, clock=False) for parts in (2, 1)
    ]


def _what(state: ScreenState, most: int, *, clock: bool = True) -> Content:
    snapshot = state.snapshot
    sign, word, mood = _STATES[snapshot.state]
    pieces: list[Content] = []
    if state.frozen:
        at = "" if state.cursor_s is None else f" {state.cursor_s - state.now_s:+.1f} s"
        pieces.append(Content.styled(f" ❄ FROZEN{at} ", "reverse bold"))
    pieces.append(Content.styled(f"{sign} {word}", f"bold {_COLOURS[mood]}"))
    role = snapshot.main
    transport = snapshot.tuning.transport.upper()
    serving = snapshot.experiment.own_server or snapshot.tuning.server_model
    model = plain(serving) if snapshot.server else "target"
    layout = snapshot.tuning.layout
    place = _PLACES.get(layout, layout)
    parts = [transport, plain(role.address), model, snapshot.loop_name, place][:most]
    pieces.append(Content(" · ".join(filter(None, parts))).stylize("bold", 0, len(transport)))
    if clock:
        pieces.append(Content(units.format_elapsed(snapshot.elapsed_s)))
    if snapshot.warming_up:
        pieces.append(Content.styled("warming up", "$text-warning"))
    return Content("  ").join(pieces)


def _figures(state: ScreenState, width: int) -> Content:
    """Return the figures, as many as there is room for: none is cut."""
    snapshot, shown = state.snapshot, state.figures
    totals = snapshot.main.totals
    pieces = [
        _figure(units.format_count(shown.requests_per_s), 9, "req/s"),
        Content("p99 ") + _figure(units.format_duration(shown.p99_s), 7, "") + _stall(shown),
        _figure(units.format_count(totals.failed), 1, "failed", alarm=totals.failed > 0),
    ]
    if snapshot.tuning.transport == "udp" or totals.datagrams_lost:
        lost = totals.datagrams_lost
        pieces.append(_figure(units.format_count(lost), 1, "lost", alarm=lost > 0))
    if missed := snapshot.events_missed:
        pieces.append(_counted(missed, "log line", "overwritten"))
    if state.dropped:
        pieces.append(_counted(state.dropped, "redraw", "skipped"))
    while len(pieces) > 1 and Content("   ").join(pieces).cell_length > width:
        pieces.pop()
    return Content("   ").join(pieces).truncate(width, ellipsis=True)


def _stall(shown: Figures) -> Content:
    """Say beside the percentiles that they have little of a stall: while it lasted hardly anybody asked."""
    if not shown.stall_s:
        return Content("")
    return Content.styled(f" ! stalled {units.format_duration(shown.stall_s)}", "$text-warning")


def _counted(count: int, noun: str, what: str) -> Content:
    number, _, noun = units.counted(count, noun).partition(" ")
    return _figure(number, 1, f"{noun} {what}", alarm=True)


def _figure(value: str, width: int, unit: str, *, alarm: bool = False) -> Content:
    style = "bold $text-error" if alarm else "bold"
    return Content.styled(f"{value:>{width}}", style) + Content(f" {unit}" if unit else "")


def _limit_lines(state: ScreenState, width: int, most: int) -> list[Content]:
    """Return the limit in at most so many lines: where it does not fit, its last clauses are left out."""
    snapshot, finding = state.snapshot, state.finding
    lead = Content.styled("limit  ", "$foreground 60%") + Content.styled(finding.limit, "bold $text-accent")
    text, warning = f": {plain(finding.text)}", ""
    if snapshot.state is RunState.FAILED:
        lead, text = Content.styled("failed  ", "bold $text-error"), plain(snapshot.error)
    else:
        warning = _framing_warning(snapshot) or little.warning(state.headline)
    clauses = text.split(CLAUSE)
    forms = [lead + Content(CLAUSE.join(clauses[:count])) for count in range(len(clauses), 0, -1)]
    if warning:
        told = Content.styled(f"   {warning}", "$text-warning")
        forms = [*(form + told for form in forms), *forms]
    fitting = (lines for form in forms if len(lines := form.wrap(width)) <= most)
    return next(fitting, None) or [forms[-1].truncate(width * most, ellipsis=True)]


def _framing_warning(snapshot: Snapshot) -> str:
    tuning, experiment = snapshot.tuning, snapshot.experiment
    if tuning.transport != "tcp" or tuning.framing != "none" or experiment.dialogue.tells_ends:
        return ""
    if not experiment.dialogue.wants_echo:
        return "! no framing: one read counts as one answer, wrong when reads merge or split"
    serves = snapshot.server is not None and not experiment.own_server
    return "! no framing: the server takes each read for one request" if serves else ""
