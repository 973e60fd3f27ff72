"""Races in the dashboard: started, stopped, kept, given up; the run rests meanwhile."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sockscope.core.run.snapshot import RunState
from sockscope.faces.tui.screens import race as module
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.screens.race import RaceScreen
from sockscope.lab.contestants import ContestantSpec
from sockscope.lab.presets import PRESETS, Preset
from sockscope.store.history import History
from tests.tui.driving import FakeDriver, dashboard

QUICK = Preset(
    "quick",
    "two servers, a moment each",
    lambda: (
        ContestantSpec({"server": "protocol", "loop": "uvloop"}),
        ContestantSpec({"server": "threaded"}),
    ),
    {"clients": 3, "place": "loop"},
    rounds=2,
    slice_s=0.05,
    warmup_s=0.02,
)
LONG = Preset(
    "long",
    "does not end by itself",
    QUICK.entries,
    {"clients": 3, "place": "loop"},
    rounds=1_000,
    slice_s=0.1,
)


@pytest.fixture(autouse=True)
def presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Race what takes a moment instead of what takes a minute."""
    monkeypatch.setattr(module, "PRESETS", {"quick": QUICK, "long": LONG, "udp": PRESETS["udp"]})


async def opened(driver: FakeDriver) -> RaceScreen:
    await driver.press("r")
    await driver.until(lambda: isinstance(driver.app.screen, RaceScreen))
    screen = driver.app.screen
    assert isinstance(screen, RaceScreen)
    return screen


async def test_a_race_ends_in_a_table_that_is_kept(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    async with dashboard(size=(80, 24), history=history) as driver:
        screen = await opened(driver)
        await driver.sees("two servers, a moment each", "Enter starts the race")
        await driver.press("enter")
        await driver.until(lambda: driver.source.state is RunState.PAUSED, "the run rests")
        await driver.until(lambda: screen.standing is not None and screen.standing.finished)
        await driver.sees("kept as race 1", "protocol/uvloop", "threaded", "2 rounds", "req/s")
        await driver.until(lambda: driver.source.state is RunState.RUNNING, "the run goes on")
        await driver.press("y", "e")
        await driver.hears("lines of the race", "wrote sockscope-")
        assert "protocol/uvloop" in driver.app.clipboard
        kept = {path.suffix: path.read_text() for path in Path.cwd().glob("sockscope-*")}
        assert kept.keys() == {".json", ".csv", ".md", ".svg"}
        assert json.loads(kept[".json"])["type"] == "race"
        assert [(row.kind, row.title) for row in history.runs()] == [
            ("race", "quick: protocol/uvloop, threaded")
        ]
        await driver.press("enter")
        await driver.sees("kept as race 2")
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, DashboardScreen))
        assert driver.source.state is RunState.RUNNING


async def begun(driver: FakeDriver) -> None:
    """Begin a race that does not end, and wait until something was measured."""
    screen = await opened(driver)
    await driver.press("down", "enter")
    await driver.until(lambda: screen.standing is not None and screen.standing.slices_done >= 1)


async def test_a_race_that_is_left_lets_the_run_go_on_and_the_program_can_end_in_its_middle() -> None:
    async with dashboard() as driver:
        for key in ("escape", "q"):
            await begun(driver)
            await driver.press(key)
            await driver.until(lambda: isinstance(driver.app.screen, DashboardScreen))
            assert driver.source.state is RunState.RUNNING
        await begun(driver)
        driver.app.leave()
        await driver.until(lambda: driver.has_left)


async def test_a_race_that_is_stopped_keeps_what_it_measured_or_says_that_nothing_was(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    async with dashboard(history=history) as driver:
        screen = await opened(driver)
        await driver.press("down", "enter")
        await driver.until(lambda: screen.standing is not None)
        await driver.press("s")
        await driver.sees("stopped  nothing was measured")
        assert not history.runs()
        assert "unknown" not in driver.screen
        await driver.press("escape")
        screen = await opened(driver)
        await driver.press("down", "enter")
        await driver.until(lambda: screen.standing is not None and screen.standing.slices_done >= 2)
        await driver.press("enter")
        await driver.press("s")
        await driver.sees("stopped  kept as race 1", "ended before its time")
        assert history.runs()[0].cut_short
        await driver.press("escape")


async def test_why_a_race_cannot_be_run_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ports = replace(QUICK, workload={**QUICK.workload, "requests": 100_000_000, "lifetime": 1})
    monkeypatch.setattr(module, "PRESETS", {"quick": without_ports})
    async with dashboard(size=(80, 24)) as driver:
        await opened(driver)
        await driver.press("enter")
        await driver.sees("the race cannot be run")
        said = " ".join(driver.screen.split())
        assert "use fewer requests or rounds, a longer --lifetime, or IPv4" in said
        assert driver.source.state is RunState.RUNNING


async def test_a_run_that_was_paused_stays_paused_and_the_palette_offers_what_works_here() -> None:
    async with dashboard() as driver:
        await driver.press("p")
        await driver.until(lambda: driver.source.state is RunState.PAUSED)
        screen = await opened(driver)
        await driver.press("enter")
        await driver.until(lambda: screen.standing is not None and screen.standing.finished)
        await driver.sees("finished")
        await driver.press("escape")
        assert driver.source.state is RunState.PAUSED
        screen = await opened(driver)
        await driver.press("ctrl+p")
        await driver.until(lambda: driver.app.screen is not screen)
        offered = " ".join(command.title for command in driver.app.get_system_commands(driver.app.screen))
        assert "copy  (y)" in offered
        assert "race  (r)" not in offered
        assert "pause  (p)" not in offered
        shown = driver.session.shown
        await driver.ticks()
        assert driver.session.shown is shown, "nobody can see it"
