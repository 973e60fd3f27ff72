"""The dashboard of a run whose roles are in child processes."""

from __future__ import annotations

import os
import signal

import pytest

from sockscope.core.run.snapshot import RunState
from sockscope.engine.engine import Engine
from sockscope.faces.tui.panels.exchanges import ExchangesPanel
from tests.tui.driving import Driver, live_dashboard, small
from tests.warm_children import children

pytestmark = pytest.mark.usefixtures("warm_children")


def child_of(driver: Driver[Engine], name: str) -> int:
    return next(use.pid for use in driver.snapshot().processes if use.name == name)


async def test_rows_events_and_bytes_come_from_the_children() -> None:
    async with live_dashboard(small(place="apart")) as driver:
        await driver.press("8")
        panel = driver.panel(ExchangesPanel)
        await driver.until(lambda: len(panel.shown_rows) > 5, "exchanges")
        await driver.press("up", "enter")
        await driver.sees("as written", "answered")
        await driver.press("7")
        await driver.until(lambda: any(event.text.startswith("started: TCP") for event in driver.events()))
        await driver.sees("opened")
        await driver.press("6")
        await driver.until(lambda: "127.0.0.1:" in driver.part("connections"), "connections")
    assert children() == []


async def test_the_place_is_a_knob() -> None:
    async with live_dashboard() as driver:
        driver.session.tuner.set({"place": "apart"})
        await driver.tunes(place="apart")
        await driver.sees("place loop → apart")
        before = driver.swarm.totals.responses
        await driver.until(lambda: driver.swarm.totals.responses > before + 20, "more answers")
        driver.session.tuner.set({"place": "loop"})
        await driver.tunes(place="loop")
        await driver.until(lambda: children() == [], "the children to end")
        await driver.until(lambda: driver.swarm.connections_open == 5)
        assert driver.swarm.totals.errors == 0


async def test_a_server_that_is_killed_is_on_the_screen() -> None:
    async with live_dashboard(small(place="server")) as driver:
        pid = child_of(driver, "server")
        os.kill(pid, signal.SIGKILL)
        await driver.sees(f"server process {pid} was killed (SIGKILL)")
        assert driver.source.state is RunState.RUNNING
        await driver.press("right_square_bracket")
        await driver.until(lambda: driver.swarm.connections_open > 5, "clients at the new server")
        assert child_of(driver, "server") != pid
