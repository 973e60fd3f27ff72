"""The history in the dashboard: the list, two runs overlaid, and what cannot be read."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sockscope.core.results.intervals import Intervals
from sockscope.core.results.run_result import report
from sockscope.faces.summary import title_of
from sockscope.faces.tui.screens import history as module
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.screens.history import HistoryScreen
from sockscope.faces.tui.widgets.graph import Graph
from sockscope.store.history import History
from tests.tui.driving import FakeDriver, dashboard, small
from tests.tui.fake_source import FakeSource


async def keep_a_run(history: History, permits: int) -> int:
    """Run a little and keep it."""
    intervals = Intervals()
    source = FakeSource(small(permits=permits))
    await source.start()
    for _ in range(4):
        intervals.absorb(source.snapshot())
        source.advance(4)
    figures = report(source.snapshot(), {})
    return history.add(
        figures, title=title_of(figures), began_at=datetime.now(UTC), intervals=intervals.reports()
    )


@pytest.fixture
async def history(tmp_path: Path) -> History:
    history = History(tmp_path / "history.db")
    for permits in (1, 2):
        await keep_a_run(history, permits)
    return history


async def opened(driver: FakeDriver) -> HistoryScreen:
    await driver.press("h")
    await driver.until(lambda: isinstance(driver.app.screen, HistoryScreen))
    screen = driver.app.screen
    assert isinstance(screen, HistoryScreen)
    return screen


def said(driver: FakeDriver) -> str:
    """The words on the screen, wherever lines end."""
    return " ".join(driver.screen.replace("│", " ").split())


def curves(screen: HistoryScreen, graph: str) -> list[str]:
    return [series.label for series in screen.query_one(graph, Graph).series]


async def test_two_runs_lie_over_each_other(history: History) -> None:
    async with dashboard(size=(80, 24), history=history) as driver:
        screen = await opened(driver)
        await driver.sees("History  2 runs", "TCP protocol", "requests/s")
        await driver.until(lambda: curves(screen, "#rates") == ["run 2"])
        await driver.press("a", "down")
        await driver.until(lambda: curves(screen, "#rates") == ["B", "A"])
        assert curves(screen, "#tails") == ["B", "A"]
        await driver.sees("differs", "permits", "run 2", "run 1")
        await driver.press("y", "e")
        await driver.hears("lines of run 2 and run 1", "wrote sockscope-")
        assert "differs" in driver.app.clipboard
        kept = {path.suffix: path.read_text() for path in Path.cwd().glob("sockscope-*")}
        assert kept.keys() == {".json", ".txt", ".svg"}
        assert json.loads(kept[".json"])["type"] == "comparison"
        assert "History" in kept[".svg"]
        await driver.press("up", "a", "down")
        await driver.until(lambda: curves(screen, "#rates") == ["run 1"])
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, DashboardScreen))
        await driver.sees("RUNNING")


async def test_a_run_is_deleted_when_the_key_came_twice(history: History) -> None:
    async with dashboard(size=(200, 60), history=history) as driver:
        await opened(driver)
        await driver.sees("History  2 runs")
        await driver.press("d")
        await driver.sees("press d again to delete run 2")
        await driver.press("down")
        await driver.sees("History  2 runs")
        await driver.press("d")
        await driver.sees("press d again to delete run 1")
        await driver.press("up", "d")
        await driver.sees("press d again to delete run 2")
        assert len(history.runs()) == 2
        await driver.press("d")
        await driver.sees("History  1 run ")
        assert [row.id for row in history.runs()] == [1]
        await driver.press("d", "d")
        await driver.sees("no run is kept yet", "Runs appear here when they have ended")
        await driver.press("a", "d", "d", "q")
        await driver.until(lambda: isinstance(driver.app.screen, DashboardScreen))


async def test_the_run_goes_on_behind_it_keys_do_not_turn_it_and_a_list_that_is_not_whole_says_so(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dashboard(history=history) as driver:
        await opened(driver)
        before = driver.swarm.totals.responses
        await driver.press("t", "p", "right_square_bracket", "N")
        await driver.until(lambda: driver.swarm.totals.responses > before + 10)
        assert driver.source.tuning == small().tuning
        assert not driver.session.is_over
        await driver.press("question_mark")
        await driver.sees("Help", "Esc closes")
        await driver.press("escape", "escape")
        await driver.until(lambda: isinstance(driver.app.screen, DashboardScreen))
        monkeypatch.setattr(module, "LISTED", 1)
        await opened(driver)
        await driver.sees("History  the newest 1 run ")


async def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"this is no database" * 100)
    async with dashboard(history=History(path)) as driver:
        await opened(driver)
        await driver.until(lambda: "is not a SockScope history;" in said(driver))
        assert "choose another file with --history" in said(driver)
        assert "the runs cannot be read" in driver.screen
        assert "no run is kept yet" not in driver.screen
        assert "Runs appear here" not in driver.screen
        await driver.press("escape")
        await asyncio.to_thread(path.read_bytes)
    assert path.read_bytes() == b"this is no database" * 100


async def test_a_run_that_cannot_be_read_is_told_while_the_cursor_is_on_it(history: History) -> None:
    with closing(sqlite3.connect(history.path)) as file, file:
        file.execute("UPDATE runs SET report = '{}' WHERE id = 1")
    async with dashboard(history=history) as driver:
        await opened(driver)
        await driver.press("down")
        await driver.until(
            lambda: "run 1 of the history" in said(driver) and "is damaged: it" in said(driver)
        )
        await driver.press("up")
        await driver.sees("History  2 runs", "server and clients")


async def test_without_a_history_the_key_says_so() -> None:
    async with dashboard() as driver:
        await driver.press("h")
        await driver.hears("--no-history")
        assert isinstance(driver.app.screen, DashboardScreen)
