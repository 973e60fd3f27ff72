"""The graph panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from sockscope.core import units
from sockscope.core.censoring import percentiles
from sockscope.core.config.cluster import CLUSTER
from sockscope.core.run.figures import ProcessFigures, process_figures, without_answer
from sockscope.core.units import counted
from sockscope.faces.tui.panels.graph_panel import Curve, GraphPanel, milliseconds, whole
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.panels.workers import worker_rows
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.bars import Bars
from sockscope.faces.tui.widgets.graph import Graph, Series
from sockscope.faces.tui.widgets.plot import latest_of
from sockscope.faces.tui.widgets.ticks import si

LEAST_GRAPH_ROWS = 4
"""Rows that are left to the graph above the workers."""


class ThroughputPanel(GraphPanel):
    """Requests and payload bytes per second."""

    upper = (Curve("req/s", "requests_per_s"),)
    lower = (Curve("bytes/s", "bytes_per_s"),)

    def graphs(self) -> tuple[Graph, ...]:
        """Requests above, bytes below."""
        return self.graph(si), self.graph(_bytes)


def _bytes(value: float) -> str:
    return units.format_bytes(value).replace(" ", "")


class CpuPanel(GraphPanel):
    """CPU of the processes in per cent of one core, and how late the loop of this one is.

    In a run on a cluster the workers are below, where there is room, instead of that loop.
    """

    upper = (
        Curve("screen", "cpu_ratio", 100, "%"),
        Curve("server", "server_cpu_ratio", 100),
        Curve("clients", "clients_cpu_ratio", 100),
        Curve("child", "child_cpu_ratio", 100),
    )
    lower = (Curve("lag ms p99", "lag_p99_s", 1_000), Curve("max", "lag_max_s", 1_000))

    def compose(self) -> ComposeResult:
        """The graphs, and the rows of workers."""
        yield from super().compose()
        self._workers = Static("", classes="workers", markup=False)
        self._workers.display = False
        yield self._workers

    def graphs(self) -> tuple[Graph, ...]:
        """CPU above, lag below."""
        return self.graph(whole, y_max=100.0), self.graph(milliseconds)

    def curves_of(self, state: ScreenState, curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
        """Show those of other processes while there are any; else the one curve is of everything."""
        if curves is not self.upper:
            return curves
        start = state.now_s - state.window_s
        others = [
            curve
            for curve in curves[1:]
            if any(
                isfinite(value) for value in state.trace.series[curve.series].window(start, state.now_s)[1]
            )
        ]
        if others:
            main = state.snapshot.processes[0]
            return (replace(curves[0], label="main") if main.roles else curves[0], *others)
        # A row by itself has no room for more words.
        label = "CPU" if self.size.height == 1 else "CPU of one core %"
        return (Curve(label, "cpu_ratio", 100, "%"),)

    def draw(self, state: ScreenState) -> None:
        """Say in the title how much memory the other processes of the run use, or what is wrong with them.

        Below is what the screen costs; in the title where there is no border, and nothing else to say.
        """
        others = process_figures(state.headline)[1:]
        self._show_workers(state, others)
        super().draw(state)
        cost = _cost(state)
        self.resubtitle(cost)
        told = [" ".join(map(_use, others)), *(_use(other) for other in others if not other.alive)]
        if not others and self.screen.has_class("-narrow"):
            told = [cost]
        room = self.size.width - len(self.entry.title) - 8
        self.retitle(next((text for text in told if len(text) <= room), ""))

    def _show_workers(self, state: ScreenState, others: Sequence[ProcessFigures]) -> None:
        is_on_cluster = state.snapshot.tuning.layout == CLUSTER
        most = self.size.height - LEAST_GRAPH_ROWS
        rows = worker_rows(others, self.size.width - 1, most) if is_on_cluster else []
        self._workers.update(Content("\n").join(rows))
        if self._workers.display != bool(rows):
            self._workers.display = bool(rows)
            self._graphs[1].display = not rows


def _cost(state: ScreenState) -> str:
    """Return what the screen takes of the loop: of a core, pictures, and the longest lag that it causes."""
    cost = state.cost.figures()
    if cost is None:
        return ""
    share, longest = units.format_ratio(cost.cpu_ratio), units.format_duration(cost.longest_s)
    return f"screen {share}, {cost.frames_per_s:.0f} frames/s, lag {longest}"


def _use(process: ProcessFigures) -> str:
    """Return name and memory of a process, or what is the matter with it."""
    if not process.alive:
        return f"{process.name} {process.state}"
    return f"{process.name} {units.format_bytes(process.rss_bytes)}"


class ConcurrencyPanel(GraphPanel):
    """Clients, requests in flight, and who waits for a permit."""

    upper = (
        Curve("in flight", "in_flight"),
        Curve("waiting", "waiting"),
        Curve("clients", "clients"),
    )

    def graphs(self) -> tuple[Graph, ...]:
        """One graph."""
        return (self.graph(whole),)

    def draw(self, state: ScreenState) -> None:
        """Say in the title how many clients there are, since their curve may not fit."""
        super().draw(state)
        self.retitle(counted(state.snapshot.main.clients, "client"))

    def curves_of(self, state: ScreenState, curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
        """Leave the clients out when three legends do not fit."""
        return curves if self.size.width >= 48 else curves[:2]

    def limit(self, state: ScreenState) -> Series | None:
        """The number of permits, from when it was turned on."""
        times, values = state.trace.series["permits"].window(state.now_s - state.window_s, state.now_s)
        permits = latest_of(Series("", times, values))
        return Series(counted(int(permits), "permit"), times, values) if permits > 0 else None


class DistributionPanel(Panel):
    """How the service times of the last second are distributed."""

    def compose(self) -> ComposeResult:
        """One chart."""
        yield Bars(format_value=milliseconds, empty_text="answers of the last second appear here")

    def draw(self, state: ScreenState) -> None:
        """Hand the histogram over, in milliseconds."""
        role = state.headline.main
        histogram = role.service_time
        p50, p99 = percentiles(histogram, without_answer(state.headline), (0.5, 0.99))
        marks = [(name, value * 1_000) for name, value in (("p50", p50), ("p99", p99)) if value is not None]
        self.query_one(Bars).show([(edge * 1_000, count) for edge, count in histogram.occupied()], marks)
