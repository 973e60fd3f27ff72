"""Where an answer of Redis ends: RESP2 and RESP3 (redis.io/docs/latest/develop/reference/protocol-spec).

Each value begins with a byte that tells its type, and a line. A bulk has so many bytes as its line says, an
aggregate so many values, which follow it.
"""

from __future__ import annotations

import re

from sockscope.core.wire.framing import MAX_FRAME_BYTES, FramingError
from sockscope.core.wire.octets import printable
from sockscope.core.wire.stepwise import MAX_LINE_BYTES, Line, Part, Skip, Steps, Stepwise

_LINES = b"+-:_,#("
"""Simple string, error, number, null, double, boolean, big number: the line is all."""
_BULKS = b"$!="
"""Bulk string, bulk error, verbatim string."""
_AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
"""Array, set, push, map, attribute: how many values each of their elements is."""
_COUNT = re.compile(rb"-1|[0-9]{1,19}")
_DIGITS = len(str(MAX_FRAME_BYTES))
_ARRAY, _BULK = ord("*"), ord("$")
MOST_COUNT_BYTES = 24
"""A line with a count that is longer is looked at more closely."""
_SMALLEST_BYTES = 3
"""Smallest value: its type and the end of the line."""


class RespDecoder(Stepwise):
    """One value is a message, whatever is nested in it."""

    has_asides = True

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        super().__init__(limit)

    def is_aside(self, wire: bytes) -> bool:
        """Tell whether a value is a push, which answers nothing."""
        return wire.startswith(b">")

    def _frame_end(self, start: int, searched: int) -> int:
        """Most values are a line, or one bulk string that is all there."""
        if self._steps is None and (end := self._simple_end(start) or self._command_end(start)):
            return end
        return super()._frame_end(start, searched)

    def _simple_end(self, start: int) -> int:
        """Return the offset behind such a value, 0 where it is none or might be a faulty one."""
        held = self._held
        end = held.find(b"\n", start, start + MAX_LINE_BYTES) + 1
        if not end:
            return 0
        if held[start] in _BULKS:
            digits = held[start + 1 : end].removesuffix(b"\r\n")
            if not digits.isdigit() or len(digits) > _DIGITS:
                return 0
            end += int(digits) + 2
            if end > len(held) or not held.endswith(b"\r\n", start, end):
                return 0
        elif held[start] not in _LINES:
            return 0
        return end if end - start <= self._limit else 0

    def _command_end(self, start: int) -> int:
        """Return the offset behind an array of bulk strings, as a command is; 0 where it is none, faulty, or
        not all there."""
        held = self._held
        at = held.find(b"\n", start, start + MOST_COUNT_BYTES) + 1
        digits = held[start + 1 : at].removesuffix(b"\r\n")
        if not at or held[start] != _ARRAY or not digits.isdigit():
            return 0
        for _ in range(int(digits)):
            line = at
            at = held.find(b"\n", line, line + MOST_COUNT_BYTES) + 1
            digits = held[line + 1 : at].removesuffix(b"\r\n")
            if not at or held[line] != _BULK or not digits.isdigit():
                return 0
            at += int(digits) + 2
            if at > len(held) or not held.endswith(b"\r\n", line, at):
                return 0
        return at if at - start <= self._limit else 0

    def message(self) -> Steps:
        """Go through one value."""
        left = 1
        while left:
            left -= 1
            line = yield Line()
            kind, rest = line[0], line[1:].rstrip(b"\r\n")
            if kind in _LINES:
                continue
            if (kind not in _BULKS and kind not in _AGGREGATES) or not _COUNT.fullmatch(rest):
                raise FramingError(f"no value of RESP: '{printable(line.rstrip().decode('latin-1'), 40)}'")
            count = int(rest)
            if kind in _BULKS:
                if count >= 0:
                    yield Skip(count, "bulk string")
                    if (yield Part(2)) != b"\r\n":
                        raise FramingError("a bulk string that is longer than it says")
                continue
            values = max(count, 0) * _AGGREGATES[kind]
            left += values + (kind == ord("|"))  # an attribute stands before the value that it is of
            if left * _SMALLEST_BYTES > self._limit:
                raise FramingError(f"{count:,} values in one; at most {self._limit:,} B are accepted")
