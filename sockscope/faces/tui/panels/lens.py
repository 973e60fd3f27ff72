"""What the lens sees in the event loops of the run: how busy they are, and what held them up."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from textwrap import wrap

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widgets import Static

from sockscope.core import units
from sockscope.core.run.figures import process_figures
from sockscope.core.run.lens import Hold, call_at, kind_told
from sockscope.core.run.pressure import pressure
from sockscope.core.run.snapshot import ProcessUse, Snapshot
from sockscope.faces.tui.panels.listing import DetailListing
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.plain import plain_lines
from sockscope.faces.tui.widgets.spark import spark
from sockscope.faces.tui.widgets.table import Column, Row

NONE_HELD = "no loop was held up so far"
OFF = "The lens is off. Turn the knob lens on (, shows it), or begin with --lens."
LAG_EDGES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Where the bars of the lag histogram end, but the last one."""
_NAME_WIDTH = 8


class LensPanel(DetailListing):
    """A line per loop, an answer to "blocked or merely loaded?", and a row per hold, the newest last."""

    columns = (
        Column("time", "time s", 9, "right", priority=5),
        Column("process", "loop of", 8, priority=4),
        Column("held", "held", 8, "right", priority=8),
        Column("requests", "requests", 8, "right", priority=3),
        Column("call", "by", 24, flexible=True, priority=7),
    )
    follows = True

    def compose(self) -> ComposeResult:
        """The lines of the loops, and the listing below them."""
        loops = Static("", classes="loops", markup=False)
        with Container(classes="lens-body"):
            yield loops
            yield from super().compose()

    def draw(self, state: ScreenState) -> None:
        """Show the last second of each loop, and the holds since the figures began."""
        looked = [process for process in state.headline.processes if process.lens is not None]
        width = max(self.size.width - 2, 20)
        lines = [line for process in looked for line in _loop_lines(state.headline, process, width)]
        is_on = any(process.lens is not None and process.lens.is_on for process in looked)
        if not is_on:
            lines = [OFF, *lines]
        if not self.filter_text:
            # Without a lens nobody has looked, and before the first picture nobody has told.
            self.table.empty_text = NONE_HELD if is_on else ""
        self.query_one(".loops", Static).update(Content(plain_lines(lines)))
        self._holds = {(p.key, hold.begin_s): (p, hold) for p, hold in holds_of(state.snapshot)}
        began_s = state.snapshot.started_s
        self.shown_rows = self.matching([_row(key, *held, began_s) for key, held in self._holds.items()])
        self.table.show(self.shown_rows)
        held = sum(process.lens.held for process in state.snapshot.processes if process.lens is not None)
        self.retitle(f"held up {units.counted(held, 'time')}" if held else "")
        self.draw_detail()

    _holds: dict[Hashable, tuple[ProcessUse, Hold]] = {}

    def detail_of(self, key: Hashable) -> str | None:
        """Return all that is known of a hold."""
        if key not in self._holds or self.state is None:
            return None
        process, hold = self._holds[key]
        return plain_lines(_hold_lines(process, hold, self.state.snapshot.started_s))


def holds_of(snapshot: Snapshot) -> Iterator[tuple[ProcessUse, Hold]]:
    """Yield the holds of all loops, the earliest first, each with its process."""
    found = [(p, hold) for p in snapshot.processes if p.lens is not None for hold in p.lens.holds]
    yield from sorted(found, key=lambda one: one[1].begin_s)


def _loop_lines(window: Snapshot, process: ProcessUse, width: int) -> Iterator[str]:
    """Yield how busy one loop is, how late, and whether that is one callback or many."""
    lens = process.lens
    if lens is None or not lens.is_on:
        return
    figures = next(one for one in process_figures(window) if one.key == process.key)
    name = f"{process.name:<{_NAME_WIDTH}}"
    how = "busy" if lens.busy_by == "select" else "busy (CPU, holds)"
    parts = [
        f"{name} {how} {units.format_ratio(lens.busy_ratio)}",
        f"lag {_lag_bars(process)} p99 {units.format_duration(figures.lag_p99_s)}",
        f"max {units.format_duration(figures.lag_max_s)}",
    ]
    if lens.callbacks_per_s is not None:
        parts.append(f"callbacks/s {units.format_count(lens.callbacks_per_s)}")
    if lens.turns_per_s is not None:
        parts.append(f"turns/s {units.format_count(lens.turns_per_s)}")
    line = ""
    for part in parts:
        if line and len(line) + 2 + len(part) > width:
            yield line
            line = f"{'':<{_NAME_WIDTH}} {part}"
        else:
            line = f"{line}  {part}" if line else part
    yield line
    indent = " " * (_NAME_WIDTH + 1)
    told = pressure(lens, figures).sentence
    yield from wrap(told, width, initial_indent=indent, subsequent_indent=indent)


def _lag_bars(process: ProcessUse) -> str:
    """Return the lag histogram in a character per step of a scale from 1 ms to 1 s."""
    counts = [0] * (len(LAG_EDGES_S) + 1)
    for late_s, count in process.resources.loop_lag.occupied():
        counts[sum(late_s > edge_s for edge_s in LAG_EDGES_S)] += count
    return spark([float(count) for count in counts], len(counts))


def _row(key: Hashable, process: ProcessUse, hold: Hold, began_s: float) -> Row:
    return Row(
        key,
        (
            f"{hold.begin_s - began_s:.3f}",
            process.name,
            units.format_duration(hold.duration_s),
            units.format_count(hold.requests),
            call_at(hold),
        ),
    )


def _hold_lines(process: ProcessUse, hold: Hold, began_s: float) -> Iterator[str]:
    length = units.format_duration(hold.duration_s)
    yield f"{hold.begin_s - began_s:.3f} s: the loop of {process.name} was held up for {length}"
    yield f"by {call_at(hold)}"
    yield kind_told(hold)
    if hold.requests is not None:
        yield f"{units.counted(hold.requests, 'request')} waited for it"
