"""The ``protocol`` model: an asyncio ``Protocol`` per connection, callbacks all the way.

One connection is served in order: its next request waits until the one before is answered, as a handler
coroutine would do it. Nothing grows without bound: a connection whose peer does not read its answers, or
that has many requests or bytes queued, is not read from. Nor does one peer hold up the loop: of a read that
holds thousands of frames a part is served a turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter

from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionState
from sockscope.core.events import CloseReason
from sockscope.core.wire.framing import Frame, FramingError, decoder_for, torn_and_merged
from sockscope.engine.captures import Clip, clip
from sockscope.engine.limiter import Waiter
from sockscope.engine.options import set_read_size
from sockscope.engine.own_errors import told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.tcp_endpoint import TcpConnection, TcpEndpoint
from sockscope.engine.servers.conversation import Request, is_full
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.faults.requests import EXCEPTION, InjectedFault
from sockscope.engine.work import spend


class CallbackConnection(TcpConnection):
    """A connection that is served by callbacks: from a read to answers, without a coroutine.

    ``sound`` and ``struck`` are what serves it without faults and with them.
    """

    sound: type[CallbackConnection]
    struck: type[CallbackConnection]

    __slots__ = (
        "_admission", "_decoder", "_delay_s", "_holds_permit", "_kept", "_on_exchange", "_paced", "_queue",
        "_queued_bytes", "_repeat", "_rest", "_timer", "_waiter", "_work", "_writable", "_write",
    )  # fmt: skip

    def __init__(self, endpoint: TcpEndpoint, tuning: Tuning) -> None:
        super().__init__(endpoint, tuning)
        self._decoder = decoder_for(tuning.framing, tuning.request_bytes)
        self._delay_s = tuning.service_time_s
        self._work = tuning.work
        self._admission = endpoint.context.admission
        # Whether each request needs to be admitted.
        self._paced = tuning.server_permits > 0
        self._holds_permit = False
        self._waiter: Waiter | None = None
        self._on_exchange = endpoint.context.recorder.on_exchange
        # The last whole frame, while nothing else is under way. Equal bytes in one read are, whatever the
        # framing, exactly one frame again: that is the fast path.
        self._repeat: bytes | None = None
        self._kept: Clip = b""
        self._queue: deque[Request] | None = None
        self._queued_bytes = 0
        self._timer: asyncio.Handle | None = None
        # The turn that serves the next part of what the decoder holds back; it is not read meanwhile.
        self._rest: asyncio.Handle | None = None
        self._writable = True

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the recorder; no byte has been read yet."""
        super().connection_made(transport)
        self._write = self.transport.write

    def eof_received(self) -> bool:
        """Answer what was asked before the peer closed its side, then close ours."""
        held = 0 if self._decoder.more else self._decoder.pending_bytes
        if held:
            self._reason_text = f"{held:,} B of an unfinished frame"
        if self._queue and self.transport.can_write_eof():
            self.record.state = ConnectionState.HALF_CLOSED
            self._repeat = None
            return True
        return False

    def pause_writing(self) -> None:
        """The peer does not read: stop reading from it, so that nothing piles up here."""
        self._writable = False
        self._repeat = None
        self._stop_serving()
        if self.record.state is ConnectionState.OPEN:
            self.endpoint.context.recorder.on_paused(self.record)
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._writable = True
        if self.record.state is ConnectionState.PAUSED:
            self.endpoint.context.recorder.on_resumed(self.record)
            if self._may_read:
                self.transport.resume_reading()
        if self._queue:
            self._serve_first()
        elif self._decoder.more:
            self._put_off_rest()

    def connection_lost(self, error: Exception | None) -> None:
        """Record the end of the connection."""
        self._stop_serving()
        self._repeat = None
        self._queue = None
        super().connection_lost(error)

    # Serving.

    def _cut(self, data: bytes) -> None:
        """Take a read that is not the frame before once more."""
        now = perf_counter()
        record = self.record
        if self._reason is not None:
            record.odd_read(len(data))
            return
        record.odd_read(len(data))
        frames = self._frames(data)
        recorder = self.endpoint.context.recorder
        torn, merged = torn_and_merged(frames, self._decoder.pending_bytes)
        recorder.torn += torn
        recorder.merged += merged
        for frame in frames:
            self._serve(now, frame)
        if self._decoder.more:
            self._put_off_rest()
        elif frames:
            last = frames[-1].wire
            in_turn = self._delay_s or not (self._queue or self._paced)
            if not self._decoder.pending_bytes and self._writable and in_turn:
                self._repeat = last
                self._kept = clip(last)
                record.expect(len(last), len(last))

    def _frames(self, data: bytes) -> list[Frame]:
        """Return frames that ``data`` completes, or the next of those that were held back; count them."""
        self._repeat = None
        try:
            frames = self._decoder.feed(data)
        except FramingError as error:
            self.endpoint.context.recorder.errors += 1
            # Such a peer need not read either, and what is still to be written would wait for ever.
            self.close(CloseReason.GARBAGE, str(error), abort=True)
            return []
        self.record.odd_frames(len(frames))
        return frames

    def _put_off_rest(self) -> None:
        """Serve what the decoder holds back in a turn of its own, unless it waits for something else."""
        self.transport.pause_reading()
        if self._rest is None and not self._queue and self._writable and not self.transport.is_closing():
            self._rest = self.endpoint.call_soon(self._serve_rest)

    def _serve_rest(self) -> None:
        """Serve the next part of what was held back, and read on when that was all."""
        self._rest = None
        now = perf_counter()
        for frame in self._frames(b""):
            self._serve(now, frame)
        if self._decoder.more:
            self._put_off_rest()
        elif self.record.state is ConnectionState.HALF_CLOSED and not self._queue:
            self.transport.close()
        elif self._may_read and self.record.state is ConnectionState.OPEN:
            self.transport.resume_reading()

    @property
    def _may_read(self) -> bool:
        if self._decoder.more or self.transport.is_closing():
            return False
        return not is_full(self._queue, self._queued_bytes)

    def _serve(self, now: float, frame: Frame) -> None:
        kept = clip(frame.wire, frame.reads)
        if self._delay_s or self._queue or self._paced or not self._writable:
            self._serve_later(now, frame.wire, kept)
        else:
            self._answer(now, now, frame.wire, kept)

    def _answer(self, read_s: float, answered_s: float, wire: bytes, kept: Clip) -> None:
        if self.transport.is_closing():
            return  # a write has found that the peer is gone: nobody gets the rest
        self.record.odd_write(len(wire))
        self._write(wire)
        self._on_exchange((read_s, answered_s, self.record, kept, kept))

    def _serve_later(self, now: float, wire: bytes, kept: Clip) -> None:
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        queue.append(Request(now, wire, kept))
        self._queued_bytes += len(wire)
        if self._timer is None and self._writable:
            self._serve_first()
        if is_full(queue, self._queued_bytes):
            self.transport.pause_reading()

    def _serve_first(self) -> None:
        """Begin to serve the first of the queue, as soon as it is admitted."""
        if self._paced and not self._holds_permit:
            if self._waiter is not None:
                return
            if not self._admission.try_acquire():
                waiter = self._admission.enqueue(self._admitted)
                self._waiter = waiter if waiter.queued else None
                return
            self._holds_permit = True
        if self._work == "wait":
            self._timer = self.endpoint.call_later(self._delay_s, self._answer_next)
        else:
            # In a turn of its own: what is queued must not keep the loop for all its service times at once.
            self._timer = self.endpoint.call_soon(self._work_on_next)

    def _admitted(self) -> None:
        self._waiter = None
        self._holds_permit = True
        self._serve_first()

    def _work_on_next(self) -> None:
        spend(self._work, self._delay_s)
        self._answer_next()

    def _answer_next(self) -> None:
        self._timer = None
        queue = self._queue
        if not queue:
            return
        was_full = is_full(queue, self._queued_bytes)
        read_s, wire, kept = queue.popleft()
        self._queued_bytes -= len(wire)
        if was_full and self._may_read and self.record.state is ConnectionState.OPEN:
            self.transport.resume_reading()
        self._answer(read_s, perf_counter(), wire, kept)
        self._release()
        if not queue and self._decoder.more:
            self._put_off_rest()
        elif not queue:
            if self.record.state is ConnectionState.HALF_CLOSED:
                self.transport.close()
        elif self._writable and self._timer is None:
            self._serve_first()

    def _release(self) -> None:
        if self._holds_permit:
            self._holds_permit = False
            self._admission.release()

    def _stop_serving(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None:
            self._admission.forget(self._waiter)
            self._waiter = None
        self._release()

    # From the endpoint.

    @property
    def is_admitted(self) -> bool:
        """Whether a request of it is in service, if one was read and is not answered."""
        return self._holds_permit or not self._paced

    def take_faults(self) -> None:
        """Be what serves by way of the faults while these strike, and else what does not know of them."""
        strikes = self.endpoint.context.faults.strikes
        self._repeat = None
        self.__class__ = self.struck if strikes else self.sound

    def retune(self, tuning: Tuning) -> None:
        """Take over what can change on an open connection."""
        self._delay_s = tuning.service_time_s
        self._work = tuning.work
        self._paced = tuning.server_permits > 0
        if self._queue or self._paced:
            self._repeat = None
        if self._paced and self._timer is not None and not self._holds_permit:
            self._admission.adopt()
            self._holds_permit = True

    def close(self, reason: CloseReason, text: str = "", *, abort: bool = False) -> None:
        """Close with a reason of ours; ``abort`` does not wait for what is still to be written."""
        self._repeat = None
        self._stop_serving()
        super().close(reason, text, abort=abort)

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more, answer what was read, then close."""
        if self._reason is None:
            self._reason = reason
        self._repeat = None
        self.transport.pause_reading()
        if self._queue or self._decoder.more:
            self.record.state = ConnectionState.HALF_CLOSED
        else:
            self.transport.close()


class ProtocolConnection(CallbackConnection, asyncio.Protocol):
    """A connection whose reads come as new bytes objects."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Answer what is complete; the hot path of a server."""
        if data == self._repeat:
            now = perf_counter()
            if self._delay_s:
                self.record.odd_read(len(data), 1)
                self._serve_later(now, data, self._kept)
                return
            # Functions are taken out of their slots before they are called: as a method call the same is
            # twice as slow in CPython 3.11.
            write, on_exchange = self._write, self._on_exchange
            write(data)
            record, kept = self.record, self._kept
            record.exchanges += 1
            on_exchange((now, now, record, kept, kept))
            return
        self._cut(data)

    def set_options(self, tuning: Tuning) -> None:
        """Set what can change on an open socket, and the size of a read where the loop lets us."""
        super().set_options(tuning)
        set_read_size(self.transport, tuning.read_bytes)


class Struck(CallbackConnection):
    """A connection whose requests meet the faults of the server: each in a turn of its own."""

    __slots__ = ()

    def _serve(self, now: float, frame: Frame) -> None:
        self._serve_later(now, frame.wire, clip(frame.wire, frame.reads))

    def _answer(self, read_s: float, answered_s: float, wire: bytes, kept: Clip) -> None:
        if self.transport.is_closing():
            return
        try:
            self.endpoint.context.faults.strike()
        except InjectedFault as error:
            self.broken(told(error, EXCEPTION))
        else:
            super()._answer(read_s, perf_counter(), wire, kept)

    def retune(self, tuning: Tuning) -> None:
        """Take over what can change; there is no fast path here."""
        super().retune(tuning)
        self._repeat = None


class StruckProtocol(Struck, ProtocolConnection):
    """A connection of the ``protocol`` model whose requests meet the faults of the server."""

    __slots__ = ()


ProtocolConnection.sound, ProtocolConnection.struck = ProtocolConnection, StruckProtocol


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve with a Protocol per connection; raises ListenError."""
    return TcpEndpoint(context, assignment, ProtocolConnection)
