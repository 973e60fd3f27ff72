"""The only object that a protocol writes to.

One recorder belongs to one role. What is frequent, an exchange, is one call of ``on_exchange``, which
extends a list and returns: the list is folded into the histogram and the capture ring twenty times a
second, in bulk. Rare things (open, close, error) are ordinary methods. A connection's
counters live in its :class:`ConnectionRecord`.

A recorder belongs to the loop of its role. What threads may call is ``on_exchange`` (one extension of a list
is one step for other threads), ``new_record``, and ``post``, which has anything else called by the loop;
:class:`sockscope.engine.threads.ThreadRecorder` wraps these up. Whoever reads a recorder folds it first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, count, islice
from operator import add, attrgetter, mul, sub
from time import perf_counter
from typing import Any, NamedTuple

from sockscope.core.addresses import Address, format_address
from sockscope.core.censoring import Ages
from sockscope.core.connection import ConnectionRecord, ConnectionState, Tally
from sockscope.core.events import CloseReason, Event, EventKind
from sockscope.core.histogram import Histogram
from sockscope.core.ring import Ring, RingPage
from sockscope.core.run.snapshot import Payload, Totals
from sockscope.engine.role import Share
from sockscope.engine.stopwatch import Stopwatch

CAPTURES = 10_000
"""Exchanges that are kept."""
CAPTURE_BYTES = 256
"""First bytes of a payload that are kept."""
EVENTS = 10_000
"""Lines of the log that are kept."""
CLOSED_CONNECTIONS = 1_000
"""Closed connections that are remembered."""

FOLD_S = 0.05
"""How often exchanges are folded into histogram and ring: often enough to stay below a millisecond each
time, and not so often that the code and the memory of it are cold every time."""

LEAST_GAP_S = 0.005
"""A shorter time without an answer is not looked at."""

Clip = bytes | Payload
"""Captured bytes: as they are when they are few and came in one read, else a Payload."""


class Unfinished(NamedTuple):
    """What came instead of a whole answer: the word for it (``timeout``), and the bytes if there were any."""

    outcome: str
    came: Clip = b""


Exchanged = tuple[float, float, ConnectionRecord, Clip, Clip | Unfinished]
"""One exchange: begin, end, connection, request, and the answer or the word for what came instead
(``timeout``). A client's exchange begins when the request is written and ends when the answer is read (0 =
never); a server's begins when the request is read and ends when it is answered. Seconds on
``time.perf_counter``."""
_COLUMNS = 5
_EXCHANGES = attrgetter("exchanges")
_SINCE = attrgetter("same_since")
_ODD_COUNTERS = ("frames_in", "frames_out", "reads", "writes", "bytes_in", "bytes_out")
_ODD = [attrgetter(f"odd_{name}") for name in _ODD_COUNTERS]


def clip(data: bytes, reads: tuple[int, ...] = (), merged: bool = False) -> Clip:
    """Return what the capture keeps of ``data``."""
    if len(data) <= CAPTURE_BYTES and not (reads or merged):
        return data
    kept = tuple(r for r in reads if r < CAPTURE_BYTES)
    return Payload(data[:CAPTURE_BYTES], len(data), kept, len(reads) + 1, merged)


def real_length(kept: Clip) -> int:
    """Return how many bytes there were of what was captured."""
    return len(kept) if isinstance(kept, bytes) else kept.real_length


def payload_of(kept: Clip) -> Payload:
    """Return a capture's bytes with their real length."""
    return kept if isinstance(kept, Payload) else Payload(kept, len(kept))


