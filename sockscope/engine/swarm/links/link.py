"""What every link is: it connects, writes requests and recognises their answers.

A link lives as long as its client and makes one connection after another. Between an answer and the next
request it asks the client's pacer, unless that has granted ``steady``: then the next request goes out from
the callback that has read the answer, and a comparison is all that stands between the two.
"""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Sequence, Sized
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.captures import Clip, Unfinished, clip
from sockscope.engine.stops import STEP_S, STOPS

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext


class Link:
    """The connection of one client. A client model is a subclass."""

    __slots__ = (
        "_asks", "_client", "_expect", "_kept", "_kept_answer", "_on_exchange", "_on_waited", "_pipeline",
        "_rejects", "_sent_s", "_swarm", "_timeout_s", "_waited_s", "_wire", "outdated", "record", "steady",
    )  # fmt: skip

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        self._swarm = swarm
        self._client = client
        self._on_exchange = swarm.recorder.on_exchange
        self._on_waited = swarm.recorder.on_waited
        self.record: ConnectionRecord | None = None
        """The record of the connection; None while there is none."""
        self.steady = False
        """Whether the next request follows an answer at once. The pacer grants it."""
        self.outdated = True
        """Whether the tuning has changed since the request was made."""
        # The requests of the client, each with its place among several; None: they are all the same.
        requests = swarm.dialogue.requests
        self._asks = requests.asked_by(client.number) if requests and not requests.is_one else None
        # The connection on which an answer was rejected last.
        self._rejects: ConnectionRecord | None = None
        # The bytes of a request, or what they are made from.
        self._wire = b""
        # What the recorder keeps of the request, and of an answer that is as expected.
        self._kept: Clip = b""
        self._kept_answer: Clip = b""
        # The bytes that, read at once, are exactly the answer; None while something else is under way.
        self._expect: bytes | None = None
        # When the oldest request under way was sent; 0 when there is none.
        self._sent_s = 0.0
        # How long that one had waited before; a link that is steady sends none that has.
        self._waited_s = 0.0
        # What is answered later than so long after that has timed out, whoever has noticed so far.
        self._timeout_s = math.inf
        # With a depth above 1: every request under way, when it was sent, its bytes, and how long it had
        # waited before; the oldest first.
        self._pipeline: deque[tuple[float, bytes, float]] = deque()

    # What a client model does.

    def connect(self, target: Address) -> None:
        """Begin to connect; call the client's ``connected`` or ``connect_failed`` when that is over."""
        raise NotImplementedError

    def give_up_connecting(self) -> None:
        """Let an attempt to connect be over soon, if there is one: ``connect_failed`` follows."""
        raise NotImplementedError

    def prepare(self, payload: bytes) -> None:
        """Make ``_wire`` and what is kept of it from the payload of a request."""
        raise NotImplementedError

    def transmit(self) -> None:
        """Write the request."""
        raise NotImplementedError

    def next_wire(self) -> bytes:
        """Return a request that is told apart from the others under way."""
        raise NotImplementedError

    def transmit_several(self, wires: list[bytes]) -> None:
        """Write several requests with one call, where there is one."""
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

    def believe(self) -> float:
        """Count the first answer, behind which nothing has followed; return how long was listened."""
        return 0.0

    def disbelieve(self) -> None:
        """Others have got something unasked at the time of that answer, which is none."""

    def opens(self) -> bool:
        """Begin with what is said before the first request; return whether anything is.

        The client's ``opened`` follows, or ``lost``.
        """
        return False

    @property
    def prologue_waits_for(self) -> str:
        """What the prologue waits for, in words."""
        return ""

    def take_end(self) -> bool:
        """The server has closed the connection: take that for the end of an answer, if it is one.

        Return whether it was.
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
    def sock(self) -> socket.socket | None:
        """The socket of a TCP connection; None without one."""
        return None

    @property
    def unfinished_bytes(self) -> int:
        """Bytes of an answer that is not whole."""
        return 0

    truncated = False
    """Whether the connection has ended without TLS's close_notify: what was said may be cut off."""

    undecided: Sized = ()
    """What was given up and may be answered late; :meth:`settle` calls it lost."""

    def look_at_buffer(self) -> int:
        """Count what the kernel has dropped since the last look; return the memory of what is unread.

        Over TCP nothing is dropped, and nothing is looked at.
        """
        return 0

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
        self._timeout_s = self._swarm.tuning.request_timeout_s
        self.record.expect(len(self._wire), len(self._wire))
        self.outdated = False

    @property
    def most_under_way(self) -> int:
        """How many requests the connection has room for at the same time."""
        return 1 if self._swarm.opening.first is self._client else self._swarm.tuning.depth

    def send(self, waited_s: float = 0.0, now_s: float = 0.0) -> None:
        """Send one request, which has waited for so long; ``now_s`` is the moment, where it is known."""
        record = self.record
        assert record is not None
        if self._asks is not None:
            self._ask_next()
        self._waited_s = waited_s
        self._sent_s = now_s or perf_counter()
        record.odd_write(len(self._wire))
        self.transmit()

    def send_behind(self, waited_s: float, now_s: float) -> None:
        """Send one request, perhaps behind others of which none is from :meth:`send`."""
        record, pipeline = self.record, self._pipeline
        assert record is not None
        self._expect = None
        wire = self.next_wire()
        pipeline.append((now_s, wire, waited_s))
        if len(pipeline) == 1:
            self._sent_s = now_s
        else:
            self._swarm.pipelined += 1
        self._count_writes(record, [wire])
        self.transmit_several([wire])

    def send_several(self, count: int, batch: int, waited_s: float = 0.0) -> None:
        """Send ``count`` requests before their answers are awaited, ``batch`` of them with each call."""
        record = self.record
        assert record is not None
        self._expect = None
        while count:
            wires = [self.next_wire() for _ in range(min(count, batch))]
            count -= len(wires)
            now = perf_counter()
            self._pipeline.extend([(now, wire, waited_s) for wire in wires])
            self._count_writes(record, wires)
            self.transmit_several(wires)
        self._sent_s = self._pipeline[0][0]
        self._swarm.pipelined += len(self._pipeline) - 1

    def _count_writes(self, record: ConnectionRecord, wires: list[bytes]) -> None:
        """Count requests that go out together: one write."""
        record.odd_write(sum(map(len, wires)), len(wires))

    def _ask_next(self) -> None:
        """Make the next of several requests."""
        raise NotImplementedError

    # Answers.

    def _take_answer(self, now: float, kept: Clip, fault: str = "") -> None:
        """Record an answer to the oldest request under way; go on when it was the last one.

        ``fault`` tells why it is none that is to be accepted.
        """
        pipeline = self._pipeline
        assert self.record is not None
        if pipeline:
            sent_s, wire, waited_s = pipeline.popleft()
            asked = clip(wire)
        else:
            sent_s, asked, waited_s = self._sent_s, self._kept, self._waited_s
        if fault:
            self._reject(sent_s, now, self.record, asked, kept, fault, waited_s)
        else:
            self._on_exchange((sent_s, now, self.record, asked, kept))
            if waited_s:
                self._on_waited((sent_s, now, waited_s))
        if pipeline:
            self._swarm.pipelined -= 1
            self._sent_s = pipeline[0][0]
            self._client.pacer.answered_some()
        else:
            self._answered()

    def _reject(self, sent_s: float, now: float, record: ConnectionRecord, asked: Clip, kept: Clip,
                fault: str, waited_s: float) -> None:  # fmt: skip
        """Record an answer that is not accepted; the log has the first one of each connection."""
        self._swarm.note_trouble(CloseReason.GARBAGE, fault)
        recorder = self._swarm.recorder
        recorder.on_rejected(sent_s, now, record, asked, kept, waited_s)
        if self._rejects is not record:
            self._rejects = record
            recorder.on_error(fault, record)

    def _time_out_at(self, now: float) -> None:
        """Give up what has timed out by now, as nobody did who was to look: the loop was held up."""
        # Unless this process was stopped: that is no time.
        STOPS.look()
        before_s = now - self._timeout_s
        if self.overdue(before_s):
            self.time_out(before_s)

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
            recorder.on_unanswered(
                self._sent_s, record, self._kept, self._instead(outcome), timeout_s, waited_s=self._waited_s
            )
            self._sent_s = 0.0
            return 1
        count = 0
        while pipeline and pipeline[0][0] < before_s:
            sent_s, wire, waited_s = pipeline.popleft()
            instead = Unfinished(outcome) if count else self._instead(outcome)
            recorder.on_unanswered(sent_s, record, clip(wire), instead, timeout_s, waited_s=waited_s)
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
        for at, (sent_s, wire, waited_s) in enumerate(self._pipeline):
            self._pipeline[at] = max(sent_s, min(sent_s + stopped_s, latest_s)), wire, waited_s

    @property
    def under_way(self) -> int:
        """Requests that are sent and not answered."""
        return len(self._pipeline) or int(self._sent_s > 0)

    def awaited(self) -> Sequence[tuple[float, float]]:
        """Return of every request under way when it was sent, and how long it had waited before."""
        if self._pipeline:
            # A copy in one step: threads take answers out of it.
            return [(sent_s, waited_s) for sent_s, _, waited_s in self._pipeline.copy()]
        sent_s = self._sent_s
        return ((sent_s, self._waited_s),) if sent_s else ()

    def overdue(self, before_s: float) -> bool:
        """Whether a request was sent before ``before_s`` and is not answered."""
        return 0 < self._sent_s < before_s
