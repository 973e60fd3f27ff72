"""A server of the user's own on the event loop: a handler with ``(reader, writer)``, an asyncio protocol or a
web application serves each connection, and what it reads and writes is recorded on the way.

The user's code gets what asyncio would give it, except that its transport counts. What it raises is counted,
told with its place, and closes that connection alone.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, cast

from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord, ConnectionState
from sockscope.core.events import CloseReason
from sockscope.core.wire.ends import Known
from sockscope.engine.loops import break_off
from sockscope.engine.os_errors import close_reason
from sockscope.engine.own_errors import is_interrupt, told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.recording_transport import RecordingTransport
from sockscope.engine.servers.asyncio.tcp_endpoint import TcpConnection, TcpEndpoint
from sockscope.engine.servers.endpoint import ServerContext
from sockscope.engine.servers.own_traffic import Traffic

if TYPE_CHECKING:
    from sockscope.engine.servers.own_server import OwnServer

CANCELS = 8
"""How often a handler is cancelled at the end before its coroutine is closed by force."""


class OwnConnection(TcpConnection, asyncio.Protocol):
    """One accepted connection between the real transport and the user's code."""

    endpoint: OwnEndpoint
    traffic: Traffic

    def __init__(self, endpoint: OwnEndpoint, tuning: Tuning) -> None:
        super().__init__(endpoint, tuning)
        self.inner = asyncio.Protocol()
        self._tuning = tuning
        self._recorder = endpoint.context.recorder
        self._code = endpoint.code
        self._buffered = BufferedReads(self)
        self._outer: asyncio.BaseProtocol = self
        # Whether the user's code has been told that nothing more will come.
        self._ended = False
        self._failed = self._failed_to_buffer = False
        self._lost = False
        self._call_at_read = self._call

    # From the real transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the recorder and hand the connection over."""
        super().connection_made(transport)
        self.traffic = Traffic(
            self._recorder, self.record, self._tuning, speaks_http=self.endpoint.speaks_http
        )
        self._call(self._code.serve, self, RecordingTransport(self.transport, self))

    def data_received(self, data: bytes) -> None:
        """Count a read and pass it on."""
        self.traffic.read(data, is_heard=not self._ended)
        if not self._ended:
            self._call_at_read(self.inner.data_received, data)

    def get_buffer(self, size: int) -> Any:
        """Let the user's code say where the next read goes."""
        try:
            return cast(asyncio.BufferedProtocol, self.inner).get_buffer(size)
        except BaseException as error:
            if is_interrupt(error):
                raise
            # Not at once: uvloop does not survive that a connection is closed while it asks for a buffer.
            self._failed_to_buffer = True
            self.endpoint.call_soon(self.failed, error)
            return bytearray(1)

    def buffer_updated(self, data: bytes) -> None:
        """Count a read into that buffer, and tell the user's code of it."""
        heard = not (self._ended or self._failed_to_buffer)
        self.traffic.read(data, is_heard=heard)
        if heard:
            self._call_at_read(cast(asyncio.BufferedProtocol, self.inner).buffer_updated, len(data))

    def eof_received(self) -> bool:
        """Pass on that the peer has finished sending; the user's code says whether it goes on."""
        if self._ended:
            return not self.transport.is_closing()
        self._ended = True
        goes_on = bool(self._call(self.inner.eof_received)) and self.transport.can_write_eof()
        if goes_on:
            self.record.state = ConnectionState.HALF_CLOSED
        return goes_on

    def pause_writing(self) -> None:
        """The peer does not read."""
        if self.record.state is ConnectionState.OPEN:
            self._recorder.on_paused(self.record)
        self._call(self.inner.pause_writing)

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self.record.state is ConnectionState.PAUSED:
            self._recorder.on_resumed(self.record)
        self._call(self.inner.resume_writing)

    def connection_lost(self, error: Exception | None) -> None:
        """Record the end of the connection, and tell the user's code."""
        if self._lost:
            return
        self._ended = self._lost = True
        self.traffic.ended()
        super().connection_lost(error)
        self._call(self.inner.connection_lost, error)

    # From the user's code.

    def use(self, protocol: asyncio.BaseProtocol) -> None:
        """Let a protocol of the user's have what comes, in buffers of its own if it is of that kind."""
        self.inner = cast(asyncio.Protocol, protocol)
        outer = self._buffered if isinstance(protocol, asyncio.BufferedProtocol) else self
        if outer is not self._outer:
            self._outer = outer
            self.transport.set_protocol(outer)

    async def encrypted(
        self,
        protocol: asyncio.BaseProtocol,
        start_tls: Callable[..., Awaitable[Any]],
        *args: Any,
        **more: Any,
    ) -> asyncio.Transport:
        """Go on over TLS, with ``protocol``; return the transport that encrypts. Raises what that raises."""
        self.use(protocol)
        try:
            transport = await start_tls(self.transport, self._outer, *args, **more)
        except BaseException as error:
            # Before its handshake is done TLS tells nobody of the end of a connection.
            self.transport.abort()
            self.connection_lost(error if isinstance(error, Exception) else None)
            raise
        if transport is None:
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        self.transport = transport
        return self.transport

    def closes(self, how: str) -> None:
        """Note that the user's code closes the connection; whoever ended it before is the reason."""
        if self._reason is None and not self._ended:
            self._reason = CloseReason.CLOSED
            self._reason_text = f"{how} by {self.endpoint.server.name}"

    def failed(self, error: BaseException) -> None:
        """Count what the user's code raised, and close; what the end of the connection raises is no fault."""
        text = told(error)
        if self._ended and isinstance(error, ConnectionError | asyncio.IncompleteReadError):
            reason = close_reason(error) if isinstance(error, ConnectionError) else CloseReason.EOF
            self.close(reason, text, abort=True)
            return
        if self._failed:
            self.endpoint.server.raised.add(error)
        else:
            self._failed = True
            self.endpoint.server.count_raised(self._recorder, self.record, error, text)
        self.close(CloseReason.RAISED, text, abort=True)

    def returned(self) -> None:
        """The handler has returned: nothing is read or written here any more."""
        if not self.transport.is_closing():
            self.closes("left")
            self.transport.close()

    def take_faults(self) -> None:
        """Let what is read meet the faults of the server while these strike."""
        self._call_at_read = self._call_struck if self.endpoint.context.faults.strikes else self._call

    def _call_struck(self, callback: Callable[..., Any], *arguments: Any) -> Any:
        """Call the user's code with what was read, unless that meets a fault of the server first."""

        def struck() -> Any:
            self.endpoint.context.faults.strike()
            return callback(*arguments)

        return self._call(struck)

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> Any:
        """Call the user's code; None when it raises, which closes the connection."""
        try:
            return callback(*arguments)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.failed(error)
            return None

    # From the endpoint.

    def retune(self, tuning: Tuning) -> None:
        """Nothing to do: what of the tuning is for a server's code is not for the user's."""

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more: the user's code is told that its peer has finished sending, and may answer."""
        if self._reason is None:
            self._reason = reason
        if self._ended:
            return
        if (application := self._code.application) is not None:
            self._call(application.hang_up, self.inner)
            return
        self._ended = True
        self.transport.pause_reading()
        if not self._call(self.inner.eof_received):
            self.transport.close()


