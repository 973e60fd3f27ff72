"""The style sheet that leaves out what has not changed gives every node the styles that Textual's would."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.stylesheet import FrugalStylesheet
from tests.tui.driving import FakeDriver, dashboard

STEPS = (
    ("5",), ("8",), ("z",), ("z",), ("question_mark",), ("escape",), ("4",), ("slash",), ("x", "escape"),
    ("tab",),
)  # fmt: skip
"""Other panels in front and in focus, one with all of the screen, a sheet and away, a filter."""


def styles_of(app: SockscopeApp) -> dict[DOMNode, tuple[Any, ...]]:
    """What every node of every screen looks like, and the parts that it draws itself."""
    nodes = [node for screen in app.screen_stack for node in screen.walk_children(with_self=True)]
    return {
        node: (
            dict(node.styles.base.get_rules()),
            {name: dict(part.get_rules()) for name, part in node._component_styles.items()},
        )
        for node in nodes
    }


def as_textual_has_it(app: SockscopeApp) -> dict[DOMNode, tuple[Any, ...]]:
    sheet = Stylesheet(variables=app.get_css_variables())
    sheet._rules = list(app.stylesheet.rules)
    for node in styles_of(app):
        sheet.apply(node)
    return styles_of(app)


async def agree(driver: FakeDriver, after: str) -> None:
    found = styles_of(driver.app)
    assert found == as_textual_has_it(driver.app), after


async def test_what_it_leaves_out_is_styled_already() -> None:
    async with dashboard() as driver:
        await agree(driver, "the start")
        for keys in STEPS:
            await driver.press(*keys)
            await agree(driver, str(keys))
        driver.app.theme = "textual-light"
        await driver.pilot.pause()
        await agree(driver, "another theme")
        await driver.pilot.resize_terminal(100, 30)
        await driver.pilot.pause()
        await agree(driver, "another layout")


async def test_a_sheet_that_closes_costs_no_styles_and_a_second_app_parses_nothing_again() -> None:
    async with dashboard() as driver:
        rules = set(driver.app.stylesheet.rules)
        await driver.press("question_mark")
        with patch.object(
            FrugalStylesheet, "apply", autospec=True, side_effect=FrugalStylesheet.apply
        ) as apply:
            await driver.press("escape")
        assert not driver.app.dashboard.is_overlaid
        applied = {call.args[1] for call in apply.call_args_list}
        assert len(applied) < len(styles_of(driver.app)) / 4
        before = len(FrugalStylesheet._parsed)
    async with dashboard() as driver:
        assert rules <= set(driver.app.stylesheet.rules)
        assert len(FrugalStylesheet._parsed) == before
