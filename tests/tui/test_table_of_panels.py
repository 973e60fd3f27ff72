"""The table of panels: whatever it says is what the screen has."""

from __future__ import annotations

from sockscope.faces.tui.actions import ACTIONS
from sockscope.faces.tui.panels.listing import ListingPanel
from sockscope.faces.tui.panels.panel import Kind, Panel
from sockscope.faces.tui.panels.table import PANELS
from tests.tui.driving import dashboard

LAYOUTS = {"narrow": (80, 24), "middle": (120, 40), "wide": (200, 60)}


def test_ids_digits_and_classes_are_each_of_one_panel() -> None:
    digits = [entry.digit for entry in PANELS if entry.digit]
    assert len(set(digits)) == len(digits)
    assert len({entry.id for entry in PANELS}) == len(PANELS)
    assert len({entry.make for entry in PANELS}) == len(PANELS)


def test_every_digit_is_an_action_in_the_order_of_the_table() -> None:
    led_to = [(action.keys, action.tooltip) for action in ACTIONS if action.id.startswith("focus_")]
    assert led_to == [(entry.digit, entry.about) for entry in PANELS if entry.digit]


def test_listings_are_listings_and_a_panel_yields_to_one_that_is_there() -> None:
    ids = {entry.id for entry in PANELS}
    for entry in PANELS:
        assert issubclass(entry.make, ListingPanel) == (entry.kind is Kind.LISTING)
        assert not entry.yields_to or entry.yields_to in ids
        assert not entry.digit or None not in entry.places[:3], "a key that leads nowhere"


async def test_the_screen_has_what_the_table_places_there() -> None:
    async with dashboard(size=(100, 30), face="swarm") as driver:
        for layout, size in LAYOUTS.items():
            await driver.pilot.resize_terminal(*size)
            await driver.ticks()
            shown = {panel.id for panel in driver.app.dashboard.query(Panel) if panel.is_on_screen}
            places = {entry: getattr(entry.places, layout) for entry in PANELS}
            behind = {"connections", "lens", "tasks"} | ({"log", "exchanges"} if layout != "wide" else set())
            expected = {e.id for e, place in places.items() if place and not (place.group and e.id in behind)}
            assert shown == expected
            assert [panel.id for panel in driver.app.dashboard.query(Panel)] == [entry.id for entry in PANELS]


async def test_a_room_is_shown_the_map_and_two_large_graphs() -> None:
    async with dashboard(size=(100, 30), face="swarm") as driver:
        driver.app.dashboard.show_to_room(True)
        await driver.ticks()
        shown = [panel.id for panel in driver.app.dashboard.query(Panel) if panel.is_on_screen]
        assert shown == ["throughput", "latency", "swarm"] == [e.id for e in PANELS if e.places.present]
        await driver.press("6")
        connections = driver.app.dashboard.query_one("#connections", Panel)
        await driver.until(lambda: connections.is_on_screen and connections.has_focus_within)
        await driver.press("escape")
        await driver.until(lambda: driver.app.dashboard.query_one("#swarm", Panel).is_on_screen)
        driver.app.dashboard.show_to_room(False)
        await driver.ticks()
        assert driver.app.dashboard.query_one("#knobs", Panel).is_on_screen
