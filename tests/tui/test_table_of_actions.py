"""One table drives everything: keys, footer, help and palette cannot disagree with it."""

from __future__ import annotations

from itertools import chain

import pytest
from rich.cells import cell_len
from textual.binding import Binding
from textual.widgets import Input

from sockscope.faces.tui.actions import ACTIONS, BY_ID, footer_actions
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.screens.help import FIGURES, help_lines
from tests.tui.driving import dashboard

KEYS = [key for action in ACTIONS for key in action.keys.split(",")]


def test_no_two_actions_share_an_id_or_a_key() -> None:
    assert len(BY_ID) == len(ACTIONS)
    assert len(set(KEYS)) == len(KEYS)


def test_bindings_are_those_of_the_table() -> None:
    bindings = [binding for binding in SockscopeApp.BINDINGS if isinstance(binding, Binding)]
    bound = {(key, binding.action) for binding in bindings for key in binding.key.split(",")}
    assert bound == {(key, f"app.do('{a.id}')") for a in ACTIONS for key in a.keys.split(",")}


def test_a_long_line_of_the_help_goes_on_indented() -> None:
    lines = [line.plain for line in help_lines(56)]
    assert max(map(len, lines)) <= 56
    at = next(i for i, line in enumerate(lines) if line.startswith("  loop lag"))
    assert lines[at + 1].startswith(" " * lines[at].index("how late"))


def test_help_tells_every_action_and_every_figure() -> None:
    rows = [line.plain for line in help_lines(200)]
    for action in ACTIONS:
        assert any(row.split(maxsplit=1) == [action.shown, action.tooltip] for row in rows), action.id
    for name, _ in FIGURES:
        assert any(row.strip().startswith(name) for row in rows)


@pytest.mark.parametrize("width", range(0, 221, 20))
def test_the_footer_fits_and_keeps_what_matters_most(width: int) -> None:
    chosen = footer_actions(width, {})
    assert sum(cell_len(action.shown) + cell_len(action.label) + 3 for action in chosen) <= width
    assert [action for action in ACTIONS if action in chosen] == chosen
    assert all(action.rank for action in chosen)
    if width >= 40:
        assert {"quit", "help", "toggle_transport"} <= {action.id for action in chosen}


async def test_the_palette_offers_every_action() -> None:
    async with dashboard() as driver:
        offered = {command.title: command for command in driver.app.get_system_commands(driver.app.screen)}
        for action in ACTIONS:
            command = offered[f"{action.label}  ({action.shown})"]
            assert command.help == action.tooltip
        await driver.press("ctrl+p")
        await driver.type("more permits")
        await driver.sees("One step more permits")
        typed = driver.app.screen.query_one(Input)
        for _ in range(2):  # as a double click does, the second comes before the palette has gone
            await typed.action_submit()
        await driver.tunes(permits=5)
        await driver.until(lambda: driver.app.screen is driver.app.dashboard)
        await driver.ticks()
        assert driver.source.tuning.permits == 5
        assert not driver.has_left


async def test_the_footer_says_what_a_key_will_do_now_and_can_be_clicked() -> None:
    async with dashboard(size=(220, 40)) as driver:
        await driver.sees("t to UDP", "v to IPv6", "p pause", "space freeze", "\\ maximise", ", all knobs")
        assert "earlier" not in driver.part("footer")
        assert "Esc" not in driver.part("footer")
        await driver.press("t", "p", "space", "comma")
        await driver.sees("t to TCP", "p resume", "space unfreeze", "\\ restore", ", restore", "Esc back")
        assert "← earlier" in driver.part("footer")
        await driver.press("escape", "space", "p")
        await driver.sees("p pause", "space freeze", "\\ maximise", ", all knobs")
        await driver.press("t")
        await driver.sees("t to UDP")
        footer = driver.app.dashboard.query_one("#footer")
        x = driver.part("footer").index("to UDP")
        await driver.pilot.click(footer, offset=(x, 0))
        await driver.tunes(transport="udp")


def test_words_are_there_for_people() -> None:
    for text in chain.from_iterable((a.shown, a.label, a.tooltip, a.group) for a in ACTIONS):
        assert text
        assert text.isprintable()
