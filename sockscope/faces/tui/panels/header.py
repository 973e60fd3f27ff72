"""The header: what runs, how it goes, and what limits it; to be read from afar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from sockscope.core import units
from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.presets import protocol_of
from sockscope.core.impairment.fault import Fault, shown
from sockscope.core.impairment.link import needs_relay
from sockscope.core.roles import RELAY, SWARM
from sockscope.core.run import little, schedule
from sockscope.core.run.figures import Figures
from sockscope.core.run.kinds import Kind
from sockscope.core.run.snapshot import RunState, Snapshot, Totals
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
_NOT_SERVING = {SWARM: "target", RELAY: "tap"}
"""What is said in place of a server by roles that have none of ours."""
CLAUSE = "; "
"""Between the clauses of a limit's sentence; its first ones are a sentence by themselves."""
MOST_LIMIT_ROWS = 2
"""Rows that the limit may take, but for the lowest terminals."""
LONGEST_FAULTS, LONGEST_FEW = 40, 16
"""Cells of the faults that are on, and where there is little room; of more only their number is told."""
LIMIT_SHRINKS_AFTER_S = 10.0
"""The second row of the limit stays so long after it was needed: nothing below it is to jump."""
_COLOURS = {
    "good": "$text-success",
    "warn": "$text-warning",
    "bad": "$text-error",
    "quiet": "$foreground 60%",
}


