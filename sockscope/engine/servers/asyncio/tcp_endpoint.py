"""What the TCP models of asyncio share: a listener, and how its connections come and go.

A model is a subclass of :class:`TcpConnection`; how bytes become requests and requests answers is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from time import perf_counter
from typing import Any, cast

from sockscope.core.addresses import Address, format_address
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.addresses import ends_of, plain_address
from sockscope.engine.loops import attach
from sockscope.engine.options import (
    ListenDrops,
    change_buffers,
    listener_backlog,
    listener_queue,
    reuse_options,
    set_accepted_buffers,
    set_no_delay,
    socket_of,
)
from sockscope.engine.os_errors import close_reason, describe, listen_error
from sockscope.engine.role import Assignment
from sockscope.engine.servers.accept_gate import ACCEPT_PAUSE_S, AcceptGate
from sockscope.engine.servers.connections import ConnectionsEndpoint
from sockscope.engine.servers.endpoint import Inheritance, ServerContext, bound_socket
from sockscope.engine.timers import punctual
from sockscope.engine.tls.contexts import said_goodbye, told
from sockscope.engine.tls.faults import handshake_error
from sockscope.engine.turns import in_turns

ACCEPTS_PER_TURN = 64
"""Connections accepted in one turn of the loop. uvloop alone accepts one, which starves under load."""
_RETUNED = {"read_bytes", "server_permits", "service_time_s", "work"}
_OPTIONS = {"no_delay", "read_bytes"}
"""What of a tuning open connections take over, each way; there may be thousands of them."""


class TcpConnection(asyncio.BaseProtocol):
    """One accepted connection: its record, and how it ends. A model adds how it is served."""

    __slots__ = (
        "_reason", "_reason_text", "endpoint", "heard_before", "idle_since_s", "over", "record", "transport",
    )  # fmt: skip

    record: ConnectionRecord
    transport: asyncio.Transport

    def __init__(self, endpoint: TcpEndpoint, tuning: Tuning) -> None:
        self.endpoint = endpoint
        self._reason: CloseReason | None = None
        self._reason_text = ""
        self.over: ssl.SSLObject | None = None
        """What speaks TLS on it, if anything does."""
        self.heard_before = -1
        self.idle_since_s = 0.0

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the recorder; no byte has been read yet."""
        self.transport = cast(asyncio.Transport, transport)
        self.over = transport.get_extra_info("ssl_object")
        endpoint = self.endpoint
        local, remote = ends_of(transport, endpoint.address)
        self.record = endpoint.context.recorder.on_open("tcp", local, remote, endpoint.generation)
        self.record.tls = self.over is not None
        endpoint.arriving.discard(self)
        endpoint.connections[self.record.conn_id] = self
        # The tuning may have changed since it was accepted.
        self.retune(endpoint.tuning)
        self.set_options(endpoint.tuning)
        faults = endpoint.context.faults
        if faults.strikes:
            self.take_faults()
        faults.undrained.take(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Record the end of the connection."""
        over = self.over
        if over is not None and error is None and self._reason is None and not said_goodbye(over):
            self.endpoint.context.recorder.truncated += 1
        reason = self._reason or close_reason(error)
        text = self._reason_text
        if reason is CloseReason.OS_ERROR and error is not None:
            text = describe(error)
        self.endpoint.forget(self, reason, text)

    # From the endpoint.

    @property
    def heard(self) -> int:
        """A number that grows with whatever the peer sends."""
        return self.record.reads

    @property
    def is_admitted(self) -> bool:
        """Whether a request of it is in service, if one was read and is not answered."""
        return True

    def set_options(self, tuning: Tuning) -> None:
        """Set what can change on an open socket."""
        if sock := socket_of(self.transport):
            set_no_delay(sock, tuning.no_delay)

    def retune(self, tuning: Tuning) -> None:
        """Take over what can change on an open connection."""
        raise NotImplementedError

    def take_faults(self) -> None:
        """Serve requests by way of the faults while these strike, and else without them."""
        raise NotImplementedError

    def broken(self, text: str) -> None:
        """The handler has raised, or was cancelled: count and tell it, and close."""
        recorder = self.endpoint.context.recorder
        recorder.errors += 1
        recorder.on_error(text, self.record, reason=CloseReason.RAISED)
        self.close(CloseReason.RAISED, text, abort=True)

    def close(self, reason: CloseReason, text: str = "", *, abort: bool = False) -> None:
        """Close with a reason of ours; ``abort`` does not wait for what is still to be written."""
        if self._reason is None:
            self._reason, self._reason_text = reason, text
        if abort:
            self.transport.abort()
        else:
            self.transport.close()

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more, answer what was read, then close."""
        raise NotImplementedError


ConnectionFactory = Callable[["TcpEndpoint", Tuning], TcpConnection]
"""What an endpoint makes for each socket that it accepts."""


class TcpEndpoint(ConnectionsEndpoint):
    """A listener and its connections, each made by ``connection``."""

    def __init__(self, context: ServerContext, assignment: Assignment, connection: ConnectionFactory) -> None:
        self.context = context
        self._make_connection = connection
        self.tuning = assignment.tuning
        self.generation = assignment.generation
        self._connections: dict[int, TcpConnection] = {}
        # Accepted, but not yet with a transport.
        self.arriving: set[TcpConnection] = set()
        loop = asyncio.get_running_loop()
        self.call_later = punctual(loop)
        self.call_soon = loop.call_soon
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        # TLS handshakes that are under way.
        self._handshaking: set[socket.socket] = set()
        self.gate = AcceptGate(context.recorder)
        self._accept_pause: asyncio.TimerHandle | None = None
        self._closed = self._hangs_up = False
        context.admission.resize(assignment.tuning.server_permits)
        self._listener: socket.socket | None = bound_socket(socket.SOCK_STREAM, context, assignment)
        try:
            self._listener.listen(context.experiment.backlog)
        except OSError as error:
            self._listener.close()
            raise listen_error(assignment.address, error) from error
        self._drops = ListenDrops(self._listener)
        self.address: Address = plain_address(self._listener.getsockname())
        self._loop.add_reader(self._listener, self._accept)
        self.watch_idle()

    @property
    def connections(self) -> dict[int, TcpConnection]:
        """The open connections by their number."""
        return self._connections

    # Accepting.

    def _accept(self, most: int = ACCEPTS_PER_TURN) -> None:
        listener = self._listener
        if listener is None:
            return
        for _ in range(most):
            try:
                sock, remote = listener.accept()
            except BlockingIOError:
                self.gate.open()
                return
            except OSError as error:
                if self.gate.failed(error):
                    continue
                self._pause_accepting()
                return
            descriptor = sock.fileno()
            recorder = self.context.recorder
            if len(self.connections) + len(self.arriving) >= self.context.experiment.max_connections:
                recorder.rejected += 1
                recorder.on_error(
                    f"not accepted: {self.context.experiment.max_connections:,} connections are open already",
                    address=format_address(plain_address(remote)),
                    reason=CloseReason.LIMIT,
                )
                sock.close()
                continue
            set_accepted_buffers(sock, self.tuning)
            connection = self._make_connection(self, self.tuning)
            self.arriving.add(connection)
            self.run(self._adopt(sock, connection, remote, tls=self.tuning.tls))
            if not self.gate.accepted(descriptor):
                self._pause_accepting()
                return

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine of a connection; the endpoint is not drained before it has ended."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "a connection failed", "exception": error})

    async def _adopt(self, sock: socket.socket, connection: TcpConnection, remote: Any, *, tls: bool) -> None:
        """Make a connection of an accepted socket; ``tls`` is as it was when that was accepted."""
        began_s = perf_counter()
        try:
            sock.setblocking(False)
            if tls:
                await self._shake_hands(sock, connection)
            else:
                await attach(sock, connection, accepted=True)
        except OSError as error:
            self.arriving.discard(connection)
            sock.close()
            if not tls:
                self.context.recorder.on_error(f"accepted, then lost: {describe(error)}")
            elif not self._hangs_up:
                self.context.recorder.on_handshake_failed(
                    str(handshake_error(error)), format_address(plain_address(remote))
                )
            return
        if (over := connection.over) is not None:
            self.context.recorder.on_handshake(
                perf_counter() - began_s, told(over), reused=bool(over.session_reused)
            )
        if self._closed:
            connection.close(CloseReason.STOPPED, abort=True)

    async def _shake_hands(self, sock: socket.socket, connection: TcpConnection) -> None:
        tls = self.context.tls.for_loop(self.context.experiment)
        self._handshaking.add(sock)
        try:
            await attach(sock, connection, accepted=True, tls=tls)
        finally:
            self._handshaking.discard(sock)

    def _hang_up(self) -> None:
        """End the handshakes that are under way."""
        self._hangs_up = True
        for sock in self._handshaking:
            with contextlib.suppress(OSError):  # the peer has reset it
                sock.shutdown(socket.SHUT_RDWR)

    def _accept_backlog(self) -> None:
        """Accept who has connected by now, and may have sent requests as the tuning was until now."""
        # Linux queues one more than it is asked to.
        self._accept(self.context.experiment.backlog + 1)

    def _pause_accepting(self) -> None:
        if self._listener is not None and self._accept_pause is None:
            self._loop.remove_reader(self._listener)
            self._accept_pause = self._loop.call_later(ACCEPT_PAUSE_S, self._accept_again)

    def _accept_again(self) -> None:
        self._accept_pause = None
        if self._listener is None:
            return
        if self.gate.has_room():
            self._loop.add_reader(self._listener, self._accept)
        else:
            self._accept_pause = self._loop.call_later(ACCEPT_PAUSE_S, self._accept_again)

    # From the role.

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; connections accepted from now on get its framing and buffers."""
        if not tuning.frames_alike(self.tuning):
            self._accept_backlog()
        before, self.tuning, self.generation = self.tuning, tuning, generation
        if self._listener is not None:
            change_buffers(self._listener, tuning)
        changed = before.changes_to(tuning).keys()
        if changed & _RETUNED:
            await in_turns(self.connections.values(), lambda connection: connection.retune(tuning))
        # Last: until all that are served are known to be, it would let others in beside them.
        self.context.admission.resize(tuning.server_permits)
        if changed & _OPTIONS:
            await in_turns(self.connections.values(), lambda connection: connection.set_options(tuning))

    async def take_faults(self) -> None:
        """Let every connection serve by way of the faults while these strike, and else without them."""
        await in_turns(self.connections.values(), lambda connection: connection.take_faults())

    def transports(self) -> Iterable[asyncio.Transport]:
        """Return the transports of the open connections."""
        return [connection.transport for connection in self.connections.values()]

    def share(self) -> Inheritance | None:
        """Return a duplicate of the listener, or None when it is closed."""
        return Inheritance(self._listener.dup()) if self._listener is not None else None

    def take_back(self) -> None:
        """Nothing to do: it has not stopped accepting."""

    def drain(self) -> None:
        """Close the listener; connections go on, those too that the kernel has made already."""
        self._accept_backlog()
        if self._accept_pause is not None:
            self._accept_pause.cancel()
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self.context.recorder.listen_drops += self._drops.end()
            self._listener.close()
            self._listener = None

    @property
    def drained(self) -> bool:
        """Whether no connection is left."""
        return not self.connections and not self._tasks

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the (wrapped) socket of a connection."""
        connection = self.connections.get(conn_id)
        return socket_of(connection.transport) if connection is not None else None

    @property
    def backlog(self) -> int:
        """Connections that the kernel has made and nobody has accepted yet."""
        return (listener_queue(self._listener) or 0) if self._listener is not None else 0

    @property
    def listen_drops(self) -> int | None:
        """Connections that the kernel has dropped at the listener, while that is open."""
        return self._drops.count

    def forget(self, connection: TcpConnection, reason: CloseReason, text: str) -> None:
        """Called by a connection that is closed."""
        self._connections.pop(connection.record.conn_id, None)
        self.context.recorder.on_close(connection.record, reason, text)

    def socket_options(self) -> list[SocketOption]:
        """Return the listener's options and those of one accepted connection."""
        found: list[SocketOption] = []
        if self._listener is not None:
            found.extend(reuse_options(self._listener, self.context.experiment))
            found.append(
                SocketOption("backlog", self.context.experiment.backlog, listener_backlog(self._listener))
            )
        found.extend(self.connection_options())
        return found

    def close(self, reason: CloseReason) -> None:
        """Close the listener and abort every connection."""
        self._closed = True
        super().close(reason)
        self._hang_up()

    def finish(self, reason: CloseReason) -> None:
        """Close the listener, and each connection as soon as it owes no answer."""
        super().finish(reason)
        self._hang_up()
