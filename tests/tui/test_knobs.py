"""Turning knobs with keys, typed values, garbage and the mouse."""

from __future__ import annotations

from dataclasses import replace

from textual import events

from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.faces.tui.actions import ACTIONS
from sockscope.faces.tui.panels.knob_layout import KNOBS
from sockscope.faces.tui.screens.conversation import KEYS
from sockscope.faces.tui.screens.faults import FaultsScreen
from tests.tui.driving import FakeDriver, dashboard, small

LIVE = [key for key in KNOBS if FIELDS[key].live]
QUIET = Experiment(tuning=replace(small().tuning, permits=1))


def value(driver: FakeDriver, key: str) -> object:
    return getattr(driver.session.tuner.requested, FIELDS[key].attribute)


async def applied(driver: FakeDriver) -> None:
    await driver.until(lambda: driver.source.tuning == driver.session.tuner.requested, "the engine follows")


async def test_a_knob_of_each_kind_turns_with_the_arrows_and_comes_back_and_values_can_be_typed() -> None:
    # Faults are written, or switched on a sheet.
    one_of_each = {FIELDS[key].spec.kind: key for key in reversed(LIVE) if key != "fault"}
    async with dashboard(QUIET) as driver:
        for key in one_of_each.values():
            await driver.go_to_knob(key)
            before = value(driver, key)
            await driver.press("right")
            await driver.until(lambda before=before, key=key: value(driver, key) != before, key)  # type: ignore[misc]
            await applied(driver)
            await driver.press("u")
            await driver.until(lambda before=before, key=key: value(driver, key) == before, key)  # type: ignore[misc]
            await applied(driver)
        assert driver.session.tuner.requested == QUIET.tuning
        assert driver.told == []
        await driver.go_to_knob("fault")
        await driver.press("right")
        await driver.until(lambda: isinstance(driver.app.screen, FaultsScreen), "the sheet is open")
        assert value(driver, "fault") == ""
        await driver.press("escape")
        for key, text, wanted in (
            ("clients", " 0.1k ", 100),
            ("permits", "off", 0),
            ("size", "1KiB", 1_024),
            ("service_time", "250us", 0.00025),
            ("timeout", "1m30s", 90.0),
            ("lifetime", "request", 1),
        ):
            await driver.go_to_knob(key)
            await driver.press("enter")
            assert driver.knobs.is_typing
            await driver.type(text)
            await driver.until(lambda text=text: f"{text}█" in driver.part("knobs"))  # type: ignore[misc]
            await driver.press("enter")
            await driver.until(lambda key=key, wanted=wanted: value(driver, key) == wanted, key)  # type: ignore[misc]
            await applied(driver)
            assert not driver.knobs.is_typing
        await driver.go_to_knob("batch")
        await driver.press("right")
        await driver.until(lambda: "is more than the depth" in driver.refusal)
        await driver.go_to_knob("depth")
        await driver.press("right")
        await driver.tunes(depth=2)
        await driver.go_to_knob("batch")
        await driver.press("right")
        await driver.tunes(batch=2)


async def test_what_is_no_value_is_refused_in_words_beside_the_knobs_and_shift_turns_a_decade() -> None:
    async with dashboard() as driver:
        for key, text, why in (
            ("clients", "0", "must be at least 1"),
            ("clients", "many", "not a number"),
            ("permits", "1.5", "not a whole number"),
            ("size", "64Q", "not a size"),
            ("service_time", "soon", "not a duration"),
            ("think_time", "nan", "not a duration"),
        ):
            await driver.go_to_knob(key)
            await driver.press("enter")
            await driver.type(text)
            await driver.press("enter")
            await driver.until(lambda why=why: why in driver.refusal, f"{key} {text}: {why}")  # type: ignore[misc]
            assert FIELDS[key].spec.label in driver.refusal
            await driver.press("escape")
            await driver.until(lambda: driver.refusal == "")
        assert driver.session.tuner.requested == small().tuning
        assert driver.source.tuning == small().tuning
        await driver.go_to_knob("size")
        await driver.press("shift+right")
        await driver.tunes(request_bytes=500)
        await driver.press("shift+right")
        await driver.tunes(request_bytes=5_000)
        await driver.press("shift+left", "shift+left")
        await driver.tunes(request_bytes=50)
        await driver.go_to_knob("permits")
        await driver.press("shift+right", "shift+right", "shift+right", "shift+right", "shift+right")
        await driver.tunes(permits=10_000)
        await driver.press("shift+right")
        assert driver.session.tuner.requested.permits == 10_000