class HeaderPanel(Widget, can_focus=True):
    """What runs and its figures (one row, two where it is narrow), then the limit: one row, or two while its
    sentence needs them. In focus it marks the limit, whose evidence Enter shows.
    """

    BINDINGS: ClassVar = [Binding("enter", "app.do('verdict')", show=False)]

    state: reactive[ScreenState | None] = reactive(None, init=False, repaint=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._content = Content("")
        self._is_announcing = False
        self._limit_rows = Held(1, LIMIT_SHRINKS_AFTER_S)

    def watch_state(self, state: ScreenState | None) -> None:
        """Redraw when something that is written here has changed."""
        if state is None or self._is_announcing:
            return
        self._show(self._draw(state))

    def announce(self, experiment: Experiment) -> None:
        """Say that a run is about to begin; with its first figures a header of its own takes over."""
        sign, word, mood = _STATES[RunState.STARTING]
        tuning = experiment.tuning
        serving = experiment.own_server or tuning.server_model
        cluster = [_cluster(experiment)] if tuning.layout == CLUSTER else []
        serves = plain(_NOT_SERVING.get(experiment.role, serving))
        parts = [tuning.carrier, *cluster, serves, experiment.loop]
        told = Content.styled(f"{sign} {word}", f"bold {_COLOURS[mood]}") + Content(f"  {' · '.join(parts)}")
        self._is_announcing = self.state is not None
        self._show(told.stylize("bold"))

    def _show(self, content: Content) -> None:
        if content != self._content:
            self._content = content
            self.refresh()

    def on_focus(self) -> None:
        """Mark the limit."""
        self.redraw()

    def on_blur(self) -> None:
        """Take the mark away."""
        self.redraw()

    def render(self) -> Content:
        """Return the rows."""
        return self._content

    def redraw(self) -> None:
        """Draw the state once more, in another layout."""
        self.watch_state(self.state)

    def _draw(self, state: ScreenState) -> Content:
        width = max(20, self.size.width)
        narrow = self.screen.has_class("-narrow")
        # What runs, in the fewest words, goes before the last of the figures.
        least = 0 if narrow else _whats(state)[-1].cell_length + 2
        figures = _figures(state, width - least)
        if narrow:
            what = next((w for w in _whats(state) if w.cell_length <= width), _whats(state)[-1])
            rows = [what.truncate(width, ellipsis=True), figures]
        else:
            room = width - figures.cell_length - 2
            what = next((w for w in _whats(state) if w.cell_length <= room), _whats(state)[-1])
            what = what.truncate(max(1, room), ellipsis=True)
            rows = [what.pad_right(room + 2 - what.cell_length) + figures]
        most = 1 if self.screen.has_class("-short") else MOST_LIMIT_ROWS
        limit = _limit_lines(state, width, most, marked=self.has_focus)
        height = len(rows) + min(most, self._limit_rows.update(len(limit), state.now_s))
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height
        return Content("\n").join(rows + limit)


def _whats(state: ScreenState) -> list[Content]:
    """Return what runs, in words that get fewer: the last one leaves out what can be read elsewhere."""
    return [
        *(_what(state, parts) for parts in (7, 6, 5, 4, 3, 2)),
        _what(state, 2, short=True),
        *(_what(state, parts, short=True, clock=False) for parts in (2, 1)),
    ]


def _what(state: ScreenState, most: int, *, short: bool = False, clock: bool = True) -> Content:
    snapshot = state.snapshot
    sign, word, mood = _STATES[snapshot.state]
    pieces: list[Content] = []
    if state.frozen:
        at = "" if state.cursor_s is None else f" {state.cursor_s - state.now_s:+.1f} s"
        pieces.append(Content.styled(f" ❄ FROZEN{at} ", "reverse bold"))
    pieces.append(Content.styled(f"{sign} {word}", f"bold {_COLOURS[mood]}"))
    if faults := snapshot.tuning.faults:
        pieces.append(Content.styled(_injected(faults, short=short), "bold $text-warning"))
    role = snapshot.main
    carrier, cipher = _carrier(snapshot, role.tls)
    serving = snapshot.experiment.own_server or snapshot.tuning.server_model
    model = plain(serving) if snapshot.server else "target"
    if most > 3 and snapshot.server is not None and (form := snapshot.server.serves_as):
        model += f" ({form})"
    layout = snapshot.tuning.layout
    place = _PLACES.get(layout, layout)
    spoken = protocol_of(snapshot.experiment.value)
    if role.relay is not None and role.relay.taps:
        taps = role.relay.taps
        more = f" and {len(taps) - 1} more" if len(taps) > 1 else ""
        spoken, model, place = "", f"tap of {taps[0].target}{more}", plain(role.serves_as)
    address = f"{spoken} at {snapshot.address}" if spoken else snapshot.address
    parts = [carrier, plain(address), model, snapshot.loop_name, place, cipher]
    if layout == CLUSTER:
        parts = [carrier, _cluster(snapshot.experiment), plain(address), model, snapshot.loop_name, cipher]
    if (rate := snapshot.tuning.rate) and snapshot.swarm:
        parts = [carrier, f"open loop {units.format_count(rate)}/s", *parts[1:]][: most + 1]
    else:
        parts = [*parts, "closed loop" if snapshot.swarm else ""][:most]
    pieces.append(Content(" · ".join(filter(None, parts))).stylize("bold", 0, len(carrier)))
    if clock:
        pieces.append(Content(units.format_elapsed(snapshot.elapsed_s)))
    if snapshot.warming_up:
        pieces.append(Content.styled("warming up", "$text-warning"))
    return Content("  ").join(pieces)


def _cluster(experiment: Experiment) -> str:
    """Return the cluster by its name; how it is reached is not what tells it from others."""
    return f"cluster {plain(experiment.cluster.rpartition('//')[2])}"


def _injected(faults: Sequence[Fault], *, short: bool) -> str:
    """Return the faults that are on, or how many there are."""
    told = shown(faults)
    if len(told) > (LONGEST_FEW if short else LONGEST_FAULTS):
        return units.counted(len(faults), "fault")
    return f"faults: {told}"


def _carrier(snapshot: Snapshot, agreed: str) -> tuple[str, str]:
    """Return what carries the requests, and the cipher and protocol that the last TLS handshake agreed on."""
    carrier = snapshot.tuning.carrier
    if not snapshot.tuning.tls or not agreed:
        return carrier, ""
    version, _, rest = plain(agreed).partition(" ")
    return carrier.replace("TLS", version, 1), rest


def _figures(state: ScreenState, width: int) -> Content:
    """Return the figures, as many as there is room for: none is cut."""
    snapshot, shown = state.snapshot, state.figures
    totals = snapshot.main.totals
    pieces = [
        _figure(units.format_count(shown.requests_per_s), 9, "req/s"),
        Content("p99 ") + _figure(units.format_duration(shown.p99_s), 7, "") + _stall(shown),
        _figure(units.format_count(totals.failed), 1, "failed", alarm=totals.failed > 0) + _rejected(totals),
    ]
    if snapshot.tuning.transport == "udp" or totals.datagrams_lost:
        lost = totals.datagrams_lost
        pieces.append(_figure(units.format_count(lost), 1, "lost", alarm=lost > 0))
    if totals.datagrams_held and snapshot.tuning.family == "unix":
        pieces.append(_figure(units.format_count(totals.datagrams_held), 1, "held"))
    if snapshot.tuning.rate and snapshot.swarm:
        queued, gone = snapshot.swarm.queued, totals.requests_dropped
        pieces.append(_figure(units.format_count(queued), 1, "queued", alarm=queued > 0))
        if gone:
            pieces.append(_figure(units.format_count(gone), 1, "dropped", alarm=True))
    if _has_relay(snapshot) and (delay_s := shown.relay_delay_s) is not None:
        pieces.append(Content("relay adds ") + _figure(units.format_duration(delay_s), 1, ""))
    if missed := snapshot.events_missed:
        pieces.append(_counted(missed, "log line", "overwritten"))
    if state.dropped:
        pieces.append(_counted(state.dropped, "redraw", "skipped"))
    while len(pieces) > 1 and Content("   ").join(pieces).cell_length > width:
        pieces.pop()
    return Content("   ").join(pieces).truncate(width, ellipsis=True)


def _has_relay(snapshot: Snapshot) -> bool:
    return snapshot.experiment.role == RELAY or needs_relay(snapshot.tuning)


def _rejected(totals: Totals) -> Content:
    count = totals.answers_rejected
    return Content(f", {units.format_count(count)} rejected") if count else Content("")


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


def _limit_lines(state: ScreenState, width: int, most: int, *, marked: bool) -> list[Content]:
    """Return the limit in at most so many lines: where it does not fit, its last clauses are left out."""
    snapshot, finding = state.snapshot, state.finding
    lead = Content.styled("limit", "reverse" if marked else "$foreground 60%")
    lead += Content("  ") + Content.styled(finding.kind.value, "bold $text-accent")
    text, warning = f": {plain(finding.sentence)}", ""
    if snapshot.state is RunState.FAILED:
        lead, text = Content.styled("failed  ", "bold $text-error"), plain(snapshot.error)
    else:
        warning = (
            (schedule.warning(state.headline) if finding.kind is not Kind.GENERATOR_BOUND else "")
            or _framing_warning(snapshot)
            or little.warning(state.headline)
        )
    clauses = text.split(CLAUSE)
    forms = [lead + Content(CLAUSE.join(clauses[:count])) for count in range(len(clauses), 0, -1)]
    if warning:
        told = Content.styled(f"   {warning}", "$text-warning")
        forms = [*(form + told for form in forms), *forms]
    fitting = (lines for form in forms if len(lines := form.wrap(width)) <= most)
    lines = next(fitting, []) or [forms[-1].truncate(width * most, ellipsis=True)]
    opens = Style.from_meta({"@click": "app.do('verdict')"})
    return [line.stylize(opens) for line in lines]


def _framing_warning(snapshot: Snapshot) -> str:
    tuning, experiment = snapshot.tuning, snapshot.experiment
    if tuning.transport != "tcp" or tuning.framing != "none" or experiment.dialogue.tells_ends:
        return ""
    if not experiment.dialogue.wants_echo:
        return "! no framing: one read counts as one answer, wrong when reads merge or split"
    serves = snapshot.server is not None and not experiment.own_server
    return "! no framing: the server takes each read for one request" if serves else ""
