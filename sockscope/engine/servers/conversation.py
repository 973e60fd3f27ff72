"""What one TCP connection asks and is answered: the part that models without callbacks share.

An answer is counted and recorded just before it is written, so that whoever has received it finds it in the
figures, in whichever thread the server runs.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import NamedTuple

from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.wire.framing import decoder_for, torn_and_merged
from sockscope.engine.captures import Clip, clip
from sockscope.engine.standstill import Standstill
from sockscope.engine.threads import ThreadRecorder

MOST_QUEUED_REQUESTS = 1_024
MOST_QUEUED_BYTES = 1 << 20
"""Requests of one connection, and their bytes, that may wait behind the one that is served before the
connection is no longer read from."""


class Request(NamedTuple):
    """One request: when it was read (monotonic seconds), its bytes on the wire, what the capture keeps."""

    read_s: float
    wire: bytes
    kept: Clip


def is_full(queue: deque[Request] | None, queued_bytes: int) -> bool:
    """Return whether a connection with these requests, of ``queued_bytes`` together, is not to be read from.

    The first of them is being served and does not count: a frame of any size has room.
    """
    if not queue:
        return False
    return len(queue) >= MOST_QUEUED_REQUESTS or queued_bytes - len(queue[0].wire) > MOST_QUEUED_BYTES


class Conversation:
    """The decoder and the record of one connection. One thread uses it."""

    __slots__ = ("_decoder", "_kept", "_on_exchange", "_recorder", "_repeat", "_standstill", "record")

    def __init__(
        self, recorder: ThreadRecorder, record: ConnectionRecord, tuning: Tuning, standstill: Standstill
    ) -> None:
        self.record = record
        self._standstill = standstill
        self._decoder = decoder_for(tuning.framing, tuning.request_bytes)
        self._recorder = recorder
        self._on_exchange = recorder.on_exchange
        # The last whole frame. Equal bytes in one read are, whatever the framing, exactly one frame again.
        self._repeat: bytes | None = None
        self._kept: Clip = b""

    def requests_in(self, data: bytes) -> list[Request]:
        """Count one read and return requests that it completes, perhaps not all. Raises FramingError."""
        if self._standstill.holds:
            self._standstill.wait()
        now = perf_counter()
        if data == self._repeat:
            self.record.odd_read(len(data), 1)
            return [Request(now, data, self._kept)]
        self._repeat = None
        self.record.odd_read(len(data))
        return self._cut(now, data)

    def more(self) -> list[Request]:
        """Return the next requests of a read that completed many of them. Raises FramingError."""
        return self._cut(perf_counter(), b"") if self._decoder.more else []

    @property
    def holds_back(self) -> bool:
        """Whether there is :meth:`more` to be taken before the next read."""
        return self._decoder.more

    def _cut(self, now: float, data: bytes) -> list[Request]:
        frames = self._decoder.feed(data)
        self.record.odd_frames(len(frames))
        torn, merged = torn_and_merged(frames, self._decoder.pending_bytes)
        if torn or merged:
            self._recorder.count("torn", torn)
            self._recorder.count("merged", merged and bool(data))
        requests = [Request(now, frame.wire, clip(frame.wire, frame.reads)) for frame in frames]
        if frames and not self._decoder.pending_bytes:
            self._repeat = frames[-1].wire
            self._kept = clip(frames[-1].wire)
        return requests

    def answer(self, request: Request) -> bytes:
        """Count and record the answer to ``request``; return the bytes to write. Raises InjectedFault."""
        if self._standstill.holds:
            self._standstill.at_request()
        read_s, wire, kept = request
        self.record.odd_write(len(wire))
        self._on_exchange((read_s, perf_counter(), self.record, kept, kept))
        return wire

    @property
    def unfinished(self) -> str:
        """What the peer left unsaid when it stopped sending, in words; empty when nothing."""
        held = 0 if self._decoder.more else self._decoder.pending_bytes
        return f"{held:,} B of an unfinished frame" if held else ""
