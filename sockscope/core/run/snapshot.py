"""What the engine tells its readers: frozen copies, taken at one moment, in which every counter is
cumulative since the run began (or since the figures were cleared). Readers subtract.

Every field of figures declares how it adds (:mod:`sockscope.core.run.adding`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, NamedTuple

from sockscope.core.censoring import Ages
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionView
from sockscope.core.events import Event
from sockscope.core.histogram import Histogram
from sockscope.core.roles import RELAY, SERVER, SWARM
from sockscope.core.run.adding import (
    ByName,
    Cumulative,
    Current,
    Earliest,
    Every,
    FirstKnown,
    Gauge,
    Highest,
    Lasting,
    Maximum,
    Nested,
    Rows,
    Timeline,
    WhenAll,
    listed,
    since,
)
from sockscope.core.run.client_states import ClientSample, RelayedSample, ServiceSample
from sockscope.core.run.injected import NOTHING_INJECTED, Injected
from sockscope.core.run.lens import LensView
from sockscope.core.run.raised import Raised
from sockscope.core.run.relay import RelayFigures


class RunState(Enum):
    """Where in its life the run is."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Totals:
    """Cumulative counts of one role, in events and bytes.

    At the swarm ``requests`` were sent, ``responses`` came back; at the server ``requests`` arrived and
    ``responses`` were sent. ``timeouts`` are requests without a whole answer in time, ``errors`` those that
    failed otherwise, and at the server connections that sent garbage or whose own handler raised; ``failed``
    are both. ``answers_rejected`` are errors whose answer was whole and none to be accepted.
    ``connections_failed`` are connection attempts that failed other than by refusal or timeout, and
    ``connects_without_port`` those of them that found no ephemeral port left (EADDRNOTAVAIL);
    ``connections_truncated`` ended without TLS's close_notify. ``handshakes`` are those of TLS that were
    finished, ``sessions_reused`` those of them that took up an earlier session, and ``handshakes_failed`` are
    in no other count. ``accept_stops`` is how often the server stopped accepting because no descriptors were
    left.
    ``datagrams_lost`` are requests that were not answered in
    time nor later (swarm), or numbers that never arrived (server); ``datagrams_late`` came after the timeout.
    ``datagrams_held`` had to wait: the queue of the Unix socket that they went to was full (EAGAIN).
    ``datagrams_unsent`` were not taken by the kernel, whose send buffer was full (EAGAIN, ENOBUFS),
    ``datagrams_dropped`` came to a socket of this role whose receive buffer was full, and
    ``datagrams_unread`` were in such a buffer when the socket was given up.
    ``requests_due`` are those that clients were to make, whether they went out or not, and
    ``requests_dropped`` those of them that an open loop gave up before they went out: at any moment
    ``requests_due = requests + requests_dropped`` + those that are ``queued`` (swarm).
    ``unexpected`` are reads (TCP) or datagrams (UDP) that answer no request (swarm), or datagrams that claim
    to be the server's own (server). ``messages_torn`` came in more than one read, and ``reads_merged`` held
    more than one message, or parts of several (TCP). ``response_bytes`` are the bytes of the responses alone,
    framing included.
    """

    requests: Cumulative[int] = 0
    responses: Cumulative[int] = 0
    timeouts: Cumulative[int] = 0
    errors: Cumulative[int] = 0
    answers_rejected: Cumulative[int] = 0
    unexpected: Cumulative[int] = 0
    reads: Cumulative[int] = 0
    writes: Cumulative[int] = 0
    messages_torn: Cumulative[int] = 0
    reads_merged: Cumulative[int] = 0
    bytes_in: Cumulative[int] = 0
    bytes_out: Cumulative[int] = 0
    response_bytes: Cumulative[int] = 0
    connections_opened: Cumulative[int] = 0
    connections_closed: Cumulative[int] = 0
    connections_refused: Cumulative[int] = 0
    connections_reset: Cumulative[int] = 0
    connections_timed_out: Cumulative[int] = 0
    connections_failed: Cumulative[int] = 0
    connects_without_port: Cumulative[int] = 0
    connections_rejected: Cumulative[int] = 0
    connections_truncated: Cumulative[int] = 0
    handshakes: Cumulative[int] = 0
    handshakes_failed: Cumulative[int] = 0
    sessions_reused: Cumulative[int] = 0
    accept_stops: Cumulative[int] = 0
    datagrams_sent: Cumulative[int] = 0
    datagrams_received: Cumulative[int] = 0
    datagrams_lost: Cumulative[int] = 0
    datagrams_late: Cumulative[int] = 0
    datagrams_held: Cumulative[int] = 0
    datagrams_reordered: Cumulative[int] = 0
    datagrams_duplicated: Cumulative[int] = 0
    datagrams_unsent: Cumulative[int] = 0
    datagrams_dropped: Cumulative[int] = 0
    datagrams_unread: Cumulative[int] = 0
    requests_due: Cumulative[int] = 0
    requests_dropped: Cumulative[int] = 0

    @property
    def failed(self) -> int:
        """Requests that got no answer, for whatever reason: timeouts and errors."""
        return self.timeouts + self.errors


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """The semaphore: ``permits`` (0 = no limit), and who holds and who waits for one.

    ``wait_s`` is the time that all together have waited, also those who wait still, ``waited`` how many of
    the ``acquired`` had to wait at all; both cumulative. ``longest_wait_s`` is how long the first of
    those that wait now has done so.
    """

    permits: Gauge[int] = 0
    in_flight: Gauge[int] = 0
    waiting: Gauge[int] = 0
    acquired: Cumulative[int] = 0
    waited: Cumulative[int] = 0
    wait_s: Cumulative[float] = 0.0
    longest_wait_s: Highest[float] = 0.0


