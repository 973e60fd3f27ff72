"""Ends of an answer as people describe them, and the decoders that find them.

A description is read by a function that raises ValueError with the reason and the place of the fault. What it
describes is an :class:`End`, which makes a decoder for each connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from sockscope.core.wire.framing import (
    MAX_FRAME_BYTES,
    Buffered,
    Decoder,
    FixedDecoder,
    FramingError,
    UntilDecoder,
)
from sockscope.core.wire.http import HttpDecoder
from sockscope.core.wire.octets import format_octets
from sockscope.core.wire.patterns import Pattern
from sockscope.core.wire.resp import RespDecoder
from sockscope.core.wire.stepwise import REST, Line, Steps, Stepwise
from sockscope.core.wire.websocket import WebsocketDecoder

MAX_OFFSET_BYTES = 64 << 10
"""Furthest from the beginning of an answer that a length field may be."""
VARINT = "varint"
_ID = re.compile(r"([0-9]+):([0-9]+)")
_FIELD = re.compile(r"(?P<offset>[0-9]+):(?P<size>[0-9]+|varint)(?P<little>:little)?(?P<extra>[+-][0-9]+)?")
_BEGUN = re.compile(r"[0-9]+:?")
_FIELD_FORM = "offset:size[:little][+extra], such as 0:4 or 2:2:little+6"


class End(Protocol):
    """How the end of an answer is told."""

    @property
    def name(self) -> str:
        """What it is called, in a few words."""
        ...

    def decoder(self) -> Decoder:
        """Return a fresh decoder, which cuts a stream of answers."""
        ...


@dataclass(frozen=True, slots=True)
class Size:
    """Every answer has so many bytes."""

    size: int

    @property
    def name(self) -> str:
        """The size."""
        return f"of {self.size:,} B"

    def decoder(self) -> Decoder:
        """Return a fresh decoder."""
        return FixedDecoder(self.size)


@dataclass(frozen=True, slots=True)
class Until:
    """These bytes end an answer."""

    octets: bytes

    @property
    def name(self) -> str:
        """The bytes, as they are written."""
        return f"until {format_octets(self.octets)}"

    def decoder(self) -> Decoder:
        """Return a fresh decoder."""
        return UntilDecoder(self.octets)


@dataclass(frozen=True, slots=True)
class UntilLine:
    """The first line in which a pattern is found ends an answer."""

    pattern: Pattern

    @property
    def name(self) -> str:
        """The pattern."""
        return f"until line {format_octets(self.pattern.octets)}"

    def decoder(self) -> Decoder:
        """Return a fresh decoder."""
        return UntilLineDecoder(self.pattern)


class Known(Enum):
    """What the protocol itself tells."""

    HTTP = "http"
    """HTTP/1.1: Content-Length, chunks, or the end of the connection."""
    RESP = "resp"
    """What Redis speaks: one value."""
    WEBSOCKET = "websocket"
    """One message of a websocket."""
    EOF = "eof"
    """The server closes the connection behind its answer."""

    def decoder(self) -> Decoder:
        """Return a fresh decoder."""
        return _KNOWN[self]()


@dataclass(frozen=True, slots=True)
class LengthField:
    """Where an answer says how long it is.

    ``size`` bytes at ``offset`` are a number of bytes: of what follows the field, and ``extra`` more (fewer
    where it is negative, since the number counts the header too). They are big-endian unless ``little``. One
    encoding has no fixed size: :data:`VARINT`, seven bits a byte, the lowest first, at most four bytes (the
    remaining length of MQTT 3.1.1, section 2.2.3).
    """

    offset: int
    size: int | str
    little: bool = False
    extra: int = 0

    @property
    def name(self) -> str:
        """How it is written."""
        size = f"{self.size}:little" if self.little else f"{self.size}"
        return f"length {self.offset}:{size}{f'{self.extra:+}' if self.extra else ''}"

    def decoder(self) -> Decoder:
        """Return a fresh decoder."""
        return LengthFieldDecoder(self)

    def size_at(self, data: bytes | bytearray, start: int) -> int | None:
        """Return the size of the answer that begins at ``start``, header included; None: not to be seen yet.

        Raises FramingError where the field cannot be one.
        """
        at = start + self.offset
        if self.size == VARINT:
            end, claimed = _varint(data, at)
        else:
            assert isinstance(self.size, int)
            end = at + self.size
            claimed = int.from_bytes(data[at:end], "little" if self.little else "big")
        if end > len(data):
            return None
        size = end - start + claimed + self.extra
        if size < end - start:
            raise FramingError(
                f"a length field says {claimed:,}, which is less than what comes before its end"
            )
        return size


def parse_length_field(text: str) -> LengthField:
    """Return the length field that ``text`` describes; raise ValueError with the reason."""
    found = _FIELD.fullmatch(text)
    if found is None:
        raise ValueError(f"is not {_FIELD_FORM}: {_where_wrong(_FIELD, text)}")
    size = found["size"] if found["size"] == VARINT else int(found["size"])
    offset, extra = int(found["offset"]), int(found["extra"] or 0)
    if isinstance(size, int) and not 1 <= size <= 8:
        raise ValueError(f"has a field of {size:,} B; 1 to 8 can be read")
    if offset > MAX_OFFSET_BYTES:
        raise ValueError(f"has its field {offset:,} B from the beginning; at most {MAX_OFFSET_BYTES:,} B")
    if abs(extra) > MAX_FRAME_BYTES:
        raise ValueError(f"has {extra:,} B more than its field says; at most {MAX_FRAME_BYTES:,} B")
    if found["little"] and not isinstance(size, int):
        raise ValueError(f"is little-endian, which a {size} is not")
    return LengthField(offset, size, bool(found["little"]), extra)


@dataclass(frozen=True, slots=True)
class IdField:
    """Where a request and its answer carry the same number: ``size`` bytes at ``offset``, big-endian."""

    offset: int
    size: int

    @property
    def most(self) -> int:
        """How many numbers there are; they begin anew then."""
        return 1 << 8 * self.size

    def put(self, number: int, request: bytes) -> bytes:
        """Return ``request`` with ``number`` in its place."""
        end = self.offset + self.size
        return request[: self.offset] + (number % self.most).to_bytes(self.size, "big") + request[end:]

    def number_in(self, answer: bytes, newest: int) -> int:
        """Return the number of the request that ``answer`` is to, the last one of those that have its id.

        ``newest`` is the number of the newest request. 0: the answer is too short, or to none.
        """
        end = self.offset + self.size
        if len(answer) < end:
            return 0
        found = int.from_bytes(answer[self.offset : end], "big")
        return max(0, newest - (newest - found) % self.most)


def parse_id_field(text: str) -> IdField:
    """Return the field that ``text`` describes; raise ValueError with the reason."""
    found = _ID.fullmatch(text)
    if found is None:
        raise ValueError(f"is not offset:size, such as 0:2: {_where_wrong(_ID, text)}")
    offset, size = int(found[1]), int(found[2])
    if not 1 <= size <= 8:
        raise ValueError(f"has a field of {size:,} B; 1 to 8 can be written")
    if offset > MAX_OFFSET_BYTES:
        raise ValueError(f"has its field {offset:,} B from the beginning; at most {MAX_OFFSET_BYTES:,} B")
    return IdField(offset, size)


def _where_wrong(form: re.Pattern[str], text: str) -> str:
    """Return from which character on a field is not described."""
    good = form.match(text) or _BEGUN.match(text)
    end = good.end() if good is not None else 0
    return f"wrong from character {end + 1} on ({text[end:]!r})" if text[end:] else "it ends too early"


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    claimed = 0
    for index in range(4):
        if at + index >= len(data):
            return len(data) + 1, 0
        byte = data[at + index]
        claimed |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return at + index + 1, claimed
    raise FramingError("a length of more than four bytes")


class LengthFieldDecoder(Buffered):
    """A field of the message tells its size."""

    def __init__(self, field: LengthField, limit: int = MAX_FRAME_BYTES) -> None:
        super().__init__(limit)
        self._field = field

    def _frame_end(self, start: int, searched: int) -> int:
        size = self._field.size_at(self._held, start)
        if size is None:
            return 0
        if size > self._limit:
            raise FramingError(f"a message claims {size:,} B; at most {self._limit:,} B are accepted")
        end = start + size
        return end if end <= len(self._held) else 0


class UntilLineDecoder(Stepwise):
    """The first line in which a pattern is found ends each message; a line is searched without its end."""

    def __init__(self, pattern: Pattern, limit: int = MAX_FRAME_BYTES) -> None:
        super().__init__(limit)
        self._pattern = pattern

    def message(self) -> Steps:
        """Go through one message."""
        while not self._pattern.is_in((yield Line()).rstrip(b"\r\n")):
            pass


class EofDecoder(Stepwise):
    """The end of the stream ends the only message."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        super().__init__(limit)

    def message(self) -> Steps:
        """Go through the message."""
        yield REST


_KNOWN: dict[Known, Callable[[], Decoder]] = {
    Known.HTTP: HttpDecoder,
    Known.RESP: RespDecoder,
    Known.WEBSOCKET: WebsocketDecoder,
    Known.EOF: EofDecoder,
}
