"""What can be turned while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self

from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.faults import (
    tuning_faults,
)
from sockscope.core.config.fields import FieldSpec, Flag, Kind, Knob, Subject, Value, declared, spec_of
from sockscope.core.config.models import (
    CLIENTS,
    DEFAULT,
    DEFAULT_CLIENT,
    DEFAULT_SERVERS,
    FAMILIES,
    SERVERS,
    TRANSPORTS,
    carrier,
)
from sockscope.core.impairment.fault import Fault, read_faults
from sockscope.core.impairment.turning import changes as fault_changes
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.wire.framing import LENGTH_HEADER_BYTES, MAX_FRAME_BYTES
from sockscope.core.wire.patterns import parse_pattern
from sockscope.errors import ConfigError, FieldFault

MAX_CLIENTS = 10_000
"""In one process."""
MAX_CLIENTS_IN_ALL = 1_000_000
MAX_SECONDS = 3_600.0
MAX_RATE = 1_000_000
"""Per second, in one process."""
MAX_RATE_IN_ALL = 10_000_000
MAX_DEPTH = 1_024
MAX_PROCESSES = 64


@dataclass(frozen=True, slots=True)
class Tuning:
    """Everything that can be turned while the run goes on.

    Meaning, unit, range and every other fact of a field is in its :class:`FieldSpec`; all of them are knobs
    but those whose texts are too long for one.
    """

    transport: str = declared("tcp", "transport", "transport", Kind.CHOICE,
        "what carries the requests", choices=TRANSPORTS,
        of_tap=True, subject=Subject.WORKLOAD, new_sockets=True, knob=Knob(10, "t"),
        flag=Flag(called="--udp"))  # fmt: skip
    family: str = declared("ipv4", "family", "family", Kind.CHOICE,
        "address family: unix carries TCP's streams and UDP's datagrams over Unix sockets",
        choices=FAMILIES,
        of_tap=True, subject=Subject.SETUP, new_sockets=True, knob=Knob(20, "v"),
        flag=Flag(called="-4/-6/--unix"))  # fmt: skip
    framing: str = declared("length", "framing", "framing", Kind.CHOICE,
        "how TCP messages are told apart", choices=("length", "newline", "fixed", "none"),
        transport="tcp", subject=Subject.WORKLOAD, new_sockets=True, knob=Knob(140))  # fmt: skip
    clients: int = declared(100, "clients", "clients", Kind.COUNT,
        "clients that run at once", low=1, high=MAX_CLIENTS_IN_ALL, each=MAX_CLIENTS,
        role=SWARM, subject=Subject.WORKLOAD, divided=True, knob=Knob(60, "[ ]", compact=True),
        flag=Flag("-c"))  # fmt: skip
    rate: int = declared(0, "rate", "rate", Kind.COUNT,
        "requests that are due per second, whatever the answers do (open loop); 0 = each client asks when it "
        "has its answer (closed loop)",
        high=MAX_RATE_IN_ALL, each=MAX_RATE, zero_word="closed",
        role=SWARM, subject=Subject.WORKLOAD, knob=Knob(62))  # fmt: skip
    arrivals: str = declared("uniform", "arrivals", "arrivals", Kind.CHOICE,
        "when the requests of an open loop are due: uniform (one interval apart) or poisson (at random)",
        choices=("uniform", "poisson"),
        role=SWARM, subject=Subject.WORKLOAD, knob=Knob(64))  # fmt: skip
    catchup: bool = declared(True, "catchup", "catch-up", Kind.FLAG,
        "send what a stall has kept waiting in an open loop as soon as it is over; without it such requests "
        "are dropped, and the rate is never exceeded",
        role=SWARM, subject=Subject.WORKLOAD, knob=Knob(66),
        flag=Flag(off="--no-catchup"))  # fmt: skip
    permits: int = declared(50, "permits", "permits", Kind.COUNT,
        "requests that may be in flight at once; 0 = no limit",
        high=MAX_CLIENTS_IN_ALL, each=MAX_CLIENTS, zero_word="off",
        role=SWARM, subject=Subject.SETUP, divided=True, knob=Knob(70, "{ }", compact=True))  # fmt: skip
    request_bytes: int = declared(64, "size", "request", Kind.BYTES,
        "bytes of one request, its framing not counted", low=1, high=MAX_FRAME_BYTES,
        subject=Subject.WORKLOAD, knob=Knob(80, compact=True), flag=Flag("-l"))  # fmt: skip
    service_time_s: float = declared(0.005, "service_time", "service", Kind.DURATION,
        "how long the server waits before it answers", high=60, smallest_step=0.001,
        role=SERVER, of_model=True, subject=Subject.WORKLOAD, knob=Knob(90, compact=True))  # fmt: skip
    think_time_s: float = declared(0.0, "think_time", "think", Kind.DURATION,
        "pause of a client between an answer and its next request", high=60, smallest_step=0.001,
        role=SWARM, subject=Subject.WORKLOAD, knob=Knob(110))  # fmt: skip
    lifetime: int = declared(0, "lifetime", "lifetime", Kind.COUNT,
        "requests per connection: a number, request (one) or run (never closed)",
        high=1_000_000_000, zero_word="run", words=(("request", 1),),
        role=SWARM, subject=Subject.WORKLOAD, knob=Knob(130))  # fmt: skip
    request_timeout_s: float = declared(1.0, "timeout", "timeout", Kind.DURATION,
        "time a client waits for an answer", low=0.001, high=MAX_SECONDS, smallest_step=0.001,
        role=SWARM, subject=Subject.SETUP, knob=Knob(120))  # fmt: skip
    connect_timeout_s: float = declared(3.0, "connect_timeout", "connect", Kind.DURATION,
        "time a client waits for a connection, its TLS handshake included",
        low=0.001, high=MAX_SECONDS, smallest_step=0.001,
        role=SWARM, transport="tcp", subject=Subject.SETUP, knob=Knob(260))  # fmt: skip
    no_delay: bool = declared(True, "no_delay", "no delay", Kind.FLAG,
        "TCP_NODELAY: send small writes at once",
        transport="tcp", of_ip=True, subject=Subject.SETUP, socket_option="TCP_NODELAY", knob=Knob(150),
        flag=Flag(off="--delay"))  # fmt: skip
    rcvbuf_bytes: int = declared(0, "rcvbuf", "rcvbuf", Kind.BYTES,
        "SO_RCVBUF to ask for; 0 = the system's choice", high=1 << 30, zero_word="system",
        smallest_step=1000,
        of_ip=True, subject=Subject.SETUP, new_sockets=True, socket_option="SO_RCVBUF",
        knob=Knob(240))  # fmt: skip
    sndbuf_bytes: int = declared(0, "sndbuf", "sndbuf", Kind.BYTES,
        "SO_SNDBUF to ask for; 0 = the system's choice", high=1 << 30, zero_word="system",
        smallest_step=1000,
        subject=Subject.SETUP, new_sockets=True, socket_option="SO_SNDBUF", knob=Knob(250))  # fmt: skip

    server: str = declared(DEFAULT, "server", "server", Kind.CHOICE,
        "server model; default = "
        + " and ".join(f"{name} over {transport.upper()}" for transport, name in DEFAULT_SERVERS.items()),
        choices=SERVERS,
        role=SERVER, of_model=True, subject=Subject.SETUP, new_sockets=True, varied=False,
        knob=Knob(30), flag=Flag(in_race=False))  # fmt: skip
    client: str = declared(DEFAULT_CLIENT, "client", "client", Kind.CHOICE,
        "client model", choices=CLIENTS,
        role=SWARM, subject=Subject.SETUP, new_sockets=True, varied=False, knob=Knob(160))  # fmt: skip
    work: str = declared("wait", "work", "work", Kind.CHOICE,
        "how the server spends the service time: wait (as its model waits), cpu (a busy loop), "
        "block (time.sleep, even inside a coroutine)", choices=("wait", "cpu", "block"),
        role=SERVER, of_model=True, subject=Subject.WORKLOAD, knob=Knob(100))  # fmt: skip
    server_permits: int = declared(0, "server_permits", "admission", Kind.COUNT,
        "requests that an asynchronous server serves at once; 0 = no limit",
        high=MAX_CLIENTS_IN_ALL, each=MAX_CLIENTS, zero_word="off",
        role=SERVER, of_model=True, of_loop=True, subject=Subject.SETUP, divided=True,
        knob=Knob(200))  # fmt: skip
    read_bytes: int = declared(0, "read_bytes", "read size", Kind.BYTES,
        "most bytes the server takes in one read; 0 = the model's own",
        high=MAX_FRAME_BYTES, zero_word="model", smallest_step=64,
        role=SERVER, of_model=True, subject=Subject.SETUP, knob=Knob(230))  # fmt: skip
    depth: int = declared(1, "depth", "depth", Kind.COUNT,
        "requests that a client sends before it waits for their answers (pipelining)",
        low=1, high=MAX_DEPTH,
        role=SWARM, subject=Subject.SETUP, knob=Knob(170))  # fmt: skip
    batch: int = declared(1, "batch", "batch", Kind.COUNT,
        "requests handed over in one call: writelines(), or over UDP sendmsg() with UDP_SEGMENT (Linux)",
        low=1, high=MAX_DEPTH,
        role=SWARM, subject=Subject.SETUP, knob=Knob(180))  # fmt: skip
    pool: int = declared(0, "pool", "pool", Kind.COUNT,
        "connections that the clients share; 0 = each client has its own",
        high=MAX_CLIENTS_IN_ALL, each=MAX_CLIENTS, zero_word="off",
        role=SWARM, transport="tcp", subject=Subject.SETUP, divided=True, knob=Knob(190))  # fmt: skip
    place: str = declared("loop", "place", "place", Kind.CHOICE,
        "where the roles run: both on this loop, both in one child process, the server in a child, "
        "each in a child of its own, or on the workers of a cluster",
        choices=("loop", "child", "server", "apart", CLUSTER),
        subject=Subject.PLACEMENT, new_sockets=True, knob=Knob(50))  # fmt: skip
    server_processes: int = declared(1, "server_processes", "servers", Kind.COUNT,
        "server processes that share the port (SO_REUSEPORT); more than one implies place apart",
        low=1, high=MAX_PROCESSES,
        role=SERVER, subject=Subject.PLACEMENT, knob=Knob(210))  # fmt: skip
    swarm_processes: int = declared(1, "swarm_processes", "swarms", Kind.COUNT,
        "processes that the clients are spread over; more than one implies place apart",
        low=1, high=MAX_PROCESSES,
        role=SWARM, subject=Subject.PLACEMENT, knob=Knob(220))  # fmt: skip
    tls: bool = declared(False, "tls", "TLS", Kind.FLAG,
        "speak TLS: a server here makes a certificate for the run unless it is given one",
        transport="tcp", subject=Subject.SETUP, new_sockets=True, knob=Knob(270))  # fmt: skip
    lens: bool = declared(False, "lens", "lens", Kind.FLAG,
        "look into the event loops: how busy they are, and what holds them up",
        of_tap=True, subject=Subject.CIRCUMSTANCE, varied=False, knob=Knob(280),
        flag=Flag(in_race=False))  # fmt: skip
    accept: str = declared("", "accept", "accept", Kind.TEXT,
        "pattern that a good answer has in it, such as '/^HTTP.1.1 2/'; any other is an error",
        role=SWARM, subject=Subject.WORKLOAD, reads=parse_pattern, flag=Flag(metavar="/RE/"))  # fmt: skip
    reject: str = declared("", "reject", "reject", Kind.TEXT,
        "pattern that a good answer has not in it, such as /^-ERR/; an answer that has is an error",
        role=SWARM, subject=Subject.WORKLOAD, reads=parse_pattern, flag=Flag(metavar="/RE/"))  # fmt: skip

    fault: str = declared("", "fault", "faults", Kind.FAULTS,
        "fault on demand, such as 'loss=2%' or 'delay=20ms up': on the link by a relay, or in the server",
        of_tap=True, subject=Subject.SETUP, several=True, knob=Knob(290, "F"),
        flag=Flag(metavar="FAULT"))  # fmt: skip

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that are on; raises ValueError where their text is faulty."""
        return read_faults(self.fault)

    @property
    def layout(self) -> str:
        """Where the roles really run: several processes of a role on this machine are always ``apart``."""
        several = max(self.server_processes, self.swarm_processes) > 1
        return "apart" if several and self.place != CLUSTER else self.place

    @property
    def connections(self) -> int:
        """Connections that the clients have: one each, or those of the pool, but no more than clients."""
        return min(self.pool, self.clients) if self.pool else self.clients

    @property
    def carrier(self) -> str:
        """What carries the requests, for people."""
        return carrier(self.transport, self.family, self.tls)

    @property
    def server_model(self) -> str:
        """Name of the server model with ``default`` resolved."""
        return DEFAULT_SERVERS[self.transport] if self.server == "default" else self.server

    def field_faults(self) -> Iterator[FieldFault]:
        """Yield everything that is wrong with this tuning."""
        return tuning_faults(self)

    def validated(self) -> Self:
        """Return self, or raise :class:`ConfigError` with every fault."""
        if faults := list(self.field_faults()):
            raise ConfigError(faults)
        return self

    def changes_to(self, other: Tuning) -> dict[str, tuple[Value, Value]]:
        """Return ``{attribute: (value here, value in other)}`` for each field that differs."""
        return {
            f.name: (getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        }

    def needs_new_sockets(self, other: Tuning) -> bool:
        """Tell whether the change from here to ``other`` must roll the connections over."""
        if any(SPECS[name].new_sockets for name in self.changes_to(other)):
            return True
        return other.transport == "tcp" and not self.frames_alike(other)

    def frames_alike(self, other: Tuning) -> bool:
        """Tell whether ``other`` makes the same messages of the bytes of a connection."""
        same_size = self.framing != "fixed" or self.request_bytes == other.request_bytes
        return (self.framing, self.tls) == (other.framing, other.tls) and same_size

    @property
    def wire_bytes(self) -> int:
        """Bytes of one request as written to the socket, framing included."""
        if self.transport == "udp":
            return self.request_bytes
        return self.request_bytes + {"length": LENGTH_HEADER_BYTES, "newline": 1}.get(self.framing, 0)


SPECS: Mapping[str, FieldSpec] = {f.name: spec_of(f) for f in fields(Tuning)}
"""What describes each field of a tuning, by its attribute."""


def describe_change(before: Tuning, after: Tuning) -> str:
    """Return what changed in words: ``permits 50 → 100``, ``fault loss 2 % on``."""
    changes = before.changes_to(after)
    told = [
        f"{spec.label} {spec.format(old)} → {spec.format(new)}"
        for spec, (old, new) in ((SPECS[name], values) for name, values in changes.items())
        if spec.kind is not Kind.FAULTS
    ]
    if "fault" in changes:
        told.append(fault_changes(before.faults, after.faults))
    return ", ".join(told)