@dataclass(frozen=True, slots=True)
class SocketOption:
    """A socket option as asked for and as the kernel has it; None where it was not asked for or not told."""

    name: str
    requested: int | None
    effective: int | None


class Exchange(NamedTuple):
    """One request and its answer in the list of exchanges, without its payload.

    ``record_id`` asks :meth:`Engine.capture` for the bytes. ``head`` are the first bytes of the request.
    ``service_time_s`` is None when no answer came. ``outcome``: ``ok``, ``timeout``, ``garbage``,
    ``rejected``, ``short`` (only ``response_bytes`` of the answer came), ... They came in ``reads`` reads,
    the last of which held other messages too if ``merged``. ``tap`` is the address at which a relay was asked
    that listens at several.

    A tuple, since every snapshot makes hundreds of them on the loop that it observes: a frozen dataclass
    takes three times as long to make.
    """

    record_id: int
    time_s: float
    conn_id: int
    request_bytes: int
    response_bytes: int
    service_time_s: float | None
    outcome: str
    head: bytes
    reads: int = 1
    merged: bool = False
    tap: str = ""


@dataclass(frozen=True, slots=True)
class Payload:
    """Captured bytes: at most the first 256, the real length, and where one read ended in them.

    All of it came in ``read_count`` reads; ``merged`` tells whether the last of them held other messages too.
    """

    data: bytes
    real_length: int
    reads: tuple[int, ...] = ()
    read_count: int = 1
    merged: bool = False


@dataclass(frozen=True, slots=True)
class ServerSide:
    """What the server saw of an exchange, at times on our clock, off by ``clock_error_s`` at most."""

    conn_id: int
    read_s: float
    answered_s: float
    request: Payload
    clock_error_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Relayed:
    """The connection of a relay through which an exchange went; the server sees ``address`` as its client."""

    conn_id: int
    address: str


