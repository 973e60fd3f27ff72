"""Terminals of all sizes, and one without colours."""

from __future__ import annotations

from itertools import pairwise

import pytest
from rich.color import ColorType

from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.terminal import KeyDecoder
from tests.tui.driving import FakeDriver, dashboard, small


def overlaps(driver: FakeDriver) -> list[str]:
    """Panels that lie over each other or reach out of the screen."""
    shown = [p for p in driver.app.dashboard.query(Panel) if p.is_on_screen]
    faults = [
        f"{a.id} and {b.id}"
        for index, a in enumerate(shown)
        for b in shown[index + 1 :]
        if a.region.overlaps(b.region)
    ]
    screen = driver.app.screen.region
    return faults + [str(p.id) for p in shown if not screen.contains_region(p.region)]


async def test_a_tiny_terminal_says_so_and_can_be_left() -> None:
    async with dashboard(size=(20, 5)) as driver:
        await driver.until(lambda: "small" in driver.screen)
        assert "40×12" in driver.screen.replace("\n", "")
        await driver.press("t")
        await driver.tunes(transport="udp")
        await driver.press("question_mark", "escape", "e", "q")
        await driver.until(lambda: driver.has_left)
        assert driver.app.return_value == 0


async def test_the_terminal_may_change_its_size_and_nothing_is_cut_off_or_covered() -> None:
    async with dashboard(small(clients=12), size=(200, 60)) as driver:
        sizes = [
            (200, 60), (80, 24), (20, 5), (120, 40), (1, 1), (300, 10), (10, 100), (160, 48), (40, 12),
            (110, 32), (60, 16), (109, 33),
        ]  # fmt: skip
        for before, size in pairwise(sizes):
            await driver.pilot.resize_terminal(*size)
            await driver.until(
                lambda: (len(driver.lines[0]), len(driver.lines)) == size, f"{before} to {size}"
            )
            assert driver.app.size == size
            if size[0] >= 40 and size[1] >= 12:
                await driver.until(lambda: "RUNNING" in driver.header)
                assert all(text in driver.header for text in ("TCP", "req/s", "p99", "limit"))
                if size[1] >= 24:
                    await driver.until(lambda: "127.0.0.1" in driver.part("connections"), "rows")
                await driver.until(lambda: not overlaps(driver), f"no overlaps at {size}")
                assert all(len(line) == size[0] for line in driver.lines)
                assert all(p.region.height for p in driver.app.dashboard.query(Panel) if p.is_on_screen)
                assert "quit" in driver.part("footer")


async def test_a_resize_keeps_what_was_chosen_and_so_does_another_theme() -> None:
    async with dashboard() as driver:
        await driver.press("7", "3")
        await driver.until(lambda: driver.app.dashboard.focused_panel().id == "latency")
        await driver.pilot.resize_terminal(80, 24)
        await driver.until(lambda: "3 Latency" in driver.screen and "7 Log" in driver.screen)
        await driver.press("backslash")
        await driver.pilot.resize_terminal(120, 40)
        await driver.until(lambda: driver.part("latency").count("\n") > 30)
        for theme in ("sockscope-light", "textual-light", "nord"):
            driver.app.theme = theme
            await driver.ticks(1)
            assert "RUNNING" in driver.header
            assert driver.app.current_theme.name == theme


async def test_without_colours_the_states_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with dashboard() as driver:
        await driver.press("p", "space")
        await driver.until(lambda: "PAUSED" in driver.header and "FROZEN" in driver.header)
        assert {"‖", "❄"} <= set(driver.header)
        colours = [
            color
            for strip in driver.strips
            for segment in strip
            if segment.style
            for color in (segment.style.color, segment.style.bgcolor)
            if color is not None and color.type is ColorType.TRUECOLOR and color.triplet is not None
        ]
        grey = [c for c in colours if c.triplet and max(c.triplet) - min(c.triplet) <= 2]
        assert len(grey) == len(colours)


def test_what_a_terminal_answers_to_another_program_is_not_typed() -> None:
    decoder = KeyDecoder()
    assert decoder.decode(b"a\x1b]11;rgb:0000/0000/0000\x07b\x1bP1$r0m\x1b\\c\x1b]") == "abc\x1b]"


def test_ctrl_c_ends_a_paste_whose_end_never_comes_and_no_other() -> None:
    decoder = KeyDecoder()
    assert decoder.decode(b"\x1b[200~abc") == "\x1b[200~abc"
    assert decoder.decode(b"\x03") == "\x1b[201~\x03"
    assert decoder.decode(b"\x03") == "\x03"
    for piece in (b"\x1b[200~a\x03b\x1b[20", b"1~", b"\x03", b"\x1b[200~ \x1b[201~", b"\x1b[99;5u"):
        assert decoder.decode(piece) == piece.decode()
    decoder.decode(b"\x1b[200~")
    assert decoder.decode(b"\x1b[99;5u") == "\x1b[201~\x1b[99;5u"
