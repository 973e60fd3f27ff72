"""What every link is: it connects, writes requests and recognises their answers.

A link lives as long as its client and makes one connection after another. Between an answer and the next
request it asks the client's pacer, unless that has granted ``steady``: then the next request goes out from
the callback that has read the answer, and a comparison is all that stands between the two.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sized
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.recorder import Clip, Unfinished, clip
from sockscope.engine.stops import STEP_S

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext


class Link:
    """The connection of one client. A client model is a subclass."""

    __slots__ = (
        "_client", "_expect", "_kept", "_on_exchange", "_pipeline", "_sent_s", "_swarm", "_wire", "outdated",
        "record", "steady",
    )  # fmt: skip

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        self._swarm = swarm
        self._client = client
        self._on_exchange = swarm.recorder.on_exchange
        self.record: ConnectionRecord | None = None
        """The record of the connection; None while there is none."""
        self.steady = False
        """Whether the next request follows an answer at once. The pacer grants it."""
        self.outdated = True
        """Whether the tuning has changed since the request was made."""
        # The bytes of a request, or what they are made from.
        self._wire = b""
        # What the recorder keeps of the request, and of an answer that is as expected.
        self._kept: Clip = b""
        # The bytes that, read at once, are exactly the answer; None while something else is under way.
        self._expect: bytes | None = None
        # When the oldest request under way was sent; 0 when there is none.
        self._sent_s = 0.0
        # With a depth above 1: every request under way, when it was sent and its bytes, the oldest first.
        self._pipeline: deque[tuple[float, bytes]] = deque()

    # What a client model does.

    def connect(self, target: Address) -> None:
        """Begin to connect; call the client's ``connected`` or ``connect_failed`` when that is over."""
        raise NotImplementedError

    def give_up_connecting(self) -> None:
        """Let an attempt to connect be over soon, if there is one: ``connect_failed`` follows."""
        raise NotImplementedError

    def prepare(self, payload: bytes) -> None:
        """Make ``_wire`` and ``_kept`` from the payload of a request."""
        raise NotImplementedError

    def transmit(self) -> None:
        """Write the request."""
        raise NotImplementedError

    def next_wire(self) -> bytes:
        """Return a request that is told apart from the others under way."""
        raise NotImplementedError

    def transmit_several(self, wires: list[bytes]) -> None:
        """Write several requests with one call."""
        raise NotImplementedError

    def close(self, *, abort: bool) -> None:
        """Close the connection, ``abort`` without waiting for what is to be written.

        The client's ``lost`` follows, but not from within this call.
        """
        raise NotImplementedError

    def hear(self) -> bool:
        """Take what has come while nothing was under way, where nobody reads until something is.

        Return whether the connection is over; the client's ``lost`` follows.
        """
        return False

    @property
    def unsent(self) -> bool:
        """Whether a close would wait for something to be written."""
        return False

    def time_out(self, before_s: float) -> None:
        """What was sent before ``before_s`` was not answered in time."""
        raise NotImplementedError

    @property
    def unfinished_bytes(self) -> int:
        """Bytes of an answer that is not whole."""
        return 0

    undecided: Sized = ()
    """What was given up and may be answered late; :meth:`settle` calls it lost."""

    def settle(self, before_s: float) -> None:
        """Nothing given up before ``before_s`` is waited for any more."""
        raise NotImplementedError

    def socket_options(self, tuning: Tuning) -> list[SocketOption]:
        """Return the socket's options, requested and effective; empty while there is no socket."""
        raise NotImplementedError

    def dismiss(self) -> None:
        """The client is gone: let go of what it has besides its connection."""

    # Sending.

    def open(self, record: ConnectionRecord) -> None:
        """There is a new connection, whose counters are in ``record``."""
        self.record = record
        self._expect = None
        self.outdate()

    def outdate(self) -> None:
        """The tuning changed: ask the pacer before the next request, and make that anew."""
        self.outdated = True
        self.steady = False

    def renew(self, payload: bytes) -> None:
        """Make the request anew from its payload."""
        assert self.record is not None
        self.prepare(payload)
        self.record.expect(len(self._wire))
        self.outdated = False

    def send(self) -> None:
        """Send one request."""
        record = self.record
        assert record is not None
        self._sent_s = perf_counter()
        record.odd_write(len(self._wire))
        self.transmit()

    def send_several(self, count: int, batch: int) -> None:
        """Send ``count`` requests before their answers are awaited, ``batch`` of them with each call."""
        record = self.record
        assert record is not None
        self._expect = None
        while count:
            wires = [self.next_wire() for _ in range(min(count, batch))]
            count -= len(wires)
            now = perf_counter()
            self._pipeline.extend([(now, wire) for wire in wires])
            record.odd_write(sum(map(len, wires)), len(wires))
            self.transmit_several(wires)
        self._sent_s = self._pipeline[0][0]
        self._swarm.pipelined += len(self._pipeline) - 1

    # Answers.

    def _take_answer(self, now: float, kept: Clip) -> None:
        """Record an answer to the oldest request under way; go on when it was the last one."""
        pipeline = self._pipeline
        assert self.record is not None
        if not pipeline:
            self._on_exchange((self._sent_s, now, self.record, self._kept, kept))
            self._answered()
            return
        sent_s, wire = pipeline.popleft()
        self._on_exchange((sent_s, now, self.record, clip(wire), kept))
        if pipeline:
            self._swarm.pipelined -= 1
            self._sent_s = pipeline[0][0]
        else:
            self._answered()

    def _answered(self) -> None:
        """Nothing is under way any more."""
        self._sent_s = 0.0
        self._expect = None
        self._client.answered()

    def _instead(self, outcome: str) -> Unfinished:
        """Return what came for the oldest request under way, which ends with ``outcome``."""
        return Unfinished(outcome)

    def give_up(self, outcome: str, before_s: float = math.inf) -> int:
        """Keep the requests sent before ``before_s`` as unanswered; return how many there were."""
        timeout_s = self._swarm.tuning.request_timeout_s if outcome == "timeout" else None
        record, recorder, pipeline = self.record, self._swarm.recorder, self._pipeline
        self._expect = None
        if record is None or not 0 < self._sent_s < before_s:
            return 0
        if not pipeline:
            if timeout_s is not None:
                # It counts as old as the timeout, and has been there until now.
                self._swarm.idle.add(max(perf_counter() - self._sent_s - timeout_s, 0.0))
            recorder.on_unanswered(self._sent_s, record, self._kept, self._instead(outcome), timeout_s)
            self._sent_s = 0.0
            return 1
        count = 0
        while pipeline and pipeline[0][0] < before_s:
            sent_s, wire = pipeline.popleft()
            instead = Unfinished(outcome) if count else self._instead(outcome)
            recorder.on_unanswered(sent_s, record, clip(wire), instead, timeout_s)
            count += 1
        self._sent_s = pipeline[0][0] if pipeline else 0.0
        self._swarm.pipelined -= count if pipeline else count - 1
        return count

    def skip(self, stopped_s: float) -> None:
        """Let no time have passed for what is under way; the time of the clients goes on, as idle."""
        latest_s = perf_counter() - STEP_S
        if self._sent_s:
            self._sent_s = max(self._sent_s, min(self._sent_s + stopped_s, latest_s))
            self._swarm.idle.add(stopped_s)
        for at, (sent_s, wire) in enumerate(self._pipeline):
            self._pipeline[at] = max(sent_s, min(sent_s + stopped_s, latest_s)), wire

    @property
    def under_way(self) -> int:
        """Requests that are sent and not answered."""
        return len(self._pipeline) or int(self._sent_s > 0)

    def overdue(self, before_s: float) -> bool:
        """Whether a request was sent before ``before_s`` and is not answered."""
        return 0 < self._sent_s < before_s
