"""The swarm: keeps as many clients alive as the tuning says, and is their surroundings."""

from __future__ import annotations

import asyncio
import errno
import random
from collections import Counter, deque
from time import perf_counter

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.connection import Address, ConnectionRecord, format_address
from sockscope.core.events import CloseReason
from sockscope.core.roles import SWARM
from sockscope.core.run.snapshot import RoleSnapshot, SocketOption
from sockscope.engine.limiter import Limiter
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.recorded_role import RecordedRole
from sockscope.engine.role import WHOLE, Assignment, Share
from sockscope.engine.swarm.client import NUMBER_DIGITS, Client, ClientState
from sockscope.engine.swarm.links.blocking import BlockingClient
from sockscope.engine.swarm.links.streams import StreamsClient
from sockscope.engine.swarm.links.tcp import ProtocolClient
from sockscope.engine.swarm.links.udp import UdpClient
from sockscope.engine.swarm.pool import Pool
from sockscope.engine.threads import ThreadGroup

MOST_CONNECTING = 1_024
"""Connections that are under way at once."""
CONNECTS_PER_TURN = 160
"""Connections that are begun in one turn of the loop, which spends about 0.07 ms on each end: enough to ramp
1,000 clients in a moment on a loop whose turns are long, few enough not to freeze it."""
CROWD = 1_000
"""With more requests in flight, a client's next request waits for the next turn of the loop. libuv takes
1,024 events at a time, and as long as it gets as many it polls again, up to 48 times, before timers, keys and
the screen have their turn: with 1,024 clients that answer each other a turn would last 250 ms."""
GIVEN_WAY_PER_TURN = 64
"""Clients that send their next request in one turn of the loop while the traffic gives way to the screen: the
turns are short then, and the loop has nearly as much to do as before."""
SHARED_PAYLOAD_BYTES = 1_024
"""From this size on all clients send the same bytes object, so that 10,000 of them fit into memory."""
THREADS_END_S = 2.0
"""How long the threads of blocking clients may take to end, when their sockets are shut down."""
BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 2.0
CLIENT_MODELS: dict[tuple[str, str], type[Client]] = {
    ("tcp", "blocking"): BlockingClient,
    ("tcp", "protocol"): ProtocolClient,
    ("tcp", "streams"): StreamsClient,
    ("udp", "protocol"): UdpClient,
}
"""What a client is made of, by transport and client model."""
_FILLER = b"abcdefghijklmnopqrstuvwxyz 0123456789 "


