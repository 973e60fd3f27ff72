"""The screen as an SVG that every viewer draws alike."""

from __future__ import annotations

import io
import re
from copy import copy
from html import escape, unescape
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from textual._compositor import Compositor
from textual.app import App
from textual.color import Color

CELL_WIDTH = 12.2
"""Width of a cell in the picture, which is Rich's."""
_TEXT = re.compile(r'(<text [^>]*?)x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+"([^>]*)>([^<]*)</text>')
_PIECE = re.compile(r"[!-~]+|[^ ]")
"""A word; or one other character, whose width in a font nobody knows."""


def picture_of(app: App[Any], title: str) -> str:
    """Return the screen as SVG, its frame in the colours of the theme that is on."""
    console = Console(
        width=app.size.width, height=app.size.height, file=io.StringIO(), force_terminal=True,
        color_system="truecolor", record=True, legacy_windows=False, safe_box=False,
    )  # fmt: skip
    # Textual's own export has the same lines, but no way to name the colours. A picture does not wait for the
    # terminal, which is still owed what has changed.
    compositor = app.screen._compositor
    owed = set(compositor._dirty_regions)
    console.print(Compositor.render_update(compositor, full=True, screen_stack=app._background_screens))
    compositor._dirty_regions |= owed
    return placed(console.export_svg(title=title, theme=_colours(app)))


def _colours(app: App[Any]) -> TerminalTheme:
    colours = copy(app.ansi_theme)
    variables = app.theme_variables
    for name in ("background", "foreground"):
        found = Color.parse(variables[name]).rich_color.triplet
        if found is not None:
            setattr(colours, f"{name}_color", found)
    return colours


def placed(svg: str) -> str:
    """Give each word of Rich's picture a place of its own.

    Rich writes a run of characters as one text that begins with blanks and is stretched to its length.
    Viewers other than browsers ignore ``textLength`` and drop blanks, so that everything moves.
    """
    return _TEXT.sub(_pieces, svg)


def _pieces(match: re.Match[str]) -> str:
    head, start, y, rest, text = match[1], float(match[2]), match[3], match[4], unescape(match[5])
    text = text.replace("\xa0", " ")
    return "".join(
        f'{head}x="{start + cell_len(text[: piece.start()]) * CELL_WIDTH:g}" y="{y}" '
        f'textLength="{cell_len(piece[0]) * CELL_WIDTH:g}"{rest}>{escape(piece[0])}</text>'
        for piece in _PIECE.finditer(text)
    )
