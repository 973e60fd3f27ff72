"""What goes by on a connection that the user's own code serves: counted, and kept for the inspector.

Requests and responses are those of HTTP/1.1 where that is spoken, else frames of the tuning's framing, looked
for in the bytes that go by; the service itself does not depend on them. Where the bytes do not tell, the
recorder says that they are not counted.
For the inspector an exchange is what was read until the server's next write, and that write.
"""

from __future__ import annotations

import contextlib
import os
from time import perf_counter
from typing import Any

from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.run.snapshot import Payload
from sockscope.core.wire.framing import Decoder, FramingError, decoder_for, torn_and_merged
from sockscope.core.wire.http import HttpCount
from sockscope.engine.captures import CAPTURE_BYTES, Clip, clip
from sockscope.engine.recorder import Recorder
from sockscope.engine.threads import ThreadRecorder


class Traffic:
    """Counts reads and writes of one connection; one thread at a time uses it."""

    __slots__ = ("_counts", "_heard", "_recorder", "record")

    def __init__(
        self,
        recorder: Recorder | ThreadRecorder,
        record: ConnectionRecord,
        tuning: Tuning,
        *,
        speaks_http: bool = False,
    ) -> None:
        self.record = record
        self._recorder = recorder
        self._heard = Heard()
        self._counts: FramedCounts | HttpCounts | None = None
        if speaks_http:
            self._counts = HttpCounts(recorder)
        elif tuning.framing == "none":
            recorder.count_no_frames()
        else:
            self._counts = FramedCounts(tuning, recorder)

    def read(self, data: bytes, *, is_heard: bool = True) -> None:
        """Count a read; what the user's code does not get any more is not part of an exchange."""
        self.record.odd_read(len(data), self._frames(0, data))
        if is_heard:
            self._heard.add(perf_counter(), data)

    def wrote(self, now: float, data: bytes) -> None:
        """Count a write; the first one since something was read is the answer to it."""
        if not data:
            return
        self.record.odd_write(len(data), self._frames(1, data))
        if self._heard.read_s:
            self._answered(now, clip(data))

    def ended(self) -> None:
        """The connection has ended, and with it an answer that goes on until then."""
        if self._counts is not None and (answers := self._counts.end()):
            self.record.odd_write(0, answers, writes=0)

    def sent_file(self, now: float, file: Any, offset: int, size: int) -> None:
        """Count so many bytes of a file as one write; nobody has looked for messages in them."""
        if size <= 0:
            return
        self._count_no_frames()
        self.record.odd_write(size, 0)
        if self._heard.read_s:
            head = b""
            with contextlib.suppress(OSError, ValueError, AttributeError):  # it may be no file at all
                head = os.pread(file.fileno(), min(size, CAPTURE_BYTES), offset)
            self._answered(now, Payload(head, size))

    def _answered(self, now: float, answer: Clip) -> None:
        self._recorder.on_exchange((self._heard.read_s, now, self.record, self._heard.take(), answer))

    def _frames(self, direction: int, data: bytes) -> int:
        """Return how many frames ``data`` completes; nothing is counted once it breaks the framing."""
        if self._counts is None:
            return 0
        try:
            return self._counts.count(direction, data)
        except FramingError:
            self._count_no_frames()
            return 0

    def _count_no_frames(self) -> None:
        self._counts = None
        self._recorder.count_no_frames()


class FramedCounts:
    """Counts the frames of a framing, those read (0) and those written (1)."""

    def __init__(self, tuning: Tuning, reads: Recorder | ThreadRecorder) -> None:
        incoming, outgoing = (decoder_for(tuning.framing, tuning.request_bytes) for _ in range(2))
        self._counts = FrameCount(incoming, reads), FrameCount(outgoing)

    def count(self, direction: int, data: bytes) -> int:
        """Return how many frames ``data`` completes; raises FramingError when it breaks the format."""
        return self._counts[direction].count(data)

    def end(self) -> int:
        """Return 0: no frame ends with the connection."""
        return 0


class HttpCounts:
    """Counts requests (0) and answers (1) of HTTP/1.1."""

    def __init__(self, reads: Recorder | ThreadRecorder) -> None:
        self._reads = reads
        self._counts = HttpCount()

    def count(self, direction: int, data: bytes) -> int:
        """Return how many requests or answers ``data`` completes; raises FramingError."""
        counts = self._counts
        if direction:
            return counts.answers(data)
        is_torn = counts.is_within_request
        requests = counts.requests(data)
        if requests and is_torn:
            self._reads.count("torn")
        if requests + counts.is_within_request > 1:
            self._reads.count("merged")
        return requests

    def end(self) -> int:
        """Return how many answers the end of the connection completes."""
        return self._counts.end()


class FrameCount:
    """Counts the frames of one direction of a connection; what reads say about messages goes to ``reads``."""

    __slots__ = ("_decoder", "_reads", "_repeat")

    def __init__(self, decoder: Decoder, reads: Recorder | ThreadRecorder | None = None) -> None:
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
            if torn or merged:
                self._reads.count("torn", torn)
                self._reads.count("merged", merged)
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
