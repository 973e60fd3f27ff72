"""The one door through which text reaches the screen.

Whatever a widget draws may have come from a peer: a remote name, a payload, an error text. A terminal obeys
control characters, reorders text at bidirectional controls and hides what it draws in zero cells, so none
of them may pass.

After `plain` the following holds, and everything in this package relies on it:

* each character fills one or two cells *by itself*: nothing joins its neighbour, nothing is invisible;
* therefore the width of a text is the sum of the widths of its characters, and any cut between two
  characters is safe;
* the number of characters is unchanged, so positions found in the original still hold.

The price is that a combining accent shows as a dot of its own. Text that must look right in every script
should not be read through this function; text that must not lie should.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from rich.cells import cell_len, get_character_cell_size

DOT = "·"
"""Stands for a character that has no picture of its own."""

ELLIPSIS = "…"
"""Stands for what was cut away."""

DASH = "–"
"""Stands for a figure that is not known."""

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn", "Zl", "Zp"})
"""Unicode categories without a cell of their own, or with one that terminals disagree about."""

_SKIN_TONES = range(0x1F3FB, 0x1F400)
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)


def plain(text: str) -> str:
    """Replace each character that could steer the terminal, or hide, by a visible one of a single cell."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_stand_in, text))


def plain_lines(lines: Iterable[str]) -> str:
    """Return the text of several lines, each of them plain: none can look like two."""
    return "\n".join(map(plain, lines))


@lru_cache(maxsize=4096)
def _stand_in(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if code in _REGIONAL_INDICATORS:
        # Two of them make a flag in some terminals and two letters in others: only letters have one width.
        return chr(ord("A") + code - _REGIONAL_INDICATORS.start)
    if code in _SKIN_TONES or unicodedata.category(character) in _HIDDEN:
        return DOT
    return character if get_character_cell_size(character) in (1, 2) else DOT


def shorten(text: str, width: int) -> str:
    """Cut a plain text to at most `width` cells; a cut shows as an ellipsis, which counts."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    room = width - 1
    end = 0
    for character in text:
        room -= get_character_cell_size(character)
        if room < 0:
            break
        end += 1
    return text[:end].rstrip() + ELLIPSIS


def pad(text: str, width: int, align: str = "left") -> str:
    """Fill a plain text with spaces to `width` cells; a wider one is returned as it is."""
    missing = width - cell_len(text)
    if missing <= 0:
        return text
    return " " * missing + text if align == "right" else text + " " * missing


def wrapped(text: str, width: int) -> list[str]:
    """Break a plain text into lines of at most `width` cells, between words where possible."""
    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(shorten(word, width))
    return lines
