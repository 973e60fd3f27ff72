"""Whether what two sides have said in turn was several messages, each answered by one.

Nothing in the first bytes of a stream tells lines or a length before each message from anything else without
a doubt, for neither of them ever breaks off. But where a client has said so many of them, and the server
exactly as many, down to the last byte, it is beyond one: that is asked of each turn by itself, afterwards.
"""

from __future__ import annotations

from sockscope.core.wire.framing import LENGTH_HEADER_BYTES

LINES, LENGTHS = "lines", "length prefixes"
MOST_BYTES = 4_096
"""A turn in which one side says more is not looked into."""
_TEXT = bytes([*b"\t\r\n", *range(0x20, 0x7F), *range(0x80, 0x100)])


def exchanges_in(asked: bytes, answered: bytes) -> tuple[int, str]:
    """Return how many exchanges a turn was, and what they are if known (:data:`LINES`, :data:`LENGTHS`)."""
    if (count := lengths_in(asked)) and count == lengths_in(answered):
        return count, LENGTHS
    if (count := lines_in(asked)) and count == lines_in(answered):
        return count, LINES
    return 1, ""


def lines_in(data: bytes) -> int:
    """Return how many lines of text ``data`` is, all whole and none empty; 0 = it is something else."""
    if not data.endswith(b"\n") or data.translate(None, _TEXT):
        return 0
    if data.startswith((b"\n", b"\r\n")) or b"\n\n" in data or b"\n\r\n" in data:
        return 0
    return data.count(b"\n")


def lengths_in(data: bytes) -> int:
    """Return how many messages with their length before them ``data`` is, all whole and none of them empty;
    0 = it is something else."""
    count, at, end = 0, 0, len(data)
    while at < end:
        size = int.from_bytes(data[at : at + LENGTH_HEADER_BYTES], "big")
        at += LENGTH_HEADER_BYTES + size
        if not size or at > end:
            return 0
        count += 1
    return count
