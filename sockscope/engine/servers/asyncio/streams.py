"""The ``streams`` model: a coroutine per connection that reads, serves, writes and drains.

This is the handler that is taught for ``asyncio.start_server``, and what ``start_server`` makes of it: a
``StreamReader`` and a ``StreamWriter`` under a ``StreamReaderProtocol``, and a task. Only the accepting is
not ``start_server``'s own but that of :class:`TcpEndpoint`, which every TCP model here shares: many at a
time, no more than there may be, and given up without losing who has connected already.

A handler learns that its peer is gone when it reads or writes next; here it is cancelled at once, so that it
wastes no work on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter

from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionState
from sockscope.core.events import CloseReason
from sockscope.core.wire.framing import Frame, FramingError, decoder_for, torn_and_merged
from sockscope.engine.captures import clip
from sockscope.engine.own_errors import told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.tcp_endpoint import TcpConnection, TcpEndpoint
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.faults.requests import EXCEPTION, InjectedFault
from sockscope.engine.timers import sleep_out
from sockscope.engine.work import spend

READ_BYTES = 65_536
"""Most bytes that one read takes unless the tuning says otherwise."""


class StreamsConnection(TcpConnection, asyncio.StreamReaderProtocol):
    """A connection with its handler."""

    def __init__(self, endpoint: TcpEndpoint, tuning: Tuning) -> None:
        TcpConnection.__init__(self, endpoint, tuning)
        self._reader = asyncio.StreamReader()
        asyncio.StreamReaderProtocol.__init__(self, self._reader, self._begin)
        self._decoder = decoder_for(tuning.framing, tuning.request_bytes)
        self._admission = endpoint.context.admission
        self._faults = endpoint.context.faults
        self._conversation: asyncio.Task[None] | None = None
        self._arrivals = 0
        self._in_service = False
        self._holds_permit = False
        self._take(tuning)

    def _take(self, tuning: Tuning) -> None:
        self._read_bytes = tuning.read_bytes or READ_BYTES
        self._delay_s = tuning.service_time_s
        self._work = tuning.work
        # Whether each request needs to be admitted.
        self._paced = tuning.server_permits > 0
        self._is_struck = self._faults.strikes
        self._serves_slowly = self._delay_s > 0 or self._paced or self._is_struck

    # The handler.

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the connection to its end, even if that is cancelled and the server has the fault for it."""
        while True:
            try:
                await self._handle(reader, writer)
                return
            except asyncio.CancelledError:
                if not self._faults.deafness.swallows():
                    raise

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the connection to its end."""
        record, decoder, recorder = self.record, self._decoder, self.endpoint.context.recorder
        data = b""
        try:
            while data := await reader.read(self._read_bytes):
                read_s = perf_counter()
                record.odd_read(len(data))
                frames = decoder.feed(data)
                torn, merged = torn_and_merged(frames, decoder.pending_bytes)
                recorder.torn += torn
                recorder.merged += merged
                while frames:
                    record.odd_frames(len(frames))
                    for frame in frames:
                        if self._serves_slowly:
                            await self._serve()
                        self._answer(read_s, frame, writer)
                        await writer.drain()
                    if frames := decoder.feed(b""):
                        await asyncio.sleep(0)  # nothing above needs to wait, and others have their turn
        except OSError:
            return  # the peer is gone, and connection_lost has the reason
        except (FramingError, InjectedFault) as error:
            self._break_off(error)
            return
        if held := decoder.pending_bytes:
            self._reason_text = f"{held:,} B of an unfinished frame"
        writer.close()

    def _break_off(self, error: FramingError | InjectedFault) -> None:
        if isinstance(error, InjectedFault):
            self.broken(told(error, EXCEPTION))
        else:
            self.endpoint.context.recorder.errors += 1
            self.close(CloseReason.GARBAGE, str(error), abort=True)

    def _answer(self, read_s: float, frame: Frame, writer: asyncio.StreamWriter) -> None:
        self.record.odd_write(len(frame.wire))
        # Taken before the bytes go: once they are on their way the client may be done first.
        answered_s = perf_counter()
        writer.write(frame.wire)
        kept = clip(frame.wire, frame.reads)
        self.endpoint.context.recorder.on_exchange((read_s, answered_s, self.record, kept, kept))

    async def _serve(self) -> None:
        """Spend the service time, and meet the faults of the server; raises InjectedFault."""
        while True:
            try:
                await self._spend()
                break
            except asyncio.CancelledError:
                if not self._faults.deafness.swallows():
                    raise
        if self._is_struck:
            self._faults.strike()

    async def _spend(self) -> None:
        """Spend the service time, as soon as the request is admitted."""
        if self._paced:
            await self._admission.acquire()
            self._holds_permit = True
        self._in_service = True
        try:
            if self._work == "wait":
                await sleep_out(self._delay_s, self.endpoint.call_later)
            else:
                spend(self._work, self._delay_s)
                # Requests that were read together must not keep the loop for all their service times.
                await asyncio.sleep(0)
        finally:
            self._in_service = False
            if self._holds_permit:
                self._holds_permit = False
                self._admission.release()

    # From the transport.

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._conversation = self.endpoint.run(self._converse(reader, writer))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the recorder, and begin to serve."""
        TcpConnection.connection_made(self, transport)
        asyncio.StreamReaderProtocol.connection_made(self, transport)

    def data_received(self, data: bytes) -> None:
        """Put what came where the handler reads it."""
        self._arrivals += 1
        if self._reason is None:
            self._reader.feed_data(data)

    def eof_received(self) -> bool:
        """The peer closed its side; the handler answers what it asked before, and closes ours."""
        self._reader.feed_eof()
        if not self.transport.can_write_eof():  # over TLS an event loop closes both sides
            return False
        self.record.state = ConnectionState.HALF_CLOSED
        return True

    def pause_writing(self) -> None:
        """The peer does not read: ``drain`` waits, and with it the handler."""
        asyncio.StreamReaderProtocol.pause_writing(self)
        if self.record.state is ConnectionState.OPEN:
            self.endpoint.context.recorder.on_paused(self.record)

    def resume_writing(self) -> None:
        """The peer reads again."""
        asyncio.StreamReaderProtocol.resume_writing(self)
        if self.record.state is ConnectionState.PAUSED:
            self.endpoint.context.recorder.on_resumed(self.record)

    def connection_lost(self, error: Exception | None) -> None:
        """Record the end of the connection."""
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        if self._conversation is not None:
            self._conversation.cancel()
        TcpConnection.connection_lost(self, error)

    # From the endpoint.

    @property
    def heard(self) -> int:
        """A number that grows with whatever the peer sends, read by the handler or not."""
        return self._arrivals

    @property
    def is_admitted(self) -> bool:
        """Whether a request of it is in service, if one was read and is not answered."""
        return self._holds_permit or not self._paced

    def retune(self, tuning: Tuning) -> None:
        """Take over what can change on an open connection."""
        self._take(tuning)
        if self._paced and self._in_service and not self._holds_permit:
            self._admission.adopt()
            self._holds_permit = True

    def take_faults(self) -> None:
        """Serve requests by way of the faults while these strike, and else without them."""
        self._take(self.endpoint.tuning)

    def cancel_handler(self) -> None:
        """Cancel the handler; if that ends it, the connection ends as with asyncio.start_server."""
        task = self._conversation
        if task is not None and not task.done():
            task.cancel()
            task.add_done_callback(self._handler_ended)

    def _handler_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not self.transport.is_closing():
            self.broken("the handler was cancelled")

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more, answer what was read, then close."""
        if self._reason is None:
            self._reason = reason
        self.record.state = ConnectionState.HALF_CLOSED
        self.transport.pause_reading()
        self._reader.feed_eof()


class StreamsEndpoint(TcpEndpoint):
    """A listener whose connections have a handler each."""

    def cancels(self) -> Iterable[Callable[[], object]]:
        """Return what cancels each of the handlers."""
        found = (c for c in self.connections.values() if isinstance(c, StreamsConnection))
        return [connection.cancel_handler for connection in found]


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve with a reader, a writer and a coroutine per connection; raises ListenError."""
    return StreamsEndpoint(context, assignment, StreamsConnection)
