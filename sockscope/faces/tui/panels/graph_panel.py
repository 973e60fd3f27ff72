"""What the panels of graphs are made of: curves of the trace, with markers, on one or two graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import ClassVar

from textual.app import ComposeResult

from sockscope.core import units
from sockscope.core.censoring import AtLeast
from sockscope.core.events import EventKind
from sockscope.core.run.trace import cpu_elsewhere
from sockscope.faces.tui.messages import MomentRequested
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.graph import Graph, Marker, Series, gutter_of_labels
from sockscope.faces.tui.widgets.ticks import si

ARROW = " → "
_CLOSE_RATIO = 0.1
"""Turns of a knob, and holds of the loop, that are at most this share of the window apart have one label."""
_HELD_UP = "held up "
"""How the log tells of a hold."""


def milliseconds(value: float) -> str:
    """Return a latency axis label; the values are milliseconds."""
    if isinstance(value, AtLeast):
        return f"{units.AT_LEAST}{milliseconds(float(value))}"
    return si(value) if value >= 1_000 else f"{value:.3g}"


def whole(value: float) -> str:
    """Return a count, or a share in percent."""
    return f"{value:,.0f}" if value < 100_000 else si(value)


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: its label, the series of the trace it is made of, a factor (seconds to ms), its unit."""

    label: str
    series: str
    factor: float = 1.0
    unit: str = ""

    def named(self, height: int) -> str:
        """Return the label; a graph of one row has no title that could tell the unit."""
        return f"{self.label} {self.unit}" if height == 1 and self.unit else self.label


class FocusGraph(Graph, can_focus=True):
    """A graph that can be looked at with the keys."""


class GraphPanel(Panel):
    """One or two graphs, one above the other, with their curves."""

    upper: ClassVar[tuple[Curve, ...]] = ()
    lower: ClassVar[tuple[Curve, ...]] = ()

    def graphs(self) -> tuple[Graph, ...]:
        """Make the graphs."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """Put the graphs one above the other."""
        self._gutter = gutter_of_labels()
        self._graphs = self.graphs()
        for graph in self._graphs[1:]:
            graph.add_class("second")
        yield from self._graphs

    def graph(self, format_value: Callable[[float], str], y_max: float | None = None) -> FocusGraph:
        """Make a graph that shares its time axis with the other one."""
        return FocusGraph(
            format_value=format_value,
            y_max=y_max,
            gutter=self._gutter,
            empty_text="figures appear with the first answers",
        )

    def draw(self, state: ScreenState) -> None:
        """Hand the curves over."""
        start = state.now_s - state.window_s
        markers = markers_of(state, start)
        gutter = self._gutter.value
        for graph, curves in zip(self._graphs, (self.upper, self.lower), strict=False):
            if graph.size.height:
                graph.cursor = state.cursor_s
                shown = self.curves_of(state, curves)
                graph.show(
                    [series_of(state, curve, start, graph.size.height) for curve in shown],
                    band=self.band_of(shown),
                    now=state.now_s,
                    window=state.window_s,
                    markers=markers,
                    limit=self.limit(state) if graph is self._graphs[0] else None,
                )
        if self._gutter.value > gutter:
            self._graphs[0].redraw()  # the labels of the lower one are wider

    def on_graph_clicked(self, message: Graph.Clicked) -> None:
        """Look at the moment that was clicked, on every graph."""
        message.stop()
        self.post_message(MomentRequested(message.time))

    def limit(self, state: ScreenState) -> Series | None:
        """Return a level to mark in the upper graph."""
        return None

    def band_of(self, curves: tuple[Curve, ...]) -> tuple[int, int] | None:
        """Return the places of the curves between which the area is filled."""
        return None

    def curves_of(self, state: ScreenState, curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
        """Return the curves of a graph that there is something to draw of, and room for in the legend."""
        return curves

    def clipboard_text(self) -> str:
        """Return the points in sight as tab-separated text."""
        state = self.state
        if state is None:
            return ""
        curves = (*self.upper, *self.lower)
        start = state.now_s - state.window_s
        columns = [series_of(state, curve, start) for curve in curves]
        lines = ["\t".join(["time_s", *(curve.label for curve in curves)])]
        for row, time in enumerate(columns[0].times):
            cells = [f"{column.values[row]:.6g}" for column in columns]
            lines.append("\t".join([f"{time - state.snapshot.started_s:.3f}", *cells]))
        return "\n".join(lines)


def series_of(state: ScreenState, curve: Curve, start: float, height: int = 0) -> Series:
    """Return what a curve has in sight."""
    times, values = state.trace.series[curve.series].window(start, state.now_s)
    if curve.factor != 1.0:
        values = [value * curve.factor for value in values]
    return Series(curve.named(height), times, values, _latest(state, curve))


def _latest(state: ScreenState, curve: Curve) -> float | None:
    """Return the figure of the last second, as in the header; None of what is of a moment."""
    if hasattr(state.figures, curve.series):
        value = getattr(state.figures, curve.series)
    elif curve.series in (elsewhere := cpu_elsewhere(state.headline)):
        value = elsewhere[curve.series]
    else:
        return None
    return nan if value is None else value * curve.factor


def markers_of(state: ScreenState, start: float) -> Sequence[Marker]:
    """Return what is marked; of turns of one knob that come close together the last one tells all, and of
    holds of the loop that do the first one how many they are."""
    events = [
        event
        for event in state.trace.markers
        if start <= event.time_s <= state.now_s and event.kind is not EventKind.ERROR
    ]
    marked: list[Marker] = []
    holds = 0
    for event in events:
        text = event.text
        if not text.startswith(_HELD_UP):
            holds = 0
        elif holds and event.time_s - marked[-1].time <= state.window_s * _CLOSE_RATIO:
            holds += 1
            marked[-1] = replace(marked[-1], label=f"{_HELD_UP}{holds}×")
            continue
        else:
            holds = 1
        if marked and event.time_s - marked[-1].time <= state.window_s * _CLOSE_RATIO:
            together = _turned_on(marked[-1].label, text)
            if together:
                marked[-1], text = replace(marked[-1], label=""), together
        marked.append(Marker(event.time_s, text))
    return [replace(marker, label=marker.label.replace(ARROW, "→")) for marker in marked]


def _turned_on(before: str, after: str) -> str:
    """Return "permits 1 → 5" for "permits 1 → 2" and then "permits 2 → 5"; nothing where they do not meet."""
    came_from, _, reached = before.partition(ARROW)
    left, _, now = after.partition(ARROW)
    knob = left.removesuffix(f" {reached}") if reached else left
    meet = bool(now) and knob != left and came_from.startswith(f"{knob} ")
    return f"{came_from}{ARROW}{now}" if meet else ""
