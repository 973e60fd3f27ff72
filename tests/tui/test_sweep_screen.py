"""Sweeps in the dashboard: what is offered, typed and refused; the run rests, and Esc keeps what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Static

from sockscope.core.results import design
from sockscope.core.run.snapshot import RunState
from sockscope.faces.tui.screens import sweep as module
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.screens.sweep import SweepScreen
from sockscope.store.history import History
from tests.tui.driving import FakeDriver, dashboard


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for a moment instead of a second, on one loop."""
    monkeypatch.setattr(design, "DEFAULT_SLICE_S", 0.05)
    monkeypatch.setattr(design, "DEFAULT_ROUNDS", 2)
    monkeypatch.setattr(module, "WARMUP_S", 0.01)
    monkeypatch.setattr(module, "PLACE", "loop")


async def opened(driver: FakeDriver) -> SweepScreen:
    await driver.press("W")
    await driver.until(lambda: isinstance(driver.app.screen, SweepScreen))
    screen = driver.app.screen
    assert isinstance(screen, SweepScreen)
    return screen


async def typed(driver: FakeDriver, text: str) -> None:
    """Type over what stands in the line that one is in."""
    await driver.press("ctrl+a", "ctrl+k", *text)


@pytest.mark.parametrize("size", [(80, 24)])
async def test_a_sweep_ends_in_a_curve_that_is_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    history = History(tmp_path / "history.db")
    async with dashboard(size=size, history=history) as driver:
        screen = await opened(driver)
        await driver.sees("clients=1..", "Enter steps through")
        await driver.press("down")
        await driver.sees("permits=1..")
        await typed(driver, "client=1")
        await driver.press("enter")
        await driver.sees("client=1: client is no number that can be turned")
        await typed(driver, "clients=1,2")
        await driver.press("enter")
        await driver.until(lambda: driver.source.state is RunState.PAUSED, "the run rests")
        await driver.until(lambda: screen.standing is not None and screen.standing.finished)
        await driver.sees("kept as sweep 1", "clients=2", "2 rounds", "req/s")
        await driver.until(lambda: driver.source.state is RunState.RUNNING, "the run goes on")
        assert [(row.kind, row.title) for row in history.runs()] == [("sweep", "clients 1 … 2")]
        text = screen.query_one("#sweep-remarks")
        screen.query_one("#sweep-text", Static).update("\n" * 30)
        await driver.until(lambda: text.max_scroll_y)
        await driver.press("tab", "down")
        await driver.until(lambda: text.scroll_y == 1, "the text scrolls")
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, DashboardScreen))


async def test_escape_ends_a_search_and_keeps_what_it_measured(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    async with dashboard(history=history) as driver:
        screen = await opened(driver)
        await typed(driver, "clients=1..1000")
        await driver.press("tab", *"p99<9s", "enter")
        await driver.until(lambda: screen.standing is not None and screen.standing.slices_done >= 2)
        await driver.press("escape")
        await driver.sees("stopped  kept as sweep 1", "found so far")
        assert history.runs()[0].cut_short
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, DashboardScreen))
