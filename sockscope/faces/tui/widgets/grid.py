"""A rectangle of cells to draw on, and its way to the screen.

Each cell has a character and an *ink*, a small number that stands for a style. Curves are put down first,
as dots that mix; everything written afterwards decides by the ink whether a place is still free. At the end
each row becomes one `Strip` of as few segments as its inks allow, because the number of segments is what a
terminal line costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum

from rich.cells import get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from sockscope.faces.tui.widgets.braille import GLYPHS


class Ink(IntEnum):
    """What a cell is drawn with; a widget maps each to a style."""

    BLANK = 0
    """Nothing was drawn: may take the style of its neighbour."""
    BASE = 1
    AXIS = 2
    MARKER = 3
    CURSOR = 4
    LIMIT = 5
    LEGEND = 6
    TITLE = 7
    SERIES_1 = 8
    SERIES_2 = 9
    SERIES_3 = 10
    SERIES_4 = 11
    HEAT_1 = 12
    HEAT_2 = 13
    HEAT_3 = 14
    HEAT_4 = 15
    HEAT_5 = 16


SERIES_INKS = (Ink.SERIES_1, Ink.SERIES_2, Ink.SERIES_3, Ink.SERIES_4)

_RUNS = re.compile(rb"(.)\1*", re.DOTALL)
_RUNS_OVER_BLANKS = re.compile(rb"([^\0])(?:\1|\0)*|\0+", re.DOTALL)


class Grid:
    """Characters and inks of `width` x `height` cells."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._ink = [bytearray(width) for _ in range(height)]
        self._chars = [[" "] * width for _ in range(height)]
        self._dots = [bytearray(width) for _ in range(height)]

    def dots(self, cells: Iterable[tuple[int, int, int]], x: int, y: int, ink: Ink) -> None:
        """Add the dots of a curve; where curves share a cell, the last one drawn gives the colour."""
        all_chars, all_inks, all_dots = self._chars, self._ink, self._dots
        for column, row, bits in cells:
            row += y
            column += x
            known = all_dots[row]
            known[column] |= bits
            all_chars[row][column] = GLYPHS[known[column]]
            all_inks[row][column] = ink

    def text(self, x: int, y: int, text: str, ink: Ink) -> None:
        """Write a plain text, whatever was there before; what does not fit on the grid is left out.

        Spaces in front of it stay blank: they are alignment, not text.
        """
        if not 0 <= y < self.height:
            return
        x += len(text)
        text = text.lstrip(" ")
        x -= len(text)
        chars, inks = self._chars[y], self._ink[y]
        for character in text:
            size = get_character_cell_size(character)
            if x >= 0 and x + size <= self.width:
                chars[x] = character
                inks[x] = ink
                if size == 2:
                    # The second cell of a wide character holds nothing, so that joining gives the right
                    # width.
                    chars[x + 1] = ""
                    inks[x + 1] = ink
            x += size

    def put(self, x: int, y: int, character: str, ink: Ink) -> None:
        """Draw a character of one cell if nothing was drawn there."""
        if not self._ink[y][x]:
            self._chars[y][x] = character
            self._ink[y][x] = ink

    def tint(self, x: int, y: int, ink: Ink) -> None:
        """Change the ink of a cell and keep what is drawn there."""
        self._ink[y][x] = ink

    def over(self, x: int, y: int, character: str, ink: Ink, *, spare: Ink) -> None:
        """Draw a character of one cell whatever was there, unless it was drawn with the ink to ``spare``."""
        if self._ink[y][x] != spare:
            self._chars[y][x] = character
            self._ink[y][x] = ink

    def is_free(self, x: int, y: int, length: int) -> bool:
        """Whether `length` cells lie on the grid and nothing was drawn on them."""
        if not (0 <= y < self.height and x >= 0 and x + length <= self.width):
            return False
        return not any(self._ink[y][x : x + length])

    def strips(self, styles: Sequence[Style]) -> list[Strip]:
        """The rows as strips; `styles` is indexed by ink."""
        # A space shows nothing of a foreground colour, but a background or an underline would run on over it.
        bleeds = any(style.bgcolor != styles[0].bgcolor or _draws_on_spaces(style) for style in styles)
        runs = _RUNS if bleeds else _RUNS_OVER_BLANKS
        strips = []
        for inks, chars in zip(self._ink, self._chars, strict=True):
            segments = []
            for run in runs.finditer(inks):
                start, end = run.span()
                segments.append(Segment("".join(chars[start:end]), styles[inks[start]]))
            strips.append(Strip(segments, self.width))
        return strips

    def rows(self) -> list[str]:
        """The rows as text, without their inks."""
        return ["".join(chars) for chars in self._chars]


def _draws_on_spaces(style: Style) -> bool:
    return bool(style.reverse or style.underline or style.underline2 or style.strike or style.overline)
