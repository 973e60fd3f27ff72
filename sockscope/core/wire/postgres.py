"""Where requests and answers of PostgreSQL end (frontend/backend protocol 3.0, "Message Flow").

A request is a Query, a function call, or what comes before a Sync; its answer ends with ReadyForQuery. What
is said before the first of these, such as the password, is none.
"""

from __future__ import annotations

from sockscope.core.wire.framing import FramingError

START, TLS_WANTED, GSS_WANTED, CANCEL = 196_608, 80_877_103, 80_877_104, 80_877_102
"""What the first message of a client may be, by the number behind its length; it has no type."""
MAX_START_BYTES = 10_000
_MOST_BYTES = 1 << 30
_REQUESTS = frozenset(b"QFS")
_READY = frozenset(b"Z")
_HEADER_BYTES = 5


class PostgresCount:
    """Counts the requests and the answers that go by at a server, and keeps no more of them than a header.

    :meth:`requests` and :meth:`answers` raise FramingError where it is something else; ``went_over`` tells
    whether the server has agreed to go over to TLS or GSSAPI, which what follows is then, and ``is_ready``
    whether it has begun to take requests.
    """

    def __init__(self) -> None:
        self.went_over = False
        self.is_ready = False
        self._begun = b""
        self._wants_other = False
        self._asked = _Messages(_REQUESTS)
        self._told = _Messages(_READY)
        self._has_started = False

    def requests(self, data: bytes) -> int:
        """Return how many requests ``data`` completes."""
        if not self._has_started:
            data = self._start(data)
        return self._asked.count(data)

    def answers(self, data: bytes) -> int:
        """Return how many answers ``data`` completes: the first ReadyForQuery ends none."""
        if self._wants_other and data:
            self._wants_other = False
            self.went_over = data[:1] in (b"S", b"G")
            if self.went_over:
                return 0
            if data[:1] == b"N":
                data = data[1:]
        count = self._told.count(data)
        if count and not self.is_ready:
            self.is_ready = True
            count -= 1
        return count

    def _start(self, data: bytes) -> bytes:
        """Go through the messages that have no type; return what follows them."""
        data, self._begun = self._begun + data, b""
        while len(data) >= 8:
            size, code = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
            if not 8 <= size <= MAX_START_BYTES:
                raise FramingError(f"a first message of {size:,} B")
            if len(data) < size:
                break
            data = data[size:]
            if code in (TLS_WANTED, GSS_WANTED):
                self._wants_other = True
                continue
            self._has_started = True
            return data
        self._begun = data
        return b""


class _Messages:
    """Counts the messages of some types on a stream of them."""

    def __init__(self, types: frozenset[int]) -> None:
        self._types = types
        self._head = b""
        self._left = 0
        self._counts = False

    def count(self, data: bytes) -> int:
        """Return how many of them ``data`` completes."""
        found = at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
            else:
                more = data[at : at + _HEADER_BYTES - len(self._head)]
                self._head += more
                at += len(more)
                if len(self._head) < _HEADER_BYTES:
                    break
                self._begin()
            if not self._left and self._counts:
                self._counts = False
                found += 1
        return found

    def _begin(self) -> None:
        kind, size = self._head[0], int.from_bytes(self._head[1:], "big")
        if not (chr(kind).isalnum() and kind < 0x80) or not 4 <= size <= _MOST_BYTES:
            raise FramingError(f"no message of PostgreSQL: it begins with {self._head.hex(' ')}")
        self._left, self._head = size - 4, b""
        self._counts = kind in self._types
