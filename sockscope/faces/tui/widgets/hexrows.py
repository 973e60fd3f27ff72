"""Bytes as rows of text: offset, hex in groups of eight, printable characters.

Pure layout. A row is a list of `Token`s, pieces of plain text that say what they are, so that whoever draws
them chooses the colours. Each byte takes three cells: one in front of it, which is a space or the mark of a
boundary, and two hex digits; an extra space parts the groups. A mark therefore moves nothing.

No byte reaches the screen as itself: what is not printable ASCII is a dot.

    0000  47 45 54 20 2f 20 48 54  54 50│2f 31 2e 31 0d 0a  GET / HTTP/1.1··
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

GROUP = 8
MARK = "│"
HIDDEN = "·"

_TEXT = [chr(byte) if 0x20 <= byte < 0x7F else HIDDEN for byte in range(256)]
_BYTES_PER_ROW = (16, 8, 4, 2, 1)


class TokenKind(Enum):
    """What a piece of a row is."""

    SPACE = "space"
    OFFSET = "offset"
    BYTE = "byte"
    HIDDEN = "hidden"
    """A byte that is not printable, in the text."""
    BOUNDARY = "boundary"


class Token(NamedTuple):
    """A piece of a row."""

    text: str
    kind: TokenKind
    is_different: bool = False


@dataclass(frozen=True)
class HexLayout:
    """How rows are made: bytes in each, hex digits of the offset, and whether the text column is shown."""

    per_row: int
    digits: int
    with_text: bool

    @property
    def hex_width(self) -> int:
        """Cells of the hex column, with the one for a mark in front."""
        return self.per_row * 3 + (self.per_row - 1) // GROUP

    @property
    def width(self) -> int:
        """Cells of a whole row."""
        return self.digits + 1 + self.hex_width + (2 + self.per_row if self.with_text else 0)


def digits_for(length: int) -> int:
    """Hex digits for the offsets of so many bytes: four, or as many as the last one takes."""
    return max(4, len(f"{max(length - 1, 0):x}"))


def form_for(width: int, digits: int, *, at_least: int = 1) -> HexLayout | None:
    """The widest form that fits `width` cells; the text goes before the rows get shorter than eight bytes."""
    for per_row in _BYTES_PER_ROW:
        if per_row < at_least:
            return None
        for with_text in (True, False):
            form = HexLayout(per_row, digits, with_text)
            # Sixteen bytes without their text say less than eight with it.
            if form.width <= width and (with_text or per_row <= GROUP):
                return form
    return None


def row_count(length: int, per_row: int) -> int:
    """Rows for so many bytes."""
    return -(-length // per_row)


def hex_row(
    data: bytes, row: int, form: HexLayout, *, boundaries: Container[int] = (), different: Container[int] = ()
) -> list[Token]:
    """One row of a dump, counted from 0.

    Args:
        data: All the bytes, of which the row shows its part.
        row: The number of the row.
        form: How rows are made.
        boundaries: Offsets at which something new begins, marked in front of the byte.
        different: Offsets of bytes to be told apart.
    """
    start = row * form.per_row
    chunk = data[start : start + form.per_row]
    tokens = [Token(f"{start:0{form.digits}x}", TokenKind.OFFSET), Token(" ", TokenKind.SPACE)]
    for position, byte in enumerate(chunk):
        offset = start + position
        if position and position % GROUP == 0:
            tokens.append(Token(" ", TokenKind.SPACE))
        is_boundary = offset in boundaries
        tokens.append(Token(MARK, TokenKind.BOUNDARY) if is_boundary else Token(" ", TokenKind.SPACE))
        tokens.append(Token(f"{byte:02x}", TokenKind.BYTE, offset in different))
    if form.with_text:
        used = sum(len(token.text) for token in tokens[2:])
        tokens.append(Token(" " * (form.hex_width - used + 2), TokenKind.SPACE))
        for position, byte in enumerate(chunk):
            text = _TEXT[byte]
            kind = TokenKind.HIDDEN if text == HIDDEN else TokenKind.BYTE
            tokens.append(Token(text, kind, start + position in different))
    return tokens


def parse(rows: Iterable[Iterable[Token]]) -> bytes:
    """Read the hex of rows back into the bytes it was made of."""
    found = bytearray()
    for row in rows:
        hexes = [token.text for token in row if token.kind is TokenKind.BYTE and len(token.text) == 2]
        found += bytes.fromhex("".join(hexes))
    return bytes(found)


def differences(one: bytes, one_length: int, other: bytes, other_length: int) -> frozenset[int]:
    """Offsets at which two byte strings are known to differ.

    The lengths are those of the originals, of which less may have been kept. Where one has really ended
    every further byte of the other differs; where one was only cut off nobody knows, and nothing is
    claimed.
    """
    common = min(len(one), len(other))
    found = [offset for offset in range(common) if one[offset] != other[offset]]
    for data, end in ((one, other_length), (other, one_length)):
        found.extend(range(max(common, end), len(data)))
    return frozenset(found)
