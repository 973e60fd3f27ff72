"""The swarm: keeps as many clients alive as the tuning says, and is what they have in common."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from time import perf_counter

from sockscope.core.addresses import Address, format_address
from sockscope.core.arrivals import WHOLE_SCHEDULE
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.models import server_model
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.roles import SWARM
from sockscope.core.run.client_states import ClientSample
from sockscope.core.run.snapshot import LimiterStatistics, RoleSnapshot, SocketOption, Totals
from sockscope.engine.accept_queue import accept_queue
from sockscope.engine.addresses import targets_of
from sockscope.engine.limiter import Limiter
from sockscope.engine.listen_diag import drops_at
from sockscope.engine.recorded_role import RecordedRole
from sockscope.engine.role import WHOLE, Assignment, Share
from sockscope.engine.stops import IDLE_STEP_S, STEP_S, STOPS
from sockscope.engine.stopwatch import PausedTime, Stopwatch
from sockscope.engine.swarm.awaited import AwaitedLooks
from sockscope.engine.swarm.client import Client, ClientState
from sockscope.engine.swarm.client_sample import ClientLooks, sample_of_pool
from sockscope.engine.swarm.closings import Closings
from sockscope.engine.swarm.dialler import Dialler
from sockscope.engine.swarm.held import HeldDatagrams
from sockscope.engine.swarm.links import LINKS
from sockscope.engine.swarm.links.link import Link
from sockscope.engine.swarm.links.tcp import NUMBER_DIGITS
from sockscope.engine.swarm.opening import Opening
from sockscope.engine.swarm.pacing.closed import ClosedLoop
from sockscope.engine.swarm.pacing.open import Arrivals, OpenLoop
from sockscope.engine.swarm.places import Places
from sockscope.engine.swarm.pool import Pool
from sockscope.engine.swarm.readiness import ReadinessSet
from sockscope.engine.threads import ThreadGroup
from sockscope.engine.timers import punctual
from sockscope.engine.tls.contexts import ClientTls
from sockscope.engine.turns import in_turns

SHARED_PAYLOAD_BYTES = 1_024
"""From this size on all clients send the same bytes object, so that 10,000 of them fit into memory."""
THREADS_END_S = 2.0
"""How long the threads of blocking clients may take to end, when their sockets are shut down."""
BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 2.0
LATE_S = 0.25
"""How long after its timeout an answer over UDP may come until its request is called lost."""
LOOK_S = 0.2
"""How often clients are looked at for overdue requests at least."""
CHECKED_AT_ONCE = 512
"""Clients whose requests are checked for timeouts in one turn of the loop."""
LOOKED_AT_ONCE = 512
"""Clients whose receive buffers are looked at for one snapshot, with a system call each."""
VARY_S = 5.0
"""How often each client makes its request anew, where these are varied."""
_NAMES = b"sockscope", b"SOCKSCOPE"
_CLIENTS = b"client", b"CLIENT"
_FILLER = b"abcdefghijklmnopqrstuvwxyz 0123456789 "


class Swarm(RecordedRole):
    """N clients against one address."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(SWARM)
        self.tuning: Tuning = experiment.tuning
        self._experiment = experiment
        self.dialogue = experiment.dialogue
        self.tls: ClientTls | None = None
        self._client_tls: ClientTls | None = None
        self.limiter = Limiter(experiment.tuning.permits)
        self.idle = Stopwatch()
        self.clock = PausedTime()
        self.generation = 0
        self.socket_generation = 0
        self.numbered = False
        self.paused = False
        # Whether every client has been looked at since nothing is under way any more in a pause.
        self._at_rest = False
        self.retrying = 0
        self.pipelined = 0
        self.closings = Closings()
        self.loop = asyncio.get_running_loop()
        self.held = HeldDatagrams(self.loop)
        self.call_later = punctual(self.loop)
        self.places = Places(self.loop.call_soon)
        self.readiness = ReadinessSet(self.loop)
        self.thread_group = ThreadGroup(self.recorder)
        self.pool = Pool(self.loop)
        self.pacing: type[ClosedLoop | OpenLoop] = OpenLoop if experiment.tuning.rate else ClosedLoop
        self.arrivals = Arrivals(self)
        self._turn = WHOLE_SCHEDULE
        self._dialler = Dialler(self.loop, self.recorder, self._most_connecting)
        self._clients: dict[int, Client] = {}
        self._active: list[Client] = []
        self._unchecked: Iterator[Client] = iter(())
        self._unseen: Iterator[Client] = iter(())
        self._looks = ClientLooks()
        self._awaited = AwaitedLooks()
        # The clients by the numbers of their connections, as they were when one was looked for in vain.
        self._found: dict[int, Client] = {}
        self._next_number = self._number_step = 1
        self._budget: int | None = None
        self._seed = experiment.seed
        self._knows_server = experiment.role == "both" and not experiment.own_server
        self._aims_elsewhere = experiment.role == SWARM
        self._processes, self._index = 1, 0
        # Where a listener elsewhere was looked at last, and what it had dropped by then.
        self._listener_looked: tuple[Address, int] | None = None
        self._listener_dropped = 0
        self._random = random.Random(experiment.seed)
        self._watch: asyncio.TimerHandle | None = None
        self._resuming: asyncio.Task[None] | None = None
        self._last_trouble = ""
        self._began_s = 0.0
        self._ready_s = 0.0
        self._payloads = b"", b""
        self._answers: dict[int, bytes] = {}
        # An echo that is none is noticed; whatever else is asked for may be what the server says by itself.
        self.opening = Opening(self.loop, listens=self.dialogue.is_mistakable and not self._knows_server)
        self.varied = self.dialogue.wants_echo and not self._knows_server
        self._varied_s = 0.0
        self._varies_now = False
        # The reading of the server's code that connections were made to.
        self._code = 0
        # The socket generation for which every connection has been replaced.
        self._rolled = 0

    # The role.

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Begin to make clients; they connect while the loop goes on."""
        self.recorder.number_as(share)
        self._next_number, self._number_step = share.index + 1, share.of
        self._random = random.Random(self._seed + share.index)
        self.arrivals.seed(self._seed + share.index)
        self._budget = share.budget
        self._processes, self._index = share.of, share.index
        self.recorder.start()
        self._began_s = perf_counter()
        self._code = assignment.code
        self._take(assignment)
        self.arrivals.plan(self._turn)
        self.limiter.resize(assignment.tuning.permits)
        self._share_places()
        self._share()
        await self._resize()
        self._look_whether_ready()
        STOPS.listeners.add(self._skip)
        self._look_for_overdue()
        if self.opening.listens and self.tuning.transport == "tcp":
            self._began_s = await self.opening.over()
            self.arrivals.begin_anew()
        return self._dialler.target

    async def apply(self, assignment: Assignment) -> Address:
        """Take over a tuning; connections that need new sockets are replaced one after the other."""
        with self._dialler.held():
            await self._take_over(assignment)
        return self._dialler.target

    async def _take_over(self, assignment: Assignment) -> None:
        before, target = self.tuning, self._dialler.target
        self._take(assignment)
        anew = before.needs_new_sockets(assignment.tuning) or self._code != assignment.code
        self._code = assignment.code
        if before.faults != self.tuning.faults:
            self.closings = Closings()
        if anew or target != self._dialler.target:
            self.socket_generation += 1
            self.closings = Closings()
        if _model(before) != _model(assignment.tuning):
            former, self._active = self._active, []
            await in_turns(former, Client.retire)
        self.limiter.resize(assignment.tuning.permits)
        await in_turns(self._clients.values(), Client.retune)
        # Last, so that who goes in asks as the tuning says now.
        self._share_places()
        self._share()
        await self._resize()
        self.arrivals.plan(self._turn)

    def _take(self, assignment: Assignment) -> None:
        if assignment.tuning.tls and self._client_tls is None:
            self._client_tls = ClientTls(self._experiment, assignment.certificate)
        self.tls = self._client_tls if assignment.tuning.tls else None
        before, self.tuning = self.tuning, assignment.tuning
        tuning = self.tuning
        if (before.accept, before.reject) != (tuning.accept, tuning.reject):
            self.dialogue = replace(self._experiment, tuning=tuning).dialogue
        self.generation = assignment.generation
        self.pacing = OpenLoop if tuning.rate else ClosedLoop
        self._turn = assignment.turn
        self._dialler.aim(targets_of(self._experiment, assignment.address))
        self.numbered = tuning.depth > 1 and not self.dialogue.requests
        size = tuning.request_bytes
        shared = [self._filled(b"%s " % name) if size >= SHARED_PAYLOAD_BYTES else b"" for name in _NAMES]
        requests = self.dialogue.requests
        own = requests.templates[0].filled(1, 1) if requests is not None else b""
        self._payloads = own or shared[0], own or shared[1]

    def _served_at_once(self) -> int:
        """Return how many connections of this process the server serves at a time; 0: all, or not known.

        Without permits nobody takes them from others.
        """
        tuning = self.tuning
        model = server_model(tuning.transport, tuning.server)
        if not tuning.permits or not self._knows_server or model is None or tuning.transport != "tcp":
            return 0
        served = model.at_once * tuning.server_processes
        return max(1, served // self._processes) if served else 0

    def _share_places(self) -> None:
        tuning = self.tuning
        self.places.resize(self._served_at_once(), tuning.permits, pooled=bool(tuning.pool))

    def _share(self) -> None:
        tuning = self.tuning
        if tuning.pool and not tuning.rate:
            self.pool.resize(tuning.clients, tuning.connections, tuning.think_time_s)
        else:
            self.pool.resize(0, 0, 0.0)

    async def _resize(self) -> None:
        count = self.tuning.connections
        surplus = self._active[count:]
        del self._active[count:]
        await in_turns(reversed(surplus), Client.retire)
        link = LINKS[_model(self.tuning)]
        await in_turns(range(count - len(self._active)), lambda _: self._add_client(link))

    def _add_client(self, link: type[Link]) -> None:
        client = Client(self, self._next_number, link)
        client.pacer = self.pacing(client, self)
        self._next_number += self._number_step
        self._clients[client.number] = client
        self._active.append(client)
        self._dialler.add(client)

    def pause(self, paused: bool) -> None:
        """Stop or resume making requests; what is in flight is answered."""
        super().pause(paused)
        self.paused = paused
        self._at_rest = False
        now_s = perf_counter()
        for waits in self._all_clocks():
            (waits.pause if paused else waits.resume)(now_s)
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        if paused:
            for client in list(self._clients.values()):
                client.retune()
        else:
            self._resuming = self.loop.create_task(in_turns(self._clients.values(), _go_on))
            if self._watch is not None:
                self._watch.cancel()
                self._look_for_overdue()
        self.arrivals.go_on()

    async def hold_connecting(self, held: bool) -> None:
        """Begin no connections, and return when none is under way or after QUIET_S; or go on with them."""
        await self._dialler.hold(held)

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Let requests in flight finish for at most ``grace_s``, then close everything."""
        self._dialler.stop()
        self.pool.close()
        self.pause(True)
        self.arrivals.stop()
        deadline = perf_counter() + grace_s
        while self.limiter.in_flight and perf_counter() < deadline:
            await asyncio.sleep(0.005)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            STOPS.listeners.discard(self._skip)
        self.recorder.stop()
        await self._dialler.close()
        for client in list(self._clients.values()):
            client.stop(reason)
        # Links tell of their end in the next turn of the loop; their records are closed there.
        for _ in range(100):
            if not self._clients:
                break
            await asyncio.sleep(0)
        while not self.thread_group.ended and perf_counter() < deadline + THREADS_END_S:
            await asyncio.sleep(0.002)
        # Whoever has not told of its end by now will not be heard any more.
        for client in list(self._clients.values()):
            client.lost(reason)
        self.readiness.close()
        self.arrivals.close()

    def refill(self, requests: int) -> None:
        """Make so many more requests; clients without a connection connect again."""
        self._began_s = perf_counter()
        self._budget = requests
        self._dialler.requeue(client for client in self._active if client.state is ClientState.IDLE)
        for client in list(self._clients.values()):
            client.pacer.resume()
        self.arrivals.go_on()

    @property
    def exhausted(self) -> bool:
        """Whether the run's budget of requests is spent and everything is answered."""
        return self._budget == 0 and not (self.limiter.in_flight or self.arrivals.queued)

    # What clients need.

    @property
    def source(self) -> str:
        """The address that clients connect from; empty: the kernel chooses."""
        return self._dialler.source

    @property
    def ended_on_purpose(self) -> bool:
        """Whether a fault on demand ends connections, so that their ends tell nothing of the server."""
        return any(fault.about.ends for fault in self.tuning.faults)

    @property
    def has_budget(self) -> bool:
        """Whether the number of requests is limited."""
        return self._budget is not None

    def request_bytes_for(self, client: Client) -> bytes:
        """Return the payload of a client's requests: what was given, or readable filler without a newline
        that tells small requests apart by client, and from its last ones where those are varied."""
        which = client.variant
        client.variant = self.varied and not which
        return self._payloads[which] or self._filled(b"%s %05d " % (_CLIENTS[which], client.number))

    def _filled(self, head: bytes) -> bytes:
        head = b"%0*d %s" % (NUMBER_DIGITS, 0, head) if self.numbered else head
        size = self.tuning.request_bytes
        return (head + _FILLER * (max(0, size - len(head)) // len(_FILLER) + 1))[:size]

    def shared_answer(self, place: int, answer: bytes) -> bytes:
        """Return the answer to one of the requests as the clients share it that have got the same.

        Each keeps it, and thousands of copies would fill the memory.
        """
        if self._answers.get(place) != answer:
            self._answers[place] = answer
        return self._answers[place]

    def may_send(self) -> bool:
        """Take one request from the budget, if there is a budget."""
        if self._budget is None:
            return True
        self._budget = max(0, (left := self._budget) - 1)
        return left > 0

    def take_back(self) -> None:
        """Take back into the budget a request that was not sent after all."""
        if self._budget is not None:
            self._budget += 1

    def connect_soon(self, client: Client) -> None:
        """Queue a client up for a connection, if it would have something to ask on it."""
        if self._budget != 0 or self.arrivals.queued:
            client.pacer.wants()
            self._dialler.add(client)

    def connect_ended(self, client: Client, error: OSError | None) -> None:
        """An attempt to connect is over."""
        self._dialler.ended(client, error)
        self._look_whether_ready()

    def target_refused(self, remote: Address) -> None:
        """A datagram was answered with the word that nobody listens there."""
        self._dialler.refused(remote)

    def _look_whether_ready(self) -> None:
        """Note the moment at which every client has got a connection for the first time."""
        if self._ready_s:
            return
        # Clients that keep their connections: with a lifetime some are always on their way to the next one.
        if not self.tuning.lifetime and (self._dialler.connecting or self.retrying):
            return
        if self.recorder.opened >= self.tuning.connections:
            self._ready_s = perf_counter()

    def client_gone(self, client: Client) -> None:
        """Forget a retired client."""
        if self._clients.pop(client.number, None) is not None:
            client.link.dismiss()

    def note_trouble(self, reason: CloseReason, text: str) -> None:
        """Remember what keeps clients from going on."""
        self._last_trouble = text or reason.value

    def backoff_s(self, failures: int) -> float:
        """Return the wait before the next try: doubling up to 2 s, and half of it at random."""
        most = min(BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16), BACKOFF_MOST_S)
        return most * (0.5 + self._random.random() / 2)

    def _most_connecting(self) -> int | None:
        """Return how many connections have a request to make, where that is known: each is to end."""
        if self._budget is None or not self.tuning.lifetime or self.tuning.rate:
            return None
        return self._budget - self._waiting

    @property
    def _waiting(self) -> int:
        """How many connections wait for a permit, or to be served."""
        return self.limiter.waiting + self.places.waiting

    # Timeouts.

    def _look_for_overdue(self) -> None:
        """Check some clients for overdue requests; all of them twenty times per timeout, or ten times
        if there are many, but every 200 ms at the latest, which is enough while nothing is under way."""
        STOPS.look(IDLE_STEP_S if self.paused else STEP_S)
        timeout_s = self.tuning.request_timeout_s
        now_s = perf_counter()
        before_s = now_s - timeout_s
        checked = list(islice(self._unchecked, CHECKED_AT_ONCE))
        for client in checked:
            if client.link.overdue(before_s):
                client.time_out(before_s)
            if client.link.undecided:
                client.link.settle(now_s - LATE_S)
            if self._varies_now:
                client.link.outdate()
        parts = len(self._clients) // CHECKED_AT_ONCE + 1
        period_s = min(max(timeout_s / (20 if parts == 1 else 10), 0.002), LOOK_S)
        if self.paused and not (self.limiter.in_flight or self.pipelined):
            period_s = LOOK_S * parts
        if len(checked) < CHECKED_AT_ONCE:
            self._unchecked = iter(list(self._clients.values()))
            if vary := self.varied and now_s - self._varied_s > VARY_S:
                self._varied_s = now_s
            self._varies_now = vary
        self._watch = self.loop.call_later(period_s / parts, self._look_for_overdue)

    def _skip(self, stopped_s: float) -> None:
        """This process was stopped: what was under way has not waited meanwhile."""
        for client in self._clients.values():
            client.link.skip(stopped_s)
        for waits in self._all_clocks():
            waits.skip(stopped_s)
        self.limiter.busy_since_s += stopped_s

    def _all_clocks(self) -> tuple[PausedTime, ...]:
        """Return what counts how long clients wait, which nobody does while the traffic stands still."""
        return self.clock, self.limiter.waits, self.pool.waits, self.places.waits

    # For readers.

    def own_figures(self) -> RoleSnapshot:
        """Return the figures that only a swarm has."""
        recorder, now_s = self.recorder, perf_counter()
        unread_bytes, undecided = self._look_at_buffers()
        awaited, response_awaited = self._awaited.ages(
            self._clients, self.pool, self.arrivals, self.clock, now_s
        )
        return RoleSnapshot(
            role=SWARM,
            transport=self.tuning.transport,
            address=format_address(self._dialler.target),
            unread_bytes=unread_bytes,
            undecided=undecided,
            abandoned=recorder.abandoned,
            totals=self._totals(),
            connections_open=len(recorder.live),
            rolling=self._rolling(),
            socket_options=self._socket_options(),
            clients=self.pool.clients if self.tuning.pool and not self.tuning.rate else len(self._active),
            clients_connecting=self._dialler.connecting,
            clients_retrying=self.retrying,
            in_flight=self.limiter.in_flight + self.pipelined - self.arrivals.behind,
            queued=self.arrivals.queued,
            last_trouble=self._last_trouble,
            limiter=self._limiter_statistics(),
            pool=self.pool.statistics(),
            service_time=recorder.service_time.copy(),
            unanswered=recorder.unanswered.copy(),
            gaps=recorder.gaps.copy(),
            response_time=recorder.response_time(),
            response_unanswered=recorder.response_unanswered.copy(),
            awaited=awaited,
            response_awaited=response_awaited,
            schedule_lateness=recorder.schedule_lateness.copy(),
            backlog=self._backlog(),
            listen_drops=self._listen_drops(),
            connected_s=recorder.connected.total_s(now_s),
            idle_s=self.idle.total_s(now_s),
            began_s=self._began_s,
            ready_s=self._ready_s,
            last_answer_s=recorder.last_answer_s,
            awaited_since_s=self._awaited_since_s(),
        )

    def client_samples(self, now_s: float) -> tuple[ClientSample, ...]:
        """Return what its clients are doing: those of a pool, or those that are connections."""
        clients, target = self._clients, self._dialler.target
        if self.tuning.pool and not self.tuning.rate:
            here = self._index, self._processes
            return (sample_of_pool(clients.values(), self.pool, target, now_s, *here),)
        return (self._looks.sample(clients, target, now_s, has_budget=self._budget != 0),)

    def _look_at_buffers(self) -> tuple[int, int]:
        """Look at the receive buffers of some clients, of all when the traffic comes to rest.

        Return the memory of what is unread there, and how many requests of them may be answered late.
        """
        if self.tuning.transport != "udp":
            return 0, 0
        if len(self._clients) <= LOOKED_AT_ONCE or (self.paused and not self._at_rest):
            looked = list(self._clients.values())
            self._at_rest = self.paused and not (self.limiter.in_flight or self.pipelined)
        else:
            looked = list(islice(self._unseen, LOOKED_AT_ONCE))
            if len(looked) < LOOKED_AT_ONCE:
                self._unseen = iter(list(self._clients.values()))
        unread_bytes = sum(client.link.look_at_buffer() for client in looked)
        return unread_bytes, sum(len(client.link.undecided) for client in looked)

    def _totals(self) -> Totals:
        totals, arrivals = self.recorder.totals(), self.arrivals
        # Those of a closed loop are due when they go out.
        due = totals.requests - arrivals.sent + arrivals.due
        return replace(totals, requests_due=due, requests_dropped=arrivals.dropped)

    def _awaited_since_s(self) -> float:
        """Return since when an answer has been awaited without a break; 0 while none is."""
        if not self.limiter.in_flight:
            return 0.0
        recorder = self.recorder
        # Whoever tries again after a failure has awaited an answer all the while.
        failing = recorder.last_unanswered_s > recorder.last_answer_s > 0
        return recorder.last_answer_s if failing else self.limiter.busy_since_s

    def _limiter_statistics(self) -> LimiterStatistics:
        """Return the figures of the permits: who waits for a place waits for a permit."""
        of, places = self.limiter.statistics(), self.places
        return replace(
            of,
            waiting=of.waiting + places.clients_waiting,
            waited=of.waited + places.waited,
            wait_s=of.wait_s + places.wait_s,
        )

    def _backlog(self) -> int:
        """Return how many connections a server elsewhere on this machine has not accepted yet."""
        if not self._tells_of_the_listener:
            return 0
        return next((found for at in self._listeners() if (found := accept_queue(at)) is not None), 0)

    def _listeners(self) -> Sequence[Address]:
        """Return where the server elsewhere listens, or may: a relay in between is aimed at one of these."""
        target, targets = self._dialler.target, self._experiment.targets
        return (target,) if target in targets else targets

    def _listen_drops(self) -> int | None:
        """Return how many connections its listener was seen to drop; None where that is not known."""
        if not self._tells_of_the_listener:
            return None
        asked = ((at, drops_at(at)) for at in self._listeners())
        found = next(((at, drops) for at, drops in asked if drops is not None), None)
        if found is None:
            return None
        target, drops = found
        looked, self._listener_looked = self._listener_looked, found
        if looked is not None and looked[0] == target:
            # Fewer than before are those of another that listens there by now.
            self._listener_dropped += max(drops - looked[1], 0)
        return self._listener_dropped

    @property
    def _tells_of_the_listener(self) -> bool:
        """Whether the listener is elsewhere, and looked at here: of several processes one tells of it."""
        return self._aims_elsewhere and not self._index and self.tuning.transport == "tcp"

    @property
    def framing(self) -> str:
        """The framing, as the dialogue names it."""
        return self.dialogue.framing_name(self.tuning.framing)

    def _rolling(self) -> int:
        """Return how many connections are still to be replaced."""
        if self._rolled == self.socket_generation:
            return 0
        left = sum(client.needs_rolling for client in self._clients.values())
        if not left:
            self._rolled = self.socket_generation
        return left

    def _socket_options(self) -> tuple[SocketOption, ...]:
        for client in self._active:
            if options := client.link.socket_options(self.tuning):
                return tuple(options)
        return ()

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of a TCP connection, or None."""
        client = self._found.get(conn_id)
        if client is None or client.record is None or client.record.conn_id != conn_id:
            self._found = {c.record.conn_id: c for c in self._clients.values() if c.record is not None}
            client = self._found.get(conn_id)
        return client.link.sock if client is not None else None

    async def close_connection(self, conn_id: int) -> bool:
        """Close one client's connection; it comes back with a new one."""
        for client in self._clients.values():
            if client.record is not None and client.record.conn_id == conn_id:
                client.leave(CloseReason.CLOSED)
                return True
        return False


def _go_on(client: Client) -> None:
    client.retune()
    client.pacer.resume()


def _model(tuning: Tuning) -> tuple[str, str]:
    return tuning.transport, tuning.client
