"""One client: a link to the server, a pacer that says when the link sends, and the life of the two.

A client lives longer than its connections: it makes a new one when one ends, until it is retired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from sockscope.core.addresses import Address
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import ENDED_BY_SERVER, CloseReason
from sockscope.core.run.client_states import Doing
from sockscope.core.wire.dialogue import Dialogue
from sockscope.engine.limiter import Limiter
from sockscope.engine.recorder import Recorder
from sockscope.engine.stopwatch import PausedTime, Stopwatch
from sockscope.engine.swarm.closings import Closings
from sockscope.engine.swarm.held import HeldDatagrams
from sockscope.engine.swarm.links.link import Link
from sockscope.engine.swarm.opening import Opening
from sockscope.engine.swarm.pacing.pacer import Pacer
from sockscope.engine.swarm.places import Places
from sockscope.engine.swarm.pool import Pool
from sockscope.engine.swarm.readiness import ReadinessSet
from sockscope.engine.threads import ThreadGroup
from sockscope.engine.timers import CallLater
from sockscope.engine.tls.contexts import ClientTls
from sockscope.engine.tls.faults import NO_LONGER_TLS, TRUNCATED

if TYPE_CHECKING:
    from sockscope.engine.swarm.pacing.closed import ClosedLoop
    from sockscope.engine.swarm.pacing.open import Arrivals, OpenLoop


class ClientState(Enum):
    """What a client is doing, and what of it those see who look at all of them."""

    def __init__(self, title: str, doing: Doing) -> None:
        self.title = title
        self.doing = doing

    IDLE = "idle", Doing.CONNECTING
    """Without a connection, until it is its turn to connect."""
    AWAY = "away", Doing.THINKING
    """Thinking without a connection."""
    CONNECTING = "connecting", Doing.CONNECTING
    LISTENING = "listening", Doing.CONNECTING
    """Hearing whether the server speaks unasked."""
    PROLOGUE = "prologue", Doing.CONNECTING
    """Hearing the greeting, or saying the preamble."""
    FREE = "free", Doing.IDLE
    """In a pool, until a client takes it."""
    WAITING = "waiting", Doing.WAITING
    """For a permit, or for the server to serve its connection."""
    IN_FLIGHT = "in flight", Doing.IN_FLIGHT
    THINKING = "thinking", Doing.THINKING
    PARKED = "parked", Doing.IDLE
    """The traffic is paused, or the budget of requests is spent."""
    BACKING_OFF = "backing off", Doing.BACKING_OFF
    CLOSING = "closing", Doing.CONNECTING
    """Its connection is about to end, and another one to come."""
    GONE = "gone", Doing.GONE


FREE, WAITING, IN_FLIGHT = ClientState.FREE, ClientState.WAITING, ClientState.IN_FLIGHT
"""What a client goes through for each request: to look a member up in CPython 3.11 costs more than a call."""

_BY_SERVER = (CloseReason.EOF, CloseReason.RESET)
"""How a client sees that the server has closed: a reset when that had not read everything yet."""


class SwarmContext(Protocol):
    """What clients, their links and their pacers need of the swarm."""

    tuning: Tuning
    dialogue: Dialogue
    tls: ClientTls | None
    """How TLS is spoken; None: it is not."""
    limiter: Limiter
    places: Places
    pool: Pool
    pacing: type[ClosedLoop | OpenLoop]
    """What paces the next requests of every client."""
    arrivals: Arrivals
    idle: Stopwatch
    clock: PausedTime
    """The time in which clients wait, think and ask: without that for which the traffic was paused."""
    opening: Opening
    recorder: Recorder
    generation: int
    socket_generation: int
    numbered: bool
    varied: bool
    """Whether requests are made anew now and then, so that an answer to an earlier one is noticed."""
    paused: bool
    loop: asyncio.AbstractEventLoop
    call_later: CallLater
    readiness: ReadinessSet
    thread_group: ThreadGroup
    retrying: int
    """Clients that wait until they try to connect again."""
    closings: Closings
    held: HeldDatagrams
    pipelined: int
    """Requests under way behind the oldest one of their link."""

    @property
    def source(self) -> str:
        """The address that clients connect from; empty: the kernel chooses."""
        ...

    @property
    def has_budget(self) -> bool:
        """Whether the number of requests is limited."""
        ...

    @property
    def ended_on_purpose(self) -> bool:
        """Whether a fault on demand ends connections, so that their ends tell nothing of the server."""
        ...

    def request_bytes_for(self, client: Client) -> bytes:
        """Return the payload of a client's requests."""
        ...

    def shared_answer(self, place: int, answer: bytes) -> bytes:
        """Return the answer to one of the requests as the clients share it that have got the same."""
        ...

    def may_send(self) -> bool:
        """Take one request from the run's budget; False when none is left."""
        ...

    def take_back(self) -> None:
        """Take back into the budget a request that was not sent after all."""
        ...

    def connect_soon(self, client: Client) -> None:
        """Queue a client up for a connection."""
        ...

    def connect_ended(self, client: Client, error: OSError | None) -> None:
        """An attempt to connect is over: successful, failed, or (without an error and a record) given up."""
        ...

    def target_refused(self, remote: Address) -> None:
        """A datagram was answered with the word that nobody listens at this address."""
        ...

    def client_gone(self, client: Client) -> None:
        """A retired client has closed its connection."""
        ...

    def note_trouble(self, reason: CloseReason, text: str) -> None:
        """Remember why a client could not go on."""
        ...

    def backoff_s(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        ...


class Client:
    """A client of the swarm, over all its connections."""

    __slots__ = (
        "_absence", "_backoff", "_closing_since_s", "_cut_off", "_failures", "_listening", "_reason",
        "_reason_text", "_socket_generation", "_swarm", "asks_at_s", "link", "number", "pacer", "retiring",
        "state", "timed_out", "variant",
    )  # fmt: skip

    link: Link
    pacer: Pacer

    def __init__(
        self, swarm: SwarmContext, number: int, link: Callable[[SwarmContext, Client], Link]
    ) -> None:
        self._swarm = swarm
        self.number = number
        self.state = ClientState.IDLE
        self.retiring = False
        """Whether it makes no more requests and does not come back."""
        self.variant = False
        """Which of the two requests it sends that are told apart, where they are."""
        self.asks_at_s = 0.0
        """Until when it thinks, if it does."""
        self.timed_out = False
        """Whether it backs off, if it does, because something was not answered in time."""
        self.link = link(swarm, self)
        self._absence: asyncio.TimerHandle | None = None
        self._backoff: asyncio.TimerHandle | None = None
        self._cut_off: asyncio.TimerHandle | None = None
        # Since when the connection is closed and not yet gone, with nothing under way; 0: it is not.
        self._closing_since_s = 0.0
        self._listening: asyncio.TimerHandle | None = None
        self._failures = 0
        self._reason: CloseReason | None = None
        self._reason_text = ""
        self._socket_generation = -1

    # Connecting.

    def connect(self, target: Address) -> None:
        """Begin to connect; :meth:`connected` or :meth:`connect_failed` follows, perhaps at once."""
        self.state = ClientState.CONNECTING
        self._socket_generation = self._swarm.socket_generation
        self.link.connect(target)

    def connected(self, transport: str, local: Address, remote: Address) -> None:
        """The link is connected: register the connection and go on."""
        swarm = self._swarm
        self.link.open(swarm.recorder.on_open(transport, local, remote, swarm.generation))
        swarm.connect_ended(self, None)
        if transport == "tcp" and swarm.opening.listens:
            self.state = ClientState.LISTENING
            self.pacer.idle()
            self._listening = swarm.loop.call_later(swarm.opening.listen_s, self._heard_nothing)
        else:
            self.begin()

    def _heard_nothing(self) -> None:
        self._listening = None
        self.listened()

    def listened(self) -> None:
        """Ask if nothing has come, and if it is this client's turn."""
        if self.hears_nothing():
            self._swarm.opening.heard_nothing(self)

    def hears_nothing(self) -> bool:
        """Take what has come; tell whether it has listened long enough, listens still, and nothing came."""
        listens = self.state is ClientState.LISTENING and self._listening is None
        return listens and not self.link.hear()

    def begin(self) -> None:
        """Hear and say what comes before the first request, if anything does."""
        if self.must_leave or not self.link.opens():
            self.proceed()
            return
        self.state = ClientState.PROLOGUE
        self.pacer.idle()
        timeout_s = self._swarm.tuning.request_timeout_s
        self._listening = self._swarm.loop.call_later(timeout_s, self._prologue_took_too_long)

    def opened(self) -> None:
        """The prologue is over: ask."""
        self._stop_prologue()
        self.proceed()

    def _prologue_took_too_long(self) -> None:
        self._listening = None
        self.leave(CloseReason.TIMEOUT, f"waited in vain for {self.link.prologue_waits_for}")

    def _stop_prologue(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def connect_failed(self, error: OSError | None) -> None:
        """The attempt is over without a connection; None when it was given up."""
        self._swarm.connect_ended(self, error)

    # Going on.

    @property
    def must_leave(self) -> bool:
        """Whether the connection is to be closed before the next request."""
        return self.retiring or self._socket_generation != self._swarm.socket_generation

    def proceed(self) -> None:
        """Go on with whatever comes before the next request."""
        swarm = self._swarm
        if type(self.pacer) is not swarm.pacing:
            self._have_other_pacer()
        # Written out what `must_leave` returns: this comes before every request.
        if self.retiring or self._socket_generation != swarm.socket_generation:
            self.leave(CloseReason.RETIRED if self.retiring else CloseReason.REPLACED)
        else:
            self.pacer.ready()

    def _have_other_pacer(self) -> None:
        former, self.pacer = self.pacer, self._swarm.pacing(self, self._swarm)
        former.step_back()
        self.pacer.take_over(former)

    def go_in(self) -> None:
        """The server may have a place for the connection."""
        self.pacer.go_in()

    def answered(self) -> None:
        """Everything that was sent is answered or given up."""
        self._failures = 0
        self.pacer.answered()

    # Leaving and coming back.

    def leave(self, reason: CloseReason, text: str = "") -> None:
        """Close the connection for a reason of ours; :meth:`lost` follows."""
        if self._reason is None:
            self._reason, self._reason_text = reason, text
        self._stop_waiting()
        self.state = ClientState.CLOSING
        if self.link.record is not None and not (self._closing_since_s or self.link.under_way):
            self._closing_since_s = now_s = perf_counter()
            self._swarm.idle.begin(now_s)
        self.link.close(abort=reason.is_fault)
        if self.link.unsent and self._cut_off is None:
            # A server that does not read must not keep it for ever.
            timeout_s = self._swarm.tuning.request_timeout_s
            self._cut_off = self._swarm.loop.call_later(timeout_s, partial(self.link.close, abort=True))

    def lost(self, reason: CloseReason, text: str = "") -> None:
        """The connection is gone; ``reason`` is what the link says, ours goes first."""
        if self._reason is not None:
            reason, text = self._reason, self._reason_text
            self._reason = None
        swarm, link = self._swarm, self.link
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None
        if self._closing_since_s:
            swarm.idle.end(self._closing_since_s, perf_counter())
            self._closing_since_s = 0.0
        if self.state is ClientState.PROLOGUE and reason in _BY_SERVER:
            text = f"{ENDED_BY_SERVER} before {self.link.prologue_waits_for}"
        ends_answer = reason is CloseReason.EOF and link.take_end()
        silent_s = perf_counter() - since_s if (since_s := self.pacer.idle_since_s) else 0.0
        if swarm.opening.first is self:
            self._stop_waiting()
            self.state = ClientState.CLOSING
            swarm.opening.gone()
        failed = link.give_up(reason.value)
        swarm.recorder.errors += failed
        if failed and reason is CloseReason.EOF:
            part = f" after {link.unfinished_bytes:,} B of an answer" if link.unfinished_bytes else ""
            text = f"{ENDED_BY_SERVER}{part}{f': {TRUNCATED}' if link.truncated else ''}"
        self._stop_waiting()
        expected = ""
        if link.record is not None:
            if reason in _BY_SERVER and not ends_answer and link.record.frames_in and not self.must_leave:
                expected = swarm.closings.add(self.number, link.record.frames_in, silent_s)
                if expected and not swarm.ended_on_purpose:
                    text = expected
            if reason is CloseReason.TLS and text != NO_LONGER_TLS and not link.record.reads:
                # In TLS 1.3 a server judges the client's certificate after the client's handshake is done.
                swarm.recorder.handshakes_failed += 1
            swarm.recorder.on_close(link.record, reason, text)
            link.record = None
        if self.retiring or reason is CloseReason.STOPPED:
            self.state = ClientState.GONE
            swarm.client_gone(self)
        elif reason is CloseReason.LIFETIME or (ends_answer and not failed):
            self._failures = 0
            self._come_back_in_time()
        elif reason in (CloseReason.REPLACED, CloseReason.CLOSED):
            self.come_back()
        elif expected:
            # As it does with each connection: no reason to wait.
            swarm.note_trouble(reason, text)
            self._come_back_in_time()
        else:
            self.back_off(reason, text or (ENDED_BY_SERVER if reason is CloseReason.EOF else ""))

    def come_back(self) -> None:
        """Queue up for a new connection."""
        self.state = ClientState.IDLE
        self._swarm.connect_soon(self)

    def _come_back_in_time(self) -> None:
        """Queue up for a new connection when it is time for the next request."""
        self._absence = None
        if (left_s := self.asks_at_s - perf_counter()) > 0:
            self.state = ClientState.AWAY
            self._absence = self._swarm.call_later(left_s, self._come_back_in_time)
        else:
            self.come_back()

    def back_off(self, reason: CloseReason, text: str) -> None:
        """Try again after a while, longer after each failure in a row."""
        self._failures += 1
        self.state = ClientState.BACKING_OFF
        self.timed_out = reason is CloseReason.TIMEOUT
        self._swarm.note_trouble(reason, text)
        self._swarm.retrying += 1
        self._backoff = self._swarm.loop.call_later(self._swarm.backoff_s(self._failures), self._retry)

    def _retry(self) -> None:
        self._backoff = None
        self._swarm.retrying -= 1
        self._come_back_in_time()

    def _stop_waiting(self) -> None:
        if self._backoff is not None:
            self._backoff.cancel()
            self._backoff = None
            self._swarm.retrying -= 1
        if self._absence is not None:
            self._absence.cancel()
            self._absence = None
        self._stop_prologue()
        self.pacer.withdraw()

    # From the swarm.

    def retune(self) -> None:
        """The tuning changed: look at it before the next request, and go at once if nothing is under way."""
        self.link.outdate()
        if self._absence is not None:
            self._absence.cancel()
            tuning = self._swarm.tuning
            think_s = 0.0 if tuning.pool else tuning.think_time_s
            self.asks_at_s = min(self.asks_at_s, perf_counter() + think_s)
            self._come_back_in_time()
        elif self.pacer.retune() and (self.must_leave or self._waits_in_another_loop):
            self.proceed()

    @property
    def _waits_in_another_loop(self) -> bool:
        ready = self.state not in (ClientState.LISTENING, ClientState.PROLOGUE)
        return ready and type(self.pacer) is not self._swarm.pacing

    def retire(self) -> None:
        """Finish the request in flight, close, and do not come back."""
        if self.retiring:
            return
        self.retiring = True
        self.link.outdate()
        match self.state:
            case ClientState.IN_FLIGHT | ClientState.CONNECTING | ClientState.CLOSING | ClientState.GONE:
                pass
            case ClientState.BACKING_OFF | ClientState.IDLE | ClientState.AWAY:
                self._stop_waiting()
                self.state = ClientState.GONE
                self._swarm.client_gone(self)
            case _:
                self.leave(CloseReason.RETIRED)

    def stop(self, reason: CloseReason) -> None:
        """End now, whatever is under way."""
        self.retiring = True
        self._stop_waiting()
        if self.link.record is not None:
            if self._reason is None:
                self._reason = reason
            self.state = ClientState.CLOSING
            self.link.close(abort=True)
        elif self.state is not ClientState.GONE:
            self.state = ClientState.GONE
            self._swarm.client_gone(self)

    def time_out(self, before_s: float) -> None:
        """What was sent before ``before_s`` was not answered in time."""
        self.link.time_out(before_s)

    @property
    def record(self) -> ConnectionRecord | None:
        """The record of its connection; None while it has none."""
        return self.link.record

    @property
    def needs_rolling(self) -> bool:
        """Whether its connection is older than the sockets that the tuning calls for."""
        return self.link.record is not None and self._socket_generation != self._swarm.socket_generation
