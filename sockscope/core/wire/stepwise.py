"""Messages that say on the way how they go on: a decoder is a generator of what it wants to see next.

:meth:`Stepwise.message` yields a :class:`Line`, a :class:`Part`, a :class:`Skip` or :data:`REST`, and is
given the bytes of a line or part when they are there; nothing is looked at twice, however it was cut.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple

from sockscope.core.wire.framing import Buffered, Frame, FramingError

MAX_LINE_BYTES = 64 << 10
"""Longest line of a message: 64 KiB."""


class Line(NamedTuple):
    """The next line, its LF included; ``name`` is what a fault calls it."""

    name: str = "line"
    most_bytes: int = MAX_LINE_BYTES


class Part(NamedTuple):
    """The next ``size`` bytes, a few."""

    size: int


class Skip(NamedTuple):
    """As many bytes, which need not be looked at; ``name`` is what a fault calls them."""

    size: int
    name: str = "message"


class Rest(NamedTuple):
    """Everything until the stream ends."""


REST: Final = Rest()
Want = Line | Part | Skip | Rest
Steps = Generator[Want, bytes, None]


class Stepwise(Buffered):
    """Cuts a stream into the messages that :meth:`message` goes through."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._steps: Steps | None = None
        self._want: Want = REST
        # Both from the beginning of the message: up to where it is done, and where no line feed is.
        self._done = self._seen = 0

    def message(self) -> Steps:
        """Go through one message, which has at least one byte; raises FramingError."""
        raise NotImplementedError

    def end(self) -> Frame | None:
        """Return what is held as a message, if it goes on until the stream ends, which it has done."""
        if not isinstance(self._want, Rest) or self._steps is None or not self.pending_bytes:
            return None
        frame = self.pending
        self._steps = None
        self.clear()
        return frame

    def _frame_end(self, start: int, searched: int) -> int:
        if self._steps is None:
            if start == len(self._held):
                return 0
            self._steps = self.message()
            self._want, self._done, self._seen = next(self._steps), 0, 0
        try:
            return self._go_on(self._steps, start)
        except FramingError:
            self._steps = None  # whoever asks again meets the same fault
            raise

    def _go_on(self, steps: Steps, start: int) -> int:
        while (size := self._size_of_next(start)) >= 0:
            at = start + self._done
            self._done += size
            piece = b"" if isinstance(self._want, Skip) else bytes(self._held[at : at + size])
            try:
                self._want = steps.send(piece)
            except StopIteration:
                self._steps = None
                return start + self._done
        return 0

    def _size_of_next(self, start: int) -> int:
        """Return the size of what is wanted next, -1 while it is not there."""
        want, there = self._want, len(self._held) - start - self._done
        match want:
            case Line():
                return self._line_size(start, want)
            case Part() | Skip():
                if self._done + want.size > self._limit:
                    name = "message" if isinstance(want, Part) else want.name
                    claimed = f"{want.size:,} B" if want.size < 1 << 63 else "more than 2^63 B"
                    raise FramingError(f"a {name} claims {claimed}; at most {self._limit:,} B are accepted")
                return want.size if there >= want.size else -1
            case _:
                if self._done + there > self._limit:
                    raise FramingError(f"no end within {self._limit:,} B")
                return -1

    def _line_size(self, start: int, want: Line) -> int:
        at = start + self._done
        found = self._held.find(b"\n", max(at, start + self._seen))
        size = (found + 1 if found >= 0 else len(self._held)) - at
        if size > want.most_bytes:
            raise FramingError(f"a {want.name} of more than {want.most_bytes:,} B")
        if self._done + size > self._limit:
            raise FramingError(f"no end within {self._limit:,} B")
        self._seen = self._done + size
        return size if found >= 0 else -1
