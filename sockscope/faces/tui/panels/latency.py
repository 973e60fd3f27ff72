"""The latencies of the run: percentiles as curves, or all of them as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding

from sockscope.core import units
from sockscope.core.censoring import AtLeast, percentiles
from sockscope.core.run.figures import without_answer, without_response
from sockscope.core.run.latency_slices import LatencySlice, band_edge_s
from sockscope.core.run.snapshot import Snapshot
from sockscope.faces.tui.messages import MomentRequested
from sockscope.faces.tui.panels.graph_panel import Curve, GraphPanel, markers_of, milliseconds
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.graph import Graph
from sockscope.faces.tui.widgets.heatmap import SMALLEST_HEIGHT, HeatMap, HeatSlice
from sockscope.faces.tui.widgets.plain import DASH

_ALIKE = (
    Curve("p50", "p50_s", 1_000, "ms"),
    Curve("p99", "p99_s", 1_000),
    Curve("max", "max_s", 1_000),
)
"""Where nobody waits before he asks both times are one."""
_APART = (
    Curve("service p50", "p50_s", 1_000, "ms"),
    Curve("service p99", "p99_s", 1_000),
    Curve("response p50", "response_p50_s", 1_000),
    Curve("response p99", "response_p99_s", 1_000),
)
_WIDE, _MIDDLE = 88, 64
"""From how many cells on there is room for four curves in the legend, and for three."""


class Face(Enum):
    """What the panel shows."""

    CURVES = ""
    RESPONSE = "response time"
    SERVICE = "service time"


class FocusHeatMap(HeatMap, can_focus=True):
    """A heat map that can be looked at with the keys."""


class LatencyPanel(GraphPanel):
    """Service and response time of the window of each point, or how both are distributed over time."""

    BINDINGS: ClassVar = [Binding("enter", "app.do('open_loop')", show=False)]

    upper = (*_APART, _ALIKE[2])
    _face = Face.CURVES

    def graphs(self) -> tuple[Graph, ...]:
        """One graph."""
        return (self.graph(milliseconds),)

    def compose(self) -> ComposeResult:
        """The graph, and the heat map that takes its place."""
        yield from super().compose()
        self._heat = FocusHeatMap(
            bin_edge=lambda band: band_edge_s(band) * 1_000,
            format_value=milliseconds,
            beyond="no answer",
            hatched="warm-up",
            empty_text="figures appear with the first answers",
        )
        self._heat.display = False
        yield self._heat

    def turn_face(self) -> None:
        """Show the next face: curves, response times, service times."""
        faces = list(Face)
        self._face = faces[(faces.index(self._face) + 1) % len(faces)]
        had_focus = self.has_focus_within
        self.redraw()
        if had_focus and (target := self.focus_target) is not None:
            target.focus()

    def draw(self, state: ScreenState) -> None:
        """Draw the face; a heat map needs some height."""
        is_heat = self._face is not Face.CURVES and self.size.height >= SMALLEST_HEIGHT
        self._heat.display = is_heat
        self._graphs[0].display = not is_heat
        width = self.size.width
        shows = self._face if state.snapshot.main.response_time.total else Face.SERVICE
        room = width - len(self.entry.title) - 8
        faces = (f"heat map of the {shows.value}", shows.value) if is_heat else ()
        face = next((text for text in faces if len(text) <= room), "")
        in_legend = not is_heat and self.curves_of(state, self.upper) is not _ALIKE
        if self.styles.border_bottom[0] not in ("", "none"):
            self.resubtitle(percentiles_told(state, width - 4, in_legend))
        else:  # only the upper border is there to tell it
            told = percentiles_told(state, room - len(face) - 2, in_legend)
            face = "  ".join(filter(None, (face, told)))
        self.retitle(face)
        if not is_heat:
            super().draw(state)
            return
        trace = state.trace
        start = state.now_s - state.window_s
        slices = trace.response_time if shows is Face.RESPONSE else trace.service_time
        self._heat.show(
            _heat(slices, start, state.now_s),
            now=state.now_s,
            window=state.window_s,
            markers=markers_of(state, start),
            cursor=state.cursor_s,
        )

    def curves_of(self, state: ScreenState, curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
        """Both times where they differ in what is in sight, as far as there is room in the legend."""
        series = state.trace.series
        span = state.now_s - state.window_s, state.now_s
        differ = any(
            served == served and waited > served
            for name in ("p50_s", "p99_s")
            for served, waited in zip(
                series[name].window(*span)[1], series[f"response_{name}"].window(*span)[1], strict=True
            )
        )
        if not differ:
            return _ALIKE
        width = self.size.width
        return _APART if width >= _WIDE else (*_APART[:2], _APART[3]) if width >= _MIDDLE else _APART[1::2]

    def band_of(self, curves: tuple[Curve, ...]) -> tuple[int, int] | None:
        """From the median to the 99th percentile, of the time that clients feel where both are there."""
        names = [curve.series for curve in curves]
        pairs = (("response_p50_s", "response_p99_s"), ("p50_s", "p99_s"))
        found = (pair for pair in pairs if all(name in names for name in pair))
        return next(((names.index(low), names.index(high)) for low, high in found), None)

    def on_heat_map_clicked(self, message: HeatMap.Clicked) -> None:
        """Look at the moment that was clicked, on every graph."""
        message.stop()
        self.post_message(MomentRequested(message.time))


def _heat(slices: Sequence[LatencySlice], start_s: float, end_s: float) -> list[HeatSlice]:
    return [
        HeatSlice(one.begin_s, one.end_s, one.bands, one.counts, one.unanswered, one.warming_up)
        for one in slices
        if start_s <= one.end_s and one.begin_s <= end_s
    ]


class _Tails(NamedTuple):
    """Percentiles of the service time and of the response time, in seconds."""

    p50_s: float | None
    p99_s: float | None
    response_p50_s: float | None
    response_p99_s: float | None

    @classmethod
    def of(cls, window: Snapshot) -> _Tails:
        role, ratios = window.main, (0.5, 0.99)
        service = percentiles(role.service_time, without_answer(window), ratios)
        return cls(*service, *percentiles(role.response_time, without_response(window), ratios))

    @property
    def differ(self) -> bool:
        """Whether anybody waited before he asked; without that both times are one."""
        return None not in self[2:] and self[:2] != self[2:]

    def full(self) -> str:
        """Return all of them, in milliseconds."""
        service = f"p50 {_ms(self.p50_s)} p99 {_ms(self.p99_s)}"
        if not self.differ:
            return service
        return f"service {service} response p50 {_ms(self.response_p50_s)} p99 {_ms(self.response_p99_s)}"


def percentiles_told(state: ScreenState, room: int, in_legend: bool) -> str:
    """Return percentiles of the last second and of the whole run by their names, as they fit in ``room``.

    Where those of both times in the last second are ``in_legend`` already, both of the whole run tell more.
    """
    last, run = _Tails.of(state.headline), _Tails.of(state.snapshot)
    if run.p99_s is None:
        return ""
    both = f"last 1 s {last.full()} · whole run {run.full()}"
    if run.differ:
        name, ends = "response p99", (last.response_p99_s, run.response_p99_s)
    else:
        name, ends = "p99", (last.p99_s, run.p99_s)
    apart = f"service {_ms(run.p99_s)}, response {_ms(run.response_p99_s)}"
    texts = (
        both,
        *((f"p99 of the whole run: {apart}", f"run p99 {apart}") if run.differ and in_legend else ()),
        f"{name} last 1 s {_ms(ends[0])}, whole run {_ms(ends[1])}",
        f"{name} last 1 s {_ms(ends[0])}, run {_ms(ends[1])}",
        f"{name} whole run {_ms(ends[1])}",
    )
    return next((text for text in texts if len(text) <= room), "")


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return DASH
    value = seconds * 1_000
    if value < 999.5:
        return milliseconds(value)
    return f"{units.AT_LEAST if isinstance(seconds, AtLeast) else ''}{float(value):,.0f}"
