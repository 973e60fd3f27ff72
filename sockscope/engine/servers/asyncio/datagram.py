"""The ``datagram`` model: one UDP socket read in place with ``add_reader``.

Reading the socket ourselves, up to 64 datagrams a turn, is 1.15 times as fast as a uvloop
``DatagramProtocol`` and gives both loops the same behaviour.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import nullcontext
from time import perf_counter

from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.wire.sequence import SEQUENCE_BYTES
from sockscope.engine.captures import CAPTURE_BYTES, clip
from sockscope.engine.limiter import Waiter
from sockscope.engine.os_errors import describe
from sockscope.engine.own_errors import told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, Inheritance, Remote, ServerContext
from sockscope.engine.servers.faults.requests import EXCEPTION, InjectedFault
from sockscope.engine.servers.peers import UdpPeer
from sockscope.engine.servers.udp_endpoint import (
    LARGEST_DATAGRAM_BYTES,
    MOST_HELD_S,
    READS_PER_TURN,
    UdpEndpoint,
)
from sockscope.engine.work import spend


class UdpRequest:
    """One datagram on its way to its answer: waiting to be admitted, or in service."""

    __slots__ = ("_endpoint", "_holds_permit", "_timer", "_waiter", "data", "peer", "read_s", "remote")

    def __init__(
        self, endpoint: DatagramEndpoint, read_s: float, data: bytes, peer: UdpPeer, remote: Remote
    ) -> None:
        self._endpoint = endpoint
        self._timer: asyncio.Handle | None = None
        self._waiter: Waiter | None = None
        self._holds_permit = False
        self.read_s = read_s
        self.data = data
        self.peer = peer
        self.remote = remote

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
            self._timer = endpoint.call_later(endpoint.tuning.service_time_s, self.answer)
        else:
            # In a turn of its own: a burst must not keep the loop for all its service times at once.
            self._timer = endpoint.call_soon(self._work)

    def _work(self) -> None:
        tuning = self._endpoint.tuning
        spend(tuning.work, tuning.service_time_s)
        self.answer()

    def answer(self) -> None:
        """Send the answer: the service time is over."""
        self._endpoint.answer(self)

    def _raised(self, error: InjectedFault) -> None:
        """The handler has raised: there is no answer."""
        recorder = self._endpoint.context.recorder
        recorder.errors += 1
        recorder.on_error(told(error, EXCEPTION), self.peer.record, reason=CloseReason.RAISED)
        self._endpoint.end(self)

    def limit_begun(self) -> None:
        """There is an admission limit from now on: who is served already counts."""
        if self._timer is not None and not self._holds_permit:
            self._endpoint.context.admission.adopt()
            self._holds_permit = True

    def end(self) -> None:
        """Stop serving, and let the next one in."""
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._endpoint.context.admission.forget(self._waiter)
        if self._holds_permit:
            self._endpoint.context.admission.release()


class StruckUdpRequest(UdpRequest):
    """One datagram that meets the faults of the server before it is answered."""

    __slots__ = ()

    def answer(self) -> None:
        """Answer, unless the handler raises."""
        try:
            self._endpoint.context.faults.strike()
        except InjectedFault as error:
            self._raised(error)
        else:
            super().answer()


class DatagramEndpoint(UdpEndpoint):
    """A UDP socket that the event loop watches."""

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        super().__init__(context, assignment, context.recorder, nullcontext())
        self.call_soon = self._loop.call_soon
        self._in_service: set[UdpRequest] = set()
        # Answers that wait for room: when each was read, until when it may wait, its bytes, and whose it is.
        self._held: deque[tuple[float, float, bytes, UdpPeer, Remote]] = deque()
        self._watched = False
        self._take(assignment.tuning)
        self._watch()
        self.watch_idle()

    # Serving.

    def _readable(self) -> None:
        recvfrom_into = self.sock.recvfrom_into
        buffer = self._buffer
        sendto = self.sock.sendto
        peers = self.peers.known
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
                peer = self.peers.out_of_line(remote, peer, number if size >= SEQUENCE_BYTES else 0)
                if peer is None:
                    continue
            record = peer.record
            if delayed:
                record.odd_read(size, 1)
                self._serve_later(now, data, peer, remote)
                if not self._watched:
                    return
                continue
            try:
                sendto(data, remote)
            except OSError as error:
                record.odd_read(size, 1)
                if self._hold(error, now, data, peer, remote):
                    return
                self.answer_failed(error, peer, remote)
                continue
            if size != record.same_bytes_in:
                record.expect(size, size)
            record.exchanges += 1
            kept = data if size <= CAPTURE_BYTES else clip(data)
            on_exchange((now, now, record, kept, kept))

    def _serve_later(self, now: float, data: bytes, peer: UdpPeer, remote: Remote) -> None:
        request = self._make_request(self, now, data, peer, remote)
        self.owe(peer, len(data))
        self._in_service.add(request)
        request.begin()
        if not self.has_room:
            self._watch()

    def _watch(self) -> None:
        """Read while there is room for what is read; else the kernel keeps it, or drops it."""
        watched = self.reading and self.has_room and not self._held
        if watched == self._watched:
            return
        self._watched = watched
        if watched:
            self._loop.add_reader(self.sock, self._readable)
        else:
            self._loop.remove_reader(self.sock)

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
            if self._held:
                raise BlockingIOError  # not before those that wait
            self.sock.sendto(data, request.remote)
        except OSError as error:
            if not self._hold(error, request.read_s, data, request.peer, request.remote):
                self.answer_failed(error, request.peer, request.remote)
            return
        record.odd_write(len(data))
        kept = clip(data)
        self.context.recorder.on_exchange((request.read_s, answered_s, record, kept, kept))

    def _hold(self, error: OSError, read_s: float, data: bytes, peer: UdpPeer, remote: Remote) -> bool:
        """Let an answer wait for which a Unix socket has no room; return whether it does."""
        if not self.holds or not isinstance(error, BlockingIOError):
            return False
        self.owe(peer, len(data))
        self._held.append((read_s, perf_counter() + MOST_HELD_S, data, peer, remote))
        if len(self._held) == 1:
            self.send_later(self._send_held)
            self._watch()
        return True

    def _send_held(self) -> None:
        """Send the answers that wait, in their order, and read on when there are none."""
        if self.closed:
            return
        self._loop.remove_writer(self.sock)
        while self._held:
            read_s, until_s, data, peer, remote = self._held[0]
            answered_s = perf_counter()
            try:
                if not peer.gone:
                    self.sock.sendto(data, remote)
                    peer.record.odd_write(len(data))
                    kept = clip(data)
                    self.context.recorder.on_exchange((read_s, answered_s, peer.record, kept, kept))
            except OSError as error:
                if isinstance(error, BlockingIOError) and answered_s < until_s:
                    self.send_later(self._send_held)
                    return
                self.answer_failed(error, peer, remote)
            self._held.popleft()
            self.owe_no_more(peer, len(data))
        self._watch()

    def end(self, request: UdpRequest) -> None:
        """Let go of a request, answered or not."""
        self._in_service.discard(request)
        request.end()
        self.owe_no_more(request.peer, len(request.data))
        if not self._watched:
            self._watch()

    # From the role.

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; who is served already counts against an admission limit."""
        await super().apply(tuning, generation)
        self._take(tuning)
        for request in self._in_service if tuning.server_permits else ():
            request.limit_begun()

    async def take_faults(self) -> None:
        """Serve datagrams by way of the faults while these strike, and else without them."""
        self._take(self.tuning)

    def _take(self, tuning: Tuning) -> None:
        # Read into one buffer and copied out: 64 KiB allocated per read and given back but for a few bytes
        # leave the captures scattered over the heap. A datagram is never read in parts: what a smaller buffer
        # does not hold is gone.
        self._buffer = memoryview(bytearray(tuning.read_bytes or LARGEST_DATAGRAM_BYTES))
        strikes = self.context.faults.strikes
        self._make_request = StruckUdpRequest if strikes else UdpRequest
        self._serves_later = tuning.service_time_s > 0 or tuning.server_permits > 0 or strikes
        self.context.admission.resize(tuning.server_permits)

    def share(self) -> Inheritance | None:
        """Return a duplicate of the socket, or None when it is closed or another's already."""
        inheritance = super().share()
        self._watch()
        return inheritance

    def take_back(self) -> None:
        """Read again: the successor could not begin."""
        super().take_back()
        self._watch()

    def close(self, reason: CloseReason) -> None:
        """Close the socket, and record the end of every peer."""
        super().close(reason)
        self._watch()
        for request in list(self._in_service):
            self.end(request)
        if self.sock.fileno() >= 0:
            self._loop.remove_writer(self.sock)
        self.sock.close()


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve all peers on one socket; raises ListenError."""
    return DatagramEndpoint(context, assignment)
