"""UDP links: a connected socket, requests that are numbered.

A datagram answers a request under way, of which there may be several and in whatever order, or is late (its
request had timed out), or a duplicate. The ``selector`` client has its socket in the swarm's readiness set,
the ``protocol`` client is a reader of the event loop.
"""

from __future__ import annotations

import math
import socket
from collections import deque
from functools import partial
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.core.wire.sequence import SEQUENCE_BYTES, WINDOW, number_of
from sockscope.engine.addresses import both_ends, family_of, socket_address
from sockscope.engine.captures import CAPTURE_BYTES, clip
from sockscope.engine.options import (
    MAX_DATAGRAM_BYTES,
    buffer_options,
    receive_buffer,
    set_buffers,
    take_unread,
)
from sockscope.engine.os_errors import close_reason, close_socket, describe, has_no_room
from sockscope.engine.segments import can_join, runs, send_joined
from sockscope.engine.swarm.links.link import Link
from sockscope.engine.swarm.readiness import EVENTS_PER_TURN, READ
from sockscope.engine.unix_sockets import bind_anywhere, remove_temporary

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

MOST_UNDER_WAY = 1_024
"""Requests of an open loop that are under way on a socket at a time, where the depth does not say."""
REMEMBERED = 4 * WINDOW
"""How many requests without an answer a client remembers, to know a late answer."""


