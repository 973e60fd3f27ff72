"""The only object that a protocol writes to.

One recorder belongs to one role. Frequent things (a round trip, an answered request) go through two
functions made once per recorder, whose state lies in local cells: a method call, an attribute look-up and
an allocation less per message are what keeps recording within a few per cent. Rare things (open, close,
error) are ordinary methods. A connection's counters live in its :class:`ConnectionRecord`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter

from sockscope.core.connection import Address, ConnectionRecord, ConnectionState, format_address
from sockscope.core.events import CloseReason, Event, EventKind
from sockscope.core.histogram import SUB_BUCKETS, Histogram
from sockscope.core.ring import Ring
from sockscope.core.snapshot import Payload, Totals

CAPTURES = 10_000
"""Exchanges that are kept."""
CAPTURE_BYTES = 256
"""First bytes of a payload that are kept."""
EVENTS = 10_000
"""Lines of the log that are kept."""
CLOSED_CONNECTIONS = 1_000
"""Closed connections that are remembered."""

Clip = bytes | Payload
"""Captured bytes: as they are when they are few and came in one read, else a Payload."""
RoundTrip = tuple[int, int, ConnectionRecord, int, Clip, Clip | None, str]
"""A client's capture: sent and answered (ns), connection, number on it, request, answer, outcome."""
Answered = tuple[int, int, ConnectionRecord, int, Clip]
"""A server's capture: read and answered (ns), connection, number on it, request."""


def clip(data: bytes, reads: tuple[int, ...] = ()) -> Clip:
    """Return what the capture keeps of ``data``."""
    if len(data) <= CAPTURE_BYTES and not reads:
        return data
    return Payload(data[:CAPTURE_BYTES], len(data), tuple(r for r in reads if r < CAPTURE_BYTES))


def payload_of(kept: Clip) -> Payload:
    """Return a capture's bytes with their real length."""
    return kept if isinstance(kept, Payload) else Payload(kept, len(kept))


