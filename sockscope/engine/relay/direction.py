"""One direction of a relay: what it counts, and the faults that what passes meets."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

from sockscope.core.impairment.datagrams import DatagramImpairer
from sockscope.core.impairment.impaired import Impaired
from sockscope.core.impairment.line import Line
from sockscope.core.impairment.link import NO_FAULTS, LinkFaults
from sockscope.core.impairment.stream import StreamImpairer
from sockscope.core.run.relay import Passed

UP, DOWN = "up", "down"
_COUNTED = (
    "reads", "bytes_in", "writes", "bytes_out", "datagrams_in", "datagrams_out", "held", "held_bytes",
    "declined", "overflowed", "unsent", "undelivered", "dropped", "unread", "refused", "reset", "half_closed",
    "black_holed", "black_holed_at_s",
)  # fmt: skip
_counts_of = attrgetter(*_COUNTED)
_MOST_CONNECTIONS = 1 << 40


class Direction:
    """The counters of one direction, which whatever passes something on adds to; see :class:`Passed`.

    ``seed`` is that of the run: the same one makes the same faults of the same data.
    """

    __slots__ = (
        "_seed", "datagrams", "faults", "impaired", "line", "name", "whole", "whole_bytes", *_COUNTED,
    )  # fmt: skip

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        """``up``: from the clients to the server, or ``down``."""
        self._seed = 2 * seed + (name == DOWN)
        self.whole = self.whole_bytes = 0
        """Reads that were written whole at once: one count for both, until somebody looks."""
        self.reads = self.bytes_in = self.writes = self.bytes_out = 0
        self.datagrams_in = self.datagrams_out = 0
        self.held = self.held_bytes = 0
        self.declined = self.overflowed = self.unsent = self.undelivered = 0
        self.dropped = self.unread = 0
        self.refused = self.reset = self.half_closed = self.black_holed = 0
        self.black_holed_at_s = 0.0
        self.faults = NO_FAULTS
        self.impaired = Impaired()
        """What all impairers of this direction count."""
        self.line = Line()
        self.datagrams = DatagramImpairer(NO_FAULTS, self._seed)
        self.datagrams.counts = self.impaired

    def turn(self, faults: LinkFaults) -> None:
        """Go over to other faults."""
        self.faults = faults
        self.line.turn(faults.rate_bytes_per_s)
        self.datagrams.turn(faults)

    def stream(self, conn_id: int) -> StreamImpairer | None:
        """Return what makes the faults of one connection; None where there are none."""
        if not self.faults:
            return None
        impairer = StreamImpairer(self.faults, self._seed * _MOST_CONNECTIONS + conn_id, self.line)
        impairer.counts = self.impaired
        return impairer

    def passed(self) -> Passed:
        """Return the counts of this moment."""
        whole, size, self.whole, self.whole_bytes = self.whole, self.whole_bytes, 0, 0
        self.reads += whole
        self.bytes_in += size
        self.writes += whole
        self.bytes_out += size
        return Passed(**dict(zip(_COUNTED, _counts_of(self), strict=True)), impaired=replace(self.impaired))
