"""Bytes as people write them: text with escapes, or hexadecimal digits.

``PING\\r\\n`` is UTF-8 text in which ``\\r``, ``\\n``, ``\\t``, ``\\0``, ``\\\\`` and ``\\xNN`` stand for one
byte each; ``hex:50 49 4e 47`` is two digits a byte, and blanks between bytes do not count.
"""

from __future__ import annotations

import re

_HEX = "hex:"
_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_WRITTEN = {byte[0]: f"\\{letter}" for letter, byte in _ESCAPES.items()}
_DIGITS = re.compile(r"(?:\s|[0-9A-Fa-f]{2})*")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.?)", re.DOTALL)


def parse_octets(text: str) -> bytes:
    """Return the bytes that ``text`` stands for; raise ValueError with the reason."""
    if text.startswith(_HEX):
        try:
            data = bytes.fromhex(text[len(_HEX) :])
        except ValueError:
            good = _DIGITS.match(text, len(_HEX))
            place = good.end() + 1 if good else len(text)
            why = "is not hexadecimal: two digits a byte (for example hex:0d0a)"
            raise ValueError(f"{why}: wrong at character {place}") from None
    else:
        data = _unescaped(text)
    if not data:
        raise ValueError("is not even one byte")
    return data


def _unescaped(text: str) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        escape = match[1]
        if escape[:1] == "x" and len(escape) == 3:
            byte = bytes.fromhex(escape[1:])
        elif escape in _ESCAPES:
            byte = _ESCAPES[escape]
        else:
            why = f"is not text: there is no escape \\{escape}, only \\r \\n \\t \\0 \\\\ \\xNN"
            raise ValueError(f"{why}: wrong at character {match.start() + 1}")
        pieces += [_encoded(text[at : match.start()]), byte]
        at = match.end()
    return b"".join([*pieces, _encoded(text[at:])])


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8; write such bytes as \\xNN") from None


def format_octets(data: bytes) -> str:
    """Return ``data`` in printable ASCII, such that :func:`parse_octets` reads the same bytes back.

    What is text is written as text, anything else in hexadecimal. A leading ``@`` is escaped, since it
    announces a file where one may be given.
    """
    if any(not 32 <= byte < 127 and byte not in _WRITTEN for byte in data):
        return _HEX + data.hex()
    text = "".join(_WRITTEN.get(byte) or chr(byte) for byte in data)
    if text.startswith(("@", _HEX)):
        return f"\\x{data[0]:02x}{text[1:]}"
    return text


def printable(text: str, most: int | None = 200) -> str:
    """Return ``text`` on one line, its control characters as escapes; at most ``most`` characters of it."""
    part = text if most is None else text[: most + 1]
    shown = part
    if not part.isprintable():
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in part)
    return shown if most is None or len(shown) <= most else shown[: most - 1] + "…"
