"""Bytes in, frames out: how messages are told apart on a TCP stream.

Rules of this file: a decoder never holds more than one unfinished frame and what it was fed last, believes no
length before it is checked against the limit, and never loses or invents a byte: the frames it returned plus
what it still holds are exactly what it was fed. A frame is returned as it stood on the wire, header or
terminator included, together with the offsets at which a read ended inside it.

Formats: ``length`` is a 4-byte big-endian byte count before the payload; ``newline`` ends a message with
``\\n``; ``fixed`` cuts every n bytes; ``none`` takes each read for one message, which miscounts when TCP
merges or tears writes. Answers of other servers can also be cut behind a terminator of any bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NamedTuple, Protocol

from sockscope.core.wire.octets import format_octets

LENGTH_HEADER_BYTES = 4
MOST_FRAMES = 1_024
"""Frames that a decoder gives at a time: a read of tiny ones takes many times its size as objects."""
MAX_FRAME_BYTES = 16 << 20
"""Largest payload that is accepted or sent: 16 MiB."""


class Frame(NamedTuple):
    """One message as it stood on the wire.

    ``wire`` holds header and terminator too. ``reads`` are the offsets inside ``wire`` at which one read
    ended and the next began: empty when the frame came in one read.
    """

    wire: bytes
    reads: tuple[int, ...]


def torn_and_merged(frames: list[Frame], pending_bytes: int) -> tuple[int, int]:
    """Return what one read says about messages: how many it completed that had come in several reads, and 1
    if it held more than one of them, or parts of more than one."""
    return sum(1 for frame in frames if frame.reads), int(len(frames) + (pending_bytes > 0) > 1)


class FramingError(Exception):
    """The stream cannot be cut into frames any more; the message says why."""


class Decoder(Protocol):
    """An incremental decoder of one stream."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of an unfinished frame that are held."""
        ...

    has_asides: bool
    """Whether :meth:`is_aside` is true of anything."""

    more: bool
    """Whether ``feed(b"")`` has more to give: :data:`MOST_FRAMES` were given, or a fault follows them."""

    @property
    def pending(self) -> Frame:
        """What is held of an unfinished frame."""
        ...

    def feed(self, data: bytes) -> list[Frame]:
        """Take what one read returned and give the frames that are complete now, a bounded number of them.

        Raises FramingError when the stream breaks the format or its limit, once the frames before are given.
        """
        ...

    def end(self) -> Frame | None:
        """The stream has ended: return what is held, if that ends the message; else None."""
        ...

    def is_aside(self, wire: bytes) -> bool:
        """Tell whether a whole frame is no answer, whatever was asked: the protocol says so."""
        ...


class Buffered:
    """The part that the cutting decoders share: the unfinished frame and where reads ended in it."""

    has_asides = False

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._read_ends: list[int] = []
        self.more = False

    @property
    def pending_bytes(self) -> int:
        """Bytes of an unfinished frame that are held."""
        return len(self._held)

    @property
    def pending(self) -> Frame:
        """What is held of an unfinished frame."""
        return Frame(bytes(self._held), tuple(self._read_ends))

    def feed(self, data: bytes) -> list[Frame]:
        """Take a read and give the frames that are complete now; raises FramingError."""
        if not data and not self.more:
            return []
        # What is held has been searched already, unless there is more in it.
        searched = 0 if self.more else len(self._held)
        if data and self._held:
            self._read_ends.append(len(self._held))
        self._held += data
        self.more = False
        frames: list[Frame] = []
        start = 0
        try:
            while end := self._frame_end(start, max(start, searched)):
                if len(frames) == MOST_FRAMES:
                    self.more = True
                    break
                ends = self._read_ends and self._reads_in(start, end)
                frames.append(Frame(bytes(self._held[start:end]), tuple(ends)))
                start = end
        except FramingError:
            if not frames:
                raise
            self.more = True
        if start:
            del self._held[:start]
            self._read_ends = [e - start for e in self._read_ends if e > start]
        return frames

    def _reads_in(self, start: int, end: int) -> list[int]:
        """Return where reads ended inside a frame; there may be as many as it has bytes."""
        ends = self._read_ends
        return [e - start for e in ends[bisect_right(ends, start) : bisect_left(ends, end)]]

    def end(self) -> Frame | None:
        """Return None: these messages do not end with the stream."""
        return None

    def is_aside(self, wire: bytes) -> bool:
        """Return False: whatever comes may be an answer."""
        return False

    def clear(self) -> None:
        """Forget what is held."""
        self._held.clear()
        self._read_ends.clear()

    def _frame_end(self, start: int, searched: int) -> int:
        """Return the offset just behind the frame that begins at ``start``, or 0 while it is unfinished."""
        raise AssertionError  # pragma: no cover


