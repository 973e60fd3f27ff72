"""The card of the limit: evidence, rules that do not hold, and what to turn."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.advice import again, turns
from sockscope.core.run.evidence import Evidence
from sockscope.core.run.findings import Finding, Kind, verdict_of
from sockscope.errors import ConfigError
from sockscope.faces.tui.panels.header import HeaderPanel
from sockscope.faces.tui.screens.verdict import VerdictScreen, VerdictText, card_lines
from tests.tui.driving import FakeDriver, dashboard
from tests.tui.still import running


async def card(driver: FakeDriver) -> VerdictText:
    await driver.until(lambda: isinstance(driver.app.screen, VerdictScreen), "the card")
    await driver.sees("What it stands on", "of the run; r judges anew")
    return driver.app.screen.query_one(VerdictText)


async def test_the_card_shows_the_limit_and_turns_what_it_advises() -> None:
    async with dashboard(size=(80, 24)) as driver:
        await driver.press("i")
        shown = await card(driver)
        assert driver.session.shown is not None
        await driver.sees(f"{driver.session.shown.finding.kind}: ")
        turn = shown.advised[0]
        attribute = FIELDS[turn.field].attribute
        await driver.press("1")
        await driver.tunes(**{attribute: turn.after})
        assert shown.advised[0].before == turn.after, "another press goes on from there"
        await driver.press("u", "9")
        await driver.tunes(**{attribute: turn.before})
        driver.source.refusals.append(ConfigError.of(turn.field, turn.after, "not here"))
        await driver.press("1")
        await driver.hears("not here")
        assert isinstance(driver.app.screen, VerdictScreen), "it stays, to show what came of it"
        await driver.press("escape")
        await driver.until(lambda: driver.app.screen is driver.app.dashboard)


async def test_enter_and_a_click_open_the_card_and_a_digit_does_what_stands_beside_it() -> None:
    async with dashboard() as driver:
        header = driver.app.dashboard.query_one(HeaderPanel)
        await driver.press("shift+tab")
        assert header.has_focus
        await driver.press("enter")
        await card(driver)
        await driver.press("enter")
        await driver.until(lambda: driver.app.screen is driver.app.dashboard)
        at = next(row for row, line in enumerate(driver.header.splitlines()) if "limit" in line)
        await driver.pilot.click(header, offset=(12, at))
        await card(driver)
        await driver.press("escape", "1", "enter")
        assert driver.app.screen is driver.app.dashboard, "in the knobs it types a value"
        await driver.press("escape")

        def limit() -> Kind:
            assert driver.session.shown is not None
            return driver.session.shown.finding.kind

        await driver.press("i")
        shown, held = await card(driver), limit()
        turn = shown.advised[0]
        await driver.sees(f"{held}: ")
        driver.source.pause()
        await driver.until(lambda: limit() is Kind.PAUSED, "another limit")
        await driver.sees(f"{held}: ", "now: paused: ", "r shows that")
        await driver.press("1")
        await driver.tunes(**{FIELDS[turn.field].attribute: turn.after})
        await driver.press("r")
        await driver.sees("paused: the traffic is paused")
        assert "now: " not in driver.screen
        assert not shown.advised


def test_a_turn_that_has_come_to_its_end_keeps_its_digit() -> None:
    experiment, tuning = Experiment(), replace(Tuning(), permits=50)
    before = turns(Kind.SEMAPHORE, experiment, tuning)
    after = again(before, Kind.SEMAPHORE, experiment, replace(tuning, permits=0))
    assert [turn.field for turn in after] == [turn.field for turn in before]
    assert [turn.is_one for turn in after] == [False, *(True for _ in before[1:])]


def test_the_card_fits_and_shows_nothing_of_a_peer_raw() -> None:
    state = running().shown()
    rude = "\x1b[2J\u202e[red]gone[/]"
    named = Evidence(f"what {rude} sent", rude, "", None, "recorder")
    counted = replace(named, value=0.004, unit="ratio", threshold=0.05)
    state = replace(state, finding=Finding(Kind.ERRORS, f"they fail: {rude}", evidence=(named, counted)))
    verdict = verdict_of(state.headline)
    for width in (30, 70, 106, 180):
        lines = [line.plain for line in card_lines(state, verdict, [], width)]
        assert max(map(len, lines)) <= width
        assert not set("\x1b\u202e") & set("".join(lines))
        text = " ".join(" ".join(lines).split())
        assert all(told in text for told in ("[red]gone[/]", "0.4 %", "< 5.0 %"))
        for one in verdict.before:
            assert one.rule.title in text
