"""The Race screen: a preset is raced, and the table sorts itself as results come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Static

from sockscope.core.results.race_result import race_report
from sockscope.core.results.standing import Standing, StandingRow, rows
from sockscope.errors import SockscopeError
from sockscope.faces.race import RaceForm, progress_words, race_title, written
from sockscope.faces.race_table import (
    bar,
    headline,
    published_lines,
    remarks,
    resource_columns,
    result_columns,
    workload_line,
)
from sockscope.faces.tui.offer import Clipping
from sockscope.faces.tui.widgets.plain import plain
from sockscope.faces.tui.widgets.table import Column, Row, Table
from sockscope.lab.presets import PRESETS, contest_of, workload_of
from sockscope.lab.race import Race
from sockscope.store.history import History

PRESET_COLUMNS = (
    Column("name", "race", 11, priority=9),
    Column("what", "what it compares", 20, flexible=True, priority=8),
)
_PRIORITIES = {
    "rank": 99, "server": 98, "req/s": 97, "time": 97, "": 60, "×": 90, "p99": 85, "CPU": 80, "limit": 88,
    "low … high": 70, "p50": 70, "min … max": 65, "RSS": 55, "CPU/request": 50, "conn/s": 45,
    "failed": 82, "no conn": 42, "threads": 40,
}  # fmt: skip
"""Which columns stay when there is no room for all."""
_WIDTHS = {"": 16, "limit": 8}
"""Columns of text are as wide as this; those of figures grow with them."""
_FILES = {"json": RaceForm.JSON, "csv": RaceForm.CSV, "md": RaceForm.MARKDOWN}
"""What is written, by the ending of the file's name."""
PROGRESS_CELLS = 24
LOW = 36
"""Below this height the presets are few once a table is there."""


class RaceScreen(Screen[None]):
    """Presets above, the standing below. The dashboard's own run rests while a race goes on."""

    CSS_PATH = "race.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,r", "leave", "close", show=False),
        Binding("s", "finish", "stop", show=False),
    ]

    standing: reactive[Standing | None] = reactive(None, init=False, repaint=False)

    def __init__(
        self,
        environment: Mapping[str, object],
        history: History | None,
        rest: Callable[[bool], None],
    ) -> None:
        super().__init__()
        self._environment = environment
        self._history = history
        self._rest = rest
        self._race: Race | None = None
        self._racing: asyncio.Task[None] | None = None
        self._kept = ""

    def compose(self) -> ComposeResult:
        """The presets; what runs; the table; what one needs to know to read it."""
        yield Static(" Race  the same work for every server, in turn", id="race-head", markup=False)
        yield Table(PRESET_COLUMNS, id="race-presets")
        yield Static("", id="race-progress", markup=False)
        yield Table((Column("server", "server", 20),), empty_text=_EMPTY, id="race-table")
        with VerticalScroll(id="race-remarks"):
            yield Static("", id="race-text", markup=False)
        yield Static(_KEYS, id="race-foot", markup=False)

    def on_resize(self) -> None:
        """Give a low terminal's room to the table once there is one."""
        self.set_class(self.size.height < LOW, "-low")

    def on_mount(self) -> None:
        """Offer the presets."""
        presets = self.query_one("#race-presets", Table)
        presets.show([Row(preset.name, (preset.name, preset.summary)) for preset in PRESETS.values()])
        presets.focus()

    # A race.

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Start the preset that was chosen."""
        message.stop()
        if message.table.id != "race-presets":
            return
        if self._racing is not None:
            self._say("a race is going on; s stops it")
            return
        self._kept = ""
        self._racing = asyncio.create_task(self._run(str(message.key)))

    async def _run(self, preset_name: str) -> None:
        preset = PRESETS[preset_name]
        began_at = datetime.now(UTC)
        self._rest(True)
        try:
            self._race = race = Race(contest_of(workload_of(preset), preset))
            async with aclosing(race.run()) as standings:
                async for standing in standings:
                    self.standing = standing
            await self._keep(began_at)
        except SockscopeError as error:
            self._say(str(error))
        finally:
            self._race = self._racing = None
            self._rest(False)

    async def _keep(self, began_at: datetime) -> None:
        """Put the result into the history; a race that cannot be kept is as good as any other."""
        standing, history = self.standing, self._history
        if standing is None or history is None or not standing.slices_done:
            return
        try:
            number = await asyncio.to_thread(
                history.add,
                race_report(standing, self._environment),
                title=race_title(standing.contest),
                began_at=began_at,
                cut_short=standing.cut_short,
            )
            self._kept = f"kept as race {number}"
        except SockscopeError as error:
            self._kept = f"not kept: {error}"
        self._draw_progress(standing)

    def action_finish(self) -> None:
        """End the race now; what was measured stays."""
        if self._race is not None:
            self._race.finish()

    async def action_leave(self) -> None:
        """End the race, if one is going on, and go back."""
        await self._give_up()
        self.dismiss()

    async def on_unmount(self) -> None:
        """Leave no race behind when the program ends."""
        await self._give_up()

    async def _give_up(self) -> None:
        task = self._racing
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # What can be kept.

    def clipping(self) -> Clipping:
        """Return the table and what one needs to know to read it."""
        return Clipping(self._written(RaceForm.TEXT) if self.standing else "", "the race")

    def files(self) -> dict[str, str]:
        """Return the race as JSON, as CSV and as a page in Markdown."""
        return {ending: self._written(form) for ending, form in _FILES.items()} if self.standing else {}

    def _written(self, form: RaceForm) -> str:
        assert self.standing is not None
        return written(form, self.standing, self._environment)

    def _say(self, text: str) -> None:
        self.query_one("#race-progress", Static).update(Content.styled(plain(text), "$text-warning"))

    # Drawing.

    def watch_standing(self, standing: Standing | None) -> None:
        """Draw how the race stands."""
        if standing is None:
            return
        table = rows(standing)
        self.query_one("#race-head", Static).update(Content(plain(f" {headline(standing)}")))
        self.add_class("-raced")
        self._draw_progress(standing)
        self._draw_table(standing, table)
        lines = [workload_line(standing.contest), *published_lines(standing, table)]
        if standing.slices_done:
            lines += [f"· {remark}" for remark in remarks(standing, table)]
        self.query_one("#race-text", Static).update(Content("\n".join(map(plain, lines))))

    def _draw_progress(self, standing: Standing) -> None:
        share = standing.slices_done / max(1, standing.slices)
        done = bar(share, 1.0, PROGRESS_CELLS) if share else ""
        content = Content.styled(f"{done:░<{PROGRESS_CELLS}}", "$text-accent")
        ended = "stopped" if standing.cut_short else "finished"
        told = f"{ended}  {self._kept}" if standing.finished else progress_words(standing)
        self.query_one("#race-progress", Static).update(content + Content(plain(f"  {told}")))

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


_EMPTY = "Enter starts the race that is chosen above; its table sorts itself as results come"
_KEYS = " ↑ ↓ choose   Enter start   s stop early   y copy   e export   Esc dashboard"