@dataclass(frozen=True, slots=True)
class Passing:
    """When a relay read the end of a request, and when it had passed the end of the answer back.

    Monotonic; 0 = not known: a fault held it back.
    """

    read_s: float
    passed_back_s: float

    def added_s(self, written_s: float, answered_s: float) -> float | None:
        """Return what the relay itself added: to the request, written on then, and to the answer, read."""
        if not (self.read_s and self.passed_back_s):
            return None
        return written_s - self.read_s + self.passed_back_s - answered_s


@dataclass(frozen=True, slots=True)
class Capture:
    """One exchange with its bytes, from both ends where both ends are here.

    ``server`` is None when its record was overwritten or the server is elsewhere, or was reached through a
    relay that has gone. With ``tls`` the bytes are those before they were encrypted. ``relayed`` tells what
    it went through, if anything; ``passing`` is that of a relay alone. Times of the exchange are on our
    clock, off by ``clock_error_s`` at most.
    """

    exchange: Exchange
    local_address: str
    remote_address: str
    transport: str
    framing: str
    request: Payload
    response: Payload | None
    server: ServerSide | None
    tls: bool = False
    relayed: Relayed | None = None
    passing: Passing | None = None
    clock_error_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ConnectionQuery:
    """Which connections the reader wants to see; ``role`` is ``server`` or ``swarm``.

    About the first ``looks`` of them the kernel is asked, which costs a system call each; None stands for
    all. Of the others they tell what it told last.
    """

    role: str = SERVER
    sort: str = "conn_id"
    reverse: bool = False
    limit: int = 100
    text: str = ""
    looks: int | None = None


@dataclass(frozen=True, slots=True)
class Cursors:
    """How far a reader has read (numbers of the next event and exchange), how much it takes at once (the
    newest; events of the run, such as tunings, in any case), which connections it looks at, and whether it
    wants to know what every client is doing: with ``ends``, which and what the server has of it, too."""

    events: int = 0
    exchanges: int = 0
    most_events: int = 1_000
    most_exchanges: int = 200
    connections: ConnectionQuery | None = None
    clients: bool = False
    ends: bool = True


@dataclass(frozen=True, slots=True)
class TcpSample:
    """What looks at the TCP connections of a role add up to (TCP_INFO, Linux): a few of them at a time.

    ``rtt`` has the smoothed round-trip time of each look, and ``nagle`` counts those that found TCP_NODELAY
    off; the rest counts what connections had in their lives
    until they were looked at last (:class:`~sockscope.core.connection.TcpInfo`), all together.
    """

    looks: Cumulative[int] = 0
    nagle: Cumulative[int] = 0
    rtt: Cumulative[Histogram] = field(default_factory=Histogram)
    retransmits: Cumulative[int] = 0
    busy_s: Cumulative[float] = 0.0
    rwnd_limited_s: Cumulative[float] = 0.0
    sndbuf_limited_s: Cumulative[float] = 0.0


