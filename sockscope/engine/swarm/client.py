"""One simulated client in a closed loop: ask, wait for the answer, think, ask again.

The transport (:mod:`tcp`, :mod:`udp`) connects, writes and recognises answers; what happens between an
answer and the next request is here. A client lives longer than its connections: it makes a new one when
one ends, until it is retired.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from enum import Enum
from time import perf_counter
from typing import Protocol

from sockscope.core.config.experiment import Tuning
from sockscope.core.connection import Address, ConnectionRecord, format_address
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.core.wire.dialogue import Dialogue
from sockscope.engine.limiter import Limiter, Waiter
from sockscope.engine.recorder import Clip, Recorder, clip
from sockscope.engine.swarm.pool import Pool
from sockscope.engine.threads import ThreadGroup

NUMBER_DIGITS = 8
"""Digits that begin a request while several are under way at once, and tell them and their answers apart."""


class ClientState(Enum):
    """What a client is doing."""

    IDLE = "idle"
    CONNECTING = "connecting"
    FREE = "free"
    """In a pool, until a client takes it."""
    WAITING = "waiting"
    """For a permit."""
    IN_FLIGHT = "in flight"
    THINKING = "thinking"
    PARKED = "parked"
    """The traffic is paused."""
    BACKING_OFF = "backing off"
    CLOSING = "closing"
    GONE = "gone"


class SwarmContext(Protocol):
    """What a client needs of its swarm."""

    tuning: Tuning
    dialogue: Dialogue
    limiter: Limiter
    pool: Pool
    recorder: Recorder
    generation: int
    socket_generation: int
    numbered: bool
    paused: bool
    paced: bool
    loop: asyncio.AbstractEventLoop
    thread_group: ThreadGroup
    source: str

    def steady(self) -> bool:
        """Whether a client may send its next request straight from the callback of its last answer."""
        ...

    def in_next_turn(self, client: Client) -> None:
        """Call the client's ``go_on`` in the next turn of the loop."""
        ...

    def request_bytes_for(self, client: Client) -> bytes:
        """Return the payload of a client's requests."""
        ...

    def may_send(self) -> bool:
        """Take one request from the run's budget; False when none is left."""
        ...

    def want_connection(self, client: Client) -> None:
        """Queue a client up for a connection."""
        ...

    def client_gone(self, client: Client) -> None:
        """A retired client has closed its connection."""
        ...

    def trouble(self, reason: CloseReason, text: str) -> None:
        """Remember why a client could not go on."""
        ...

    def backoff_s(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        ...


class Client:
    """The closed loop of one client."""

    __slots__ = (
        "_backoff", "_expect", "_failures", "_holds_permit", "_kept", "_on_exchange", "_pipeline", "_reason",
        "_reason_text", "_retiring", "_sent_s", "_socket_generation", "_steady", "_taken", "_think",
        "_waiter", "_wire", "dialling", "number", "record", "state", "swarm",
    )  # fmt: skip

    record: ConnectionRecord | None

    def __init__(self, swarm: SwarmContext, number: int) -> None:
        self.swarm = swarm
        self.number = number
        self.record = None
        self.state = ClientState.IDLE
        self._on_exchange = swarm.recorder.on_exchange
        self._wire = b""
        # What the recorder keeps of the request, and of an answer that is as expected.
        self._kept: Clip = b""
        # The bytes that, read at once, are exactly the answer; None while something else is under way.
        self._expect: bytes | None = None
        # When the oldest request that is under way was sent; 0 when there is none.
        self._sent_s = 0.0
        # With a depth above 1: every request under way, when it was sent and its bytes, the oldest first.
        self._pipeline: deque[tuple[float, bytes]] = deque()
        self._steady = False
        self._holds_permit = False
        # Whether it has a turn for a client of the pool.
        self._taken = False
        self._waiter: Waiter | None = None
        self._think: asyncio.TimerHandle | None = None
        self._backoff: asyncio.TimerHandle | None = None
        # Whether it may be interrupted while it connects. Not once a loop makes a transport of its socket:
        # uvloop would drop that without a word to the protocol, which may know it already.
        self.dialling = True
        self._failures = 0
        self._retiring = False
        self._reason: CloseReason | None = None
        self._reason_text = ""
        self._socket_generation = -1

    # What a transport does.

    async def connect(self, target: Address) -> None:
        """Make a connection and call :meth:`connected`; raises OSError or TimeoutError."""
        raise NotImplementedError

    def transmit(self) -> None:
        """Write the request; ``_wire`` holds it (or its template)."""
        raise NotImplementedError

    def transmit_several(self, wires: list[bytes]) -> None:
        """Write several requests with one call."""
        raise NotImplementedError

    def next_wire(self) -> bytes:
        """Return a request that is told apart from the others under way."""
        raise NotImplementedError

    def prepare(self, payload: bytes) -> None:
        """Make ``_wire`` from the payload."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Close the connection; :meth:`lost` follows."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close the connection without waiting for anything; :meth:`lost` follows."""
        raise NotImplementedError

    def socket_options(self, tuning: Tuning) -> list[SocketOption]:
        """Return the socket's options, requested and effective; empty while there is no socket."""
        raise NotImplementedError

    def dismiss(self) -> None:
        """The client is gone: let go of what it has besides its connection."""

    # The loop.

    def connected(self, transport: str, local: Address, remote: Address) -> None:
        """A connection is there: register it and begin to ask."""
        self.record = self.swarm.recorder.on_open(transport, local, remote, self.swarm.generation)
        self._wire = b""
        self._steady = False
        self.ask()

    def ask(self) -> None:
        """Go on with whatever comes before the next request."""
        swarm = self.swarm
        if self._retiring:
            self.leave(CloseReason.RETIRED)
        elif self._socket_generation != swarm.socket_generation:
            self.leave(CloseReason.ROLLED)
        elif swarm.paused:
            self.state = ClientState.PARKED
        elif swarm.tuning.pool and not self._taken:
            self.state = ClientState.FREE
            swarm.pool.offer(self)
        elif swarm.limiter.try_acquire():
            self._send()
        else:
            self.state = ClientState.WAITING
            self._waiter = swarm.limiter.enqueue(self._admitted)

    def take(self) -> None:
        """Have a turn for a client of the pool."""
        self._taken = True
        self.ask()

    def _give_back(self) -> None:
        if self._taken:
            self._taken = False
            self.swarm.pool.give_back()

    def _admitted(self) -> None:
        self._waiter = None
        swarm = self.swarm
        if swarm.paused or self._retiring or self._socket_generation != swarm.socket_generation:
            swarm.limiter.release()
            self.ask()
            return
        self._send()

    def _send(self) -> None:
        self._holds_permit = True
        swarm = self.swarm
        if not swarm.may_send():
            self._release()
            self.state = ClientState.PARKED
            return
        record = self.record
        assert record is not None
        if not self._steady:
            self.prepare(swarm.request_bytes_for(self))
            record.expect(len(self._wire))
            self._steady = swarm.steady()
        self.state = ClientState.IN_FLIGHT
        if swarm.tuning.depth > 1:
            self._send_turn(record)
            return
        self._sent_s = perf_counter()
        record.odd_write(len(self._wire))
        self.transmit()

    def _send_turn(self, record: ConnectionRecord) -> None:
        """Send a turn of requests, as many with each call of the transport as the batch says."""
        swarm, tuning = self.swarm, self.swarm.tuning
        most = min(tuning.depth, tuning.lifetime - record.frames_out) if tuning.lifetime else tuning.depth
        left = 1  # taken from the budget already
        while left < most and swarm.may_send():
            left += 1
        while left:
            wires = [self.next_wire() for _ in range(min(left, tuning.batch))]
            left -= len(wires)
            now = perf_counter()
            self._pipeline.extend([(now, wire) for wire in wires])
            record.odd_write(sum(map(len, wires)), len(wires))
            self.transmit_several(wires)
        self._sent_s = self._pipeline[0][0]

    def answer(self, now: float, kept: Clip) -> None:
        """The oldest request under way is answered: record it, and go on when the whole turn is."""
        pipeline = self._pipeline
        assert self.record is not None
        if not pipeline:
            self._on_exchange((self._sent_s, now, self.record, self._kept, kept))
            self.answered()
            return
        sent_s, wire = pipeline.popleft()
        self._on_exchange((sent_s, now, self.record, clip(wire), kept))
        if pipeline:
            self._sent_s = pipeline[0][0]
        else:
            self.answered()

    def answered(self) -> None:
        """An answer came and was recorded; do what comes between two requests."""
        self._sent_s = 0.0
        self._expect = None
        self._failures = 0
        if self.swarm.paced and self.record is not None:
            self.swarm.in_next_turn(self)
        else:
            self.go_on()

    def go_on(self) -> None:
        """Do what comes after an answer."""
        self._release()
        self._give_back()
        record = self.record
        if record is None or self.state is not ClientState.IN_FLIGHT:
            return
        tuning = self.swarm.tuning
        if tuning.lifetime and record.frames_out >= tuning.lifetime:
            self.leave(CloseReason.LIFETIME)
        elif tuning.think_time_s and not tuning.pool and not self._retiring:
            self.state = ClientState.THINKING
            self._think = self.swarm.loop.call_later(tuning.think_time_s, self._thought)
        else:
            self.ask()

    def _thought(self) -> None:
        self._think = None
        self.ask()

    def timed_out(self, before_s: float) -> None:
        """What was sent before ``before_s`` was not answered in time (called by the swarm's watch)."""
        recorder = self.swarm.recorder
        recorder.timeouts += self._give_up("timeout", before_s)
        # What was sent later is lost with the connection.
        recorder.errors += self._give_up("closed")
        self._release()
        self.leave(CloseReason.TIMEOUT)

    def _give_up(self, outcome: str, before_s: float = math.inf) -> int:
        """Keep the requests sent before ``before_s`` as unanswered; return how many there were."""
        record, recorder, pipeline = self.record, self.swarm.recorder, self._pipeline
        if record is None or not 0 < self._sent_s < before_s:
            return 0
        if not pipeline:
            recorder.on_unanswered(self._sent_s, record, self._kept, outcome)
            self._sent_s = 0.0
            return 1
        count = 0
        while pipeline and pipeline[0][0] < before_s:
            sent_s, wire = pipeline.popleft()
            recorder.on_unanswered(sent_s, record, clip(wire), outcome)
            count += 1
        self._sent_s = pipeline[0][0] if pipeline else 0.0
        return count

    def _release(self) -> None:
        if self._holds_permit:
            self._holds_permit = False
            self.swarm.limiter.release()

    # Leaving and coming back.

    def leave(self, reason: CloseReason, text: str = "") -> None:
        """Close the connection for a reason of ours; :meth:`lost` follows."""
        if self._reason is None:
            self._reason, self._reason_text = reason, text
        self._stop_waiting()
        self.state = ClientState.CLOSING
        self._expect = None
        # After a fault there may be a peer that does not read; waiting to write would wait for ever.
        if reason.is_fault:
            self.abort()
        else:
            self.hang_up()

    def lost(self, reason: CloseReason, text: str = "") -> None:
        """The connection is gone; ``reason`` is what the transport says, ours goes first."""
        if self._reason is not None:
            reason, text = self._reason, self._reason_text
            self._reason = None
        swarm = self.swarm
        swarm.recorder.errors += self._give_up(reason.value)
        self._stop_waiting()
        if self.record is not None:
            swarm.recorder.on_close(self.record, reason, text)
            self.record = None
        self._expect = None
        if self._retiring or reason is CloseReason.STOPPED:
            self.state = ClientState.GONE
            swarm.client_gone(self)
        elif reason in (CloseReason.LIFETIME, CloseReason.ROLLED, CloseReason.CLOSED):
            swarm.want_connection(self)
        else:
            self.back_off(reason, text)

    def back_off(self, reason: CloseReason, text: str) -> None:
        """Try again after a while, longer after each failure in a row."""
        self._failures += 1
        self.state = ClientState.BACKING_OFF
        self.swarm.trouble(reason, text)
        self._backoff = self.swarm.loop.call_later(self.swarm.backoff_s(self._failures), self._retry)

    def _retry(self) -> None:
        self._backoff = None
        self.swarm.want_connection(self)

    def _stop_waiting(self) -> None:
        for timer in (self._think, self._backoff):
            if timer is not None:
                timer.cancel()
        self._think = self._backoff = None
        if self._waiter is not None:
            self.swarm.limiter.forget(self._waiter)
            self._waiter = None
        if self.state is ClientState.FREE:
            self.swarm.pool.withdraw(self)
        self._release()
        self._give_back()

    # From the swarm.

    def retune(self) -> None:
        """The tuning changed: look at it before the next request, and go at once if nothing is under way."""
        self._steady = False
        if self.state in (ClientState.FREE, ClientState.WAITING, ClientState.THINKING, ClientState.PARKED):
            if self._socket_generation != self.swarm.socket_generation:
                self.leave(CloseReason.ROLLED)
            elif self._think is not None:
                self._think.cancel()
                if self.swarm.tuning.pool:
                    self._thought()
                    return
                left_s = max(0.0, self._think.when() - self.swarm.loop.time())
                self._think = self.swarm.loop.call_later(
                    min(left_s, self.swarm.tuning.think_time_s), self._thought
                )

    def hesitate(self) -> None:
        """Look at the surroundings before the next request, instead of sending it from the callback."""
        self._steady = False

    def unpark(self) -> None:
        """The traffic goes on."""
        if self.state is ClientState.PARKED:
            self.ask()

    def retire(self) -> None:
        """Finish the request in flight, close, and do not come back."""
        if self._retiring:
            return
        self._retiring = True
        self._steady = False
        match self.state:
            case ClientState.IN_FLIGHT | ClientState.CONNECTING | ClientState.CLOSING | ClientState.GONE:
                pass
            case ClientState.BACKING_OFF | ClientState.IDLE:
                self._stop_waiting()
                self.state = ClientState.GONE
                self.swarm.client_gone(self)
            case _:
                self.leave(CloseReason.RETIRED)

    def stop(self, reason: CloseReason) -> None:
        """End now, whatever is under way."""
        self._retiring = True
        self._stop_waiting()
        if self.record is not None:
            if self._reason is None:
                self._reason = reason
            self.state = ClientState.CLOSING
            self.abort()
        elif self.state is not ClientState.GONE:
            self.state = ClientState.GONE
            self.swarm.client_gone(self)

    @property
    def retiring(self) -> bool:
        """Whether it makes no more requests and does not come back."""
        return self._retiring

    @property
    def needs_rolling(self) -> bool:
        """Whether its connection is older than the sockets that the tuning calls for."""
        return self.record is not None and self._socket_generation != self.swarm.socket_generation

    @property
    def under_way(self) -> int:
        """Requests that are sent and not answered."""
        return len(self._pipeline) or int(self._sent_s > 0)

    def overdue(self, before_s: float) -> bool:
        """Whether a request was sent before ``before_s`` and is not answered."""
        return 0 < self._sent_s < before_s

    @property
    def remote(self) -> str:
        """Where it is connected to."""
        return format_address(self.record.remote_address) if self.record else ""
