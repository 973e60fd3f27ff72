"""A server of the user's own: an ``async def handle(reader, writer)`` or an ``asyncio.Protocol`` serves each
connection, and what it reads and writes is recorded on the way.

The user's code gets what asyncio would give it, except that its transport counts. What it raises is counted,
told with its place, and closes that connection alone.

Requests and responses are frames of the tuning's framing, looked for in the bytes that go by; the service
itself does not depend on them. Where the framing does not tell, the recorder says that they are not counted.
For the inspector an exchange is what was read until the server's next write, and that write.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.connection import ConnectionRecord, ConnectionState
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import Payload
from sockscope.core.wire.framing import Decoder, FramingError, decoder_for, torn_and_merged
from sockscope.engine.loops import break_off
from sockscope.engine.os_errors import close_reason
from sockscope.engine.own_code import Factory, Handle, load_handler, load_protocol
from sockscope.engine.own_errors import RaisedTable, is_interrupt, told
from sockscope.engine.recorder import CAPTURE_BYTES, Clip, Recorder, clip
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.recording_transport import RecordingTransport
from sockscope.engine.servers.asyncio.tcp_endpoint import TcpConnection, TcpEndpoint
from sockscope.engine.servers.endpoint import ServerContext

CANCELS = 8
"""How often a handler is cancelled at the end before its coroutine is closed by force."""


class FrameCount:
    """Counts the frames of one direction of a connection; what reads say about messages goes to ``reads``."""

    __slots__ = ("_decoder", "_reads", "_repeat")

    def __init__(self, decoder: Decoder, reads: Recorder | None = None) -> None:
        self._decoder = decoder
        self._reads = reads
        self._repeat: bytes | None = None

    def count(self, data: bytes) -> int:
        """Return how many frames ``data`` completes; raises FramingError when it breaks the format."""
        # Equal bytes at once are, whatever the framing, exactly one frame again.
        if data == self._repeat:
            return 1
        decoder = self._decoder
        frames = decoder.feed(data)
        if self._reads is not None:
            torn, merged = torn_and_merged(frames, decoder.pending_bytes)
            self._reads.torn += torn
            self._reads.merged += merged
        count = len(frames)
        while decoder.more:
            frames = decoder.feed(b"")
            count += len(frames)
        self._repeat = frames[-1].wire if frames and not decoder.pending_bytes else None
        return count


class Heard:
    """What a connection read since the server last wrote, as far as a capture keeps it."""

    __slots__ = ("_head", "_length", "_reads", "read_s")

    def __init__(self) -> None:
        self.read_s = 0.0
        self._head = b""
        self._length = 0
        self._reads: tuple[int, ...] = ()

    def add(self, now: float, data: bytes) -> None:
        """Take one more read."""
        if self._length < CAPTURE_BYTES:
            if self._length:
                self._reads += (self._length,)
            self._head += data[: CAPTURE_BYTES - self._length]
        self._length += len(data)
        self.read_s = now

    def take(self) -> Clip:
        """Return it and begin anew."""
        kept: Clip = self._head
        if self._reads or self._length > len(self._head):
            kept = Payload(self._head, self._length, self._reads)
        self.read_s, self._head, self._length, self._reads = 0.0, b"", 0, ()
        return kept


class OwnConnection(TcpConnection, asyncio.Protocol):
    """One accepted connection between the real transport and the user's code."""

    endpoint: OwnEndpoint

    def __init__(self, endpoint: OwnEndpoint, tuning: Tuning) -> None:
        super().__init__(endpoint, tuning)
        self.inner = asyncio.Protocol()
        self._recorder = endpoint.context.recorder
        self._counts = _frame_counts(tuning, self._recorder)
        if self._counts is None:
            self._recorder.counts_frames = False
        self._heard = Heard()
        # Whether the user's code has been told that nothing more will come.
        self._ended = False
        self._failed = False

    # From the real transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the recorder and hand the connection over."""
        super().connection_made(transport)
        self._call(self.endpoint.server.begin, self, RecordingTransport(self.transport, self))

    def data_received(self, data: bytes) -> None:
        """Count a read and pass it on."""
        self.record.odd_read(len(data), self._frames(0, data))
        if not self._ended:
            self._heard.add(perf_counter(), data)
            self._call(self.inner.data_received, data)

    def eof_received(self) -> bool:
        """Pass on that the peer has finished sending; the user's code says whether it goes on."""
        if self._ended:
            return not self.transport.is_closing()
        self._ended = True
        goes_on = bool(self._call(self.inner.eof_received))
        if goes_on:
            self.record.state = ConnectionState.HALF_CLOSED
        return goes_on

    def pause_writing(self) -> None:
        """The peer does not read."""
        if self.record.state is ConnectionState.OPEN:
            self.record.state = ConnectionState.PAUSED
        self._call(self.inner.pause_writing)

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self.record.state is ConnectionState.PAUSED:
            self.record.state = ConnectionState.OPEN
        self._call(self.inner.resume_writing)

    def connection_lost(self, error: Exception | None) -> None:
        """Record the end of the connection, and tell the user's code."""
        self._ended = True
        super().connection_lost(error)
        self._call(self.inner.connection_lost, error)

    # From the user's code.

    def wrote(self, now: float, data: bytes) -> None:
        """Count a write; the first one since something was read is the answer to it."""
        if not data:
            return
        self.record.odd_write(len(data), self._frames(1, data))
        if read_s := self._heard.read_s:
            self._recorder.on_exchange((read_s, now, self.record, self._heard.take(), clip(data)))

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
        self.endpoint.server.raised.add(error)
        if not self._failed:
            self._failed = True
            self._recorder.errors += 1
            self._recorder.on_error(text, self.record, reason=CloseReason.RAISED)
            self.endpoint.server.last_trouble = text
        self.close(CloseReason.RAISED, text, abort=True)

    def returned(self) -> None:
        """The handler has returned: nothing is read or written here any more."""
        if not self.transport.is_closing():
            self.closes("left")
            self.transport.close()

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> Any:
        """Call the user's code; None when it raises, which closes the connection."""
        try:
            return callback(*arguments)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.failed(error)
            return None

    def _frames(self, direction: int, data: bytes) -> int:
        """Return how many frames ``data`` completes; nothing is counted once it breaks the framing."""
        if self._counts is None:
            return 0
        try:
            return self._counts[direction].count(data)
        except FramingError:
            self._counts = None
            self._recorder.counts_frames = False
            return 0

    # From the endpoint.

    def retune(self, tuning: Tuning) -> None:
        """Nothing to do: what of the tuning is for a server's code is not for the user's."""

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more: the user's code is told that its peer has finished sending, and may answer."""
        if self._reason is None:
            self._reason = reason
        if self._ended:
            return
        self._ended = True
        self.transport.pause_reading()
        if not self._call(self.inner.eof_received):
            self.transport.close()