@dataclass(frozen=True, eq=False)
class RoleSnapshot:
    """One role (``server``, ``relay``, ``swarm``) at ``time_s``: a little ago when it runs elsewhere.

    ``clients_*`` are the swarm's. ``limiter`` is the semaphore before the clients' requests, or the one that
    admits requests to service at the server. ``pool`` are the connections that the clients share, as permits
    that they wait for. ``rolling`` counts connections that are still to be replaced
    since a knob needed new sockets, ``draining`` those that an address no longer in use still serves.
    ``captures_recorded`` counts exchanges that were captured and ``captures_overwritten`` those of them that
    are gone, ``events_missed`` lines that this reader did not get. ``last_conn_id`` is the highest number of
    a connection. ``undecided`` are requests over UDP that have timed out and may be answered late,
    ``abandoned`` those whose socket was closed before an answer came, and
    ``unread_bytes`` is the memory that unread datagrams take in the receive buffers of this role's sockets
    (Linux). Where ``counts_frames`` is false, requests and responses are not counted: a server of the
    user's own speaks what the framing does not tell. ``last_trouble`` is what last kept a client from going
    on, or what the user's own server raised last; ``serves_as`` is what that is
    (``coroutines``, ``threads``), and ``raised`` all that it raised, by place (in a window
    also what it raised before, 0 times). ``injected`` is what faults in the server have done that are made on
    purpose.
    ``backlog`` are connections that the kernel has made and the server has not accepted yet (0 where it does
    not tell; told by the clients of a server elsewhere), ``listen_drops`` those that it has dropped at the
    listeners of the server because their backlog was full (``sk_drops``; None where it does not tell), and
    ``not_accepting`` why the server accepts nobody at the moment.
    ``service_time`` is that of the answered requests, ``unanswered`` are the ages at which the others were
    given up; ``gaps`` has the longest times without an answer that was awaited, one of every few hundredths
    of a second. ``response_time`` and ``response_unanswered`` are the same requests since they were due (open
    loop) or their client wanted to ask (closed loop). ``awaited`` has the ages of what is in flight, and
    ``response_awaited`` the same since it was due or wanted, with those of what is queued, and of what
    clients want to ask that wait for a permit, a place or a connection of the pool.
    ``queued`` are due and not sent yet, and ``schedule_lateness`` is how late the generator itself was with
    those of an open loop.
    ``connected_s`` is the time for which the connections have been open, all together,
    ``unwritable_s`` what of it a server could not write to them because the peer did not read (its write
    buffer was above the high-water mark), and ``idle_s`` what of it clients waited or thought, were about to
    end, or had a request that was overdue and not yet given up.
    The swarm's ``began_s`` is when it was told to begin (or was refilled), just before its
    first connect, ``ready_s`` when every client had got a connection, ``last_answer_s`` when it read its
    last answer, and ``awaited_since_s`` since when an answer has been awaited without a break: monotonic
    seconds, 0 = not yet, or none is.
    ``jitter`` has the interarrival jitter of a client's answers over UDP (RFC 3550), once for each answer
    that was looked at. ``handshake_time`` is that of TLS, from the connection until it can be used, and
    ``tls`` what the last handshake agreed on (``TLSv1.3 TLS_AES_256_GCM_SHA384``). ``relay`` is what only a
    relay has; its ``bytes_in`` and ``datagrams_received`` came from clients, its ``bytes_out`` and
    ``datagrams_sent`` went to them. ``client_samples`` tell
    what each client of the swarm is doing, and ``service_samples`` which connections the server has accepted
    and serves: one for each process, where the reader asks for it (:mod:`sockscope.core.run.client_states`);
    ``relayed_samples`` tell then which connection of a relay to the server belongs to which of a client.
    """

    role: Current[str]
    transport: Current[str]
    address: Current[str]
    totals: Nested[Totals]
    connections_open: Gauge[int]
    time_s: Current[float] = 0.0
    counts_frames: Every[bool] = True
    draining: Gauge[int] = 0
    rolling: Gauge[int] = 0
    socket_options: Current[tuple[SocketOption, ...]] = ()
    events: Timeline[tuple[Event, ...]] = ()
    events_missed: Lasting[int] = 0
    events_cursor: Current[int] = 0
    exchanges: Current[tuple[Exchange, ...]] = ()
    exchanges_missed: Current[int] = 0
    exchanges_cursor: Current[int] = 0
    captures_recorded: Lasting[int] = 0
    captures_overwritten: Lasting[int] = 0
    last_conn_id: Maximum[int] = 0
    connections: Rows[tuple[ConnectionView, ...]] = ()
    connections_matching: Gauge[int] = 0
    clients: Gauge[int] = 0
    clients_connecting: Gauge[int] = 0
    clients_retrying: Gauge[int] = 0
    in_flight: Gauge[int] = 0
    undecided: Gauge[int] = 0
    abandoned: Cumulative[int] = 0
    unread_bytes: Gauge[int] = 0
    last_trouble: FirstKnown[str] = ""
    serves_as: Current[str] = ""
    raised: Annotated[tuple[Raised, ...], listed("key")] = ()
    injected: Nested[Injected] = NOTHING_INJECTED
    backlog: Gauge[int] = 0
    not_accepting: FirstKnown[str] = ""
    listen_drops: Cumulative[int | None] = None
    limiter: Nested[LimiterStatistics] = field(default_factory=LimiterStatistics)
    pool: Nested[LimiterStatistics] = field(default_factory=LimiterStatistics)
    service_time: Cumulative[Histogram] = field(default_factory=Histogram)
    unanswered: Cumulative[Ages] = field(default_factory=Ages)
    gaps: Cumulative[Histogram] = field(default_factory=Histogram)
    response_time: Cumulative[Histogram] = field(default_factory=Histogram)
    response_unanswered: Cumulative[Ages] = field(default_factory=Ages)
    awaited: Gauge[Histogram] = field(default_factory=Histogram)
    response_awaited: Gauge[Histogram] = field(default_factory=Histogram)
    schedule_lateness: Cumulative[Histogram] = field(default_factory=Histogram)
    queued: Gauge[int] = 0
    connected_s: Cumulative[float] = 0.0
    idle_s: Cumulative[float] = 0.0
    unwritable_s: Cumulative[float] = 0.0
    began_s: Earliest[float] = 0.0
    ready_s: WhenAll[float] = 0.0
    last_answer_s: Maximum[float] = 0.0
    awaited_since_s: Earliest[float] = 0.0
    handshake_time: Cumulative[Histogram] = field(default_factory=Histogram)
    jitter: Cumulative[Histogram] = field(default_factory=Histogram)
    tls: FirstKnown[str] = ""
    tcp: Nested[TcpSample] = field(default_factory=TcpSample)
    relay: Nested[RelayFigures | None] = None
    client_samples: Rows[tuple[ClientSample, ...]] = ()
    service_samples: Rows[tuple[ServiceSample, ...]] = ()
    relayed_samples: Rows[tuple[RelayedSample, ...]] = ()


