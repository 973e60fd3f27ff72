"""What the engine tells its readers: frozen copies, taken at one moment, in which every counter is
cumulative since the run began (or since the figures were cleared). Readers subtract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import NamedTuple

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.connection import ConnectionView
from sockscope.core.events import Event
from sockscope.core.histogram import Histogram


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
    ``responses`` were sent. ``errors`` are requests that failed other than by timeout, and at the server
    connections that sent garbage or whose own handler raised. ``connections_failed`` are connection attempts
    that failed other than by refusal or timeout. ``datagrams_lost`` are requests that were not answered in
    time nor later (swarm), or numbers that never arrived (server); ``datagrams_late`` came after the timeout.
    """

    requests: int = 0
    responses: int = 0
    timeouts: int = 0
    errors: int = 0
    reads: int = 0
    writes: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections_opened: int = 0
    connections_closed: int = 0
    connections_refused: int = 0
    connections_reset: int = 0
    connections_timed_out: int = 0
    connections_failed: int = 0
    connections_rejected: int = 0
    datagrams_sent: int = 0
    datagrams_received: int = 0
    datagrams_lost: int = 0
    datagrams_late: int = 0
    datagrams_reordered: int = 0
    datagrams_duplicated: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """The semaphore: ``permits`` (0 = no limit), and who holds and who waits for one.

    ``wait_s`` is the time that all admitted requests together have waited, ``waited`` how many of the
    ``acquired`` had to wait at all; both cumulative.
    """

    permits: int = 0
    in_flight: int = 0
    waiting: int = 0
    acquired: int = 0
    waited: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SocketOption:
    """A socket option as asked for and as the kernel has it; None where it was not asked for or not told."""

    name: str
    requested: int | None
    effective: int | None


class Exchange(NamedTuple):
    """One request and its answer in the list of exchanges, without its payload.

    ``record_id`` asks :meth:`Engine.capture` for the bytes. ``head`` are the first bytes of the request.
    ``service_time_s`` is None when no answer came. ``outcome``: ``ok``, ``timeout``, ``garbage``, ...

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


@dataclass(frozen=True, slots=True)
class Payload:
    """Captured bytes: at most the first 256, the real length, and where one read ended in them."""

    data: bytes
    real_length: int
    reads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerSide:
    """What the server saw of an exchange; times on the same monotonic clock as the client's."""

    conn_id: int
    read_s: float
    answered_s: float
    request: Payload


@dataclass(frozen=True, slots=True)
class Capture:
    """One exchange with its bytes, from both ends where both ends are here.

    ``answered`` by the server is None when its record was overwritten or the server is elsewhere.
    """

    exchange: Exchange
    local_address: str
    remote_address: str
    transport: str
    framing: str
    request: Payload
    response: Payload | None
    server: ServerSide | None


@dataclass(frozen=True, slots=True)
class ConnectionQuery:
    """Which connections the reader wants to see; ``role`` is ``server`` or ``swarm``."""

    role: str = "server"
    sort: str = "conn_id"
    reverse: bool = False
    limit: int = 100
    text: str = ""


@dataclass(frozen=True, slots=True)
class Cursors:
    """How far a reader has read (numbers of the next event and exchange), how much it takes at once (the
    newest), and which connections it looks at."""

    events: int = 0
    exchanges: int = 0
    most_events: int = 1_000
    most_exchanges: int = 200
    connections: ConnectionQuery | None = None


@dataclass(frozen=True, eq=False)
class RoleSnapshot:
    """One role (``server`` or ``swarm``) at one moment, ``time_s``: a little ago when it runs elsewhere.

    ``clients_*`` are the swarm's. ``limiter`` is the semaphore before the clients' requests, or the one that
    admits requests to service at the server. ``pool`` are the connections that the clients share, as permits
    that they wait for. ``rolling`` counts connections that are still to be replaced
    since a knob needed new sockets, ``draining`` those that an address no longer in use still serves.
    ``captures_recorded`` counts exchanges that were captured and ``captures_overwritten`` those of them that
    are gone, ``events_missed`` lines that this reader did not get. ``last_conn_id`` is the highest number of
    a connection. Where ``counts_frames`` is false, requests and responses are not counted: a server of the
    user's own speaks what the framing does not tell. ``last_trouble`` is what last kept a client from going
    on, or what the user's own server raised last.
    The swarm's ``began_s`` is when it was told to begin (or was refilled), just before its
    first connect, and ``last_answer_s`` when it read its last answer: monotonic seconds, 0 = not yet.
    """

    role: str
    transport: str
    address: str
    totals: Totals
    connections_open: int
    time_s: float = 0.0
    counts_frames: bool = True
    draining: int = 0
    rolling: int = 0
    socket_options: tuple[SocketOption, ...] = ()
    events: tuple[Event, ...] = ()
    events_missed: int = 0
    events_cursor: int = 0
    exchanges: tuple[Exchange, ...] = ()
    exchanges_missed: int = 0
    exchanges_cursor: int = 0
    captures_recorded: int = 0
    captures_overwritten: int = 0
    last_conn_id: int = 0
    connections: tuple[ConnectionView, ...] = ()
    connections_matching: int = 0
    clients: int = 0
    clients_connecting: int = 0
    clients_retrying: int = 0
    in_flight: int = 0
    last_trouble: str = ""
    limiter: LimiterStatistics = field(default_factory=LimiterStatistics)
    pool: LimiterStatistics = field(default_factory=LimiterStatistics)
    service_time: Histogram = field(default_factory=Histogram)
    began_s: float = 0.0
    last_answer_s: float = 0.0


