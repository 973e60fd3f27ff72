"""Text for a terminal that shows nothing but ASCII: one table, used where text leaves the program."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

UNKNOWN = "?"
"""Stands for a character that has no likeness in ASCII."""

_LIKENESS = {
    "·": ".", "…": "~", "–": "-", "−": "-", "“": '"', "”": '"', "‖": "=", "×": "x", "µ": "u", "∞": "8",
    "≥": ">", "≤": "<", "✓": "v",
    "←": "<", "→": ">", "↑": "^", "↓": "v", "⇄": "=", "⇧": "^", "↻": "@",
    "‹": "<", "›": ">",
    "◉": "*", "○": "o", "◌": "o", "■": "#", "✗": "x", "❄": "*", "▸": ">", "◂": "<", "▲": "^", "▼": "v",
    "┆": ":", "╌": "-", "░": "-", "▒": "=", "▓": "%", "╱": "/",
    "▔": "-", "▖": ".", "▀": '"', "▐": "|", "▕": "|",
    **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),
    **dict(zip("▏▎▍▌▋▊▉", "|||||##", strict=True)),
}  # fmt: skip
_SET_BY_PYTHON = ("C.UTF-8", "C.utf8", "UTF-8")
_BRAILLE, _BOXES = range(0x2800, 0x2900), range(0x2500, 0x2580)
_ROWS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The two dots of each row of a braille character."""


def to_ascii(text: str) -> str:
    """Return ``text`` in as many cells, each character replaced by one that looks a little like it."""
    return text if text.isascii() else "".join(map(_ascii, text))


def shows_only_ascii(environment: Mapping[str, str], encoding: str | None) -> bool:
    """Whether locale or ``encoding`` of the terminal say so.

    The first of LC_ALL, LC_CTYPE and LANG that is not empty counts (POSIX, 8.2), except for an LC_CTYPE that
    Python itself sets where the locale is C (PEP 538). Without any nothing is said, as in many containers,
    whose terminal is another machine's.
    """
    if encoding is not None and codecs.lookup(encoding).name == "ascii":
        return True
    everything, characters, rest = (environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = everything or ("" if characters in _SET_BY_PYTHON else characters) or rest
    return locale.split(".")[0] in ("C", "POSIX") and "utf" not in locale.lower()


def _encode(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return to_ascii(error.object[error.start : error.end]), error.end


LIKENESS = "likeness"
"""Name of the way to encode text (``errors=``) that writes a likeness of what the encoding lacks."""
codecs.register_error(LIKENESS, _encode)


@lru_cache(maxsize=4096)
def _ascii(character: str) -> str:
    code = ord(character)
    if code < 0x80:
        return character
    if character in _LIKENESS:
        return _LIKENESS[character]
    if code in _BRAILLE:
        return _of_dots(code - _BRAILLE.start)
    if code in _BOXES:
        return _of_box(unicodedata.name(character))
    base = unicodedata.normalize("NFKD", character)[0]
    if base.isascii() and base.isprintable():
        return base
    return UNKNOWN * (2 if unicodedata.east_asian_width(character) in "WF" else 1)


def _of_dots(bits: int) -> str:
    """Return a stroke where the dots are: high, in the middle, low or upright; thinner for fewer dots."""
    rows = [row for row, dots in enumerate(_ROWS) if bits & sum(dots)]
    if not rows:
        return " "
    if len(rows) > 2:
        return "|"
    place = (rows[0] + rows[-1]) / 2
    is_full = any(bits & left and bits & right for left, right in _ROWS) or len(rows) > 1
    strokes = '"-_' if is_full else "':."
    return strokes[0 if place < 1 else 1 if place <= 2 else 2]


def _of_box(name: str) -> str:
    if "VERTICAL" in name and "HORIZONTAL" not in name and "AND" not in name:
        return "|"
    return "-" if "HORIZONTAL" in name and "VERTICAL" not in name and "AND" not in name else "+"