class Recorder:
    """Counters, histogram, captures and log of one role (``server`` or ``client``)."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.live: dict[int, ConnectionRecord] = {}
        self.closed: deque[ConnectionRecord] = deque(maxlen=CLOSED_CONNECTIONS)
        self.events: Ring[Event] = Ring(EVENTS)
        self.round_trips: Ring[RoundTrip] = Ring(CAPTURES)
        self.answers: Ring[Answered] = Ring(CAPTURES)
        self.service_time = Histogram()
        self.on_round_trip = _round_trip_function(self.service_time, self.round_trips)
        self.on_answer = _answer_function(self.answers)
        self.timeouts = 0
        self.errors = 0
        self.opened = 0
        self.refused = 0
        self.reset = 0
        self.connect_timeouts = 0
        self.connect_failures = 0
        self.rejected = 0
        self.late = 0
        self.lost = 0
        self.reordered = 0
        self.duplicated = 0
        self._retired = _sums(())
        self._next_conn_id = 1

    # Rare: connections and the log.

    def on_open(
        self, transport: str, local: Address, remote: Address, generation: int, text: str = ""
    ) -> ConnectionRecord:
        """Register a connection and give it its number."""
        record = ConnectionRecord(self._next_conn_id, transport, local, remote, perf_counter())
        self._next_conn_id += 1
        record.generation = generation
        self.live[record.conn_id] = record
        self.opened += 1
        self._log(EventKind.OPEN, record, text=text)
        return record

    def on_close(self, record: ConnectionRecord, reason: CloseReason, text: str = "") -> None:
        """Close the books of a connection; a second call does nothing."""
        if self.live.pop(record.conn_id, None) is None:
            return
        record.state = ConnectionState.CLOSED
        record.closed_s = perf_counter()
        record.close_reason = reason
        record.close_text = text
        if reason is CloseReason.RESET:
            self.reset += 1
        self._retired = [*map(int.__add__, self._retired, _sums((record,)))]
        self.closed.append(record)
        self._log(EventKind.CLOSE, record, reason, text)

    def on_error(self, text: str, record: ConnectionRecord | None = None, address: str = "",
                 reason: CloseReason | None = None) -> None:  # fmt: skip
        """Write a fault into the log; the caller counts it."""
        if record is not None:
            self._log(EventKind.ERROR, record, reason, text)
        else:
            self.events.append(
                Event(perf_counter(), EventKind.ERROR, self.role, address=address, reason=reason, text=text)
            )

    def _log(
        self, kind: EventKind, record: ConnectionRecord, reason: CloseReason | None = None, text: str = ""
    ) -> None:
        self.events.append(
            Event(
                perf_counter(),
                kind,
                self.role,
                record.conn_id,
                format_address(record.remote_address),
                reason,
                text,
                record.generation,
            )
        )

    # For readers.

    def totals(self) -> Totals:
        """Return the cumulative counts of this moment."""
        now = map(int.__add__, self._retired, _sums(self.live.values()))
        frames_in, frames_out, reads, writes, bytes_in, bytes_out, datagrams_in, datagrams_out = now
        serves = self.role == "server"
        return Totals(
            requests=frames_in if serves else frames_out,
            responses=frames_out if serves else frames_in,
            timeouts=self.timeouts,
            errors=self.errors,
            reads=reads,
            writes=writes,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            connections_opened=self.opened,
            connections_closed=self.opened - len(self.live),
            connections_refused=self.refused,
            connections_reset=self.reset,
            connections_timed_out=self.connect_timeouts,
            connections_failed=self.connect_failures,
            connections_rejected=self.rejected,
            datagrams_sent=datagrams_out,
            datagrams_received=datagrams_in,
            datagrams_lost=self.lost,
            datagrams_late=self.late,
            datagrams_reordered=self.reordered,
            datagrams_duplicated=self.duplicated,
        )

    def records(self) -> Iterator[ConnectionRecord]:
        """Yield the live connections and then the closed ones that are remembered, newest first."""
        yield from self.live.values()
        yield from reversed(self.closed)


def _sums(records: Iterable[ConnectionRecord]) -> list[int]:
    """Return frames, calls and bytes (in, out each), and datagrams (in, out), summed over ``records``."""
    frames_in = frames_out = reads = writes = bytes_in = bytes_out = datagrams_in = datagrams_out = 0
    for r in records:
        # Written out instead of using the record's properties: with 10,000 connections it runs 20,000
        # times per snapshot, on the loop that it observes.
        plain_in = r.frames_in - r.in_mark
        plain_out = r.frames_out - r.out_mark
        frames_in += r.frames_in
        frames_out += r.frames_out
        calls_in = r.in_calls + plain_in
        calls_out = r.out_calls + plain_out
        reads += calls_in
        writes += calls_out
        bytes_in += r.in_bytes + plain_in * r.in_same
        bytes_out += r.out_bytes + plain_out * r.out_same
        if r.transport == "udp":
            datagrams_in += calls_in
            datagrams_out += calls_out
    return [frames_in, frames_out, reads, writes, bytes_in, bytes_out, datagrams_in, datagrams_out]


def _round_trip_function(
    histogram: Histogram, ring: Ring[RoundTrip]
) -> Callable[[int, int, ConnectionRecord, Clip, Clip], None]:
    counts = histogram.counts
    slots = ring.slots
    capacity = ring.capacity

    def on_round_trip(
        sent_ns: int, answered_ns: int, record: ConnectionRecord, request: Clip, response: Clip
    ) -> None:
        """Count one answered request and keep its bytes. The connection's frame counters are not touched."""
        took = answered_ns - sent_ns
        shift = (took | SUB_BUCKETS).bit_length() - 7
        counts[(shift << 6) + (took >> shift)] += 1
        number = ring.count
        slots[number % capacity] = (sent_ns, answered_ns, record, record.frames_out, request, response, "ok")
        ring.count = number + 1

    return on_round_trip


def _answer_function(ring: Ring[Answered]) -> Callable[[int, int, ConnectionRecord, Clip], None]:
    slots = ring.slots
    capacity = ring.capacity

    def on_answer(read_ns: int, answered_ns: int, record: ConnectionRecord, request: Clip) -> None:
        """Keep the bytes of one request that was answered."""
        number = ring.count
        slots[number % capacity] = (read_ns, answered_ns, record, record.frames_out, request)
        ring.count = number + 1

    return on_answer