@dataclass(frozen=True, slots=True)
class KernelUdp:
    """This machine's UDP counters since the run began (``/proc/net/snmp`` and ``snmp6``, Linux)."""

    in_datagrams: int
    out_datagrams: int
    in_errors: int
    rcvbuf_errors: int

    def __add__(self, other: KernelUdp) -> KernelUdp:
        return KernelUdp(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: KernelUdp) -> KernelUdp:
        return KernelUdp(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Resources:
    """What one process uses. Times, switches and ``loop_lag`` are cumulative since ``since_s``; the rest is
    of this moment, ``time_s`` (both monotonic).

    ``machine_busy_s`` is the time that all ``machine_cores`` of the machine together worked, for whatever
    program. ``kernel_udp`` and it are None where they cannot be told, and in child processes, for they are
    told once.
    Of a target, which is not ours, only what can be seen from outside is known.
    """

    cpu_s: float
    rss_bytes: int | None
    descriptors: int | None
    descriptor_limit: int | None
    voluntary_switches: int | None
    involuntary_switches: int | None
    loop_lag: Histogram
    kernel_udp: KernelUdp | None
    threads: int | None = 1
    machine_busy_s: float | None = None
    machine_cores: int = 1
    time_s: float = 0.0
    since_s: float = 0.0

    @property
    def measured_s(self) -> float:
        """Seconds that the cumulative figures cover."""
        return self.time_s - self.since_s

    @property
    def cpu_ratio(self) -> float | None:
        """CPU time per second, 1.0 = one core; None when no time has passed."""
        return self.cpu_s / self.measured_s if self.measured_s > 0 else None


TARGET = "target"
"""Name of the process of a server that runs elsewhere on this machine."""


@dataclass(frozen=True, eq=False)
class ProcessUse:
    """One process of the run: what it plays (``server``, ``swarm``) and what it uses.

    ``name`` is ``main`` for the process of the engine, which has the screen too, for a child what it plays:
    ``server``, ``clients 2``, ``server and clients``; and ``target`` for the process of a server elsewhere.
    ``state`` is in words; ``alive`` is False when it ended although it should not have. ``silent_s`` is how
    long a child has not answered: its figures are as old as that. ``environment`` names the allocator
    settings that it was started with.
    """

    name: str
    pid: int
    roles: tuple[str, ...]
    resources: Resources
    loop_name: str
    environment: Mapping[str, str]
    state: str = "running"
    alive: bool = True
    silent_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything at one moment. ``time_s`` is monotonic, and the moment of ``main``; ``elapsed_s`` counts
    since the run began, ``measured_s`` since the figures were cleared last (the end of the warm-up, or
    ``R``). ``resources`` are those of the process of the engine, which is also the first of ``processes``."""

    time_s: float
    started_s: float
    measured_since_s: float
    state: RunState
    experiment: Experiment
    tuning: Tuning
    generation: int
    loop_name: str
    server: RoleSnapshot | None
    swarm: RoleSnapshot | None
    resources: Resources
    processes: tuple[ProcessUse, ...] = ()
    events: tuple[Event, ...] = ()
    events_missed: int = 0
    events_cursor: int = 0
    error: str = ""
    warming_up: bool = False

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.time_s - self.started_s

    @property
    def measured_s(self) -> float:
        """Seconds that the cumulative figures cover."""
        return self.time_s - self.measured_since_s

    @property
    def main(self) -> RoleSnapshot:
        """The role whose counts are the run's: the swarm when there is one, else the server."""
        role = self.swarm or self.server
        assert role is not None
        return role
