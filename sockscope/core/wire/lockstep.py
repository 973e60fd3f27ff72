"""Whether what two sides have said in turn was several messages, each answered by one.

Nothing in the first bytes of a stream tells lines or a length before each message from anything else without
a doubt, for neither of them ever breaks off. But where a client has said so many of them, and the server
exactly as many, down to the last byte, it is beyond one: that is asked of each turn by itself, afterwards.
"""

from __future__ import annotations

from sockscope.core.wire.framing import LENGTH_HEADER_BYTES, MAX_FRAME_BYTES

LINES, LENGTHS = "lines", "length prefixes"
MOST_MESSAGES = 1_024
"""More messages in one turn are not told apart."""
_TEXT = bytes([*b"\t\r\n", *range(0x20, 0x7F), *range(0x80, 0x100)])
_EMPTY_LINES = b"\n\n", b"\n\r\n"


class Spoken:
    """What one side says in one turn, counted as lines of text and as messages with their length before them.

    It does not depend on how the bytes are cut, and none of them is kept but a few.
    """

    __slots__ = ("_head", "_is_text", "_last", "_left", "_lengths", "_lines")

    def __init__(self) -> None:
        self._lines = 0
        self._is_text = True
        self._last = b"\n"  # so that a first line that is empty counts as one
        # Messages with their length before them; below 0: they are none. And what is left of the last.
        self._lengths = 0
        self._head = b""
        self._left = 0

    def add(self, data: bytes) -> None:
        """More of it has come."""
        if self._is_text:
            self._add_text(data)
        if self._lengths >= 0:
            self._add_lengths(data)

    def _add_text(self, data: bytes) -> None:
        seam = self._last + data
        self._lines += data.count(b"\n")
        self._is_text = (
            self._lines <= MOST_MESSAGES
            and not data.translate(None, _TEXT)
            and not any(empty in seam for empty in _EMPTY_LINES)
        )
        self._last = seam[-2:]

    def _add_lengths(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            more = data[at : at + LENGTH_HEADER_BYTES - len(self._head)]
            self._head += more
            at += len(more)
            if len(self._head) < LENGTH_HEADER_BYTES:
                return
            self._left, self._head = int.from_bytes(self._head, "big"), b""
            self._lengths += 1
            if not 0 < self._left <= MAX_FRAME_BYTES or self._lengths > MOST_MESSAGES:
                self._lengths = -1
                return

    @property
    def lines(self) -> int:
        """How many lines it is, all whole and none of them empty; 0 = it is something else."""
        return self._lines if self._is_text and self._last.endswith(b"\n") else 0

    @property
    def lengths(self) -> int:
        """How many messages with their length before them it is, all whole; 0 = it is something else."""
        return self._lengths if self._lengths > 0 and not (self._left or self._head) else 0


def exchanges_in(asked: Spoken, answered: Spoken) -> tuple[int, str]:
    """Return how many exchanges a turn was, and what they are if known (:data:`LINES`, :data:`LENGTHS`)."""
    if asked.lengths and asked.lengths == answered.lengths:
        return asked.lengths, LENGTHS
    if asked.lines and asked.lines == answered.lines:
        return asked.lines, LINES
    return 1, ""