@dataclass(frozen=True, slots=True)
class KernelUdp:
    """This machine's UDP counters since the run began (``/proc/net/snmp`` and ``snmp6``, Linux)."""

    in_datagrams: Cumulative[int]
    out_datagrams: Cumulative[int]
    in_errors: Cumulative[int]
    rcvbuf_errors: Cumulative[int]
    no_ports: Cumulative[int] = 0
    sndbuf_errors: Cumulative[int] = 0


@dataclass(frozen=True, slots=True)
class KernelTcp:
    """This machine's TCP counters since the run began (``/proc/net/netstat``, Linux).

    ``listen_overflows`` are connections that the kernel has not made or not completed because the backlog of
    whatever listener was full (``ListenOverflows``): the peer tries again, after 1 s at first (RFC 6298).
    ``delayed_acks`` are acknowledgements that waited in vain for data to go with (``DelayedACKs``), and
    ``retransmitted`` segments that were sent again (``RetransSegs`` of ``/proc/net/snmp``); None where the
    kernel does not tell.
    """

    listen_overflows: Cumulative[int]
    delayed_acks: Cumulative[int | None] = None
    retransmitted: Cumulative[int | None] = None


@dataclass(frozen=True, slots=True)
class KernelCounts:
    """What the kernel of a machine has counted since the run began; None where it does not tell."""

    udp: Nested[KernelUdp | None]
    tcp: Nested[KernelTcp | None]