def _frame_counts(tuning: Tuning, recorder: Recorder) -> tuple[FrameCount, FrameCount] | None:
    """Return what counts the frames read and those written; None where the framing does not tell."""
    if tuning.framing == "none":
        return None
    incoming, outgoing = (decoder_for(tuning.framing, tuning.request_bytes) for _ in range(2))
    return FrameCount(incoming, recorder), FrameCount(outgoing)


class OwnServer:
    """The user's code, loaded; raises ConfigError when it will not do.

    ``name`` is what it is called by, ``last_trouble`` what it raised last, and ``raised`` how often
    it raised what, and where.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.name = experiment.own_server
        self.last_trouble = ""
        self.raised = RaisedTable()
        self._handle: Handle | None = None
        self._factory: Factory | None = None
        if experiment.handler:
            self._handle = load_handler(experiment.handler)
        else:
            self._factory = load_protocol(experiment.protocol)

    def open(self, context: ServerContext, assignment: Assignment) -> OwnEndpoint:
        """Bind and serve; raises ListenError."""
        return OwnEndpoint(self, context, assignment)

    def begin(self, connection: OwnConnection, transport: RecordingTransport) -> None:
        """Let the user's code have a connection."""
        if self._handle is not None:
            self._begin_handler(self._handle, connection, transport)
            return
        assert self._factory is not None
        made = self._factory()
        if not isinstance(made, asyncio.Protocol):
            raise TypeError(f"{self.name} made a {type(made).__name__}, which is no asyncio.Protocol")
        connection.inner = made
        made.connection_made(transport)

    def _begin_handler(
        self, handle: Handle, connection: OwnConnection, transport: RecordingTransport
    ) -> None:
        """Do what asyncio.start_server does for a connection."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        connection.inner = protocol
        protocol.connection_made(transport)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        connection.endpoint.serve(connection, handle(reader, writer), writer)


class OwnEndpoint(TcpEndpoint):
    """A listener whose connections the user's code serves."""

    def __init__(self, server: OwnServer, context: ServerContext, assignment: Assignment) -> None:
        self.server = server
        self._handlers: dict[asyncio.Task[None], Coroutine[Any, Any, object]] = {}
        self._ending = False
        self._forced = False
        super().__init__(context, assignment, lambda _, tuning: OwnConnection(self, tuning))

    def serve(
        self, connection: OwnConnection, handler: Coroutine[Any, Any, object], writer: asyncio.StreamWriter
    ) -> None:
        """Run a handler until it returns, raises, or everything ends."""
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
        why = "it did not end when it was cancelled"
        try:
            break_off(handler)
        except BaseException as error:
            if is_interrupt(error):
                raise
            why = told(error)
        self.context.recorder.on_error(f"{self.server.name} had to be broken off: {why}")
