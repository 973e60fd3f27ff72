"""UDP links: a connected socket, requests that are numbered.

An answer is the outstanding one, a late one (its request had timed out), or a duplicate. The ``selector``
client has its socket in the swarm's readiness set, the ``protocol`` client is a reader of the event loop.
"""

from __future__ import annotations

import math
import socket
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.core.wire.sequence import SEQUENCE_BYTES, WINDOW, number_of
from sockscope.engine.addresses import both_ends, family_of, socket_address
from sockscope.engine.options import buffer_options, set_buffers
from sockscope.engine.os_errors import close_reason, close_socket, describe
from sockscope.engine.recorder import CAPTURE_BYTES, clip
from sockscope.engine.swarm.links.link import Link
from sockscope.engine.swarm.readiness import READ

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext


class UdpLink(Link):
    """A link over UDP; what watches its socket is the model's affair."""

    __slots__ = (
        "_number",
        "_read_size",
        "_recv",
        "_socket",
        "_tail",
        "_transmit",
        "_unanswered",
        "undecided",
    )

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._socket: socket.socket | None = None
        self._tail = b""
        self._number = 0
        self._read_size = 1
        # Given up, and not answered later, so far; True of those that are called lost.
        self._unanswered: dict[int, bool] = {}
        self.undecided: deque[tuple[float, int]] = deque()
        """When which request was given up; it may be answered late."""

    def watch(self, sock: socket.socket) -> None:
        """Have :meth:`_readable` called when there is something to read; raises OSError."""
        raise NotImplementedError

    def unwatch(self, sock: socket.socket) -> None:
        """Have it called no longer."""
        raise NotImplementedError

    def connect(self, target: Address) -> None:
        """Make a socket that talks to ``target`` alone."""
        try:
            sock = socket.socket(family_of(target[0]), socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                set_buffers(sock, self._swarm.tuning)
                sock.connect(socket_address(target))
                local, remote = both_ends(sock)
                self.watch(sock)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            self._client.connect_failed(error)
            return
        self._socket = sock
        self._recv = sock.recv
        self._transmit = sock.send
        self._number = 0
        self._read_size = 1
        self._unanswered.clear()
        self._client.connected("udp", local, remote)

    def give_up_connecting(self) -> None:
        """Nothing to do: to connect a UDP socket takes no time."""

    def prepare(self, payload: bytes) -> None:
        """Keep what follows the number in each request."""
        self._tail = payload[SEQUENCE_BYTES:]
        self._wire = payload
        # One byte more than an answer may have, so that a longer one is noticed. No more than that: what a
        # read allocates and gives back again is the dearest part of it.
        self._read_size = max(self._read_size, len(payload) + 1)

    def transmit(self) -> None:
        """Send the next number."""
        self._number = number = self._number + 1
        self._expect = wire = number.to_bytes(SEQUENCE_BYTES, "big") + self._tail
        self._kept = wire if len(wire) <= CAPTURE_BYTES else clip(wire)
        send = self._transmit
        try:
            send(wire)
        except BlockingIOError:
            # The send buffer is full: the datagram is lost before it left, and will time out.
            self._swarm.recorder.on_error("send buffer full: datagram not sent", self.record)
        except OSError as error:
            self._refused(error)

    def _readable(self, _: int = READ) -> None:
        recv = self._recv
        try:
            data = recv(self._read_size)
        except BlockingIOError:
            return
        except OSError as error:
            self._refused(error)
            return
        if data != self._expect:
            self._take_other(data)
            return
        now = perf_counter()
        # Functions are taken out of their slots before they are called: as a method call the same is twice
        # as slow in CPython 3.11.
        record, kept, on_exchange = self.record, self._kept, self._on_exchange
        on_exchange((self._sent_s, now, record, kept, kept))  # type: ignore[arg-type]
        if self.steady:
            # The next request goes out here and now, so its clock is this one.
            self._sent_s = now
            record.exchanges += 1  # type: ignore[union-attr]
            self.transmit()
        else:
            record.odd_read(len(data), 1)  # type: ignore[union-attr]
            self._answered()

    def _take_other(self, data: bytes) -> None:
        """Take a datagram that is not the outstanding answer."""
        record = self.record
        if record is None:
            return
        record.odd_read(len(data))
        recorder = self._swarm.recorder
        recorder.unused_bytes += len(data)
        number = number_of(data) if data[SEQUENCE_BYTES:] == self._tail else 0
        if number in self._unanswered:
            del self._unanswered[number]
            recorder.late += 1
            if number < self._last_answered:
                recorder.reordered += 1
        elif 0 < number < self._number or (0 < number == self._number and self._expect is None):
            recorder.duplicated += 1
        else:
            # The request under way, if there is one, may still be answered: this says nothing about it.
            recorder.unexpected += 1
            recorder.on_error("a datagram that is no answer", record, reason=CloseReason.GARBAGE)

    @property
    def _last_answered(self) -> int:
        """The highest number that was answered in time: the last one that is not owed an answer."""
        number = self._number if self._expect is None else self._number - 1
        while number in self._unanswered:
            number -= 1
        return number

    def time_out(self, before_s: float) -> None:
        """Give the request up; the socket stays, and a late answer will be counted as such."""
        self._swarm.recorder.timeouts += self.give_up("timeout")
        self.undecided.append((perf_counter(), self._number))
        self._unanswered[self._number] = False
        if len(self._unanswered) > WINDOW:
            del self._unanswered[next(iter(self._unanswered))]
        self._answered()

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
        if self.record is None:
            return
        if isinstance(error, ConnectionRefusedError):
            self._swarm.recorder.refused += 1
            self._swarm.target_refused(self.record.remote_address)
        # Not from inside the send: the caller still works with this connection.
        self._swarm.loop.call_soon(self._drop, self._socket, error)

    def _drop(self, sock: socket.socket | None, error: OSError) -> None:
        if sock is not None and sock is self._socket:
            self._client.leave(close_reason(error), describe(error))

    def close(self, *, abort: bool) -> None:
        """Close the socket."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self.settle(math.inf)
            self._expect = None
            self.unwatch(sock)
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
        """Take it out of the set."""
        self._swarm.readiness.remove(sock)


class ReaderUdpLink(UdpLink):
    """A link whose socket is a reader of the event loop."""

    __slots__ = ()

    def watch(self, sock: socket.socket) -> None:
        """Let the loop watch the socket."""
        self._swarm.loop.add_reader(sock, self._readable)

    def unwatch(self, sock: socket.socket) -> None:
        """Let the loop watch it no longer."""
        self._swarm.loop.remove_reader(sock)
