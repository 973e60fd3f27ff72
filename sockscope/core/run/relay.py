"""What a relay has done with what came from either side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from sockscope.core.histogram import Histogram
from sockscope.core.impairment.impaired import Impaired
from sockscope.core.run.adding import Cumulative, Current, Gauge, Maximum, Nested, listed


@dataclass(frozen=True, slots=True)
class Passed:
    """One direction of a relay: what it has read from one side, and what it has written to the other.

    ``reads`` and ``writes`` are calls over TCP; ``datagrams_in`` and ``datagrams_out`` are over UDP, and what
    the kernel did not take is not among the latter. ``held`` are those that wait until they are due, or for
    room, and ``held_bytes`` what they hold. Over UDP ``declined`` came from peers for whom there was no
    room, ``overflowed`` found the queue of those that wait full, ``unsent`` were not taken by the kernel
    (EAGAIN, ENOBUFS, ECONNREFUSED), ``dropped`` came to a full receive buffer of the relay, and ``unread``
    were in one when its socket was closed. ``undelivered`` could not be sent any more, for the peer that they
    were for had been forgotten. ``impaired`` is what faults have done; ``half_closed`` and ``black_holed``
    are connections that they have ended, or swallowed, in this direction, the newest of the latter at
    ``black_holed_at_s`` (monotonic); those that they have ``refused`` and ``reset`` are counted ``up``.
    """

    reads: Cumulative[int] = 0
    bytes_in: Cumulative[int] = 0
    writes: Cumulative[int] = 0
    bytes_out: Cumulative[int] = 0
    datagrams_in: Cumulative[int] = 0
    datagrams_out: Cumulative[int] = 0
    held: Gauge[int] = 0
    held_bytes: Gauge[int] = 0
    declined: Cumulative[int] = 0
    overflowed: Cumulative[int] = 0
    unsent: Cumulative[int] = 0
    undelivered: Cumulative[int] = 0
    dropped: Cumulative[int] = 0
    unread: Cumulative[int] = 0
    refused: Cumulative[int] = 0
    reset: Cumulative[int] = 0
    half_closed: Cumulative[int] = 0
    black_holed: Cumulative[int] = 0
    black_holed_at_s: Maximum[float] = 0.0
    impaired: Nested[Impaired] = field(default_factory=Impaired)

    @property
    def inside(self) -> int:
        """How many datagrams are in the relay: those that are due later, and those that a fault holds back
        until another has overtaken them."""
        return self.copies - self.datagrams_out - self.unsent - self.overflowed - self.undelivered

    @property
    def copies(self) -> int:
        """How many datagrams were to be sent on, of those that came: none that a fault has lost, and twice
        what a fault has doubled."""
        return self.datagrams_in - self.declined - self.impaired.lost + self.impaired.duplicated


@dataclass(frozen=True, slots=True)
class TapFigures:
    """What came in at one address of a relay that is alone between a client and a server.

    ``target`` is where it leads, ``speaks`` what has been told apart, in words. ``unreached`` are connections
    for which the target could not be reached, ``unanswered`` requests that will not be answered any more, and
    ``ended_by_silence`` answers whose end nothing told but that no more came. ``service_time`` is that of the
    target as seen here. ``number`` is that of the address, which a change may move elsewhere.
    """

    address: Current[str]
    target: Current[str]
    speaks: Current[str] = ""
    connections_open: Gauge[int] = 0
    connections_opened: Cumulative[int] = 0
    unreached: Cumulative[int] = 0
    requests: Cumulative[int] = 0
    responses: Cumulative[int] = 0
    unanswered: Cumulative[int] = 0
    ended_by_silence: Cumulative[int] = 0
    in_flight: Gauge[int] = 0
    bytes_in: Cumulative[int] = 0
    bytes_out: Cumulative[int] = 0
    service_time: Cumulative[Histogram] = field(default_factory=Histogram)
    number: Current[int] = 0


@dataclass(frozen=True, slots=True)
class RelayFigures:
    """What a relay adds to what it passes on.

    ``up`` is the direction from the clients to the server, ``down`` the other one. ``delay`` has the time
    that the relay itself takes for each read or datagram, in seconds: from the turn of its readiness set in
    which it was found, or the moment at which a fault lets it go, until the kernel has taken all of it for
    the other side. What waited because a receiver does not read is not in it. ``taps`` has a row for each
    address of a relay that is alone.
    """

    up: Nested[Passed] = field(default_factory=Passed)
    down: Nested[Passed] = field(default_factory=Passed)
    delay: Cumulative[Histogram] = field(default_factory=Histogram)
    taps: Annotated[tuple[TapFigures, ...], listed("number")] = ()
