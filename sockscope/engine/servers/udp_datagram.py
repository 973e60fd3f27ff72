"""The ``datagram`` model: one UDP socket read in place with ``add_reader``.

Reading the socket ourselves, up to 64 datagrams a turn, is 1.15 times as fast as a uvloop
``DatagramProtocol`` and gives both loops the same behaviour. A "connection" is a remote address; it is
closed when nothing came from it for a while, since UDP does not say goodbye.
"""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter

from sockscope.core.connection import Address, ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.experiment import Tuning
from sockscope.core.sequence import SEQUENCE_BYTES, SequenceTracker
from sockscope.core.snapshot import SocketOption
from sockscope.engine.limiter import Waiter
from sockscope.engine.options import buffer_options, reuse_options, set_buffers
from sockscope.engine.os_errors import describe
from sockscope.engine.recorder import CAPTURE_BYTES, clip
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import ServerContext, bound_socket
from sockscope.engine.work import spend

MOST_IN_SERVICE = 65_536
"""Requests in service or waiting for it, at the most; then the socket is left alone, and the kernel drops."""
READS_PER_TURN = 64
"""Datagrams read in one turn of the loop, so that a flood cannot keep the loop for itself."""
LARGEST_DATAGRAM_BYTES = 65_536
"""More than any datagram holds, so that none is cut off."""
PEER_SILENCE_S = 30.0
"""Without an idle timeout of the experiment, a peer is forgotten after this much silence."""
CROWDED_SILENCE_S = 1.0
"""The same while more than half of the connections that may be are remembered."""
WATCH_S = 0.5
"""How often silent peers are looked for, at the most."""
DRAIN_SILENCE_S = 0.25
"""A draining socket is done when nothing came for this long."""


