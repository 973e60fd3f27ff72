"""What the models share whose threads wait in blocking calls: one thread talks on one connection at a time.

A thread blocks in ``recv``, ``sendall`` and ``sleep`` as in any textbook. What ends it from outside is the
loop's ``shutdown`` of its socket, which makes ``recv`` return and ``sendall`` fail.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from types import TracebackType

from sockscope.core.events import CloseReason
from sockscope.core.wire.framing import FramingError
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.own_errors import told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.conversation import Request
from sockscope.engine.servers.endpoint import ServerContext
from sockscope.engine.servers.faults.requests import EXCEPTION, InjectedFault
from sockscope.engine.servers.listener import Arrival
from sockscope.engine.servers.sync_tcp import SyncConnection, SyncTcpEndpoint
from sockscope.engine.threads import spend_in_slices
from sockscope.engine.tls.contexts import HANDSHAKE_S


class HungUp(Exception):
    """The loop has closed the connection on which the thread works."""


class BlockingConnection(SyncConnection):
    """An accepted connection on a blocking socket; as a context manager it closes and records its end."""

    def __init__(self, endpoint: ThreadsEndpoint, arrival: Arrival) -> None:
        super().__init__(arrival)
        self.endpoint = endpoint
        self._hung_up = False
        # The loop must not shut down a descriptor that the thread has closed, and that is another's by now.
        self._closing = threading.Lock()

    # For the thread that serves it.

    def begin(self) -> bool:
        """Shake hands if TLS is spoken; return whether it can be served."""
        if not self._arrival.tuning.tls:
            return True
        endpoint = self.endpoint
        try:
            with self._closing:
                secured = self.wrap(endpoint)
            secured.settimeout(HANDSHAKE_S)
            secured.do_handshake()
            secured.settimeout(None)
        except OSError as error:
            with self._closing:
                self.sock.close()
            self.not_secured(endpoint, error)
            endpoint.handshaking.discard(self)
            return False
        self.secured(endpoint, secured)
        endpoint.register(self)
        endpoint.handshaking.discard(self)
        return True

    def requests(self) -> Iterator[Request]:
        """Yield requests as they come, until the peer has no more. Raises OSError, FramingError."""
        while self._reason is None and (data := self.sock.recv(self.endpoint.read_bytes)):
            requests = self._conversation.requests_in(data)
            while requests:
                yield from requests
                requests = self._conversation.more()

    def serve(self, request: Request) -> None:
        """Spend the service time."""
        tuning = self.endpoint.tuning
        if tuning.service_time_s:
            spend_in_slices(tuning.work, tuning.service_time_s, lambda: self._hung_up)
        if self._hung_up:
            raise HungUp

    def sendall(self, request: Request) -> None:
        """Write the answer, however long the peer takes to read it. Raises OSError."""
        wire = self._conversation.answer(request)
        # sendall(2) in two steps, so that a peer that does not read is known as such.
        try:
            sent = self.sock.send(wire, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent < len(wire):
            self.endpoint.recorder.on_paused(self.record)
            self.sock.sendall(memoryview(wire)[sent:])
            self.endpoint.recorder.on_resumed(self.record)

    def __enter__(self) -> BlockingConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Close the socket and record why. What a peer did is a reason; any other exception propagates."""
        reason, text = CloseReason.EOF, self._conversation.unfinished
        if isinstance(error, FramingError):
            reason, text = CloseReason.GARBAGE, str(error)
            self.endpoint.recorder.count("errors")
        elif isinstance(error, OSError):
            if isinstance(error, ssl.SSLEOFError) and self._reason is None:
                self.endpoint.recorder.count("truncated")
            reason = close_reason(error)
            text = describe(error) if reason in (CloseReason.OS_ERROR, CloseReason.TLS) else text
        elif isinstance(error, InjectedFault):
            reason, text = CloseReason.RAISED, told(error, EXCEPTION)
            self.endpoint.count_raised(self.record, text)
        with self._closing:
            self.sock.close()
        self.endpoint.forget(self, self._reason or reason, "" if self._reason else text)
        return isinstance(error, FramingError | OSError | HungUp | InjectedFault)

    # For the loop.

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more, answer what was read, then close."""
        self._end(reason, socket.SHUT_RD)

    def close(self, reason: CloseReason, *, abort: bool = False) -> None:
        """Close after the answer that is being written, or now."""
        self._hung_up = True
        self._end(reason, socket.SHUT_RDWR if abort else socket.SHUT_RD)

    def _end(self, reason: CloseReason, how: int) -> None:
        if self._reason is None:
            self._reason = reason
        with self._closing, contextlib.suppress(OSError):  # the peer may have reset it, the thread closed it
            self.sock.shutdown(how)


class ThreadsEndpoint(SyncTcpEndpoint):
    """A listener whose connections are served by threads that block.

    A model says in :meth:`serve` what each thread does that accepts connections: there are as many as the
    model serves connections at once, and one where that has no bound.
    """

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        super().__init__(context, assignment)
        self._connections: dict[int, BlockingConnection] = {}
        self._accepting = threading.Lock()
        self._full = False
        name = self.model.name
        self.start_thread(name, self.serve)
        for number in range(1, self.model.at_once):
            try:
                self.thread_group.start(f"{name} {number + 1}", self.serve)
            except RuntimeError:
                self.recorder.on_error(f"only {number:,} threads can be started to serve in")
                break
        self.watch_idle()

    @property
    def connections(self) -> dict[int, BlockingConnection]:
        """The open connections by their number."""
        return self._connections

    def serve(self) -> None:
        """Accept and serve until nobody new is to be accepted; in a thread."""
        raise NotImplementedError

    def accept(self) -> BlockingConnection | None:
        """Wait for the next connection; None when there will be no more. One thread waits at a time."""
        with self._accepting:
            while (arrival := self._next_arrival()) is not None:
                if self.admits(arrival):
                    return self._adopt(arrival)
        return None

    def _next_arrival(self) -> Arrival | None:
        listener, gate = self.listener, self.gate
        while not listener.finished:
            if self._full and not listener.has_taken:
                listener.pause()
                self._full = not gate.has_room()
                continue
            try:
                arrival = listener.accept()
            except OSError as error:
                self._full = not gate.failed(error)
                continue
            if arrival is not None:
                self._full = not gate.accepted(arrival.sock.fileno())
                return arrival
            gate.open()
            listener.wait()
        return None

    def _adopt(self, arrival: Arrival) -> BlockingConnection:
        arrival.sock.setblocking(True)
        connection = self.connect(arrival)
        if arrival.tuning.tls:
            self.handshaking.add(connection)
            self._end_with_others(connection)
        else:
            self.register(connection)
        return connection

    def register(self, connection: BlockingConnection) -> None:
        """Count a connection that can be used among the open ones."""
        connection.open(self)
        self._connections[connection.record.conn_id] = connection
        self._end_with_others(connection)

    def _end_with_others(self, connection: BlockingConnection) -> None:
        # Whoever closes or finishes first sets the reason and then looks at the connections.
        if self.closing is not None:
            connection.close(self.closing, abort=True)
        elif self.finishing is not None:
            connection.finish(self.finishing)

    def forsake(self, connection: BlockingConnection, why: str) -> None:
        """Close a connection that nobody can serve, and count it."""
        self.recorder.count("rejected")
        if connection in self.handshaking:
            self.handshaking.discard(connection)
            connection.sock.close()
            self.recorder.on_error(why, reason=CloseReason.LIMIT)
            return
        self.recorder.on_error(why, connection.record, reason=CloseReason.LIMIT)
        with connection:
            connection.close(CloseReason.LIMIT)

    def connect(self, arrival: Arrival) -> BlockingConnection:
        """Make a connection of an accepted socket."""
        return BlockingConnection(self, arrival)

    def forget(self, connection: BlockingConnection, reason: CloseReason, text: str) -> None:
        """Called by the thread that has closed a connection."""
        del self._connections[connection.record.conn_id]
        self.recorder.on_close(connection.record, reason, text)
