"""What is said on a new connection before the first request: the server's greeting, and the preamble."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sockscope.core.wire.framing import Decoder, Frame, FramingError

GREETING, PREAMBLE = "greeting", "preamble"
"""What the parts of a prologue are called where exchanges are told."""

MAX_GREETING_BYTES = 64 << 10
"""Longest greeting: 64 KiB."""


class Step(NamedTuple):
    """What the client says (nothing: it listens), what tells where the server's words end, their name."""

    says: bytes
    hears: Decoder
    name: str


class Prologue:
    """The prologue of one connection, step by step; :attr:`is_over` when the last one is done."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = list(steps)

    @property
    def is_over(self) -> bool:
        """Whether nothing is waited for any more."""
        return not self._steps

    @property
    def says(self) -> bytes:
        """What the client says now, once; empty: it listens."""
        return self._steps[0].says

    @property
    def waits_for(self) -> str:
        """What the server is to say next, in words."""
        return self._steps[0].name

    @property
    def part(self) -> bytes:
        """What has come of it."""
        return self._steps[0].hears.pending.wire

    @property
    def outcome(self) -> str:
        """What is done when the server has said that."""
        return PREAMBLE if self.says else GREETING

    def take(self, data: bytes) -> Frame | None:
        """Take what one read returned; return what the server said if that is whole. Raises FramingError."""
        step = self._steps[0]
        frames = step.hears.feed(data)
        if not frames:
            return None
        if rest := sum(len(frame.wire) for frame in frames[1:]) + step.hears.pending_bytes:
            raise FramingError(f"{rest:,} B more than {step.name}")
        del self._steps[0]
        return frames[0]
