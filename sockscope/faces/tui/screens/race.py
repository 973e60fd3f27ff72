"""The Race screen: a preset is raced, and the table sorts itself as results come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from sockscope.core.results.standing import Standing, StandingRow, rows
from sockscope.faces.race import RaceFace
from sockscope.faces.race_table import (
    headline,
    published_lines,
    remarks,
    resource_columns,
    result_columns,
    workload_line,
)
from sockscope.faces.tui.screens.rounds import RoundsScreen
from sockscope.faces.tui.widgets.plain import plain, plain_lines
from sockscope.faces.tui.widgets.table import Column, Row, Table
from sockscope.lab.presets import PRESETS, contest_of, workload_of
from sockscope.lab.race import Race

PRESET_COLUMNS = (
    Column("name", "race", 11, priority=9),
    Column("what", "what it compares", 20, flexible=True, priority=8),
)
_PRIORITIES = {
    "rank": 99, "server": 98, "req/s": 97, "time": 97, "": 60, "×": 90, "p99": 85, "CPU": 80, "limit": 88,
    "low … high": 70, "p50": 70, "min … max": 65, "RSS": 55, "CPU/request": 50, "conn/s": 45,
    "failed": 82, "rejected": 81, "no conn": 42, "threads": 40,
}  # fmt: skip
"""Which columns stay when there is no room for all."""
_WIDTHS = {"": 16, "limit": 8}
"""Columns of text are as wide as this; those of figures grow with them."""


class RaceScreen(RoundsScreen):
    """Presets above, the standing below. The dashboard's own run rests while a race goes on."""

    CSS_PATH = "race.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,r", "leave", "close", show=False),
        Binding("s", "finish", "stop", show=False),
    ]

    kind = "race"

    def compose(self) -> ComposeResult:
        """The presets; what runs; the table; what one needs to know to read it."""
        yield Static(" Race  the same work for every server, in turn", id="race-head", markup=False)
        yield Table(PRESET_COLUMNS, id="race-presets")
        yield Static("", id="race-progress", markup=False)
        yield Table((Column("server", "server", 20),), empty_text=_EMPTY, id="race-table")
        with VerticalScroll(id="race-remarks"):
            yield Static("", id="race-text", markup=False)
        yield Static(_KEYS, id="race-foot", markup=False)

    def on_mount(self) -> None:
        """Offer the presets."""
        presets = self.query_one("#race-presets", Table)
        presets.show([Row(preset.name, (preset.name, preset.summary)) for preset in PRESETS.values()])
        presets.focus()

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Start the preset that was chosen."""
        message.stop()
        if message.table.id == "race-presets":
            preset = PRESETS[str(message.key)]
            self.start(lambda: RaceFace(Race(contest_of(workload_of(preset), preset)), self.environment))

    # Drawing.

    def watch_standing(self, standing: Standing | None) -> None:
        """Draw how the race stands."""
        if standing is None:
            return
        table = rows(standing)
        self.query_one("#race-head", Static).update(Content(plain(f" {headline(standing)}")))
        self.add_class("-raced")
        self.draw_progress(standing)
        self._draw_table(standing, table)
        lines = [workload_line(standing.contest), *published_lines(standing, table)]
        if standing.slices_done:
            lines += [f"· {remark}" for remark in remarks(standing, table)]
        self.query_one("#race-text", Static).update(Content(plain_lines(lines)))

    def _draw_table(self, standing: Standing, table: Sequence[StandingRow]) -> None:
        columns = [*result_columns(standing.contest, table, bars=True), *resource_columns()[1:]]
        shown = self.query_one("#race-table", Table)
        longest = max(len(row.name) for row in table)
        shown.columns = [
            Column(
                column.head or "bar",
                column.head,
                _WIDTHS.get(column.head, len(column.head)) if column.head != "server" else longest,
                "left" if column.left else "right",
                priority=_PRIORITIES.get(column.head, 10),
            )
            for column in columns
        ]
        shown.show(
            [
                Row(
                    row.name,
                    tuple(column.cell(row) for column in columns),
                    _style(row, standing),
                )
                for row in table
            ]
        )


def _style(row: StandingRow, standing: Standing) -> str:
    if row.fault:
        return "error"
    if row.name == standing.running and not standing.finished:
        return "changed"
    return "ok" if row.rank == 1 else ""


_EMPTY = "Enter starts the race chosen above; its table sorts itself as results come in"
_KEYS = " ↑ ↓ choose   Enter start   s stop early   y copy   e export   Esc dashboard"
