"""The form of the server and the conversation: it reads as the flags do, and a new run begins with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.presets import PRESETS
from sockscope.faces.tui.screens.conversation import ConversationScreen
from tests.tui.driving import FakeDriver, dashboard, small

SMALL = (80, 24)


async def opened(driver: FakeDriver) -> None:
    await driver.press("c")
    await driver.sees("Server and conversation")
    await driver.pilot.pause()


async def go_to(driver: FakeDriver, key: str, number: int = 1) -> ConversationScreen:
    screen = driver.app.screen
    assert isinstance(screen, ConversationScreen)
    seen = 0
    for _ in range(100):
        seen += screen.chosen.key == key
        if seen == number and screen.chosen.key == key:
            return screen
        screen.action_choose(1)
    raise AssertionError(f"there is no line {key} {number}")


async def fill(driver: FakeDriver, key: str, text: str, number: int = 1) -> None:
    """Let a text stand in a line, as if it were pasted there."""
    screen = await go_to(driver, key, number)
    screen.query_one(Input).value = text
    await driver.pilot.pause()


async def begun(driver: FakeDriver) -> Experiment:
    await driver.press("enter")
    await driver.until(lambda: driver.has_left, "the new run")
    assert driver.app.restart is not None
    return driver.app.restart


async def test_a_protocol_and_a_target_are_chosen_and_a_new_run_begins() -> None:
    async with dashboard(small(clients=7), size=SMALL) as driver:
        await opened(driver)
        await driver.type("localhost:6379")
        await driver.press("up", "right", "right")
        await driver.sees("‹redis›", r"PING\r\n", "‹resp›", "/^-/", "N!")
        again = await begun(driver)
        assert driver.app.notice == ""
    assert (again.role, again.target, again.tuning.clients) == ("swarm", "127.0.0.1:6379", 7)
    assert {key: again.value(key) for key in PRESETS["redis"]} == PRESETS["redis"]
    assert (again.tuning.framing, again.tuning.request_bytes) == ("none", 6)
    async with dashboard(again, size=SMALL) as driver:
        assert "redis at " in driver.header
        await opened(driver)
        await driver.sees("‹redis›", "127.0.0.1:6379", r"PING\r\n")
        assert driver.screen.count("N!") == 1  # what it means


@pytest.fixture
def more(elsewhere: None) -> str:
    """A directory with a request in it."""
    Path("more").mkdir()
    Path("more/a").write_bytes(b"third\n")
    return "more"


async def test_several_requests_have_a_line_each_and_others_from_a_directory(more: str) -> None:
    async with dashboard(Experiment(small().tuning, request="first\nsecond", until=r"\n")) as driver:
        await opened(driver)
        await driver.sees("request         first", "  and 2         second")
        await fill(driver, "request", f"@{more}", 3)
        await driver.sees("  and 4")
        await fill(driver, "weights", "2,1,1")
        again = await begun(driver)
    assert again.request == "first\nsecond\nthird\\n"
    assert again.weights == "2,1,1"


async def test_of_many_requests_the_first_have_lines_and_another_protocol_asks_none_of_them() -> None:
    many = "\n".join(f"ask {number}" for number in range(20))
    async with dashboard(Experiment(small().tuning, request=many, until=r"\n")) as driver:
        await opened(driver)
        await driver.sees("  and 8         ask 7", "and 12 more, as they are")
        await fill(driver, "request", "say 7", 8)
        assert (await go_to(driver, "as")).chosen.value == "own"
        await driver.press("right", "right")
        await driver.sees("‹http›")
        again = await begun(driver)
    assert again.request.splitlines() == [PRESETS["http"]["request"]]


async def test_what_is_wrong_stands_below_its_line_and_nothing_begins() -> None:
    async with dashboard(small(depth=4), size=SMALL) as driver:
        await opened(driver)
        await fill(driver, "target", "9.9.9.9:1")
        screen = await go_to(driver, "target")
        screen.action_begin()
        screen.action_begin()  # before the loop has got to the first
        await driver.sees("✗ target is another machine; only with --allow-remote")
        await fill(driver, "target", "")
        await fill(driver, "request", r"\q")
        await driver.press("enter")
        await driver.sees(r"✗ request is not text: there is no escape \q")
        assert "✗ target" not in driver.screen
        await fill(driver, "request", "x")
        await go_to(driver, "answer")
        await driver.press("left")
        await driver.sees("‹eof›")
        await driver.press("enter")
        await driver.sees("depth needs answers that end before their connection does")
        await driver.press("escape")
        await driver.sees("RUNNING")
        assert not driver.has_left


async def test_without_a_target_the_servers_here_serve_again() -> None:
    aimed = Experiment(small().tuning, role="swarm", target="127.0.0.1:9", request="x", until="y", pid=1)
    async with dashboard(aimed) as driver:
        await opened(driver)
        await fill(driver, "target", "")
        await driver.press("up", "right")
        await driver.sees("‹echo›")
        again = await begun(driver)
    assert again == Experiment(again.tuning)
    assert (again.tuning.framing, again.tuning.request_bytes) == ("length", 64)
