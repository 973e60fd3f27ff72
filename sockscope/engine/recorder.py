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
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, count
from operator import add, sub
from time import perf_counter
from typing import Any

from sockscope.core.addresses import Address, format_address
from sockscope.core.censoring import Ages
from sockscope.core.connection import ConnectionRecord, ConnectionState, Tally
from sockscope.core.events import CloseReason, Event, EventKind
from sockscope.core.histogram import Histogram
from sockscope.core.ring import Ring
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.snapshot import Totals
from sockscope.core.wire.jitter import jitter_after
from sockscope.engine.captures import CAPTURES, COLUMNS, CaptureRing, Clip, Exchanged, Unfinished
from sockscope.engine.role import Share
from sockscope.engine.stopwatch import Stopwatch
from sockscope.engine.sums import StillSums, sums_of

EVENTS = 10_000
"""Lines of the log that are kept."""
CLOSED_CONNECTIONS = 1_000
"""Closed connections that are remembered."""

FOLD_S = 0.05
"""How often exchanges are folded into histogram and ring: often enough to stay below a millisecond each
time, and not so often that the code and the memory of it are cold every time."""
PACED_AT_ONCE, SHORTEST_FOLD_S = 250, 0.01
"""So many requests of an open loop are folded together at most, as far as that takes no shorter time: those
that are due meanwhile are late by half a millisecond then."""
IDLE_FOLD_S = 0.25
"""The same while nobody asks and nothing came: each wakes up a process that has nothing else to do."""

MOST_JITTERS = 128
"""Answers of each fold that jitter is taken of: one costs about half a microsecond."""
LEAST_GAP_S = 0.005
"""A shorter time without an answer is not looked at."""
GAP_STEP = 16
"""Answers that are first looked at together for such a time."""