class UdpLink(Link):
    """A link over UDP; what watches its socket is the model's affair."""

    __slots__ = (
        "_dropped", "_dropped_before", "_file", "_former_tail", "_held", "_highest", "_id_field", "_is_unix",
        "_joins", "_number", "_numbers", "_own", "_read_size", "_recv", "_socket", "_tail", "_transmit",
        "_unanswered", "undecided",
    )  # fmt: skip

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._socket: socket.socket | None = None
        # The path of the socket, where that is a file.
        self._file = ""
        self._is_unix = False
        # The datagrams that wait until there is room for them at the receiver, the oldest first.
        self._held: deque[bytes] = deque()
        self._tail = b""
        # What followed the number before it was changed: answers to such requests may be late.
        self._former_tail: bytes | None = None
        dialogue = swarm.dialogue
        self._id_field = dialogue.id_field
        self._own = dialogue.requests is not None
        # Whether the socket is given up in a moment, for nobody listens.
        self._dropped = False
        # What the kernel had dropped at the socket when it was looked at last.
        self._dropped_before = 0
        self._number = 0
        # With a depth above 1: the numbers of the requests in the pipeline, the oldest first, and the highest
        # that was answered.
        self._numbers: deque[int] = deque()
        self._highest = 0
        # Whether several datagrams go out with one call.
        self._joins = False
        self._read_size = 1
        # Given up, and not answered later, so far; True of those that are called lost.
        self._unanswered: dict[int, bool] = {}
        self.undecided: deque[tuple[float, int]] = deque()
        """When which request was given up; it may be answered late."""

    def watch(self, sock: socket.socket) -> None:
        """Have :meth:`_readable` called when there is something to read; raises OSError."""
        raise NotImplementedError

    def unwatch(self, sock: socket.socket) -> None:
        """Have it called no longer, and close the socket; the client's ``lost`` follows."""
        raise NotImplementedError

    def connect(self, target: Address) -> None:
        """Make a socket that talks to ``target`` alone."""
        try:
            sock = socket.socket(family_of(target[0]), socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                set_buffers(sock, self._swarm.tuning)
                if sock.family is socket.AF_UNIX:
                    self._file = bind_anywhere(sock)  # answers go to a name
                sock.connect(socket_address(target))
                local, remote = both_ends(sock)
                self.watch(sock)
            except BaseException:
                sock.close()
                remove_temporary(self._file)
                raise
        except OSError as error:
            self._client.connect_failed(error)
            return
        self._socket = sock
        self._recv = sock.recv
        self._is_unix = sock.family is socket.AF_UNIX
        self._transmit = self._send_in_turn if self._is_unix else sock.send
        self._dropped = False
        self._dropped_before = 0
        self._number = self._highest = 0
        self._joins = can_join(sock)
        self._read_size = 1
        self._unanswered.clear()
        self._client.connected("udp", local, remote)

    def give_up_connecting(self) -> None:
        """Nothing to do: to connect a UDP socket takes no time."""

    @property
    def most_under_way(self) -> int:
        """How many requests the socket has room for at the same time: as many as their numbers tell apart."""
        depth = self._swarm.tuning.depth
        if depth > 1:
            return depth
        if self._id_field is not None:
            return min(self._id_field.most // 2, MOST_UNDER_WAY)
        return 1 if self._own else MOST_UNDER_WAY

    def prepare(self, payload: bytes) -> None:
        """Keep what follows the number in each request."""
        tail = payload[SEQUENCE_BYTES:]
        if tail != self._tail:
            self._former_tail, self._tail = self._tail if self._number else None, tail
        self._wire = payload
        # One byte more than an answer may have, so that a longer one is noticed. No more than that: what a
        # read allocates and gives back again is the dearest part of it.
        self._read_size = MAX_DATAGRAM_BYTES if self._own else max(self._read_size, len(payload) + 1)

    def _ask_next(self) -> None:
        """Make the next of several requests."""
        assert self._asks is not None
        _, self._wire = next(self._asks)

    def next_wire(self) -> bytes:
        """Return the request with the next number, to be sent behind others."""
        if self._asks is not None:
            self._ask_next()
        wire = self._make()
        self._expect = None
        self._numbers.append(self._number)
        return wire

    def _make(self) -> bytes:
        """Return the request with the next number, and know its answer."""
        self._number = number = self._number + 1
        if self._own:
            wire = self._wire if self._id_field is None else self._id_field.put(number, self._wire)
        else:
            self._expect = wire = number.to_bytes(SEQUENCE_BYTES, "big") + self._tail
        self._kept = wire if len(wire) <= CAPTURE_BYTES else clip(wire)
        return wire

    def transmit(self) -> None:
        """Send the next number."""
        self._send(self._make())

    def _send(self, wire: bytes) -> None:
        send = self._transmit
        try:
            send(wire)
        except OSError as error:
            self._send_failed(error, wire)

    def _send_failed(self, error: OSError, wire: bytes) -> None:
        if has_no_room(error):
            self._not_sent([wire])
        else:
            self._not_written([wire])
            self._refused(error)

    def transmit_several(self, wires: list[bytes]) -> None:
        """Send requests, each a datagram, with as few calls as the kernel allows."""
        unsent: list[bytes] = []
        left = deque(runs(wires))
        while left and not self._dropped:
            run = left[0]
            try:
                self._send_run(run)
            except OSError as error:
                if not has_no_room(error):
                    self._refused(error)
                    break
                unsent += run
            del left[0]
        self._not_written([*chain.from_iterable(left)])
        if unsent:
            self._not_sent(unsent)

    def _send_run(self, run: list[bytes]) -> None:
        """Send datagrams, and take from ``run`` what has left; raises OSError."""
        assert self._socket is not None
        if len(run) > 1 and self._joins:
            if send_joined(self._socket, run):
                return
            self._joins = False
        while run:
            self._transmit(run[0])
            del run[0]

    def _not_written(self, wires: list[bytes]) -> None:
        """These were counted as written, and were not after all."""
        if self.record is not None and wires:
            self.record.odd_write(-sum(map(len, wires)), 0, -len(wires))

    def _not_sent(self, wires: list[bytes]) -> None:
        """The kernel takes no more: over IP datagrams are lost before they left, else they wait."""
        sock, record, recorder = self._socket, self.record, self._swarm.recorder
        if sock is None or record is None:
            return
        self._not_written(wires)
        if not self._is_unix:
            what = "datagram" if len(wires) == 1 else f"{len(wires):,} datagrams"
            recorder.unsent += len(wires)
            recorder.on_error(f"send buffer full: {what} not sent", record)
            return
        recorder.held += len(wires)
        self._held.extend(wires)
        self._swarm.held.hold(sock, partial(self._send_held, sock, record))

    def _send_in_turn(self, wire: bytes) -> int:
        """Send on a Unix socket, unless others wait for room there; raises OSError."""
        if self._swarm.held or self._socket is None:
            raise BlockingIOError
        return self._socket.send(wire)

    def _send_held(self, sock: socket.socket, record: ConnectionRecord) -> None:
        """Send what has waited; raises BlockingIOError."""
        try:
            while self._held:
                sock.send(self._held[0])
                record.odd_write(len(self._held.popleft()), 0)
        except BlockingIOError:
            raise
        except OSError as error:
            self._held.clear()
            self._refused(error)

    def _count_writes(self, record: ConnectionRecord, wires: list[bytes]) -> None:
        record.odd_write(sum(map(len, wires)), len(wires), writes=len(wires))

    def _readable(self, _: int = READ) -> None:
        """Recognise the answer; the hot path of a swarm."""
        recv = self._recv
        try:
            data = recv(self._read_size)
        except BlockingIOError:
            return
        except OSError as error:
            self._refused(error)
            return
        now = perf_counter()
        if data != self._expect or now - self._sent_s > self._timeout_s:
            self._take(data, now)
            self._read_more()
            return
        # Functions are taken out of their slots before they are called: as a method call the same is twice
        # as slow in CPython 3.11.
        record, kept, on_exchange = self.record, self._kept, self._on_exchange
        on_exchange((self._sent_s, now, record, kept, kept))  # type: ignore[arg-type]
        if self.steady:
            # The next request goes out here and now, so its clock is this one.
            self._sent_s = now
            record.exchanges += 1  # type: ignore[union-attr]
            wire, send = self._make(), self._transmit
            try:
                send(wire)
            except OSError as error:
                self._send_failed(error, wire)
        else:
            record.odd_read(len(data), 1)  # type: ignore[union-attr]
            if self._waited_s:
                self._on_waited((self._sent_s, now, self._waited_s))
            self._answered()

    def _read_more(self) -> None:
        """Take what else has come while answers are awaited, as much as is this socket's part of a turn.

        Few sockets with many requests under way would be read less often than they are written to.
        """
        for _ in range(EVENTS_PER_TURN // max(self._swarm.tuning.connections, 1) - 1):
            if self._socket is None or not (self._pipeline or self.undecided):
                return
            try:
                data = self._recv(self._read_size)
            except BlockingIOError:
                return
            except OSError as error:
                self._refused(error)
                return
            self._take(data, perf_counter())

    def _goes_on(self, data: bytes, now: float) -> bytes:
        """Record the answer and return the next request if that is to go out here and now, else nothing."""
        if data != self._expect or not self.steady or now - self._sent_s > self._timeout_s:
            return b""
        record = self.record
        assert record is not None
        self._on_exchange((self._sent_s, now, record, self._kept, self._kept))
        self._sent_s = now
        record.exchanges += 1
        return self._make()

    def _take(self, data: bytes, now: float) -> None:
        """Take a datagram, whatever it is."""
        if self._sent_s and now - self._sent_s > self._timeout_s:
            self._time_out_at(now)
        record = self.record
        if record is None:
            self._swarm.recorder.unread += 1
            return
        if self._numbers and data == self._pipeline[0][1] and not self._own:
            self._take_oldest(record, data, now)
            return
        number = self._number_of(data)
        if self._awaits(number):
            self._take_answer_to(number, record, data, now)
            return
        recorder = self._swarm.recorder
        if self._takes_late(number, record, data):
            return
        record.odd_read(len(data))
        recorder.unused_bytes += len(data)
        if 0 < number <= self._number:
            recorder.duplicated += 1
        else:
            # The requests under way, if there are any, may still be answered: this says nothing about them.
            recorder.unexpected += 1
            recorder.on_error("a datagram that is not an answer", record, reason=CloseReason.GARBAGE)

    def _takes_late(self, number: int, record: ConnectionRecord, data: bytes) -> bool:
        """Take the answer to a request that was given up, if it is one."""
        if number not in self._unanswered:
            return False
        del self._unanswered[number]
        recorder = self._swarm.recorder
        record.odd_read(len(data))
        recorder.unused_bytes += len(data)
        recorder.late += 1
        if number < self._last_answered:
            recorder.reordered += 1
        elif number > self._highest:
            self._highest = number
        return True

    def _take_oldest(self, record: ConnectionRecord, data: bytes, now: float) -> None:
        """Take the answer to the oldest of several requests under way, which it equals."""
        number = self._numbers.popleft()
        record.odd_read(len(data), 1)
        if number > self._highest:
            self._highest = number
        else:
            self._swarm.recorder.reordered += 1
        self._take_answer(now, clip(data))

    def _awaits(self, number: int) -> bool:
        """Whether the request with this number is under way."""
        if self._numbers:
            # They ascend: a late answer, of which there may be very many, is not looked for.
            return number >= self._numbers[0] and number in self._numbers
        return self._sent_s > 0 and number == self._number

    def _number_of(self, data: bytes) -> int:
        """Return the number of the request that a datagram answers; 0: of none."""
        if not self._own:
            is_echo = data[SEQUENCE_BYTES:] in (self._tail, self._former_tail)
            return number_of(data) if is_echo else 0
        if self._id_field is not None:
            return self._id_field.number_in(data, self._number)
        return self._number if self._sent_s else 0

    def _take_answer_to(self, number: int, record: ConnectionRecord, data: bytes, now: float) -> None:
        """Take the answer to a request that is under way, if it is a good one."""
        fault = self._swarm.dialogue.fault_of(data)
        record.odd_read(len(data), int(not fault))
        if fault:
            self._swarm.recorder.unused_bytes += len(data)
        if self._numbers:
            self._bring_forward(number)
        self._take_answer(now, clip(data), fault)

    def _bring_forward(self, number: int) -> None:
        """Put a request first in the pipeline, for it is the one that is answered."""
        at = self._numbers.index(number)
        del self._numbers[at]
        if at:
            asked = self._pipeline[at]
            del self._pipeline[at]
            self._pipeline.appendleft(asked)
        if number > self._highest:
            self._highest = number
        else:
            self._swarm.recorder.reordered += 1

    @property
    def _last_answered(self) -> int:
        """The highest number that was answered: that before the oldest under way, or one that was noted."""
        before = self._numbers[0] - 1 if self._numbers else self._number - (self._sent_s > 0)
        return self._highest if before in self._unanswered else max(before, self._highest)

    def give_up(self, outcome: str, before_s: float = math.inf) -> int:
        """Keep the requests sent before ``before_s`` as unanswered; return how many there were."""
        count = super().give_up(outcome, before_s)
        for _ in range(min(count, len(self._numbers))):
            self._numbers.popleft()
        return count

    def time_out(self, before_s: float) -> None:
        """Give requests up; the socket stays, and a late answer will be counted as such."""
        numbers = list(self._numbers) or [self._number]
        count = self.give_up("timeout", before_s)
        self._swarm.recorder.timeouts += count
        self._await_late(numbers[:count] if not self._held else self._sent_of(numbers, count))
        if self._own and self._id_field is None:
            # A late answer would be taken for that to the next request.
            self._client.leave(CloseReason.TIMEOUT)
        elif count and not self.under_way:
            self._answered()
        elif count:
            self._client.pacer.answered_some()

    def _sent_of(self, numbers: list[int], count: int) -> list[int]:
        """Return which of the ``numbers`` given up, the first ``count``, have left; the others never will."""
        sent = len(numbers) - len(self._held)
        for _ in range(count - sent):
            self._held.popleft()
        if not self._held and self._socket is not None:
            self._swarm.held.let_go(self._socket)
        return numbers[: min(count, sent)]

    def _await_late(self, numbers: list[int]) -> None:
        """These are given up, and may be answered late."""
        now = perf_counter()
        for number in numbers:
            self.undecided.append((now, number))
            # The answer before it may have been read where nobody notes which one it was.
            if number - 1 not in self._unanswered:
                self._highest = max(self._highest, number - 1)
            self._unanswered[number] = False
        while len(self._unanswered) > REMEMBERED:
            oldest = next(iter(self._unanswered))
            self._swarm.recorder.lost += not self._unanswered.pop(oldest)

    def look_at_buffer(self) -> int:
        """Count what the kernel has dropped since the last look; return the memory of what is unread."""
        if self._socket is None or self._is_unix:
            return 0
        unread_bytes, dropped = receive_buffer(self._socket)
        self._swarm.recorder.dropped += dropped - self._dropped_before
        self._dropped_before = dropped
        return unread_bytes

    def _take_rest(self) -> None:
        """Take what has come and was not read: late answers count as such, and the rest as unread."""
        sock, record = self._socket, self.record
        if sock is None or record is None or self._is_unix:
            return
        for data in take_unread(sock):
            if not self._takes_late(self._number_of(data), record, data):
                self._swarm.recorder.unread += 1
        self._swarm.recorder.abandoned += len(self._unanswered) + self.under_way
        self.look_at_buffer()

    def settle(self, before_s: float) -> None:
        """Call lost what was given up before ``before_s`` and has not been answered late."""
        undecided = self.undecided
        while undecided and undecided[0][0] < before_s:
            _, number = undecided.popleft()
            if self._unanswered.get(number) is False:
                self._unanswered[number] = True
                self._swarm.recorder.lost += 1

    def _refused(self, error: OSError) -> None:
        """An ICMP message came for an earlier datagram: nobody listens there."""
        if self.record is None or self._dropped:
            return
        self._dropped = True
        self._count_refusal(self.record, error)
        # Not from inside the send: the caller still works with this connection.
        self._swarm.loop.call_soon(self._drop, self._socket, error)

    def _count_refusal(self, record: ConnectionRecord, error: OSError) -> None:
        if isinstance(error, ConnectionRefusedError):
            self._swarm.recorder.refused += 1
            self._swarm.target_refused(record.remote_address)

    def _drop(self, sock: socket.socket | None, error: OSError) -> None:
        if sock is not None and sock is self._socket:
            self._client.leave(close_reason(error), describe(error))

    def close(self, *, abort: bool) -> None:
        """Close the socket."""
        self._take_rest()
        sock, self._socket = self._socket, None
        if sock is not None:
            self.settle(math.inf)
            self._expect = None
            self._held.clear()
            self._swarm.held.let_go(sock)
            self.unwatch(sock)
            remove_temporary(self._file)

    def _let_go(self, sock: socket.socket) -> None:
        """Close a socket that nobody waits for any more, and tell the client in a moment."""
        close_socket(sock)
        self._swarm.loop.call_soon(self._client.lost, CloseReason.CLOSED)

    def socket_options(self, tuning: Tuning) -> list[SocketOption]:
        """Return the buffer sizes."""
        return buffer_options(self._socket, tuning) if self._socket is not None else []


class SelectorUdpLink(UdpLink):
    """A link whose socket is in the swarm's readiness set."""

    __slots__ = ()

    def watch(self, sock: socket.socket) -> None:
        """Put the socket into the set; raises OSError."""
        self._swarm.readiness.add(sock, READ, self._readable)

    def unwatch(self, sock: socket.socket) -> None:
        """Take it out of the set, and close it."""
        self._swarm.readiness.remove(sock)
        self._let_go(sock)


class ReaderUdpLink(UdpLink):
    """A link whose socket is a reader of the event loop."""

    __slots__ = ()

    def watch(self, sock: socket.socket) -> None:
        """Let the loop watch the socket."""
        self._swarm.loop.add_reader(sock, self._readable)

    def unwatch(self, sock: socket.socket) -> None:
        """Let the loop watch it no longer, and close it."""
        self._swarm.loop.remove_reader(sock)
        self._let_go(sock)