@dataclass(frozen=True, eq=False)
class Resources:
    """What one process uses. Times, switches and ``loop_lag`` are cumulative since ``since_s``; the rest is
    of this moment, ``time_s`` (both monotonic).

    ``busiest_s`` is how long its busiest thread ran, or waited for a core although it could have run, and
    ``core_wait_s`` how long it waited (Linux; None elsewhere).
    ``machine_busy_s`` is the time that all ``machine_cores`` of the machine together worked, for whatever
    program, and ``machine_steal_s`` what of it a hypervisor gave to other machines (steal in /proc/stat).
    ``time_wait`` are the sockets of the machine in TIME_WAIT, ``ephemeral_ports`` those that a source address
    has for connections to one server. ``kernel_udp``, ``kernel_tcp`` and these are None where they cannot be
    told, and in child processes on this machine, for they are told once. In the engine's process, of a run on
    other machines, the counters are those of all of these together, ``time_wait`` and ``ephemeral_ports``
    those of one of them, and the time of the cores is this machine's.
    Of a target, which is not ours, only what can be seen from outside is known.
    """

    cpu_s: Cumulative[float]
    rss_bytes: Gauge[int | None]
    descriptors: Gauge[int | None]
    descriptor_limit: Current[int | None]
    voluntary_switches: Cumulative[int | None]
    involuntary_switches: Cumulative[int | None]
    loop_lag: Cumulative[Histogram]
    kernel_udp: Nested[KernelUdp | None]
    threads: Gauge[int | None] = 1
    core_wait_s: Cumulative[float | None] = None
    busiest_s: Cumulative[float | None] = None
    machine_busy_s: Cumulative[float | None] = None
    machine_steal_s: Cumulative[float | None] = None
    kernel_tcp: Nested[KernelTcp | None] = None
    time_wait: Gauge[int | None] = None
    ephemeral_ports: Current[int | None] = None
    machine_cores: Current[int] = 1
    time_s: Current[float] = 0.0
    since_s: Annotated[float, since("time_s")] = 0.0

    @property
    def measured_s(self) -> float:
        """Seconds that the cumulative figures cover."""
        return self.time_s - self.since_s

    @property
    def cpu_ratio(self) -> float | None:
        """CPU time per second, 1.0 = one core; None when no time has passed."""
        return self.cpu_s / self.measured_s if self.measured_s > 0 else None


MAIN = "main"
"""Name of the process of the engine."""
TARGET = "target"
"""Name of the process of a server that runs elsewhere on this machine."""
STOPPED = "stopped"
"""State of a process that a signal or a debugger has stopped: it answers nothing until it is resumed."""
LOST = "lost"
"""State of a process whose place is lost, and whose part others have: what it had counted is kept."""
UNDIVIDED = "lost, and nobody has its part"
"""State of one whose part is yet to be divided among the others."""
SILENT_S = 1.0
"""A process that has not answered for so long is held up by something."""


ProcessKey = tuple[str, int]
"""Name and number of a process, which no other one has alike: its number alone may be, on two machines."""


@dataclass(frozen=True, eq=False)
class PartUse:
    """What a child process has of the clients: named as in :class:`RoleSnapshot`."""

    responses: Cumulative[int]
    service_time: Cumulative[Histogram]
    unanswered: Cumulative[Ages]
    awaited: Gauge[Histogram]