async def test_udp_refuses_what_no_datagram_carries_and_a_time_takes_the_unit_of_the_one_before() -> None:
    async with dashboard(small(request_bytes=65_508, think_time_s=0.0)) as driver:
        await driver.press("t")
        await driver.refuses("a UDP datagram carries at most 65,507 B")
        assert driver.refusal.startswith("request: a UDP")
        assert not driver.told, "what stands below the knobs is not said again"
        await driver.press("2", "t")
        await driver.hears("request: a UDP datagram carries at most 65,507 B")
        assert driver.source.tuning.transport == "tcp"
        await driver.go_to_knob("size")
        await driver.press("escape", "enter")
        await driver.type("4")
        await driver.press("enter", "t")
        await driver.tunes(request_bytes=4)
        await driver.refuses("needs 8 B for its sequence number")
        await driver.ticks()
        assert driver.session.tuner.requested == driver.source.tuning
        assert driver.session.tuner.requested.transport == "tcp"
        await driver.go_to_knob("service_time")
        await driver.press("enter", "7")
        await driver.sees("Enter applies 7 ms")
        await driver.press("enter")
        await driver.tunes(service_time_s=0.007)
        await driver.press("enter", "0", "enter")
        await driver.tunes(service_time_s=0)
        await driver.press("enter", "5", "enter")
        await driver.until(lambda: driver.refusal == "service: 5 s or 5 ms? Type the unit too")
        await driver.go_to_knob("timeout")
        await driver.press("enter", "2", "enter")
        await driver.tunes(request_timeout_s=2, service_time_s=0)


async def test_what_has_changed_stands_out_typing_can_be_given_up_and_garbage_can_be_pasted() -> None:
    async with dashboard() as driver:
        driver.session.tuner.set({"lifetime": 1})
        await driver.until(lambda: stands_out(driver, "lifetime"))
        assert "request" in driver.events()[-1].text, "the label of another knob"
        assert not stands_out(driver, "request")
        await driver.ticks(5)
        assert not stands_out(driver, "lifetime")
        await driver.press("u")
        await driver.tunes(lifetime=0)
        await driver.go_to_knob("size")
        for away in ("escape", "up", "tab", "enter"):
            await driver.press("1", "enter")
            if away != "enter":
                await driver.type("999")
                await driver.press("backspace")
            await driver.press(away)
            await driver.until(lambda: not driver.knobs.is_typing, away)
        assert driver.session.tuner.requested == small().tuning
        await driver.go_to_knob("lifetime")
        await driver.press("enter")
        await driver.type("tvpqRN{}[]ux?")
        await driver.ticks(1)
        assert driver.session.tuner.requested == small().tuning
        assert not driver.session.is_over
        await driver.until(lambda: "[]ux?█" in driver.part("knobs"), "the end of a long text")
        await driver.press("escape")
        await driver.go_to_knob("clients")
        garbage = "\x1b[31m[bold]'\"\x00\u202e🙂\n" * 200
        driver.app.post_message(events.Paste(garbage))
        await driver.press("enter")
        driver.app.post_message(events.Paste(garbage))
        await driver.ticks(1)
        assert driver.knobs.is_typing
        await driver.press("enter")
        await driver.until(lambda: "not a number" in driver.refusal)
        assert "\x1b" not in driver.screen
        await driver.press("escape", "enter")
        driver.app.post_message(events.Paste(" 12\n"))
        await driver.until(lambda: "12█" in driver.part("knobs"))
        await driver.press("enter")
        await driver.tunes(clients=12)


async def test_the_short_list_has_the_four_that_matter_and_their_arrows_can_be_clicked() -> None:
    async with dashboard(size=(80, 24)) as driver:
        for name in ("clients", "permits", "request", "service"):
            assert name in driver.part("knobs")
        row = next(y for y in range(driver.knobs.size.height) if "clients" in knob_row(driver, y))
        text = knob_row(driver, row)
        after = text.index("clients")
        await driver.pilot.click(driver.knobs, offset=(text.index("▸", after + 7), row))
        await driver.tunes(clients=10)
        text = knob_row(driver, row)
        await driver.pilot.click(driver.knobs, offset=(text.index("◂", text.index("clients")), row))
        await driver.tunes(clients=5)
        await driver.press("1", "enter")
        await driver.type("0")
        await driver.press("enter")
        await driver.until(lambda: "must be at least 1" in driver.refusal)
        await driver.press("escape")
        await driver.pilot.resize_terminal(50, 14)
        await driver.press("1", "enter")
        await driver.type("a thousand of it")
        await driver.press("enter")
        await driver.until(lambda: driver.errors)
        assert driver.errors[-1].startswith("clients: 'a thousand of it' is not a number")
        assert "✗" not in driver.part("knobs"), "no piece of a sentence"


def knob_row(driver: FakeDriver, y: int) -> str:
    region = driver.knobs.region
    return driver.lines[region.y + y][region.x : region.right]


def stands_out(driver: FakeDriver, label: str) -> bool:
    region = driver.knobs.region
    rows = [strip.crop(region.x, region.right) for strip in driver.strips[region.y : region.bottom]]
    row = next(row for row in rows if row.text.startswith(f" {label} "))
    return any(segment.style is not None and segment.style.reverse for segment in row)


def test_every_live_field_has_a_knob() -> None:
    texts = {"accept", "reject"}  # lines of the form of the conversation
    assert {*LIVE, *texts} == {entry.spec.key for entry in FIELDS.values() if entry.live}
    assert texts <= set(KEYS)
    assert len({FIELDS[key].attribute for key in (*LIVE, *texts)}) == len(Tuning.__dataclass_fields__)


def test_the_keys_beside_a_knob_are_those_of_actions() -> None:
    hints = [(key, knob.keys.split()) for key in KNOBS if (knob := FIELDS[key].spec.knob) is not None]
    shown = {action.shown for action in ACTIONS}
    assert {key for key, keys in hints if keys} >= {"transport", "clients", "permits"}
    for key, keys in hints:
        assert shown.issuperset(keys), key