def _too_long(claimed: int, limit: int) -> str:
    """Return what is wrong with a length beyond ``limit``, which may be the beginning of a text."""
    first = claimed.to_bytes(LENGTH_HEADER_BYTES, "big")
    if first.isascii() and (text := first.decode("ascii")).isprintable():
        return f"a length was expected, but '{text}' came: this is not --framing length"
    return f"a frame claims {claimed:,} B; at most {limit:,} B are accepted"


class LengthDecoder(Buffered):
    """A 4-byte big-endian byte count before each payload."""

    def _frame_end(self, start: int, searched: int) -> int:
        held = self._held
        if len(held) - start < LENGTH_HEADER_BYTES:
            return 0
        claimed = int.from_bytes(held[start : start + LENGTH_HEADER_BYTES], "big")
        if claimed > self._limit:
            raise FramingError(_too_long(claimed, self._limit))
        end = start + LENGTH_HEADER_BYTES + claimed
        return end if end <= len(held) else 0


class UntilDecoder(Buffered):
    """The bytes ``until`` end each message; they belong to it, and do not count against ``limit``.

    ``name`` is what a fault calls them.
    """

    def __init__(self, until: bytes, limit: int = MAX_FRAME_BYTES, name: str = "") -> None:
        super().__init__(limit)
        self._until = until
        self._name = name or format_octets(until)

    def _frame_end(self, start: int, searched: int) -> int:
        # The terminator may have begun in an earlier read, but not in the frame before.
        unfinished = len(self._until) - 1
        found = self._held.find(self._until, max(start, searched - unfinished))
        length = (found if found >= 0 else len(self._held) - unfinished) - start
        if length > self._limit:
            raise FramingError(f"no {self._name} within {self._limit:,} B")
        return found + len(self._until) if found >= 0 else 0


class NewlineDecoder(UntilDecoder):
    """A newline ends each message."""

    def __init__(self, limit: int) -> None:
        super().__init__(b"\n", limit, "newline")


class FixedDecoder(Buffered):
    """Every ``size`` bytes are a message."""

    def __init__(self, size: int) -> None:
        super().__init__(size)

    def _frame_end(self, start: int, searched: int) -> int:
        end = start + self._limit
        return end if end <= len(self._held) else 0


class ReadDecoder:
    """Each read is taken for one message."""

    has_asides = more = False
    pending_bytes = 0
    pending = Frame(b"", ())

    def feed(self, data: bytes) -> list[Frame]:
        """Return the read as one frame."""
        return [Frame(data, ())] if data else []

    def end(self) -> None:
        """Nothing is held."""

    def is_aside(self, wire: bytes) -> bool:
        """Return False: whatever comes may be an answer."""
        return False


_DECODERS: dict[str, Callable[[int], Decoder]] = {
    "length": lambda _size: LengthDecoder(MAX_FRAME_BYTES),
    "newline": lambda _size: NewlineDecoder(MAX_FRAME_BYTES),
    "fixed": FixedDecoder,
    "none": lambda _size: ReadDecoder(),
}


def decoder_for(framing: str, size: int) -> Decoder:
    """Return a fresh decoder; ``size`` is the frame size in bytes, used by ``fixed`` alone."""
    return _DECODERS[framing](size)


def encode(framing: str, payload: bytes) -> bytes:
    """Return ``payload`` as one frame on the wire. A ``newline`` payload must not contain a newline."""
    if framing == "length":
        return len(payload).to_bytes(LENGTH_HEADER_BYTES, "big") + payload
    if framing == "newline":
        return payload + b"\n"
    return payload
