"""Faults on demand in the dashboard: the sheet, the palette, the header, and undo."""

from __future__ import annotations

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.kinds import FAULTS
from sockscope.faces.tui import faults
from sockscope.faces.tui.screens.faults import FaultsScreen
from tests.tui.driving import FakeDriver, dashboard, small

UDP = small(transport="udp")


async def choose(driver: FakeDriver, name: str) -> None:
    """Open the sheet, if it is not open, and go to a fault."""
    if not isinstance(driver.app.screen, FaultsScreen):
        await driver.press("F")
    for _ in FAULTS:
        if f"▸ ● {name} " in driver.screen or f"▸ ○ {name} " in driver.screen:
            return
        await driver.press("down")
    raise AssertionError(f"there is no fault {name}\n{driver.screen}")


async def test_the_same_key_switches_a_fault_on_and_off() -> None:
    async with dashboard(UDP, size=(60, 24)) as driver:
        await choose(driver, "loss")
        await driver.press("enter")
        await driver.tunes(fault="loss=2%")
        await driver.sees("▸ ● loss", "2 %")
        await driver.press("space")
        await driver.tunes(fault="")
        await driver.press("down", "enter")
        await driver.tunes(fault="loss=2%, loss-burst=5")
        await driver.press("enter")
        await driver.tunes(fault="")  # what the key has brought along goes with it,
        await driver.press("up", "enter", "down", "enter", "enter")
        await driver.tunes(fault="loss=2%")  # and what was on before stays


async def test_values_turn_undo_takes_back_what_one_key_cleared_and_the_palette_and_clicks_do_the_same() -> (
    None
):
    async with dashboard(UDP) as driver:
        await choose(driver, "loss")
        await driver.press("enter", "right", "d")
        await driver.tunes(fault="loss=5% up")
        await driver.sees("5 % ↑ up", "this share of the datagrams is lost (0.0001 % to 100 %)")
        await driver.press("d", "left", "shift+right")
        await driver.tunes(fault="loss=20% down")
        await choose(driver, "jitter")
        await driver.press("enter", "s")
        await driver.tunes(fault="jitter=5ms uniform, loss=20% down")
        await driver.sees("uniform now")
        await driver.press("c")
        await driver.tunes(fault="")
        await driver.press("u")
        await driver.tunes(fault="jitter=5ms uniform, loss=20% down")
        await driver.press("c", "escape")
        await driver.tunes(fault="")
        offered = {command.name: command.call for command in faults.commands(driver.session)}
        assert "faults off" not in offered
        assert "fault slice on" not in offered
        offered["fault duplicate on"]()
        await driver.tunes(fault="duplicate=2%")
        offered = {command.name: command.call for command in faults.commands(driver.session)}
        assert "fault duplicate off" in offered
        offered["faults off"]()
        await driver.tunes(fault="")
        shown = {command.title for command in driver.app.get_system_commands(driver.app.screen)}
        assert shown >= {"fault loss on", "faults  (F)"}
        await driver.press("F")
        y = next(y for y, line in enumerate(driver.lines) if "○ rate" in line)
        x = driver.lines[y].index("rate")
        await driver.pilot.click(offset=(x, y))
        await driver.sees("▸ ○ rate")
        await driver.pilot.click(offset=(x, y))
        await driver.tunes(fault="rate=1MB/s")


async def test_what_is_on_stands_in_the_header_in_the_log_and_in_the_knob_where_it_can_be_typed() -> None:
    async with dashboard(UDP) as driver:
        await choose(driver, "loss")
        await driver.press("enter", "escape")
        await driver.until(lambda: "faults: loss 2 %" in driver.header)
        await driver.go_to_knob("fault")
        await driver.until(lambda: "loss 2 %" in driver.part("knobs"))
        await driver.press("7")
        await driver.sees("fault loss 2 % on")
        await driver.press("u")
        await driver.sees("fault loss 2 % off")
        await driver.until(lambda: "faults" not in driver.header)
        await driver.go_to_knob("fault")
        await driver.press("enter")
        await driver.type("loss=2% up, delay=5ms")
        await driver.press("enter")
        await driver.tunes(fault="delay=5ms, loss=2% up")
        await driver.press("enter")
        await driver.type("los=2%")
        await driver.press("enter")
        await driver.refuses("did you mean loss")


async def test_many_faults_are_counted_and_those_of_the_other_transport_left_behind() -> None:
    many = "delay=20ms, jitter=5ms uniform down, rate=1MB/s, loss=2%"
    async with dashboard(small(transport="udp", fault=many)) as driver:
        await driver.until(lambda: "4 faults" in driver.header)
        await driver.go_to_knob("fault")
        await driver.until(lambda: "4 on" in driver.part("knobs"))
        await driver.press("t")
        await driver.tunes(transport="tcp", fault="delay=20ms, jitter=5ms uniform down, rate=1MB/s")
        await driver.press("u")
        await driver.tunes(transport="udp", fault=many)


async def test_the_sheet_has_what_can_be_made_now_and_the_header_the_name_that_is_long() -> None:
    async with dashboard(small(fault="descriptor-leak=10/s"), size=(80, 24)) as driver:
        await driver.until(lambda: "faults: descriptor-leak 10/s" in driver.header)
        await driver.press("F")
        await driver.sees("slice-gap", "black-hole", "task-leak")
        assert "duplicate" not in driver.screen
        await driver.press("tab")
        await driver.sees("▸ ○ block")
        await driver.press("tab")
        await driver.sees("▸ ○ delay")


async def test_without_a_server_here_there_are_faults_of_the_link_alone() -> None:
    tuning = Tuning(clients=5, permits=2)
    async with dashboard(Experiment(tuning, role="swarm", target="127.0.0.1:9")) as driver:
        await driver.press("F")
        await driver.sees("in the server: none here", "black-hole")
