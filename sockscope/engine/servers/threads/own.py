"""A server of the user's own in threads: a handler with ``(sock)`` or ``(sock, address)``, or a class of
:mod:`socketserver`, blocks in a thread of its own for each connection, and what goes by is recorded.

The user's code gets a real socket that counts. What it raises is counted, told with its place, and closes
that connection alone. A thread that goes on after the end is broken off where it is in Python, and left
behind where it is in a call that does not return.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any

from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.wire.ends import Known
from sockscope.engine.os_errors import close_reason
from sockscope.engine.own_errors import caller, place_in, told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import ServerContext
from sockscope.engine.servers.listener import Arrival
from sockscope.engine.servers.own_traffic import Traffic
from sockscope.engine.servers.sync_tcp import SyncTcpEndpoint
from sockscope.engine.servers.threads.recording_socket import RecordingSocket
from sockscope.engine.servers.threads.tcp_threads import BlockingConnection
from sockscope.engine.servers.threads.threaded import ThreadedEndpoint
from sockscope.errors import ConfigError

if TYPE_CHECKING:
    from sockscope.engine.servers.own_server import OwnServer

BREAK_S = 0.5
"""How long a thread has after its connection was shut down, and once more after it was broken off."""


class OwnThreadConnection(BlockingConnection):
    """An accepted connection on which the user's code blocks; as a context manager it records the end."""

    endpoint: OwnThreadsEndpoint
    sock: RecordingSocket

    def __init__(self, endpoint: OwnThreadsEndpoint, arrival: Arrival) -> None:
        super().__init__(endpoint, arrival)
        self.thread = 0
        self.broken_off = False
        self._ended: CloseReason | None = None
        self._closed_by_user = False

    def open(self, endpoint: SyncTcpEndpoint) -> None:
        """Register it, and put a socket that counts in the place of the real one."""
        super().open(endpoint)
        arrival = self._arrival
        self.traffic = Traffic(
            endpoint.recorder, self.record, arrival.tuning, speaks_http=self.endpoint.speaks_http
        )
        # What ends the connection when its descriptor is the user's own.
        self._handle: socket.socket = RecordingSocket(arrival.sock, self)
        self.sock = self._handle

    @property
    def peer_name(self) -> Any:
        """What ``accept`` has told of the peer, as the user's code gets it; it may be gone by now."""
        return self._arrival.peer_name

    # From the socket, in the thread.

    def read(self, data: bytes, flags: int = 0) -> None:
        """Count a read; nothing is the end, and a look ahead is no read."""
        if not data:
            self._ended = self._ended or CloseReason.EOF
        elif not flags & socket.MSG_PEEK:
            self.traffic.read(data)
            self.endpoint.context.standstill.at_request()

    def wrote(self, now: float, data: bytes) -> None:
        """Count a write."""
        self.traffic.wrote(now, data)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The peer does not read."""
        self.endpoint.recorder.on_paused(self.record)
        try:
            yield
        finally:
            self.endpoint.recorder.on_resumed(self.record)

    def lost(self, error: ConnectionError) -> None:
        """The peer is gone."""
        self._ended = self._ended or close_reason(error)

    def closes(self, close: Callable[[], object]) -> None:
        """The user's code closes the socket: the loop must not use the descriptor any more."""
        with self._closing:
            close()
        self._closed_by_user = True

    def leaves_count(self, how: str) -> None:
        """The user's code takes the descriptor for itself; it can be ended as before."""
        with self._closing, contextlib.suppress(OSError):
            self._handle = socket.socket(fileno=os.dup(self.sock.fileno()))
        self.endpoint.recorder.count_no_frames()
        where = caller() or self.endpoint.server.name
        self.endpoint.recorder.on_error(f"what goes by after {how} at {where} is not counted", self.record)

    # The end, in the thread.

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Close the socket and record why; what the user's code raises is told and goes no further."""
        reason, text = self._reason or self._ended, ""
        if error is not None and not self._is_of_the_end(error):
            reason, text = CloseReason.RAISED, told(error, self.endpoint.server.name)
            self.endpoint.tell(self, error, text)
        elif reason is None:
            how = "closed" if self._closed_by_user else "left"
            reason, text = CloseReason.CLOSED, f"{how} by {self.endpoint.server.name}"
        with self._closing:
            descriptor = socket.socket.detach(self.sock)
            if descriptor >= 0:  # files made of it may be open, and would keep it
                os.close(descriptor)
            if self._handle is not self.sock:
                self._handle.close()
        self.traffic.ended()
        self.endpoint.forget(self, reason, text)
        return True

    def _is_of_the_end(self, error: BaseException) -> bool:
        if self.broken_off and isinstance(error, SystemExit):
            self.endpoint.recorder.on_error(
                f"{self.endpoint.server.name} had to be broken off: it did not end with its connection"
            )
            return True
        # Whatever is asked of a socket whose peer is gone (its name, to be shut down) may fail so.
        if isinstance(error, OSError) and error.errno == errno.ENOTCONN:
            return True
        return bool(self._reason or self._ended) and isinstance(error, ConnectionError | EOFError)

    # For the loop.

    def close(self, reason: CloseReason, *, abort: bool = False) -> None:
        """Close after what is being written, or now."""
        self._end(reason, socket.SHUT_RDWR if abort else socket.SHUT_RD)

    def _end(self, reason: CloseReason, how: int) -> None:
        if self._reason is None:
            self._reason = reason
        with self._closing, contextlib.suppress(OSError):  # the peer may have reset it, the thread closed it
            self._handle.shutdown(how)

    def break_off(self) -> None:
        """Raise SystemExit in the thread, where it runs Python."""
        self.broken_off = True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), ctypes.py_object(SystemExit))