class UdpPeer:
    """One remote address and what came from it."""

    __slots__ = ("idle_since_s", "in_service", "reads_seen", "record", "tracker")

    def __init__(self, record: ConnectionRecord, tracker: SequenceTracker) -> None:
        self.record = record
        self.tracker = tracker
        self.in_service = 0
        self.reads_seen = -1
        self.idle_since_s = 0.0


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
        self.generation = assignment.generation
        self._peers: dict[tuple[str, int], UdpPeer] = {}
        # The last number of peers that were forgotten: what they send next does not tell of a loss.
        self._left_off: dict[tuple[str, int], int] = {}
        self._loop = asyncio.get_running_loop()
        self.call_later = self._loop.call_later
        self.call_soon = self._loop.call_soon
        self._in_service: set[UdpRequest] = set()
        self._reading = True
        self._take(assignment.tuning)
        self._reads_seen = -1
        self._last_read_s = perf_counter()
        self._socket = bound_socket(socket.SOCK_DGRAM, context, assignment)
        self.address: Address = self._socket.getsockname()[:2]
        self._loop.add_reader(self._socket, self._readable)
        self._watch_idle()

    @property
    def _silence_s(self) -> float:
        experiment = self.context.experiment
        silence_s = experiment.idle_timeout_s or PEER_SILENCE_S
        crowded = len(self._peers) * 2 > experiment.max_connections
        return min(silence_s, CROWDED_SILENCE_S) if crowded else silence_s

    # Serving.

    def _readable(self) -> None:
        recvfrom_into = self._socket.recvfrom_into
        buffer = self._buffer
        sendto = self._socket.sendto
        peers = self._peers
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
                peer = self._out_of_line(remote, peer, number if size >= SEQUENCE_BYTES else 0)
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

    def _out_of_line(self, remote: tuple[str, int], peer: UdpPeer | None, number: int) -> UdpPeer | None:
        """Take a datagram that is not simply the next one of a known peer; None when it is not served."""
        peer = peer or self._new_peer(remote, number)
        if peer is not None and not peer.tracker.arrived(number) and number == 1 and not peer.in_service:
            return self._begin_anew(remote, peer)
        return peer

    def _new_peer(self, remote: tuple[str, int], number: int) -> UdpPeer | None:
        recorder = self.context.recorder
        if len(self._peers) >= self.context.experiment.max_connections:
            recorder.rejected += 1
            return None
        left_off = self._left_off.pop(remote, 0)
        return self._remember(remote, SequenceTracker(left_off if left_off < number else 0))

    def _begin_anew(self, remote: tuple[str, int], before: UdpPeer) -> UdpPeer:
        """A peer counts from 1 again: it is another socket, to which the kernel gave the same port."""
        before.tracker.duplicated -= 1
        self._forget(remote, CloseReason.EOF)
        return self._remember(remote, SequenceTracker(after=1))

    def _remember(self, remote: tuple[str, int], tracker: SequenceTracker) -> UdpPeer:
        record = self.context.recorder.on_open("udp", self.address, remote[:2], self.generation)
        peer = self._peers[remote] = UdpPeer(record, tracker)
        return peer

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
        if record.closed_s is not None:
            return
        data = request.data
        try:
            self._socket.sendto(data, request.remote)
        except OSError as error:
            self._answer_failed(error, record)
            return
        record.odd_write(len(data))
        kept = clip(data)
        self.context.recorder.on_exchange((request.read_s, perf_counter(), record, kept, kept))

    def end(self, request: UdpRequest) -> None:
        """Let go of a request, answered or not."""
        self._in_service.discard(request)
        request.end()
        if not self._reading and len(self._in_service) < MOST_IN_SERVICE and self._socket.fileno() >= 0:
            self._reading = True
            self._loop.add_reader(self._socket, self._readable)

    def _answer_failed(self, error: OSError, record: ConnectionRecord) -> None:
        self.context.recorder.errors += 1
        self.context.recorder.on_error(f"answer not sent: {describe(error)}", record)

    def _watch_idle(self) -> None:
        now = perf_counter()
        silence_s = self._silence_s
        for remote, peer in list(self._peers.items()):
            reads = peer.record.reads
            if reads != peer.reads_seen:
                peer.reads_seen, peer.idle_since_s = reads, now
            elif now - peer.idle_since_s >= silence_s and not peer.in_service:
                self._forget(remote, CloseReason.IDLE)
        self._watcher = self._loop.call_later(min(max(silence_s / 8, 0.01), WATCH_S), self._watch_idle)

    def _forget(self, remote: tuple[str, int], reason: CloseReason) -> None:
        peer = self._peers.pop(remote)
        recorder = self.context.recorder
        recorder.lost += peer.tracker.missing
        recorder.reordered += peer.tracker.reordered
        recorder.duplicated += peer.tracker.duplicated
        self._left_off[remote] = peer.tracker.highest
        if len(self._left_off) > self.context.experiment.max_connections:
            del self._left_off[next(iter(self._left_off))]
        recorder.on_close(peer.record, reason)

    def sequence_counts(self) -> tuple[int, int, int]:
        """Return datagrams lost, reordered and duplicated of the peers that are here."""
        trackers = [peer.tracker for peer in self._peers.values()]
        return (
            sum(t.missing for t in trackers),
            sum(t.reordered for t in trackers),
            sum(t.duplicated for t in trackers),
        )

    # From the role.

    def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; buffers of a UDP socket can change in place."""
        self.generation = generation
        self._take(tuning)
        for request in self._in_service if tuning.server_permits else ():
            request.limit_begun()
        set_buffers(self._socket, tuning)

    def _take(self, tuning: Tuning) -> None:
        self.tuning = tuning
        # Read into one buffer and copied out: 64 KiB allocated per read and given back but for a few bytes
        # leave the captures scattered over the heap. A datagram is never read in parts: what a smaller buffer
        # does not hold is gone.
        self._buffer = memoryview(bytearray(tuning.read_bytes or LARGEST_DATAGRAM_BYTES))
        self._serves_later = tuning.service_time_s > 0 or tuning.server_permits > 0
        self.context.admission.resize(tuning.server_permits)

    def listener(self) -> socket.socket | None:
        """Return None: two who read one UDP socket would take each other's datagrams."""
        return None

    def drain(self) -> None:
        """Nothing to do: what was sent before is still to be read, and is answered until all are silent."""

    def finish(self, reason: CloseReason) -> None:
        """Answer who is here; UDP peers are told nothing."""
        self.drain()

    @property
    def drained(self) -> bool:
        """Whether no answer is due and nothing came lately."""
        reads = sum(peer.record.reads for peer in self._peers.values())
        now = perf_counter()
        if self._socket.fileno() < 0:
            return True
        if reads != self._reads_seen:
            self._reads_seen, self._last_read_s = reads, now
        return not self._in_service and now - self._last_read_s >= DRAIN_SILENCE_S

    @property
    def open_connections(self) -> int:
        """Peers that are remembered."""
        return len(self._peers)

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return None: UDP peers share one socket, which has no counters of its own."""
        return None

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Forget a peer; its next datagram makes a new connection."""
        for remote, peer in self._peers.items():
            if peer.record.conn_id == conn_id:
                self._forget(remote, reason)
                return True
        return False

    def socket_options(self) -> list[SocketOption]:
        """Return the socket's buffer sizes, and whether it shares its port."""
        return [
            *reuse_options(self._socket, self.context.experiment),
            *buffer_options(self._socket, self.tuning),
        ]

    def close(self, reason: CloseReason) -> None:
        """Close the socket and every peer's books."""
        self._watcher.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        for request in list(self._in_service):
            self.end(request)
        for remote in list(self._peers):
            self._forget(remote, reason)
