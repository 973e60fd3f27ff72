"""The ``select``, ``poll``, ``epoll`` and ``kqueue`` models: one thread, non-blocking sockets, one loop.

The four differ in how the loop asks the kernel which sockets are ready, and in nothing else. Service time
is a timer, so that others are served meanwhile; with ``--work block`` or ``cpu`` it is spent in the loop, and
everybody waits.
"""

from __future__ import annotations

import ssl
from collections import deque
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE

from sockscope.core.config.models import FD_SETSIZE
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionState
from sockscope.core.events import CloseReason
from sockscope.core.wire.framing import FramingError
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.own_errors import told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.accept_gate import ACCEPT_PAUSE_S
from sockscope.engine.servers.conversation import Request, is_full
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.faults.requests import EXCEPTION, InjectedFault
from sockscope.engine.servers.listener import Arrival
from sockscope.engine.servers.selectors.loop import SelectorLoop
from sockscope.engine.servers.sync_tcp import SyncConnection, SyncTcpEndpoint
from sockscope.engine.threads import spend_in_slices
from sockscope.engine.tls.contexts import HANDSHAKE_S
from sockscope.engine.tls.sockets import TlsSocket
from sockscope.errors import ResourceLimitError

RECORD_BYTES = 1 << 14
"""What a record of TLS holds at the most (RFC 8446, section 5.1)."""
ACCEPTS_PER_TURN = 128
"""Connections accepted in one turn of the loop, so that a burst of connections does not stop the service."""


