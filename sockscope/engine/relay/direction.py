"""One direction of a relay: what it counts, and what is done to what passes."""

from __future__ import annotations

from operator import attrgetter

from sockscope.core.run.relay import Passed

_COUNTED = (
    "reads", "bytes_in", "writes", "bytes_out", "held", "held_bytes", "declined", "overflowed", "unsent",
    "undelivered", "dropped", "unread",
)  # fmt: skip
_counts_of = attrgetter(*_COUNTED)


class Direction:
    """The counters of one direction, which whatever passes something on adds to; see :class:`Passed`."""

    __slots__ = ("name", *_COUNTED)

    def __init__(self, name: str) -> None:
        self.name = name
        """``up``: from the clients to the server, or ``down``."""
        self.reads = self.bytes_in = self.writes = self.bytes_out = 0
        self.held = self.held_bytes = 0
        self.declined = self.overflowed = self.unsent = self.undelivered = 0
        self.dropped = self.unread = 0

    def passed(self) -> Passed:
        """Return the counts of this moment."""
        return Passed(**dict(zip(_COUNTED, _counts_of(self), strict=True)))