class OwnThreadsEndpoint(ThreadedEndpoint):
    """A listener whose connections the user's code serves, each in a thread of its own."""

    def __init__(self, server: OwnServer, context: ServerContext, assignment: Assignment) -> None:
        self.server = server
        self.code = server.code
        answers = context.experiment.dialogue.end if context.experiment.role == "both" else None
        self.speaks_http = answers is Known.HTTP
        self._variables = copy_context()
        self._ending = self._given_up = False
        threaded = replace(assignment.tuning, server="threaded")
        super().__init__(context, replace(assignment, tuning=threaded))

    def look_at_tls(self, tuning: Tuning) -> None:
        """Raise ConfigError where TLS is asked for: the user's code gets the real socket."""
        if tuning.tls:
            why = f"cannot be combined with {self.server.name}: its threads do not speak TLS here"
            raise ConfigError.of("tls", tuning.tls, why)

    def connect(self, arrival: Arrival) -> BlockingConnection:
        """Make a connection of an accepted socket."""
        return OwnThreadConnection(self, arrival)

    def converse(self, connection: BlockingConnection) -> None:
        """Let the user's code have a connection, until it returns."""
        assert isinstance(connection, OwnThreadConnection)
        connection.thread = threading.get_ident()
        with connection:
            self._variables.copy().run(self._serve, connection)

    def _serve(self, connection: OwnThreadConnection) -> None:
        self.code.serve_in_thread(connection.sock, connection.peer_name, self._socketserver)

    @property
    def _socketserver(self) -> Any:
        """What a handler class of :mod:`socketserver` finds as its ``server``."""
        host, port = self.address[:2]
        return SimpleNamespace(server_address=self.address, server_name=host, server_port=port)

    def owes_answer(self, record: object) -> bool:
        """Never: whether a frame is to be answered at all is the user's affair."""
        return False

    def tell(self, connection: OwnThreadConnection, error: BaseException, text: str) -> None:
        """Have the loop count and tell what the user's code has raised in a thread."""
        self.context.recorder.post(partial(self.server.count_raised, self.context.recorder, connection.record,
                                           error, text))  # fmt: skip

    # The end.

    @property
    def drained(self) -> bool:
        """Whether no connection and no thread is left, but for those that are left behind."""
        return self._given_up or super().drained

    def close(self, reason: CloseReason) -> None:
        """Close the listener, abort every connection, and end the threads."""
        super().close(reason)
        if not self._ending:
            self._ending = True
            self._loop.call_later(BREAK_S, self._break_off)

    def _break_off(self) -> None:
        for connection in list(self._connections.values()):
            assert isinstance(connection, OwnThreadConnection)
            connection.break_off()
        if self._connections:
            self._loop.call_later(BREAK_S, self._give_up)

    def _give_up(self) -> None:
        """Leave behind the threads that have not ended."""
        frames = sys._current_frames()
        for connection in list(self._connections.values()):
            assert isinstance(connection, OwnThreadConnection)
            frame = frames.get(connection.thread)
            at = f" at {place}" if frame is not None and (place := place_in(frame)) else ""
            self.server.report(f"a thread of {self.server.name} does not end and is left behind{at}")
            self.recorder.on_close(connection.record, CloseReason.STOPPED)
            self._given_up = True
        if self._given_up:
            self.release()