class SelectorConnection(SyncConnection):
    """An accepted connection: what it asked and was not answered, what was answered and not yet written."""

    def __init__(self, endpoint: SelectorEndpoint, arrival: Arrival) -> None:
        super().__init__(arrival)
        self.endpoint = endpoint
        self._queue: deque[Request] = deque()
        self._queued_bytes = 0
        self._unsent = memoryview(b"")
        self._in_service = False
        self._hearing = True
        self._closed = False
        self._events = 0

    # In the thread of the loop.

    def begin(self) -> None:
        """Be served, after the handshake if TLS is spoken."""
        endpoint = self.endpoint
        if not self._arrival.tuning.tls:
            endpoint.register(self)
            self._watch()
            return
        endpoint.handshaking.add(self)
        try:
            self.wrap(endpoint)
        except OSError as error:
            self._not_secured(error)
            return
        endpoint.loop.call_later(HANDSHAKE_S, self._took_too_long)
        self._shake_hands()

    def _shake_hands(self, _: int = 0) -> None:
        sock, loop = self.sock, self.endpoint.loop
        assert isinstance(sock, TlsSocket)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            loop.watch(sock, EVENT_READ, self._shake_hands)
        except ssl.SSLWantWriteError:
            loop.watch(sock, EVENT_WRITE, self._shake_hands)
        except OSError as error:
            self._not_secured(error)
        else:
            loop.watch(sock, 0, self._shake_hands)
            self.secured(self.endpoint, sock)
            self.endpoint.register(self)
            self.endpoint.handshaking.discard(self)
            self._watch()

    def _took_too_long(self) -> None:
        if self in self.endpoint.handshaking:
            self._not_secured(TimeoutError())

    def _not_secured(self, error: OSError) -> None:
        if not self._closed:
            self._closed = True
            if self.sock.fileno() >= 0:  # not if the peer was gone before it could be wrapped
                self.endpoint.loop.watch(self.sock, 0, self._shake_hands)
                self.sock.close()
            self.not_secured(self.endpoint, error)
            self.endpoint.abandon(self)

    def _ready(self, events: int) -> None:
        try:
            if events & EVENT_WRITE:
                self._send()
                self._answer()
            if events & EVENT_READ:
                self._read()
        except (OSError, FramingError, InjectedFault) as error:
            self._failed(error)

    def _read(self) -> None:
        try:
            data = self.sock.recv(self._read_bytes)
        except BlockingIOError:
            return
        except ssl.SSLEOFError:
            self.endpoint.recorder.count("truncated")
            data = b""
        if data:
            self._enqueue(self._conversation.requests_in(data))
        else:
            self._hearing = False
            if self._queue:
                self.record.state = ConnectionState.HALF_CLOSED
        self._answer()

    @property
    def _read_bytes(self) -> int:
        """Most bytes that one read takes; of TLS a whole record, as nothing tells of the rest of one."""
        most = self.endpoint.read_bytes
        return max(most, RECORD_BYTES) if isinstance(self.sock, TlsSocket) else most

    def _enqueue(self, requests: list[Request]) -> None:
        self._queue.extend(requests)
        for request in requests:
            self._queued_bytes += len(request.wire)

    def _answer(self) -> None:
        """Answer in order what may be answered by now."""
        endpoint = self.endpoint
        while not self._unsent and not self._in_service and self._has_queued():
            tuning = endpoint.tuning
            if tuning.service_time_s and tuning.work == "wait":
                self._in_service = True
                endpoint.loop.call_later(tuning.service_time_s, self._served)
                break
            if tuning.service_time_s:
                endpoint.spend()
            self._reply()
        self._go_on()

    def _has_queued(self) -> bool:
        """Whether there is a request to answer, of those that were read."""
        if not self._queue:
            self._enqueue(self._conversation.more())
        return bool(self._queue)

    def _served(self) -> None:
        self._in_service = False
        if self._closed:
            return
        try:
            self._reply()
            self._answer()
        except (OSError, FramingError, InjectedFault) as error:
            self._failed(error)

    def _failed(self, error: OSError | FramingError | InjectedFault) -> None:
        if isinstance(error, FramingError):
            self.endpoint.recorder.count("errors")
            self._close(CloseReason.GARBAGE, str(error))
        elif isinstance(error, InjectedFault):
            self.endpoint.count_raised(self.record, told(error, EXCEPTION))
            self._close(CloseReason.RAISED, told(error, EXCEPTION))
        else:
            reason = close_reason(error)
            is_told = reason in (CloseReason.OS_ERROR, CloseReason.TLS)
            self._close(reason, describe(error) if is_told else "")

    def _reply(self) -> None:
        request = self._queue.popleft()
        self._queued_bytes -= len(request.wire)
        self._unsent = memoryview(self._conversation.answer(request))
        self._send()

    def _send(self) -> None:
        try:
            sent = self.sock.send(self._unsent) if self._unsent else 0
        except BlockingIOError:
            sent = 0
        self._unsent = self._unsent[sent:]
        if self._unsent and self.record.state is ConnectionState.OPEN:
            self.endpoint.recorder.on_paused(self.record)
        elif not self._unsent and self.record.state is ConnectionState.PAUSED:
            self.endpoint.recorder.on_resumed(self.record)

    def _go_on(self) -> None:
        """Close when there is nothing left to do, else wait for what comes next."""
        if not self._hearing and not self._queue and not self._unsent:
            self._close(CloseReason.EOF, self._conversation.unfinished)
        else:
            self._watch()

    def _watch(self) -> None:
        events = 0
        has_room = not self._conversation.holds_back and not is_full(self._queue, self._queued_bytes)
        if self._hearing and not self._unsent and has_room:
            events = EVENT_READ
        if self._unsent:
            events |= EVENT_WRITE
        if events != self._events:
            self.endpoint.loop.watch(self.sock, events, self._ready)
            self._events = events

    def _close(self, reason: CloseReason, text: str) -> None:
        if self in self.endpoint.handshaking:
            self._not_secured(ConnectionAbortedError())
        if self._closed:
            return
        self._closed = True
        self.endpoint.loop.watch(self.sock, 0, self._ready)
        self.sock.close()
        self.endpoint.forget(self, self._reason or reason, "" if self._reason else text)

    def _finish(self) -> None:
        if self in self.endpoint.handshaking:
            self._not_secured(ConnectionAbortedError())
        if not self._closed:
            self._hearing = False
            if self._queue or self._unsent:
                self.record.state = ConnectionState.HALF_CLOSED
            self._go_on()

    # From the loop of the role.

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more, answer what was read, then close."""
        self._reason = self._reason or reason
        self.endpoint.loop.call(self._finish)

    def close(self, reason: CloseReason, *, abort: bool = False) -> None:
        """Close, whatever is still to be written."""
        self._reason = self._reason or reason
        self.endpoint.loop.call(partial(self._close, reason, ""))


class SelectorEndpoint(SyncTcpEndpoint):
    """A listener and its connections on a loop of their own, in one thread."""

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        super().__init__(context, assignment)
        self._connections: dict[int, SelectorConnection] = {}
        self._accept_pause = False
        try:
            self.loop = SelectorLoop(self.model.mechanism, self.waker)
        except OSError:
            super().release()
            raise
        if not self.loop.can_watch(self.listener) or not self.loop.can_watch(self.waker):
            self.release()
            raise ResourceLimitError(
                "descriptors", FD_SETSIZE,
                f"select watches descriptors below {FD_SETSIZE:,} only, and this process is using those; "
                "use epoll or poll, fewer clients, or a server in a process of its own",
            )  # fmt: skip
        self.loop.watch(self.listener, EVENT_READ, self._accept)
        self.start_thread(self.model.name, self.loop.run)
        self.watch_idle()

    @property
    def connections(self) -> dict[int, SelectorConnection]:
        """The open connections by their number."""
        return self._connections

    def release(self) -> None:
        """Close what is left when nobody is served any more; called by the last thread."""
        self.loop.close()
        super().release()

    # In the thread of the loop.

    def spend(self) -> None:
        """Spend the service time where the loop should go on: nobody else is served meanwhile."""
        spend_in_slices(self.tuning.work, self.tuning.service_time_s, lambda: self.closing)

    def _accept(self, _: int = 0) -> None:
        for _turn in range(ACCEPTS_PER_TURN):
            try:
                arrival = self.listener.accept()
            except OSError as error:
                if self.gate.failed(error):
                    continue
                self._pause_accepting()
                return
            if arrival is None:
                self.gate.open()
                return
            descriptor = arrival.sock.fileno()
            if not self.loop.can_watch(arrival.sock):
                self.turn_away(
                    arrival, f"descriptor {descriptor:,}: select watches those below {FD_SETSIZE:,}"
                )
            elif self.admits(arrival):
                self._adopt(arrival)
            if not self.gate.accepted(descriptor):
                self._pause_accepting()
                return

    def _pause_accepting(self) -> None:
        if self.listener.fileno() >= 0 and not self._accept_pause:
            self._accept_pause = True
            self.loop.watch(self.listener, 0, self._accept)
            self.loop.call_later(ACCEPT_PAUSE_S, self._accept_again)

    def _accept_again(self) -> None:
        if self.listener.fileno() < 0:
            return
        if self.gate.has_room():
            self._accept_pause = False
            self.loop.watch(self.listener, EVENT_READ, self._accept)
        else:
            self.loop.call_later(ACCEPT_PAUSE_S, self._accept_again)

    def _adopt(self, arrival: Arrival) -> None:
        arrival.sock.setblocking(False)
        SelectorConnection(self, arrival).begin()

    def register(self, connection: SelectorConnection) -> None:
        """Count a connection that can be used among the open ones."""
        connection.open(self)
        self._connections[connection.record.conn_id] = connection
        if reason := self.closing or self.finishing:
            connection.finish(reason)

    def _accept_taken(self) -> None:
        while self.listener.has_taken:
            self._accept()

    def _stop_accepting(self) -> None:
        """Take in who is left of the backlog, and let the listener go."""
        if self.listener.fileno() >= 0:
            self.loop.watch(self.listener, 0, self._accept)
            self.listener.close()
        self._accept_taken()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self.listener.finished and not (self._connections or self.handshaking):
            self.loop.running = False

    def abandon(self, connection: SelectorConnection) -> None:
        """Called by a connection whose handshake came to nothing."""
        self.handshaking.discard(connection)
        self._end_if_done()

    def forget(self, connection: SelectorConnection, reason: CloseReason, text: str) -> None:
        """Called by a connection that is closed."""
        del self._connections[connection.record.conn_id]
        self.recorder.on_close(connection.record, reason, text)
        self._end_if_done()

    # From the loop of the role.

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; connections accepted from now on get its framing and buffers."""
        await super().apply(tuning, generation)
        self.loop.call(self._accept_taken)

    def drain(self) -> None:
        """Close the listener; connections go on, those too that the kernel has made already."""
        self.listener.refuse()
        self.loop.call(self._stop_accepting)


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve in one loop of one thread; raises ListenError and ResourceLimitError."""
    return SelectorEndpoint(context, assignment)
