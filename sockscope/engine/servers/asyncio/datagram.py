"""The ``datagram`` model: one UDP socket read in place with ``add_reader``.

Reading the socket ourselves, up to 64 datagrams a turn, is 1.15 times as fast as a uvloop
``DatagramProtocol`` and gives both loops the same behaviour.
"""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.core.wire.sequence import SEQUENCE_BYTES
from sockscope.engine.addresses import plain_address
from sockscope.engine.limiter import Waiter
from sockscope.engine.options import buffer_options, change_buffers, dropped_datagrams, reuse_options
from sockscope.engine.os_errors import describe
from sockscope.engine.recorder import CAPTURE_BYTES, clip
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import (
    Endpoint,
    Inheritance,
    SequenceCounts,
    ServerContext,
    bound_socket,
)
from sockscope.engine.servers.peers import Peers, UdpPeer
from sockscope.engine.timers import punctual
from sockscope.engine.work import spend

MOST_IN_SERVICE = 65_536
"""Requests in service or waiting for it, at the most; then the socket is left alone, and the kernel drops."""
READS_PER_TURN = 64
"""Datagrams read in one turn of the loop, so that a flood cannot keep the loop for itself."""
LARGEST_DATAGRAM_BYTES = 65_536
"""More than any datagram holds, so that none is cut off."""
DRAIN_SILENCE_S = 0.25
"""A draining socket is done when nothing came for this long."""


class UdpRequest:
    """One datagram on its way to its answer: waiting to be admitted, or in service."""

    __slots__ = ("_endpoint", "_holds_permit", "_timer", "_waiter", "data", "peer", "read_s", "remote")

    def __init__(
        self, endpoint: UdpEndpoint, read_s: float, data: bytes, peer: UdpPeer, remote: tuple[str, int]
    ) -> None:
        self._endpoint = endpoint
        self._timer: asyncio.Handle | None = None
        self._waiter: Waiter | None = None
        self._holds_permit = False
        self.read_s = read_s
        self.data = data
        self.peer = peer
        self.remote = remote
        peer.in_service += 1

    def begin(self) -> None:
        """Begin the service time, as soon as the request is admitted."""
        endpoint = self._endpoint
        admission = endpoint.context.admission
        if not admission.permits:
            self._serve()
        elif admission.try_acquire():
            self._holds_permit = True
            self._serve()
        else:
            waiter = admission.enqueue(self._admitted)
            self._waiter = waiter if waiter.queued else None

    def _admitted(self) -> None:
        self._waiter = None
        self._holds_permit = True
        self._serve()

    def _serve(self) -> None:
        endpoint = self._endpoint
        if endpoint.tuning.work == "wait":
            self._timer = endpoint.call_later(endpoint.tuning.service_time_s, endpoint.answer, self)
        else:
            # In a turn of its own: a burst must not keep the loop for all its service times at once.
            self._timer = endpoint.call_soon(self._work)

    def _work(self) -> None:
        tuning = self._endpoint.tuning
        spend(tuning.work, tuning.service_time_s)
        self._endpoint.answer(self)

    def limit_begun(self) -> None:
        """There is an admission limit from now on: who is served already counts."""
        if self._timer is not None and not self._holds_permit:
            self._endpoint.context.admission.adopt()
            self._holds_permit = True

    def end(self) -> None:
        """Stop serving, and let the next one in."""
        self.peer.in_service -= 1
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._endpoint.context.admission.forget(self._waiter)
        if self._holds_permit:
            self._endpoint.context.admission.release()