class CaptureRing:
    """The last exchanges, numbered like the items of a :class:`Ring`.

    They are kept in the batches in which they were folded, as flat lists, and leave by whole batches: at
    least ``capacity`` of them are here.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._batches: deque[_Batch] = deque()
        self.first = 0
        self.count = 0

    def extend(self, flat: list[Any]) -> None:
        """Store exchanges given as a list of five items each, which is the ring's from then on."""
        self._batches.append(_Batch(self.count, flat))
        self.count += len(flat) // _COLUMNS
        while self.count - self._batches[0].end >= self._capacity:
            self._batches.popleft()

    def begin_at(self, number: int) -> None:
        """Give the first exchange this number, before there is one."""
        self.first = self.count = number

    @property
    def oldest(self) -> int:
        """Number of the oldest exchange that is still here."""
        return self._batches[0].first if self._batches else self.count

    @property
    def recorded(self) -> int:
        """How many exchanges were stored here so far."""
        return self.count - self.first

    @property
    def overwritten(self) -> int:
        """How many of them are no longer here."""
        return self.oldest - self.first

    def get(self, number: int) -> Exchanged | None:
        """Return the exchange with this number, or None when it is gone or not there yet."""
        for batch in self._batches:
            if batch.first <= number < batch.end:
                return batch.exchange(number - batch.first)
        return None

    def since(self, cursor: int, most: int | None = None) -> RingPage[Exchanged]:
        """Return the exchanges from number ``cursor`` on, at most the newest ``most`` of them."""
        wanted = max(0, self.count - max(cursor, self.oldest))
        if most is not None:
            wanted = min(wanted, most)
        items = list(islice(self.newest_first(), wanted))
        items.reverse()
        return RingPage(items, max(0, self.count - wanted - cursor), self.count)

    def newest_first(self) -> Iterator[Exchanged]:
        """Yield everything that is here, the newest first."""
        for batch in reversed(self._batches):
            for index in reversed(range(batch.end - batch.first)):
                yield batch.exchange(index)

    def copy(self) -> CaptureRing:
        """Return a ring that later exchanges do not change."""
        twin = CaptureRing(self._capacity)
        twin._batches, twin.count, twin.first = self._batches.copy(), self.count, self.first
        return twin


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Exchanges that were folded together, five items each; ``first`` is the number of the first."""

    first: int
    flat: list[Any]

    @property
    def end(self) -> int:
        """Number of the exchange behind the last."""
        return self.first + len(self.flat) // _COLUMNS

    def exchange(self, index: int) -> Exchanged:
        """Return one exchange by its place in the batch."""
        begin_s, end_s, record, request, answer = self.flat[index * _COLUMNS : (index + 1) * _COLUMNS]
        return begin_s, end_s, record, request, answer


class Recorder:
    """Counters, histogram, captures and log of one role (``server`` or ``swarm``)."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.live: dict[int, ConnectionRecord] = {}
        self.closed: deque[ConnectionRecord] = deque(maxlen=CLOSED_CONNECTIONS)
        self.events: Ring[Event] = Ring(EVENTS)
        self.exchanges = CaptureRing(CAPTURES)
        self.service_time = Histogram()
        self.unanswered = Ages()
        self.gaps = Histogram()
        self.connected = Stopwatch()
        self.last_answer_s = 0.0
        # Flat, five items per exchange: a list of tuples would be garbage to collect, thousands at a time.
        self._journal: list[Any] = []
        self.on_exchange: Callable[[Exchanged], None] = self._journal.extend
        self._fold_timer: asyncio.TimerHandle | None = None
        self.timeouts = 0
        self.errors = 0
        self.unexpected = 0
        self.torn = 0
        self.merged = 0
        self.unused_bytes = 0
        """Bytes that a client has read and that belong to no whole answer so far."""
        self.opened = 0
        self.refused = 0
        self.reset = 0
        self.connect_timeouts = 0
        self.connect_failures = 0
        self.rejected = 0
        self.late = 0
        self.lost = 0
        self.dropped = 0
        self.reordered = 0
        self.duplicated = 0
        self.accept_stops = 0
        self.counts_frames = True
        """Whether requests and responses are counted; else nothing tells them apart in the bytes."""
        self._retired = _sums(())
        self._tally = Tally()
        self._still: _StillSums | None = None
        self._conn_ids = count(1)
        self.last_conn_id = 0
        """The highest number that a registered connection has."""
        self._posted: deque[Callable[[], object]] = deque()

    # Exchanges.

    def number_as(self, share: Share) -> None:
        """Number connections and exchanges as ``share`` says, before there are any."""
        self._conn_ids = count(share.first_conn_id, share.of)
        self.last_conn_id = share.first_conn_id - share.of
        self.exchanges.begin_at(share.first_record)

    def start(self) -> None:
        """Begin to fold exchanges on the running loop."""
        loop = asyncio.get_running_loop()

        def fold_again() -> None:
            self.fold()
            self._fold_timer = loop.call_later(FOLD_S, fold_again)

        fold_again()

    def stop(self) -> None:
        """End the folding; what is recorded afterwards is folded by the next reader."""
        if self._fold_timer is not None:
            self._fold_timer.cancel()
            self._fold_timer = None

    def fold(self) -> None:
        """Do what threads have posted; move exchanges into the histogram (of a client) and the ring."""
        while self._posted:
            self._posted.popleft()()
        flat = self._journal.copy()
        if not flat:
            return
        # Not all of it: threads may have added to it since.
        del self._journal[: len(flat)]
        if self.role == "swarm":
            ends = flat[1::_COLUMNS]
            self.service_time.add_all(map(sub, ends, flat[0::_COLUMNS]))
            self._note_gap(ends, flat)
            self.last_answer_s = ends[-1]
        self.exchanges.extend(flat)

    def _note_gap(self, ends: list[float], flat: list[Any]) -> None:
        """Count the longest time without an answer before these, as far as one of them was awaited."""
        before = [self.last_answer_s or ends[0], *ends]
        if max(map(sub, ends, before)) >= LEAST_GAP_S:
            # From an answer on, the oldest request that it or a later one answers was awaited.
            oldest = [*accumulate(flat[-_COLUMNS::-_COLUMNS], min)]
            self.gaps.add(max(map(sub, ends, map(max, before, reversed(oldest)))))

    def post(self, call: Callable[[], object]) -> None:
        """Have ``call`` called by the loop, in the order of posting, when it folds next. For threads."""
        self._posted.append(call)

    def on_unanswered(
        self,
        sent_s: float,
        record: ConnectionRecord,
        request: Clip,
        instead: Unfinished,
        timeout_s: float | None = None,
    ) -> None:
        """Keep the bytes and the age of a client's request that got no answer; a timeout's is the timeout."""
        self.fold()
        if timeout_s is None:
            self.unanswered.add(perf_counter() - sent_s)
        else:
            self.unanswered.add_exactly(timeout_s)
        self.exchanges.extend([sent_s, 0.0, record, request, instead])

    # Rare: connections and the log.

    def on_open(
        self, transport: str, local: Address, remote: Address, generation: int, text: str = ""
    ) -> ConnectionRecord:
        """Register a connection and give it its number."""
        record = self.new_record(transport, local, remote, generation)
        self.register(record, text)
        return record

    def new_record(
        self, transport: str, local: Address, remote: Address, generation: int
    ) -> ConnectionRecord:
        """Return a numbered record of a connection, for :meth:`register`. Threads may call this."""
        number = next(self._conn_ids)
        record = ConnectionRecord(number, transport, local, remote, perf_counter(), self._tally)
        record.generation = generation
        return record

    def register(self, record: ConnectionRecord, text: str = "") -> None:
        """Add a connection to the live ones, and count and log it."""
        self.live[record.conn_id] = record
        self._tally.changed = True
        self.last_conn_id = max(self.last_conn_id, record.conn_id)
        self.opened += 1
        self.connected.begin(record.opened_s)
        self._log(EventKind.OPEN, record, text=text, time_s=record.opened_s)

    def on_close(
        self, record: ConnectionRecord, reason: CloseReason, text: str = "", time_s: float | None = None
    ) -> None:
        """Record the end of a connection (at ``time_s``); a second call does nothing."""
        if self.live.pop(record.conn_id, None) is None:
            return
        self._tally.changed = True
        record.state = ConnectionState.CLOSED
        record.closed_s = perf_counter() if time_s is None else time_s
        self.connected.end(record.opened_s, record.closed_s)
        record.close_reason = reason
        record.close_text = text
        if reason is CloseReason.RESET:
            self.reset += 1
        self._retired = [*map(int.__add__, self._retired, _sums((record,)))]
        self.closed.append(record)
        self._log(EventKind.CLOSE, record, reason, text, record.closed_s)

    def on_error(self, text: str, record: ConnectionRecord | None = None, address: str = "",
                 reason: CloseReason | None = None, time_s: float | None = None) -> None:  # fmt: skip
        """Write a fault into the log; the caller counts it."""
        if record is not None:
            self._log(EventKind.ERROR, record, reason, text, time_s)
        else:
            now_s = perf_counter() if time_s is None else time_s
            self.events.append(
                Event(now_s, EventKind.ERROR, self.role, address=address, reason=reason, text=text)
            )

    def stops_accepting(self, why: str, time_s: float | None = None) -> None:
        """Count and log that the server accepts nobody until it has room again."""
        self.accept_stops += 1
        self.on_error(f"accepting stopped: {why}", reason=CloseReason.LIMIT, time_s=time_s)

    def accepts_again(self, time_s: float | None = None) -> None:
        """Log that the server accepts again."""
        self.on_error("accepting again", time_s=time_s)

    def count(self, counter: str, by: int = 1) -> None:
        """Add to one of the counters by its name (``rejected``)."""
        setattr(self, counter, getattr(self, counter) + by)

    def _log(self, kind: EventKind, record: ConnectionRecord, reason: CloseReason | None = None,
             text: str = "", time_s: float | None = None) -> None:  # fmt: skip
        self.events.append(
            Event(
                perf_counter() if time_s is None else time_s,
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
        now = map(int.__add__, self._retired, self._live_sums())
        frames_in, frames_out, reads, writes, bytes_in, bytes_out, datagrams_in, datagrams_out = now
        serves = self.role == "server"
        return Totals(
            requests=frames_in if serves else frames_out,
            responses=frames_out if serves else frames_in,
            timeouts=self.timeouts,
            errors=self.errors,
            unexpected=self.unexpected,
            reads=reads,
            writes=writes,
            messages_torn=self.torn,
            reads_merged=self.merged,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            response_bytes=bytes_out if serves else bytes_in - self.unused_bytes,
            connections_opened=self.opened,
            connections_closed=self.opened - len(self.live),
            connections_refused=self.refused,
            connections_reset=self.reset,
            connections_timed_out=self.connect_timeouts,
            connections_failed=self.connect_failures,
            connections_rejected=self.rejected,
            accept_stops=self.accept_stops,
            datagrams_sent=datagrams_out,
            datagrams_received=datagrams_in,
            datagrams_lost=self.lost,
            datagrams_late=self.late,
            datagrams_reordered=self.reordered,
            datagrams_duplicated=self.duplicated,
        )

    def _live_sums(self) -> list[int]:
        """Return the sums over the live connections; next to nothing while only whole exchanges come."""
        if self._tally.changed:
            # Before the sums are taken: a thread that counts meanwhile says so again.
            self._tally.changed = False
            self._still = None
            return _sums(self.live.values())
        if self._still is None:
            self._still = _StillSums(list(self.live.values()))
        return self._still.now()

    def records(self) -> Iterator[ConnectionRecord]:
        """Yield the live connections and then the closed ones that are remembered, newest first."""
        yield from self.live.values()
        yield from reversed(self.closed)


class _StillSums:
    """The sums over connections of which nothing changes but the number of their whole exchanges.

    With thousands of connections on the loop that is observed, a few operations of the interpreter on all of
    them take a fifth of the time of looking at every counter of each.
    """

    def __init__(self, records: list[ConnectionRecord]) -> None:
        self._records = records
        self._size_of = _factor([record.same_bytes for record in records])
        self._datagrams_of = _factor([int(record.transport == "udp") for record in records])
        columns = [list(map(get, records)) for get in _ODD]
        since = self._size_of(list(map(_SINCE, records)))
        frames_in, frames_out, reads, writes, bytes_in, bytes_out = map(sum, columns)
        datagrams_in, datagrams_out = self._datagrams_of(columns[2]), self._datagrams_of(columns[3])
        # Not from the exchanges, of which threads make more meanwhile.
        self._rest = [frames_in, frames_out, reads, writes, bytes_in - since, bytes_out - since,
                      datagrams_in, datagrams_out]  # fmt: skip

    def now(self) -> list[int]:
        """Return what :func:`_sums` would."""
        return list(map(add, self._rest, self._of_exchanges()))

    def _of_exchanges(self) -> list[int]:
        """Return the part of the sums that the whole exchanges of each connection make up."""
        exchanges = list(map(_EXCHANGES, self._records))
        count, size, datagrams = sum(exchanges), self._size_of(exchanges), self._datagrams_of(exchanges)
        return [count, count, count, count, size, size, datagrams, datagrams]


def _factor(factors: list[int]) -> Callable[[list[int]], int]:
    """Return what multiplies a list of as many numbers by ``factors`` and adds them up."""
    if len(set(factors)) == 1:  # as a rule all clients ask for the same
        (factor,) = set(factors)
        return lambda numbers: factor * sum(numbers)
    return lambda numbers: sum(map(mul, numbers, factors))


def _sums(records: Iterable[ConnectionRecord]) -> list[int]:
    """Return frames, calls and bytes (in, out each), and datagrams (in, out), summed over ``records``."""
    frames_in = frames_out = reads = writes = bytes_in = bytes_out = datagrams_in = datagrams_out = 0
    for r in records:
        # Written out instead of using the record's properties: with 10,000 connections it runs 20,000
        # times per snapshot, on the loop that it observes.
        exchanges = r.exchanges
        same = (exchanges - r.same_since) * r.same_bytes
        frames_in += exchanges + r.odd_frames_in
        frames_out += exchanges + r.odd_frames_out
        reads += exchanges + r.odd_reads
        writes += exchanges + r.odd_writes
        bytes_in += same + r.odd_bytes_in
        bytes_out += same + r.odd_bytes_out
        if r.transport == "udp":
            datagrams_in += exchanges + r.odd_reads
            datagrams_out += exchanges + r.odd_writes
    return [frames_in, frames_out, reads, writes, bytes_in, bytes_out, datagrams_in, datagrams_out]