class Recorder:
    """Counters, histogram, captures and log of one role (``server``, ``relay`` or ``swarm``)."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.live: dict[int, ConnectionRecord] = {}
        self.closed: deque[ConnectionRecord] = deque(maxlen=CLOSED_CONNECTIONS)
        self.events: Ring[Event] = Ring(EVENTS)
        self.exchanges = CaptureRing(CAPTURES)
        self.service_time = Histogram()
        self.unanswered = Ages()
        self.response_unanswered = Ages()
        self.gaps = Histogram()
        self.connected = Stopwatch()
        self.unwritable = Stopwatch()
        self.last_answer_s = 0.0
        self.last_unanswered_s = 0.0
        """When a request was given up last; monotonic, 0 = never."""
        # When the oldest of those was sent that were given up since the last answer.
        self._failing_since_s = math.inf
        # Flat, five items per exchange: a list of tuples would be garbage to collect, thousands at a time.
        self._journal: list[Any] = []
        self.on_exchange: Callable[[Exchanged], None] = self._journal.extend
        # Of the answered requests those that had waited before they went out, flat: when they were sent and
        # answered, and how long they had waited. Often there are none, so this is no column of the journal.
        self._waits: list[float] = []
        self.on_waited: Callable[[tuple[float, float, float]], None] = self._waits.extend
        self.schedule_lateness = Histogram()
        self._late: list[float] = []
        self.on_late: Callable[[Iterable[float]], None] = self._late.extend
        """Called with how late each request was that an open loop has sent, queued or dropped, in seconds."""
        self.on_late_by: Callable[[float], None] = self._late.append
        """The same for one, which is what a relay adds to what it passes on."""
        self._served_after_wait = Histogram()
        self._answered_after_wait = Histogram()
        self._fold_timer: asyncio.TimerHandle | None = None
        self._fold_s = FOLD_S
        self._idle = False
        self.timeouts = 0
        self.errors = 0
        self.answers_rejected = 0
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
        self.connects_without_port = 0
        self.listen_drops = 0
        """Connections that listeners had dropped which are closed by now."""
        self.rejected = 0
        self.truncated = 0
        self.handshakes = 0
        self.handshakes_failed = 0
        self.sessions_reused = 0
        self.handshake_time = Histogram()
        self.jitter = Histogram()
        """The jitter of the answers' connections, one for each answer over UDP that was looked at."""
        self.tls = ""
        """What the last TLS handshake agreed on."""
        self.late = 0
        self.held = 0
        self.lost = 0
        self.dropped = 0
        """Datagrams for which our own sockets had no room."""
        self.declined = 0
        """Datagrams that a server has read and serves nobody with."""
        self.unsent = 0
        """Datagrams that the kernel did not take, for the send buffer was full."""
        self.abandoned = 0
        """Requests over UDP whose socket was closed before an answer came."""
        self.unread = 0
        """Datagrams that came to a socket and were not read before it was given up."""
        self.reordered = 0
        self.duplicated = 0
        self.accept_stops = 0
        self.counts_frames = True
        """Whether requests and responses are counted; else nothing tells them apart in the bytes."""
        self._retired = sums_of(())
        self._tally = Tally()
        self._still: StillSums | None = None
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
        self._fold_again(asyncio.get_running_loop())

    def _fold_again(self, loop: asyncio.AbstractEventLoop) -> None:
        idle = self._idle and not (self._journal or self._posted)
        if paced := len(self._late):
            self._fold_s = min(max(self._fold_s * PACED_AT_ONCE / paced, SHORTEST_FOLD_S), FOLD_S)
        self.fold()
        next_s = IDLE_FOLD_S if idle else self._fold_s if paced else FOLD_S
        self._fold_timer = loop.call_later(next_s, self._fold_again, loop)

    def idle(self, idle: bool) -> None:
        """Fold less often, as nobody is asking, or as often as ever."""
        self._idle = idle
        if not idle and self._fold_timer is not None:
            self.stop()
            self.start()

    def stop(self) -> None:
        """End the folding; what is recorded afterwards is folded by the next reader."""
        if self._fold_timer is not None:
            self._fold_timer.cancel()
            self._fold_timer = None

    def fold(self) -> None:
        """Do what threads have posted; move exchanges into the histogram (of a client) and the ring."""
        while self._posted:
            self._posted.popleft()()
        if self._waits:
            self._fold_waits()
        if self._late:
            self.schedule_lateness.add_all(self._late)
            self._late.clear()
        flat = self._journal.copy()
        if not flat:
            return
        # Not all of it: threads may have added to it since.
        del self._journal[: len(flat)]
        if self.role != SERVER:
            ends = flat[1::COLUMNS]
            self.service_time.add_all(map(sub, ends, flat[0::COLUMNS]))
            self._note_gap(ends, flat)
            self._note_failing(ends[0], flat)
            self.last_answer_s = ends[-1]
            if flat[2].transport == "udp":
                self._note_jitter(flat[: COLUMNS * MOST_JITTERS])
        self.exchanges.extend(flat)

    def _fold_waits(self) -> None:
        waits = self._waits.copy()
        self._waits.clear()
        services = [*map(sub, waits[1::3], waits[0::3])]
        self._served_after_wait.add_all(services)
        self._answered_after_wait.add_all(map(add, services, waits[2::3]))

    def response_time(self) -> Histogram:
        """Return the service times, each with what its request had waited before it went out."""
        if not self._served_after_wait.counts:
            return self.service_time.copy()
        return self.service_time - self._served_after_wait + self._answered_after_wait

    def _note_jitter(self, flat: list[Any]) -> None:
        """Bring the jitter of connections up to date."""
        found: list[float] = []
        for begin_s, end_s, record in zip(flat[0::COLUMNS], flat[1::COLUMNS], flat[2::COLUMNS], strict=True):
            before_s, record.transit_s = record.transit_s, end_s - begin_s
            if before_s is not None:
                record.jitter_s = jitter_after(record.jitter_s or 0.0, before_s, record.transit_s)
                found.append(record.jitter_s)
        self.jitter.add_all(found)

    def _note_gap(self, ends: list[float], flat: list[Any]) -> None:
        """Count the longest time without an answer before these, as far as one of them was awaited."""
        first_s = self.last_answer_s or ends[0]
        # As a rule so many answers come in less time than a gap lasts, and none needs to be looked at alone.
        steps = [first_s, *ends[::GAP_STEP], ends[-1]]
        if max(map(sub, steps[1:], steps)) < LEAST_GAP_S:
            return
        before = [first_s, *ends]
        if max(map(sub, ends, before)) >= LEAST_GAP_S:
            # From an answer on, the oldest request that it or a later one answers was awaited.
            oldest = [*accumulate(flat[-COLUMNS::-COLUMNS], min)]
            self.gaps.add(max(map(sub, ends, map(max, before, reversed(oldest)))))

    def _note_failing(self, answered_s: float, flat: list[Any]) -> None:
        """Count the time before this answer if something was given up in it.

        Time after that in which nobody asked is left out.
        """
        silent_s = self.last_unanswered_s - max(self.last_answer_s, self._failing_since_s)
        if self.last_answer_s and silent_s >= LEAST_GAP_S:
            since_s = max(min(flat[0::COLUMNS]), self.last_unanswered_s)
            self.gaps.add(silent_s + max(answered_s - since_s, 0.0))
        self._failing_since_s = math.inf

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
        read_s: float = 0.0,
        waited_s: float = 0.0,
    ) -> None:
        """Keep the bytes and the age of a client's request that got no answer; a timeout's is the timeout.

        ``read_s`` is when something whole came instead; 0 = never. ``waited_s`` is how long it had waited
        before it was sent.
        """
        self.fold()
        self.last_unanswered_s = now_s = perf_counter()
        self._failing_since_s = min(self._failing_since_s, sent_s)
        if timeout_s is None:
            self.unanswered.add(now_s - sent_s)
        else:
            self.unanswered.add_exactly(timeout_s)
        if timeout_s is None or waited_s:
            self.response_unanswered.add((now_s - sent_s if timeout_s is None else timeout_s) + waited_s)
        else:
            self.response_unanswered.add_exactly(timeout_s)
        self.exchanges.extend([sent_s, read_s, record, request, instead])

    def on_rejected(
        self,
        sent_s: float,
        now_s: float,
        record: ConnectionRecord,
        request: Clip,
        answer: Clip,
        waited_s: float = 0.0,
    ) -> None:
        """Count and keep a client's request whose answer, read now, is none that was to be accepted."""
        self.errors += 1
        self.answers_rejected += 1
        instead = Unfinished("rejected", answer)
        self.on_unanswered(sent_s, record, request, instead, read_s=now_s, waited_s=waited_s)

    def on_prologue(self, begin_s: float, record: ConnectionRecord, said: Clip, answer: Unfinished) -> None:
        """Keep what was said before the first request, which counts as none."""
        self.fold()
        self.exchanges.extend([begin_s, perf_counter(), record, said, answer])

    def count_no_frames(self) -> None:
        """Say that requests and responses are not counted, as nothing tells them apart. For threads, too."""
        self.counts_frames = False

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

    def on_paused(self, record: ConnectionRecord) -> None:
        """Note that a peer does not read what is written to it: writing waits."""
        record.state = ConnectionState.PAUSED
        self.count_paused(record, perf_counter())

    def on_resumed(self, record: ConnectionRecord) -> None:
        """Note that it reads again."""
        record.state = ConnectionState.OPEN
        self.count_resumed(record, perf_counter())

    def count_paused(self, record: ConnectionRecord, now_s: float) -> None:
        """Count the time from now on in which a connection waits for its peer to read."""
        if record.unwritable_since_s is None:
            record.unwritable_since_s = self.unwritable.begin(now_s)

    def count_resumed(self, record: ConnectionRecord, now_s: float) -> None:
        """End that count, if there is one."""
        if record.unwritable_since_s is not None:
            self.unwritable.end(record.unwritable_since_s, now_s)
            record.unwritable_since_s = None

    def on_handshake(self, seconds: float, agreed: str, *, reused: bool) -> None:
        """Count a TLS handshake that took so long, what it has agreed on, and whether on an old session."""
        self.handshakes += 1
        self.sessions_reused += reused
        self.handshake_time.add(seconds)
        self.tls = agreed

    def on_handshake_failed(self, why: str, address: str) -> None:
        """Count and log a TLS handshake of a server that came to nothing."""
        self.handshakes_failed += 1
        self.on_error(why, address=address, reason=CloseReason.TLS)

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
        self.count_resumed(record, record.closed_s)
        record.close_reason = reason
        record.close_text = text
        if reason is CloseReason.RESET:
            self.reset += 1
        self._retired = [*map(int.__add__, self._retired, sums_of((record,)))]
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
        now_s = perf_counter() if time_s is None else time_s
        self.events.append(Event(now_s, EventKind.RUN, self.role, text="accepting again"))

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
        serves = self.role != SWARM
        return Totals(
            requests=frames_in if serves else frames_out,
            responses=frames_out if serves else frames_in,
            timeouts=self.timeouts,
            errors=self.errors,
            answers_rejected=self.answers_rejected,
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
            connects_without_port=self.connects_without_port,
            connections_rejected=self.rejected,
            connections_truncated=self.truncated,
            handshakes=self.handshakes,
            handshakes_failed=self.handshakes_failed,
            sessions_reused=self.sessions_reused,
            accept_stops=self.accept_stops,
            datagrams_sent=datagrams_out,
            datagrams_received=datagrams_in + self.declined,
            datagrams_lost=self.lost,
            datagrams_late=self.late,
            datagrams_held=self.held,
            datagrams_reordered=self.reordered,
            datagrams_duplicated=self.duplicated,
            datagrams_unsent=self.unsent,
            datagrams_dropped=self.dropped,
            datagrams_unread=self.unread,
        )

    def _live_sums(self) -> list[int]:
        """Return the sums over the live connections; next to nothing while only whole exchanges come."""
        if self._tally.changed:
            # Before the sums are taken: a thread that counts meanwhile says so again.
            self._tally.changed = False
            self._still = None
            return sums_of(self.live.values())
        if self._still is None:
            self._still = StillSums(list(self.live.values()))
        return self._still.now()

    def records(self) -> Iterator[ConnectionRecord]:
        """Yield the live connections and then the closed ones that are remembered, newest first."""
        yield from self.live.values()
        yield from reversed(self.closed)