class Swarm(RecordedRole):
    """N clients against one address."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(SWARM)
        self.tuning: Tuning = experiment.tuning
        self.dialogue = experiment.dialogue
        self.limiter = Limiter(experiment.tuning.permits)
        self.generation = 0
        self.socket_generation = 0
        self.numbered = False
        self.paused = False
        self.paced = False
        self._gives_way = False
        self.source = ""
        self.loop = asyncio.get_running_loop()
        self.thread_group = ThreadGroup(self.recorder)
        self.pool = Pool(self.loop)
        self._target: Address = ("", 0)
        self._clients: dict[int, Client] = {}
        self._active: list[Client] = []
        self._next_number = self._number_step = 1
        self._queue: deque[Client] = deque()
        self._connecting: dict[asyncio.Task[None], Client] = {}
        self._pumping: asyncio.Handle | None = None
        self._next_turn: list[tuple[Client, ConnectionRecord | None]] = []
        self._budget: int | None = None
        self._seed = experiment.seed
        self._random = random.Random(experiment.seed)
        self._watch: asyncio.TimerHandle | None = None
        self._last_trouble = ""
        self._began_s = 0.0
        self._stopping = False
        self._payload: bytes = b""

    # The role.

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Begin to make clients; they connect while the loop goes on."""
        self.recorder.number_as(share)
        self._next_number, self._number_step = share.index + 1, share.of
        self._random = random.Random(self._seed + share.index)
        self._budget = share.budget
        self.recorder.start()
        self._began_s = perf_counter()
        self._take(assignment)
        self.limiter.resize(assignment.tuning.permits)
        self._share()
        self._resize()
        self._look_for_overdue()
        return self._target

    async def apply(self, assignment: Assignment) -> Address:
        """Take over a tuning; connections that need new sockets are replaced one after the other."""
        before, target = self.tuning, self._target
        self._take(assignment)
        if before.needs_new_sockets(assignment.tuning) or target != assignment.address:
            self.socket_generation += 1
        if _kind(before) != _kind(assignment.tuning):
            for client in self._active:
                client.retire()
            self._active = []
        self.limiter.resize(assignment.tuning.permits)
        for client in list(self._clients.values()):
            client.retune()
        self._share()
        self._resize()
        return self._target

    def _take(self, assignment: Assignment) -> None:
        self.tuning = assignment.tuning
        self.generation = assignment.generation
        self._target = assignment.address
        tuning = assignment.tuning
        self._pace()
        self.numbered = tuning.depth > 1 and not self.dialogue.request
        size = tuning.request_bytes
        shared = self._filled(b"sockscope ") if size >= SHARED_PAYLOAD_BYTES else b""
        self._payload = self.dialogue.request or shared

    def _pace(self) -> None:
        tuning = self.tuning
        crowded = min(tuning.connections, tuning.permits or tuning.connections) > CROWD
        self.paced = crowded or self._gives_way

    def give_way(self, wanted: bool) -> None:
        """Keep the turns of the loop short, so that somebody who waits for the screen is answered soon."""
        if wanted != self._gives_way:
            self._gives_way = wanted
            self._pace()
            for client in self._clients.values() if wanted else ():
                client.hesitate()

    def _share(self) -> None:
        tuning = self.tuning
        if tuning.pool:
            self.pool.resize(tuning.clients, tuning.connections, tuning.think_time_s)
        else:
            self.pool.resize(0, 0, 0.0)

    def _resize(self) -> None:
        wanted = self.tuning.connections
        while len(self._active) > wanted:
            self._active.pop().retire()
        make = CLIENT_MODELS[_kind(self.tuning)]
        while len(self._active) < wanted:
            client = make(self, self._next_number)
            self._next_number += self._number_step
            self._clients[client.number] = client
            self._active.append(client)
            self._queue.append(client)
        self._pump()

    def pause(self, paused: bool) -> None:
        """Stop or resume making requests; what is in flight is answered."""
        self.paused = paused
        for client in list(self._clients.values()):
            client.retune()
            if not paused:
                client.unpark()

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Let requests in flight finish for at most ``grace_s``, then close everything."""
        self._stopping = True
        self.pool.close()
        self.pause(True)
        deadline = perf_counter() + grace_s
        while self.limiter.in_flight and perf_counter() < deadline:
            await asyncio.sleep(0.005)
        if self._watch is not None:
            self._watch.cancel()
        self.recorder.stop()
        self._queue.clear()
        for task, client in self._connecting.items():
            if client.dialling:
                task.cancel()
        if self._connecting:
            await asyncio.wait(self._connecting)
        for client in list(self._clients.values()):
            client.stop(reason)
        # Aborted transports tell their protocols in the next turn of the loop; the books close there.
        for _ in range(100):
            if not self._clients:
                break
            await asyncio.sleep(0)
        while not self.thread_group.ended and perf_counter() < deadline + THREADS_END_S:
            await asyncio.sleep(0.002)
        # Whoever has not told of its end by now will not be heard any more.
        for client in list(self._clients.values()):
            client.lost(reason)

    def refill(self, requests: int) -> None:
        """Make so many more requests; clients without a connection connect again."""
        self._began_s = perf_counter()
        self._budget = requests
        self._queue = deque(client for client in self._active if client.state is ClientState.IDLE)
        self._pump()
        for client in list(self._clients.values()):
            client.unpark()

    @property
    def exhausted(self) -> bool:
        """Whether the run's budget of requests is spent and everything is answered."""
        return self._budget == 0 and not self.limiter.in_flight

    # SwarmContext of a client.

    def steady(self) -> bool:
        """Whether nothing stands between an answer and the next request."""
        tuning = self.tuning
        return not (
            self.paused
            or self.paced
            or tuning.permits
            or tuning.think_time_s
            or tuning.lifetime
            or tuning.depth > 1
            or tuning.pool
            or self._budget is not None
        )

    def in_next_turn(self, client: Client) -> None:
        """Let ``client`` go on in the next turn of the loop."""
        if not self._next_turn:
            self.loop.call_soon(self._go_on)
        self._next_turn.append((client, client.record))

    def _go_on(self) -> None:
        most = GIVEN_WAY_PER_TURN if self._gives_way else len(self._next_turn)
        clients, self._next_turn = self._next_turn[:most], self._next_turn[most:]
        if self._next_turn:
            self.loop.call_soon(self._go_on)
        for client, record in clients:
            # One that has lost its connection meanwhile is not where it was, and may be asking on another.
            if client.record is record:
                client.go_on()

    def request_bytes_for(self, client: Client) -> bytes:
        """Return the payload of a client's requests: what was given, or readable filler without a newline
        that tells small requests apart by client."""
        return self._payload or self._filled(b"client %05d " % client.number)

    def _filled(self, head: bytes) -> bytes:
        head = b"%0*d %s" % (NUMBER_DIGITS, 0, head) if self.numbered else head
        size = self.tuning.request_bytes
        return (head + _FILLER * (max(0, size - len(head)) // len(_FILLER) + 1))[:size]

    def may_send(self) -> bool:
        """Take one request from the budget, if there is a budget."""
        if self._budget is None:
            return True
        self._budget = max(0, (left := self._budget) - 1)
        return left > 0

    def want_connection(self, client: Client) -> None:
        """Queue a client up for a connection."""
        client.state = ClientState.IDLE
        if self._budget == 0:
            return  # it would have nothing to ask
        self._queue.append(client)
        self._pump()

    def client_gone(self, client: Client) -> None:
        """Forget a retired client."""
        if self._clients.pop(client.number, None) is not None:
            client.dismiss()

    def trouble(self, reason: CloseReason, text: str) -> None:
        """Remember what keeps clients from going on."""
        self._last_trouble = text or reason.value

    def backoff_s(self, failures: int) -> float:
        """Return the wait before the next try: doubling up to 2 s, and half of it at random."""
        most = min(BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16), BACKOFF_MOST_S)
        return most * (0.5 + self._random.random() / 2)

    # Connecting.

    def _pump(self) -> None:
        """Begin connections, some in this turn of the loop and the rest in the next ones."""
        if self._pumping is None and self._queue:
            self._pumping = self.loop.call_soon(self._connect_some)

    def _connect_some(self) -> None:
        self._pumping = None
        at_once = self._most_connecting()
        most = min(CONNECTS_PER_TURN, at_once - len(self._connecting))
        while self._queue and most > 0 and not self._stopping:
            client = self._queue.popleft()
            if client.state is not ClientState.IDLE:
                continue
            most -= 1
            client.state = ClientState.CONNECTING
            task = self.loop.create_task(self._connect(client))
            self._connecting[task] = client
            task.add_done_callback(self._connected)
        if len(self._connecting) < at_once and not self._stopping:
            self._pump()

    def _most_connecting(self) -> int:
        """Return how many connections may be under way; each that is to end has a request to make."""
        if self._budget is None or not self.tuning.lifetime:
            return MOST_CONNECTING
        return min(MOST_CONNECTING, self._budget - self.limiter.statistics().waiting)

    def _connected(self, task: asyncio.Task[None]) -> None:
        del self._connecting[task]
        self._pump()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.loop.call_exception_handler({"message": "a client failed to connect", "exception": error})

    async def _connect(self, client: Client) -> None:
        if client.retiring:
            # Since its turn was planned.
            client.stop(CloseReason.RETIRED)
            return
        try:
            await client.connect(self._target)
        except OSError as error:
            self._connect_failed(client, error)

    def _connect_failed(self, client: Client, error: OSError) -> None:
        recorder = self.recorder
        reason = close_reason(error)
        if error.errno == errno.EADDRNOTAVAIL and self._another_source():
            self.want_connection(client)
            return
        if reason is CloseReason.REFUSED:
            recorder.refused += 1
        elif reason is CloseReason.TIMEOUT:
            recorder.connect_timeouts += 1
        else:
            recorder.connect_failures += 1
        text = "no connection in time" if reason is CloseReason.TIMEOUT else describe(error)
        recorder.on_error(text, address=format_address(self._target), reason=reason)
        client.lost(reason, text)

    def _another_source(self) -> bool:
        """Go over to the next loopback source address when this one's ephemeral ports are used up."""
        if not self._target[0].startswith("127."):
            return False
        last = int(self.source.rpartition(".")[2]) if self.source else 1
        if last >= 254:
            return False
        self.source = f"127.0.0.{last + 1}"
        return True

    # Watching.

    def _look_for_overdue(self) -> None:
        timeout_s = self.tuning.request_timeout_s
        before_s = perf_counter() - timeout_s
        for client in [c for c in self._clients.values() if c.overdue(before_s)]:
            client.timed_out(before_s)
        self._watch = self.loop.call_later(min(max(timeout_s / 20, 0.002), 0.1), self._look_for_overdue)

    # For readers.

    def own_figures(self) -> RoleSnapshot:
        """Return the figures that only a swarm has."""
        recorder = self.recorder
        states = Counter(client.state for client in self._clients.values())
        return RoleSnapshot(
            role=recorder.role,
            transport=self.tuning.transport,
            address=format_address(self._target),
            totals=recorder.totals(),
            connections_open=len(recorder.live),
            rolling=sum(client.needs_rolling for client in self._clients.values()),
            socket_options=self._socket_options(),
            clients=self.pool.clients if self.tuning.pool else len(self._active),
            clients_connecting=states[ClientState.CONNECTING] + states[ClientState.IDLE],
            clients_retrying=states[ClientState.BACKING_OFF],
            in_flight=sum(client.under_way for client in self._clients.values()),
            last_trouble=self._last_trouble,
            limiter=self.limiter.statistics(),
            pool=self.pool.statistics(),
            service_time=recorder.service_time.copy(),
            began_s=self._began_s,
            last_answer_s=recorder.last_answer_s,
        )

    @property
    def framing(self) -> str:
        """The framing, as the dialogue names it."""
        return self.dialogue.framing_name(self.tuning.framing)

    def _socket_options(self) -> tuple[SocketOption, ...]:
        for client in self._active:
            if options := client.socket_options(self.tuning):
                return tuple(options)
        return ()

    async def close_connection(self, conn_id: int) -> bool:
        """Close one client's connection; it comes back with a new one."""
        for client in self._clients.values():
            if client.record is not None and client.record.conn_id == conn_id:
                client.leave(CloseReason.CLOSED)
                return True
        return False


def _kind(tuning: Tuning) -> tuple[str, str]:
    return tuning.transport, tuning.client