@dataclass(frozen=True, eq=False)
class ProcessUse:
    """One process of the run: the roles that it hosts (``server``, ``swarm``) and the resources it uses.

    ``name`` is :data:`MAIN` for the process of the engine, which has the screen too; for a child it tells the
    roles that it hosts: ``server``, ``clients 2``, ``server and clients``; and it is :data:`TARGET` for the
    process of a server elsewhere.
    ``state`` is in words; ``alive`` is False when it ended although it should not have. ``silent_s`` is how
    long a child has not answered: its figures are as old as that. ``environment`` names the allocator
    settings that it was started with. ``lens`` is what the lens on its loop has seen; None where it was never
    on. On another machine ``clock_offset_s`` is what its times were corrected by, which may be off by
    ``clock_error_s`` at most. ``generation`` is the number of the last change that its roles have gone over
    to (of a target: None), and ``part`` what a child process has of the clients. ``machine`` is the address
    of the other machine that it is on, and ``cores_of`` of the one whose cores it has, which is not always
    the same (namespaces, containers); each is empty for this one. ``worker`` is that of the cluster whose
    child it is, and ``worker_cpu_s`` the processor time of that, all its children's together.
    """

    name: Current[str]
    pid: Current[int]
    roles: Current[tuple[str, ...]]
    resources: Nested[Resources]
    loop_name: Current[str]
    environment: Current[Mapping[str, str]]
    state: Current[str] = "running"
    alive: Current[bool] = True
    silent_s: Current[float] = 0.0
    clock_offset_s: Current[float] = 0.0
    clock_error_s: Current[float] = 0.0
    lens: Nested[LensView | None] = None
    generation: Current[int | None] = None
    part: Nested[PartUse | None] = None
    machine: Current[str] = ""
    cores_of: Current[str] = ""
    worker: Current[str] = ""
    worker_cpu_s: Cumulative[float] = 0.0

    @property
    def key(self) -> ProcessKey:
        """What tells it from every other process of the run."""
        return self.name, self.pid


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything at one moment.

    ``time_s`` is monotonic, and the moment of ``main``; ``elapsed_s`` counts
    since the run began, ``measured_s`` since the figures were cleared last (the end of the warm-up, or
    ``R``). ``roles`` are those of the run by their names, in the order of ``ROLE_NAMES``. ``resources``
    are those of the process of the engine, which is also the first of ``processes``. ``events`` are the lines
    of the log from the reader's cursor on, ``events_missed`` how many of these are not among them.
    ``stalled_s`` is for how long the server was made to stand still (:meth:`RunSource.stall`),
    ``stalled_until_s`` the moment until which it was, or is, the last time.
    ``closing_s`` is how long the closing took, when the run has ended: it is in none of the figures.
    """

    time_s: Current[float]
    started_s: Current[float]
    measured_since_s: Annotated[float, since("time_s")]
    state: Current[RunState]
    experiment: Current[Experiment]
    tuning: Current[Tuning]
    generation: Current[int]
    loop_name: Current[str]
    roles: ByName[Mapping[str, RoleSnapshot]]
    resources: Nested[Resources]
    processes: Annotated[tuple[ProcessUse, ...], listed("key")] = ()
    events: Timeline[tuple[Event, ...]] = ()
    events_missed: Lasting[int] = 0
    events_cursor: Current[int] = 0
    error: Current[str] = ""
    warming_up: Current[bool] = False
    closing_s: Current[float] = 0.0
    paused_s: Cumulative[float] = 0.0
    stalled_s: Cumulative[float] = 0.0
    stalled_until_s: Current[float] = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.time_s - self.started_s

    @property
    def measured_s(self) -> float:
        """Seconds that the cumulative figures cover; those in which the traffic was paused do not count."""
        return self.time_s - self.measured_since_s - self.paused_s

    @property
    def server(self) -> RoleSnapshot | None:
        """The role that serves, or None when it is not of this run."""
        return self.roles.get(SERVER)

    @property
    def swarm(self) -> RoleSnapshot | None:
        """The role that makes requests, or None when it is not of this run."""
        return self.roles.get(SWARM)

    @property
    def relay(self) -> RoleSnapshot | None:
        """The role between these two, or None when there has been none in this run."""
        return self.roles.get(RELAY)

    @property
    def main(self) -> RoleSnapshot:
        """The role whose counts are the run's: the swarm when there is one, else the server."""
        role = self.swarm or self.server or self.relay
        assert role is not None
        return role

    @property
    def address(self) -> str:
        """Where requests are served in the end, whatever is between: by our server, or by the target."""
        aimed, relay = self.main.address, self.relay
        if self.server is not None and self.server.address:
            return self.server.address
        is_between = self.swarm is not None and relay is not None and relay.address == aimed
        return self.experiment.target if is_between else aimed