class BufferedReads(asyncio.BufferedProtocol):
    """Stands before a connection whose user's protocol says where a read is to go."""

    def __init__(self, connection: OwnConnection) -> None:
        self._get_buffer = connection.get_buffer
        self._buffer_updated = connection.buffer_updated
        self._buffer: Any = b""
        for name in ("eof_received", "pause_writing", "resume_writing", "connection_lost"):
            setattr(self, name, getattr(connection, name))

    def get_buffer(self, sizehint: int) -> Any:
        """Return where the next read goes."""
        self._buffer = self._get_buffer(sizehint)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of what lies there."""
        self._buffer_updated(bytes(memoryview(self._buffer)[:nbytes]))


class OwnEndpoint(TcpEndpoint):
    """A listener whose connections the user's code serves."""

    def __init__(self, server: OwnServer, context: ServerContext, assignment: Assignment) -> None:
        self.server = server
        self.code = server.code
        speaks_http = context.experiment.answer == Known.HTTP.value
        self.speaks_http = speaks_http or self.code.application is not None
        self._handlers: dict[asyncio.Task[None], Coroutine[Any, Any, object]] = {}
        self._ending = False
        self._forced = False
        super().__init__(context, assignment, lambda _, tuning: OwnConnection(self, tuning))

    def serve(
        self, connection: OwnConnection, handler: Coroutine[Any, Any, object], writer: asyncio.StreamWriter
    ) -> None:
        """Run a handler until it returns, raises, or everything ends."""
        if deafness := self.context.faults.deafness:
            handler = deafness.wrapped(handler)
        task = self.run(self._watch(connection, handler, writer))
        self._handlers[task] = handler
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        handler = self._handlers.pop(task)
        if inspect.getcoroutinestate(handler) == inspect.CORO_CREATED:  # cancelled before it could begin
            handler.close()

    async def _watch(
        self, connection: OwnConnection, handler: Coroutine[Any, Any, object], writer: asyncio.StreamWriter
    ) -> None:
        # The writer is held until the end: one that nobody holds closes by itself, and complains.
        try:
            await handler
        except (asyncio.CancelledError, GeneratorExit) as error:
            if not self._ending:
                connection.failed(error)
            if isinstance(error, asyncio.CancelledError) or self._ending:
                raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            if not self._forced:
                connection.failed(error)
        else:
            connection.returned()

    def cancels(self) -> Iterable[Callable[[], object]]:
        """Return what cancels each of the handlers."""
        return [task.cancel for task in self._handlers]

    def owes_answer(self, record: ConnectionRecord) -> bool:
        """Never: whether a frame is to be answered at all is the user's affair."""
        return False

    def close(self, reason: CloseReason) -> None:
        """Close the listener, abort every connection, and end the handlers."""
        super().close(reason)
        if not self._ending:
            self._ending = True
            self._end_handlers(CANCELS)

    def _end_handlers(self, tries: int) -> None:
        """Cancel handlers, again in the next turns of the loop if they ignore it; then close them."""
        self._forced = not tries
        for task, handler in list(self._handlers.items()):
            task.cancel()
            if self._forced:
                self._force(handler)
        if self._handlers and tries:
            self.call_soon(self._end_handlers, tries - 1)

    def _force(self, handler: Coroutine[Any, Any, object]) -> None:
        why = "it did not end when cancelled"
        try:
            break_off(handler)
        except BaseException as error:
            if is_interrupt(error):
                raise
            why = told(error)
        self.context.recorder.on_error(f"{self.server.name} had to be broken off: {why}")
