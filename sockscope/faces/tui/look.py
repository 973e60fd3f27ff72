"""How the screen looks: its theme and its characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from rich.segment import Segment
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES

from sockscope.errors import ConfigError
from sockscope.faces.characters import to_ascii
from sockscope.faces.tui.picture import picture_of
from sockscope.faces.tui.stylesheet import FrugalStylesheet
from sockscope.faces.tui.themes import DARK, LIGHT, THEMES
from sockscope.store.preferences import keep_theme, read_theme

R = TypeVar("R")

_LIGHT_BACKGROUNDS = {"7", *map(str, range(9, 16))}
"""The numbers of light colours among the sixteen; 8 is a dark grey."""


@dataclass(frozen=True, slots=True)
class LookFlags:
    """What flags and the environment say of the look, not checked yet.

    ``theme`` was given by ``name`` (a flag or a variable); "" leaves the choice to what was kept and to the
    terminal. ``ascii`` draws with ASCII alone. The theme is kept in ``path``; None: nowhere.
    """

    theme: str = ""
    name: str = "--theme"
    ascii: bool = False
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """The name of a theme, whether characters are ASCII alone, and what is to be said about it once.

    ``for_room`` is whether a room looks at it.
    """

    theme: str = DARK.name
    ascii: bool = False
    complaint: str = ""
    for_room: bool = False


def look_of(flags: LookFlags, environment: Mapping[str, str]) -> Look:
    """Return the look: the theme that was asked for, else the one that was kept, else one for the terminal.

    Raises ConfigError when the theme that was asked for is not there.
    """
    if flags.theme:
        return Look(_known(flags), flags.ascii)
    complaint = ""
    try:
        kept = read_theme(flags.path) if flags.path is not None else ""
        if kept in THEME_NAMES:
            return Look(kept, flags.ascii)
        complaint = f"there is no theme {kept[:40]!r}" if kept else ""
    except ValueError as error:
        complaint = f"it {error}"
    told = f"ignoring {flags.path}: {complaint}" if complaint else ""
    light = environment.get("COLORFGBG", "").rpartition(";")[2] in _LIGHT_BACKGROUNDS
    return Look((LIGHT if light else DARK).name, flags.ascii, told)


THEME_NAMES = (*(theme.name for theme in THEMES), *BUILTIN_THEMES)
"""Every theme, by its whole name."""


def _known(flags: LookFlags) -> str:
    """Return the whole name of the theme that was asked for."""
    name = {"dark": DARK.name, "light": LIGHT.name}.get(flags.theme, flags.theme)
    if name in THEME_NAMES:
        return name
    near = get_close_matches(name, THEME_NAMES, n=1)
    hint = (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(('dark', 'light', *BUILTIN_THEMES))}"
    )
    raise ConfigError.of(flags.name, flags.theme, f"there is no such theme; {hint}")


def keep_look(flags: LookFlags, look: Look, theme: str) -> str:
    """Keep the theme that was on at the end if somebody has chosen it; return what went wrong, in words."""
    chosen = theme != look.theme or (flags.theme and flags.name.startswith("-"))
    if not chosen or flags.path is None:
        return ""
    try:
        keep_theme(flags.path, theme)
    except OSError as error:
        return f"the theme cannot be saved: {error.strerror}: {flags.path}"
    return ""


class LookApp(App[R]):
    """An app that has a :class:`Look`, and can be drawn as a picture."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._filters_of_look = [AsciiLines()] if look.ascii else []
        for theme in THEMES:
            self.register_theme(theme)
        # Set before the style sheets are read, which would otherwise be read twice.
        self.set_reactive(App.theme, look.theme)
        self.stylesheet = FrugalStylesheet(variables=self.get_css_variables())

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what every line goes through on its way to the terminal."""
        return [*super().get_line_filters(), *self._filters_of_look]

    def swap_light(self) -> None:
        """Change from dark colours to light ones, or back."""
        self.theme = (LIGHT if self.current_theme.dark else DARK).name

    def picture(self) -> str:
        """Return what is seen as SVG."""
        return picture_of(self, self.TITLE or "")


class AsciiLines(LineFilter):
    """Draws every line of every widget with ASCII alone."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Replace each character by one that looks a little like it."""
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]
