"""The theme and the characters of the screen: asked for, kept, and fitting the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.color import ColorSystem

from sockscope.core.run.snapshot import RunState
from sockscope.errors import ConfigError
from sockscope.faces.characters import LIKENESS, shows_only_ascii, to_ascii
from sockscope.faces.tui.look import Look, LookFlags, keep_look, look_of
from sockscope.faces.tui.themes import THEMES
from sockscope.faces.tui.widgets.graph import Graph
from tests.tui.driving import dashboard


@pytest.mark.parametrize(
    ("environment", "theme"),
    [
        ({}, "sockscope-dark"),
        ({"COLORFGBG": "15;0"}, "sockscope-dark"),
        ({"COLORFGBG": "12;8"}, "sockscope-dark"),
        ({"COLORFGBG": "0;15"}, "sockscope-light"),
        ({"COLORFGBG": "0;default;7"}, "sockscope-light"),
        ({"COLORFGBG": "nonsense"}, "sockscope-dark"),
    ],
)
def test_the_theme_follows_the_terminal(environment: dict[str, str], theme: str) -> None:
    assert look_of(LookFlags(), environment).theme == theme


def test_what_was_asked_for_goes_before_what_was_kept_and_that_before_the_terminal(tmp_path: Path) -> None:
    light = {"COLORFGBG": "0;15"}
    kept = LookFlags(path=tmp_path / "new" / "screen.json")
    assert keep_look(kept, look_of(kept, light), "nord") == ""
    assert look_of(kept, light).theme == "nord"
    typed = LookFlags("dark", "--theme", path=kept.path)
    assert look_of(typed, light).theme == "sockscope-dark"
    assert keep_look(typed, look_of(typed, light), "sockscope-dark") == ""
    assert look_of(kept, light).theme == "sockscope-dark", "a typed theme is kept"
    variable = LookFlags("nord", "SOCKSCOPE_THEME", path=kept.path)
    assert keep_look(variable, look_of(variable, light), "nord") == ""
    assert look_of(kept, light).theme == "sockscope-dark", "a variable says it each time"
    with pytest.raises(ConfigError, match="--theme = 'nrd': there is no such theme; did you mean nord"):
        look_of(LookFlags("nrd"), {})


@pytest.mark.parametrize(
    "damage",
    [b"\xff\xfe", b"[]", b'{"theme": 5}', b"[" * 9_000, b'{"theme": "gone"}', b'{"theme": "\x1b[31m"}'],
)
def test_a_damaged_file_is_ignored_with_a_sentence(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "screen.json"
    path.write_bytes(damage)
    look = look_of(LookFlags(path=path), {})
    assert look.theme == "sockscope-dark"
    assert look.complaint.startswith(f"ignoring {path}: ")
    assert look.complaint.isprintable()


def test_a_file_that_cannot_be_looked_at_is_ignored_with_a_sentence(tmp_path: Path) -> None:
    complaint = look_of(LookFlags(path=tmp_path / ("x" * 300)), {}).complaint
    assert complaint.endswith(": it cannot be read: File name too long")


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    flags = LookFlags("nord", path=tmp_path / "file" / "screen.json")
    assert "the theme cannot be saved" in keep_look(flags, look_of(flags, {}), "nord")


@pytest.mark.parametrize(
    ("environment", "encoding", "ascii_only"),
    [
        ({}, "utf-8", False),
        ({"LANG": "C"}, "utf-8", True),
        ({"LANG": "POSIX"}, None, True),
        ({"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, "utf-8", True),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, "utf-8", True),
        ({"LC_CTYPE": "C.UTF-8"}, "utf-8", False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, "utf-8", False),
        ({"LC_CTYPE": "de_AT.UTF-8", "LANG": "C"}, "utf-8", False),
        ({"LANG": "en_GB.UTF-8"}, "ANSI_X3.4-1968", True),
    ],
)
def test_a_terminal_that_shows_only_ascii(
    environment: dict[str, str], encoding: str | None, ascii_only: bool
) -> None:
    assert shows_only_ascii(environment, encoding) is ascii_only


def test_each_character_has_a_likeness_of_its_width() -> None:
    assert to_ascii("╭─ 1 ─╮│┤┆ ⠒⣀⠉⡇ → 5 µs … “é” 漢") == '+- 1 -+|+: -_"| > 5 us ~ "e" ??'
    assert "5 µs → ∞".encode("ascii", LIKENESS) == b"5 us > 8"


async def test_curves_differ_in_any_number_of_colours() -> None:
    async with dashboard() as driver:
        graph = driver.app.dashboard.query(Graph).first()
        for theme in THEMES:
            driver.app.theme = theme.name
            await driver.pilot.pause()
            styles = [graph.get_component_rich_style(f"graph--series-{n}") for n in range(1, 5)]
            for colours in (ColorSystem.STANDARD, ColorSystem.EIGHT_BIT):
                seen = {style.color.downgrade(colours).number for style in styles if style.color}
                behind = {style.bgcolor.downgrade(colours).number for style in styles if style.bgcolor}
                assert len(seen) == 4
                assert not seen & behind


async def test_the_whole_screen_can_be_ascii() -> None:
    async with dashboard(size=(200, 60), look=Look(ascii=True)) as driver:
        await driver.ticks(3)
        for keys in (("p",), ("space",), ("question_mark",), ("escape",), ("8", "up", "enter"), ("r",)):
            await driver.press(*keys)
            assert driver.screen.isascii(), [c for c in driver.screen if not c.isascii()]
            assert "?" not in driver.screen.replace("? help", "").replace("?      ", "")
        await driver.press("escape")
        await driver.pilot.resize_terminal(80, 24)
        await driver.ticks()
        assert driver.screen.isascii()
        assert driver.source.state is RunState.PAUSED