class UdpEndpoint:
    """A UDP socket and its peers."""

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        self.context = context
        self.tuning = assignment.tuning
        self._loop = asyncio.get_running_loop()
        self.call_later = punctual(self._loop)
        self.call_soon = self._loop.call_soon
        self._in_service: set[UdpRequest] = set()
        self._reading = True
        self._take(assignment.tuning)
        self._reads_seen = -1
        self._last_read_s = perf_counter()
        self._socket = bound_socket(socket.SOCK_DGRAM, context, assignment)
        self.address: Address = plain_address(self._socket.getsockname())
        self._peers = Peers(context, context.recorder, self.address, assignment.generation)
        self._shared = False
        self._loop.add_reader(self._socket, self._readable)
        self._watch_idle()

    # Serving.

    def _readable(self) -> None:
        recvfrom_into = self._socket.recvfrom_into
        buffer = self._buffer
        sendto = self._socket.sendto
        peers = self._peers.known
        on_exchange = self.context.recorder.on_exchange
        from_bytes = int.from_bytes
        delayed = self._serves_later
        for _ in range(READS_PER_TURN):
            try:
                size, remote = recvfrom_into(buffer)
            except BlockingIOError:
                return
            except OSError as error:
                # An ICMP error of an earlier answer; the socket itself is fine.
                self.context.recorder.on_error(describe(error))
                continue
            now = perf_counter()
            data = bytes(buffer[:size])
            number = from_bytes(data[:SEQUENCE_BYTES], "big")
            peer = peers.get(remote)
            if peer is not None and number == peer.tracker.highest + 1:
                peer.tracker.highest = number
            else:
                peer = self._peers.out_of_line(remote, peer, number if size >= SEQUENCE_BYTES else 0)
                if peer is None:
                    continue
            record = peer.record
            if delayed:
                record.odd_read(size, 1)
                self._serve_later(now, data, peer, remote)
                if not self._reading:
                    return
                continue
            try:
                sendto(data, remote)
            except OSError as error:
                record.odd_read(size, 1)
                self._answer_failed(error, record)
                continue
            if size != record.same_bytes:
                record.expect(size)
            record.exchanges += 1
            kept = data if size <= CAPTURE_BYTES else clip(data)
            on_exchange((now, now, record, kept, kept))

    def _serve_later(self, now: float, data: bytes, peer: UdpPeer, remote: tuple[str, int]) -> None:
        request = UdpRequest(self, now, data, peer, remote)
        self._in_service.add(request)
        request.begin()
        if len(self._in_service) >= MOST_IN_SERVICE and self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket)

    def answer(self, request: UdpRequest) -> None:
        """Answer a request whose service time is over."""
        record = request.peer.record
        self.end(request)
        if request.peer.gone:
            return
        data = request.data
        # Taken before the bytes go: once they are on their way the client may be done first.
        answered_s = perf_counter()
        try:
            self._socket.sendto(data, request.remote)
        except OSError as error:
            self._answer_failed(error, record)
            return
        record.odd_write(len(data))
        kept = clip(data)
        self.context.recorder.on_exchange((request.read_s, answered_s, record, kept, kept))

    def end(self, request: UdpRequest) -> None:
        """Let go of a request, answered or not."""
        self._in_service.discard(request)
        request.end()
        if not self._reading and len(self._in_service) < MOST_IN_SERVICE and self._socket.fileno() >= 0:
            self._reading = True
            if not self._shared:
                self._loop.add_reader(self._socket, self._readable)

    def _answer_failed(self, error: OSError, record: ConnectionRecord) -> None:
        self.context.recorder.errors += 1
        self.context.recorder.on_error(f"answer not sent: {describe(error)}", record)

    def _watch_idle(self) -> None:
        self._watcher = self._loop.call_later(self._peers.forget_silent(), self._watch_idle)

    def sequence_counts(self) -> SequenceCounts:
        """Return datagrams lost, reordered and duplicated of the peers that are here."""
        return self._peers.sequence_counts()._replace(dropped=self._dropped)

    @property
    def _dropped(self) -> int:
        """What the kernel has dropped here; a socket that is shared is its successor's to tell of."""
        is_ours = self._socket.fileno() >= 0 and not self._shared
        return dropped_datagrams(self._socket) if is_ours else 0

    # From the role.

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; buffers of a UDP socket can change in place."""
        self._peers.generation = generation
        self._take(tuning)
        for request in self._in_service if tuning.server_permits else ():
            request.limit_begun()
        change_buffers(self._socket, tuning)

    def _take(self, tuning: Tuning) -> None:
        self.tuning = tuning
        # Read into one buffer and copied out: 64 KiB allocated per read and given back but for a few bytes
        # leave the captures scattered over the heap. A datagram is never read in parts: what a smaller buffer
        # does not hold is gone.
        self._buffer = memoryview(bytearray(tuning.read_bytes or LARGEST_DATAGRAM_BYTES))
        self._serves_later = tuning.service_time_s > 0 or tuning.server_permits > 0
        self.context.admission.resize(tuning.server_permits)

    def share(self) -> Inheritance | None:
        """Return a duplicate of the socket, or None when it is closed or another's already."""
        if self._socket.fileno() < 0 or self._shared:
            return None
        sock = self._socket.dup()
        self._shared = True
        self._loop.remove_reader(self._socket)
        return Inheritance(sock, self._peers.counted())

    def take_back(self) -> None:
        """Read again: the successor could not begin."""
        self._shared = False
        if self._reading:
            self._loop.add_reader(self._socket, self._readable)

    def drain(self) -> None:
        """Nothing to do: what was sent before is still to be read, and is answered until all are silent."""

    def finish(self, reason: CloseReason) -> None:
        """Answer who is here; UDP peers are told nothing."""
        self.drain()

    @property
    def drained(self) -> bool:
        """Whether no answer is due and nothing came lately."""
        reads = self._peers.reads
        now = perf_counter()
        if self._socket.fileno() < 0:
            return True
        if reads != self._reads_seen:
            self._reads_seen, self._last_read_s = reads, now
        return not self._in_service and now - self._last_read_s >= DRAIN_SILENCE_S

    @property
    def owing(self) -> bool:
        """Whether an answer is due."""
        return bool(self._in_service)

    @property
    def open_connections(self) -> int:
        """Peers that are remembered."""
        return len(self._peers.known)

    @property
    def backlog(self) -> int:
        """Nobody is accepted over UDP."""
        return 0

    @property
    def not_accepting(self) -> str:
        """Nobody is accepted over UDP, and nobody is refused."""
        return ""

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return None: UDP peers share one socket, which has no counters of its own."""
        return None

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Forget a peer; its next datagram makes a new connection."""
        return self._peers.forget_connection(conn_id, reason)

    def socket_options(self) -> list[SocketOption]:
        """Return the socket's buffer sizes, and whether it shares its port."""
        return [
            *reuse_options(self._socket, self.context.experiment),
            *buffer_options(self._socket, self.tuning),
        ]

    def close(self, reason: CloseReason) -> None:
        """Close the socket, and record the end of every peer."""
        self._watcher.cancel()
        self.context.recorder.count("dropped", self._dropped)
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        for request in list(self._in_service):
            self.end(request)
        self._peers.forget_all(reason)


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve all peers on one socket; raises ListenError."""
    return UdpEndpoint(context, assignment)
