"""The history: finished runs, and two of them overlaid."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, ScrollableContainer, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from sockscope.core.results.comparison import Side, compare
from sockscope.core.results.schema import known
from sockscope.core.units import counted
from sockscope.errors import HistoryError
from sockscope.faces.history import comparison_json, comparison_text, row_cells, stored_json, stored_text
from sockscope.faces.summary import WIDTH
from sockscope.faces.tui.offer import Clipping
from sockscope.faces.tui.widgets.graph import Graph, Series
from sockscope.faces.tui.widgets.plain import plain, plain_lines, wrapped
from sockscope.faces.tui.widgets.table import Column, Row, Table
from sockscope.store.history import History, RunRow, StoredRun

LISTED = 500
"""Runs that the list shows, the newest ones."""
SIDE_BY_SIDE = 150
"""From this width on the curves stand beside the figures."""
EMPTY = "no run is kept yet: runs are kept when they end"
"""What stands in place of the list while there is none."""
UNREADABLE = "the runs cannot be read"
"""... and where the file cannot be read."""
NO_FIGURES = "Runs appear here when they have ended."
"""What stands in place of the figures until there is a run."""
COLUMNS = (
    Column("mark", "", 1, priority=9),
    Column("id", "id", 4, "right", priority=8),
    Column("began", "began", 11, priority=5),
    Column("kind", "kind", 5, priority=4),
    Column("rate", "req/s", 8, "right", priority=7),
    Column("p99", "p99", 9, "right", priority=6),
    Column("failed", "failed", 7, "right", priority=1),
    Column("lasted", "lasted", 8, "right", priority=3),
    Column("what", "what", 12, flexible=True, priority=2),
)


class HistoryScreen(Screen[None]):
    """A list of runs; the one under the cursor is B, and ``a`` makes it A, with which others are compared."""

    CSS_PATH = "history.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,h", "dismiss", "close", show=False),
        Binding("a", "pin", "A", show=False),
        Binding("d,delete", "delete", "delete", show=False),
    ]

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._rows: list[RunRow] = []
        self._pinned: StoredRun | None = None
        self._shown: StoredRun | None = None
        self._to_delete: int | None = None
        self._trouble = ""
        """Why the list cannot be read."""
        self._fault = ""
        """Why the run under the cursor cannot be read."""
        # Held here and not looked for: the file may answer when the screen is on its way out already.
        self._head = Static("", id="history-head", markup=False)
        self._table = Table(COLUMNS, empty_text=EMPTY, id="history-list")
        self._rates = Graph("requests/s", since_start=True, empty_text="", id="rates")
        self._tails = Graph("p99", unit="ms", since_start=True, empty_text="", id="tails")
        self._figures = Static("", id="history-figures", markup=False)

    def compose(self) -> ComposeResult:
        """The list above; below it the curves, and beside them the figures."""
        yield self._head
        yield self._table
        with Container(id="history-body"):
            with Vertical(id="history-graphs"):
                yield self._rates
                yield self._tails
            with ScrollableContainer(id="history-text") as text:
                text.border_title = "Figures"
                yield self._figures
        yield Static(
            " ↑ ↓ choose B   a make it A   d delete   y copy   e export   Esc dashboard",
            id="history-foot", markup=False,
        )  # fmt: skip

    async def on_mount(self) -> None:
        """Read the list."""
        await self._read()
        if self._table.is_attached:
            self._table.focus()

    def on_resize(self) -> None:
        """Put the curves beside the figures where both fit."""
        self.set_class(self.size.width < SIDE_BY_SIDE, "-stacked")

    async def _read(self) -> None:
        try:
            self._rows = await asyncio.to_thread(self._history.runs, LISTED + 1)
            self._trouble = ""
        except HistoryError as error:
            self._rows, self._trouble = [], str(error)
        self._table.empty_text = UNREADABLE if self._trouble else EMPTY
        self._list()
        if self._rows:
            await self._catch_up()
        else:
            self._draw()

    def _list(self) -> None:
        pinned = self._pinned.row.id if self._pinned else None
        self._table.show([_table_row(row, row.id == pinned) for row in self._rows[:LISTED]])
        self._say_where()

    def _say_where(self) -> None:
        """Say how many runs there are and in which file."""
        newest = "the newest " if len(self._rows) > LISTED else ""
        count = counted(min(len(self._rows), LISTED), "run")
        told = UNREADABLE if self._trouble else f"{newest}{count}"
        self._say(f"History  {told}  in {self._history.path}")

    def _say(self, text: str) -> None:
        self._head.update(Content(plain(text)))

    # What is chosen.

    async def on_table_row_highlighted(self, message: Table.RowHighlighted) -> None:
        """Show the run under the cursor."""
        message.stop()
        if self._to_delete != message.key:
            self._to_delete = None
            self._say_where()
        await self._catch_up()

    async def _show(self, run_id: int) -> None:
        try:
            self._shown, self._fault = await asyncio.to_thread(self._history.load, run_id), ""
        except HistoryError as error:
            self._shown, self._fault = None, str(error)
        self._draw()

    async def _catch_up(self) -> None:
        """Show the run under the cursor, unless it is shown already: keys may be faster than the file."""
        run_id = self._table.cursor_key
        if isinstance(run_id, int) and (self._shown is None or self._shown.row.id != run_id):
            await self._show(run_id)

    async def action_pin(self) -> None:
        """Compare other runs with the one under the cursor, or stop comparing with it."""
        await self._catch_up()
        same = self._pinned and self._shown and self._pinned.row.id == self._shown.row.id
        self._pinned = None if same else self._shown
        self._list()
        self._draw()

    async def action_delete(self) -> None:
        """Delete the run under the cursor; the key is asked for twice."""
        run_id = self._table.cursor_key
        if not isinstance(run_id, int):
            return
        if self._to_delete != run_id:
            self._to_delete = run_id
            self._say(f"press d again to delete run {run_id} for good")
            return
        self._to_delete = None
        try:
            await asyncio.to_thread(self._history.delete, [run_id])
        except HistoryError as error:
            self.notify(plain(str(error)), severity="error", markup=False)
            return
        if self._pinned is not None and self._pinned.row.id == run_id:
            self._pinned = None
        self._shown = None
        await self._read()

    # Drawing.

    def _draw(self) -> None:
        runs = self._runs
        self._draw_curves(runs)
        why = wrapped(plain(self._trouble or self._fault or NO_FIGURES), min(self.size.width - 4, WIDTH))
        self._figures.update(Content(self._text or "\n".join(why)))

    @property
    def _runs(self) -> list[StoredRun]:
        """The run that is shown, after the one that it is compared with, if it is another."""
        shown, pinned = self._shown, self._pinned
        pair = [pinned, shown] if pinned and shown and pinned.row.id != shown.row.id else [shown]
        return [run for run in pair if run is not None]

    @property
    def _sides(self) -> tuple[Side, Side] | None:
        """What is compared; None while one run is shown, or two that cannot be compared."""
        runs = self._runs
        if len(runs) != 2 or runs[0].row.kind != runs[1].row.kind:
            return None
        a, b = (Side(f"run {r.row.id}", r.report, r.row.kind, r.row.cut_short) for r in runs)
        return a, b

    @property
    def _text(self) -> str:
        """The figures as text, without control characters."""
        runs, sides = self._runs, self._sides
        if sides is not None:
            return plain_lines(comparison_text(compare(*sides)).splitlines())
        if len(runs) == 2:
            a, b = (run.row for run in runs)
            return f"{a.id} is a {a.kind} and {b.id} a {b.kind}: they cannot be compared."
        return plain_lines(stored_text(runs[0]).splitlines()) if runs else ""

    # What can be kept.

    def clipping(self) -> Clipping:
        """Return the figures as they are shown."""
        return Clipping(self._text, " and ".join(f"run {run.row.id}" for run in self._runs))

    def files(self) -> dict[str, str]:
        """Return what is shown as JSON and as text."""
        runs, sides = self._runs, self._sides
        if not runs:
            return {}
        figures = comparison_json(compare(*sides), ()) if sides is not None else stored_json(runs[-1])
        return {"json": figures, "txt": self._text + "\n"}

    def _draw_curves(self, runs: Sequence[StoredRun]) -> None:
        longest = max((_length_s(run) for run in runs), default=0.0)
        self._rates.empty_text = _NO_CURVE.get(runs[-1].row.kind, "") if runs else ""
        # Two are named as in the table of their figures, which tells their numbers.
        names = ("A", "B") if len(runs) == 2 else tuple(f"run {run.row.id}" for run in runs)
        for graph, figure, factor in (
            (self._rates, "rates.requests_per_s", 1.0), (self._tails, "service_time_s.p99", 1e3),
        ):  # fmt: skip
            # The run under the cursor is the first curve: it is drawn on top.
            curves = [
                _series(name, run.intervals, figure, factor)
                for name, run in reversed(list(zip(names, runs, strict=True)))
            ]
            graph.forget_axis()
            graph.show([curve for curve in curves if curve.times], now=longest, window=max(longest, 1.0))


_NO_CURVE = {
    "race": "a race has no curve",
    "run": "too short for a curve",
    "sweep": "the curve is below, among the figures",
}


def _table_row(row: RunRow, pinned: bool) -> Row:
    cells = row_cells(row, "%m-%d %H:%M")
    return Row(row.id, ("A" if pinned else "", *cells), "changed" if pinned else "")


def _length_s(run: StoredRun) -> float:
    return max((known(one, "elapsed_s") or 0.0 for one in run.intervals), default=0.0)


def _series(label: str, intervals: Sequence[Mapping[str, Any]], figure: str, factor: float) -> Series:
    """Return a figure over the time since the run began, at the end of each interval."""
    points = [
        (at, value * factor)
        for one in intervals
        if (at := known(one, "elapsed_s")) is not None and (value := known(one, figure)) is not None
    ]
    return Series(label, [at for at, _ in points], [value for _, value in points])
