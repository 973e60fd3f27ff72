"""What is run: a :class:`Tuning` can change while the run goes on, the rest of an :class:`Experiment` cannot.

Both are frozen. ``faults()`` collects everything that is wrong; ``validated()`` raises all of it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Concatenate, ParamSpec, Self

from sockscope.core.addresses import (
    Address,
    family_name,
    is_loopback,
    parse_target,
    why_not_one_machine,
)
from sockscope.core.config.faults import dialogue_faults, own_server_faults, range_faults, tuning_faults
from sockscope.core.config.fields import FieldSpec, Flag, Kind, Knob, Subject, Value, spec_of
from sockscope.core.config.models import (
    CLIENTS,
    DEFAULT,
    DEFAULT_CLIENT,
    DEFAULT_SERVERS,
    SERVERS,
    TRANSPORTS,
)
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.wire.dialogue import Dialogue
from sockscope.core.wire.framing import LENGTH_HEADER_BYTES, MAX_FRAME_BYTES
from sockscope.core.wire.octets import parse_octets
from sockscope.errors import ConfigError, Fault

MAX_CLIENTS = 10_000
MAX_SECONDS = 3_600.0
READY = -1.0
"""The warm-up that ends when every client has a connection."""
MAX_DEPTH = 1_024
MAX_PROCESSES = 64
_P = ParamSpec("_P")
LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1"}


def _declaring(described: Callable[_P, FieldSpec]) -> Callable[Concatenate[Value, _P], Any]:
    """Return what declares a dataclass field: its default, then the arguments of its description."""

    def declare(default: Value, /, *args: _P.args, **facts: _P.kwargs) -> Any:
        return field(default=default, metadata={"spec": described(*args, **facts)})

    return declare


_field = _declaring(FieldSpec)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Everything that can be turned while the run goes on.

    Meaning, unit, range and every other fact of a field is in its :class:`FieldSpec`; all of them are knobs.
    """

    transport: str = _field("tcp", "transport", "transport", Kind.CHOICE,
        "what carries the requests", choices=TRANSPORTS,
        subject=Subject.WORKLOAD, new_sockets=True, knob=Knob(10, "t"),
        flag=Flag(called="--udp"))  # fmt: skip
    family: str = _field("ipv4", "family", "family", Kind.CHOICE,
        "address family", choices=("ipv4", "ipv6"),
        subject=Subject.SETUP, new_sockets=True, knob=Knob(20, "v"),
        flag=Flag(called="-4/-6"))  # fmt: skip
    framing: str = _field("length", "framing", "framing", Kind.CHOICE,
        "how TCP messages are told apart", choices=("length", "newline", "fixed", "none"),
        transport="tcp", subject=Subject.WORKLOAD, new_sockets=True, knob=Knob(140))  # fmt: skip
    clients: int = _field(100, "clients", "clients", Kind.COUNT,
        "clients that run at once", low=1, high=MAX_CLIENTS,
        role=SWARM, subject=Subject.WORKLOAD, divided=True, knob=Knob(60, "[ ]", compact=True),
        flag=Flag("-c"))  # fmt: skip
    permits: int = _field(50, "permits", "permits", Kind.COUNT,
        "requests that may be in flight at once; 0 = no limit", high=MAX_CLIENTS, zero_word="off",
        role=SWARM, subject=Subject.SETUP, divided=True, knob=Knob(70, "{ }", compact=True))  # fmt: skip
    request_bytes: int = _field(64, "size", "request", Kind.BYTES,
        "bytes of one request, its framing not counted", low=1, high=MAX_FRAME_BYTES,
        subject=Subject.WORKLOAD, knob=Knob(80, compact=True), flag=Flag("-l"))  # fmt: skip
    service_time_s: float = _field(0.005, "service_time", "service", Kind.DURATION,
        "time the server awaits before it answers", high=60, smallest_step=0.001,
        role=SERVER, of_model=True, subject=Subject.WORKLOAD, knob=Knob(90, compact=True))  # fmt: skip
    think_time_s: float = _field(0.0, "think_time", "think", Kind.DURATION,
        "pause of a client between an answer and its next request", high=60, smallest_step=0.001,
        role=SWARM, subject=Subject.WORKLOAD, knob=Knob(110))  # fmt: skip
    lifetime: int = _field(0, "lifetime", "lifetime", Kind.COUNT,
        "requests per connection: a number, request (one) or run (never closed)",
        high=1_000_000_000, zero_word="run", words=(("request", 1),),
        role=SWARM, subject=Subject.WORKLOAD, knob=Knob(130))  # fmt: skip
    request_timeout_s: float = _field(1.0, "timeout", "timeout", Kind.DURATION,
        "time a client waits for an answer", low=0.001, high=MAX_SECONDS, smallest_step=0.001,
        role=SWARM, subject=Subject.SETUP, knob=Knob(120))  # fmt: skip
    connect_timeout_s: float = _field(3.0, "connect_timeout", "connect", Kind.DURATION,
        "time a client waits for a connection", low=0.001, high=MAX_SECONDS, smallest_step=0.001,
        role=SWARM, transport="tcp", subject=Subject.SETUP, knob=Knob(260))  # fmt: skip
    no_delay: bool = _field(True, "no_delay", "no delay", Kind.FLAG,
        "TCP_NODELAY: send small writes at once",
        transport="tcp", subject=Subject.SETUP, socket_option="TCP_NODELAY", knob=Knob(150),
        flag=Flag(off="--delay"))  # fmt: skip
    rcvbuf_bytes: int = _field(0, "rcvbuf", "rcvbuf", Kind.BYTES,
        "SO_RCVBUF to ask for; 0 = the system's choice", high=1 << 30, zero_word="system",
        smallest_step=1000,
        subject=Subject.SETUP, new_sockets=True, socket_option="SO_RCVBUF", knob=Knob(240))  # fmt: skip
    sndbuf_bytes: int = _field(0, "sndbuf", "sndbuf", Kind.BYTES,
        "SO_SNDBUF to ask for; 0 = the system's choice", high=1 << 30, zero_word="system",
        smallest_step=1000,
        subject=Subject.SETUP, new_sockets=True, socket_option="SO_SNDBUF", knob=Knob(250))  # fmt: skip

    server: str = _field(DEFAULT, "server", "server", Kind.CHOICE,
        "server model; default = "
        + " and ".join(f"{name} over {transport.upper()}" for transport, name in DEFAULT_SERVERS.items()),
        choices=SERVERS,
        role=SERVER, of_model=True, subject=Subject.SETUP, new_sockets=True, varied=False,
        knob=Knob(30), flag=Flag(in_race=False))  # fmt: skip
    client: str = _field(DEFAULT_CLIENT, "client", "client", Kind.CHOICE,
        "client model", choices=CLIENTS,
        role=SWARM, subject=Subject.SETUP, new_sockets=True, varied=False, knob=Knob(160))  # fmt: skip
    work: str = _field("wait", "work", "work", Kind.CHOICE,
        "how the server spends the service time: wait (as its model waits), cpu (a busy loop), "
        "block (time.sleep, even inside a coroutine)", choices=("wait", "cpu", "block"),
        role=SERVER, of_model=True, subject=Subject.WORKLOAD, knob=Knob(100))  # fmt: skip
    server_permits: int = _field(0, "server_permits", "admission", Kind.COUNT,
        "requests that an asynchronous server serves at once; 0 = no limit",
        high=MAX_CLIENTS, zero_word="off",
        role=SERVER, of_model=True, of_loop=True, subject=Subject.SETUP, divided=True,
        knob=Knob(200))  # fmt: skip
    read_bytes: int = _field(0, "read_bytes", "read size", Kind.BYTES,
        "most bytes the server takes in one read; 0 = the model's own",
        high=MAX_FRAME_BYTES, zero_word="model", smallest_step=64,
        role=SERVER, of_model=True, subject=Subject.SETUP, knob=Knob(230))  # fmt: skip
    depth: int = _field(1, "depth", "depth", Kind.COUNT,
        "requests that a client sends before it waits for their answers (pipelining)",
        low=1, high=MAX_DEPTH,
        role=SWARM, subject=Subject.SETUP, knob=Knob(170))  # fmt: skip
    batch: int = _field(1, "batch", "batch", Kind.COUNT,
        "requests written in one call; more than one go out in one writelines()",
        low=1, high=MAX_DEPTH,
        role=SWARM, subject=Subject.SETUP, knob=Knob(180))  # fmt: skip
    pool: int = _field(0, "pool", "pool", Kind.COUNT,
        "connections that the clients share; 0 = each client has its own",
        high=MAX_CLIENTS, zero_word="off",
        role=SWARM, transport="tcp", subject=Subject.SETUP, divided=True, knob=Knob(190))  # fmt: skip
    place: str = _field("loop", "place", "place", Kind.CHOICE,
        "where the roles run: both on this loop, both in one child process, the server in a child, "
        "or each in a child of its own", choices=("loop", "child", "server", "apart"),
        subject=Subject.PLACEMENT, new_sockets=True, knob=Knob(50))  # fmt: skip
    server_processes: int = _field(1, "server_processes", "servers", Kind.COUNT,
        "server processes that share the port (SO_REUSEPORT); more than one implies place apart",
        low=1, high=MAX_PROCESSES,
        role=SERVER, subject=Subject.PLACEMENT, knob=Knob(210))  # fmt: skip
    swarm_processes: int = _field(1, "swarm_processes", "swarms", Kind.COUNT,
        "processes that the clients are spread over; more than one implies place apart",
        low=1, high=MAX_PROCESSES,
        role=SWARM, subject=Subject.PLACEMENT, knob=Knob(220))  # fmt: skip

    @property
    def layout(self) -> str:
        """Where the roles really run: several processes of a role are always ``apart``."""
        return "apart" if max(self.server_processes, self.swarm_processes) > 1 else self.place

    @property
    def connections(self) -> int:
        """Connections that the clients have: one each, or those of the pool, but no more than clients."""
        return min(self.pool, self.clients) if self.pool else self.clients

    @property
    def server_model(self) -> str:
        """Name of the server model with ``default`` resolved."""
        return DEFAULT_SERVERS[self.transport] if self.server == "default" else self.server

    def faults(self) -> Iterator[Fault]:
        """Yield everything that is wrong with this tuning."""
        return tuning_faults(self)

    def validated(self) -> Self:
        """Return self, or raise :class:`ConfigError` with every fault."""
        if faults := list(self.faults()):
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
        if any(FIELDS_BY_ATTRIBUTE[name].spec.new_sockets for name in self.changes_to(other)):
            return True
        return other.transport == "tcp" and not self.frames_alike(other)

    def frames_alike(self, other: Tuning) -> bool:
        """Tell whether ``other`` cuts the bytes of a connection into the same frames."""
        same_size = self.framing != "fixed" or self.request_bytes == other.request_bytes
        return self.framing == other.framing and same_size

    @property
    def wire_bytes(self) -> int:
        """Bytes of one request as written to the socket, framing included."""
        if self.transport == "udp":
            return self.request_bytes
        return self.request_bytes + {"length": LENGTH_HEADER_BYTES, "newline": 1}.get(self.framing, 0)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One run: what is fixed for its whole length, and the tuning that it starts with."""

    tuning: Tuning = field(default_factory=Tuning)
    role: str = _field("both", "role", "role", Kind.CHOICE,
        "what runs here: both, or one of them", choices=("both", SERVER, SWARM),
        subject=Subject.CIRCUMSTANCE, varied=False, flag=None)  # fmt: skip
    target: str = _field("", "target", "target", Kind.TEXT,
        "address of a server that runs elsewhere; several, separated by commas, are tried in turn",
        role=SWARM, subject=Subject.CIRCUMSTANCE, varied=False,
        flag=Flag(metavar="HOST:PORT", argument_of=SWARM, in_race=False))  # fmt: skip
    allow_remote: bool = _field(False, "allow_remote", "allow remote", Kind.FLAG,
        "let the clients aim at another machine",
        role=SWARM, subject=Subject.CIRCUMSTANCE, flag=Flag(in_race=False, only_typed=bool))  # fmt: skip
    loop: str = _field("uvloop", "loop", "loop", Kind.CHOICE,
        "event loop under everything", choices=("uvloop", "asyncio"),
        subject=Subject.SETUP, varied=False, knob=Knob(40, "N"))  # fmt: skip
    allocator: str = _field("calm", "allocator", "allocator", Kind.CHOICE,
        "how glibc's malloc is set up: calm (thresholds lifted by freeing one large block), "
        "default (as it comes), tuned (thresholds set in the environment of child processes)",
        choices=("calm", "default", "tuned"),
        subject=Subject.SETUP)  # fmt: skip
    bind: str = _field("", "bind", "bind", Kind.TEXT,
        "address or name that the server listens on; without it loopback",
        role=SERVER, subject=Subject.CIRCUMSTANCE,
        flag=Flag(metavar="ADDRESS", only_typed=lambda host: _is_open(str(host))))  # fmt: skip
    port: int = _field(0, "port", "port", Kind.COUNT,
        "port of the server; 0 = the kernel chooses", high=65_535,
        role=SERVER, subject=Subject.CIRCUMSTANCE, varied=False, flag=Flag("-p", in_race=False))  # fmt: skip
    duration_s: float = _field(0.0, "duration", "duration", Kind.DURATION,
        "length of the run; 0 = until stopped", high=31_536_000, zero_word="until stopped",
        subject=Subject.CIRCUMSTANCE, varied=False, flag=Flag("-d", in_race=False))  # fmt: skip
    requests: int = _field(0, "requests", "requests", Kind.COUNT,
        "stop after this many requests; 0 = no limit", high=1e15, zero_word="no limit",
        role=SWARM, subject=Subject.CIRCUMSTANCE, varied=False, flag=Flag("-n"))  # fmt: skip
    give_up_s: float = _field(10.0, "give_up", "give up", Kind.DURATION,
        "with a number of requests: fail when nothing is answered for this long, on top of the timeout and "
        "the think time; 0 = never", high=MAX_SECONDS, zero_word="never",
        role=SWARM, subject=Subject.CIRCUMSTANCE, varied=False, flag=Flag(in_race=False))  # fmt: skip
    warmup_s: float = _field(0.0, "warmup", "warm-up", Kind.DURATION,
        "time at the start that the figures leave out; ready = until every client is connected",
        high=MAX_SECONDS, words=(("ready", READY),),
        subject=Subject.CIRCUMSTANCE, varied=False)  # fmt: skip
    backlog: int = _field(4_096, "backlog", "backlog", Kind.COUNT,
        "connections the kernel may queue until they are accepted", low=1, high=65_535,
        role=SERVER, transport="tcp", subject=Subject.SETUP)  # fmt: skip
    max_connections: int = _field(20_000, "max_connections", "max connections", Kind.COUNT,
        "connections the server holds at once; any more are closed on arrival", low=1, high=1_000_000,
        role=SERVER, subject=Subject.SETUP)  # fmt: skip
    idle_timeout_s: float = _field(0.0, "idle_timeout", "idle timeout", Kind.DURATION,
        "the server closes a connection that has been silent for this long and awaits no answer; 0 = never",
        high=MAX_SECONDS, zero_word="off",
        role=SERVER, subject=Subject.SETUP)  # fmt: skip
    reuse_address: bool = _field(True, "reuse_address", "reuse address", Kind.FLAG,
        "SO_REUSEADDR: listen on a port that still has connections in TIME_WAIT",
        role=SERVER, transport="tcp", subject=Subject.SETUP)  # fmt: skip
    reuse_port: bool = _field(False, "reuse_port", "reuse port", Kind.FLAG,
        "SO_REUSEPORT: share the port with other servers that ask for it too",
        role=SERVER, subject=Subject.SETUP)  # fmt: skip
    handler: str = _field("", "handler", "handler", Kind.TEXT,
        "your async def handle(reader, writer), as module:function, serves instead of a model",
        role=SERVER, subject=Subject.WORKLOAD,
        flag=Flag(metavar="MODULE:FUNCTION", in_race=False))  # fmt: skip
    protocol: str = _field("", "protocol", "protocol", Kind.TEXT,
        "your asyncio.Protocol, as module:class, serves instead of a model",
        role=SERVER, subject=Subject.WORKLOAD, flag=Flag(metavar="MODULE:CLASS", in_race=False))  # fmt: skip
    pid: int = _field(0, "pid", "pid", Kind.COUNT,
        "process of the target, whose CPU and memory are shown; 0 = none", high=1 << 22,
        role=SWARM, subject=Subject.CIRCUMSTANCE, flag=Flag(in_race=False))  # fmt: skip
    request: str = _field("", "request", "request text", Kind.OCTETS,
        "what a client sends instead of filler: text with escapes such as \\r\\n, hex:0a0b, or on the "
        "command line @file",
        role=SWARM, subject=Subject.WORKLOAD)  # fmt: skip
    expect_bytes: int = _field(0, "expect", "expect", Kind.BYTES,
        "length of an answer; 0 = the framing tells", high=MAX_FRAME_BYTES,
        zero_word="framing",
        role=SWARM, subject=Subject.WORKLOAD)  # fmt: skip
    until: str = _field("", "until", "until", Kind.OCTETS,
        "bytes that end an answer: text with escapes such as \\r\\n, or hex:0d0a",
        role=SWARM, subject=Subject.WORKLOAD)  # fmt: skip
    seed: int = _field(1, "seed", "seed", Kind.COUNT,
        "seed of everything random (backoff jitter)", high=1 << 62,
        role=SWARM, subject=Subject.CIRCUMSTANCE)  # fmt: skip

    def faults(self) -> Iterator[Fault]:
        """Yield everything that is wrong with this experiment, its tuning included."""
        yield from self.tuning.faults()
        own_faults = list(range_faults(self))
        yield from own_faults
        faulty = {fault.field for fault in own_faults}
        if not faulty & {"role", "bind", "target"}:
            yield from self._address_faults()
        if self.role != "server" and not faulty & {"request", "expect", "until"}:
            yield from dialogue_faults(self)
        if self.role != "swarm" and not faulty & {"handler", "protocol"}:
            yield from own_server_faults(self)
        if self.allocator == "tuned" and self.tuning.layout == "loop":
            yield Fault("allocator", "tuned", "needs a process of its own; place it child, server or apart")

    def _address_faults(self) -> Iterator[Fault]:
        if self.bind and self.role != "swarm":
            yield from _address_faults("bind", self.bind, self.bind, self.tuning.family)
            if why := why_not_one_machine(self.bind):
                yield Fault("bind", self.bind, why)
        if self.role != "swarm":
            if self.pid and self.role == "both":
                yield Fault("pid", self.pid, "is the process of a server elsewhere: only with --target")
            return
        try:
            hosts = [host for host, _ in self.targets]
        except ValueError as error:
            yield Fault("target", self.target, str(error))
            return
        # Those of the other family are tried when this one's lead nowhere.
        near = next((host for host in hosts if family_name(host) == self.tuning.family), hosts[0])
        yield from _address_faults("target", self.target, near, self.tuning.family)
        if why := next(filter(None, map(why_not_one_machine, hosts)), ""):
            yield Fault("target", self.target, why)
        if unknown := [host for host in hosts if not family_name(host) and host != near]:
            yield Fault("target", self.target, f"has a name in it, which is to be an address: {unknown[0]}")

    @property
    def targets(self) -> tuple[Address, ...]:
        """The addresses that the swarm aims at, tried in turn; raises ValueError where one is faulty."""
        return tuple(map(parse_target, self.target.split(",")))

    @property
    def own_server(self) -> str:
        """``module:name`` of the user's own handler or protocol, empty where a model serves."""
        return "" if self.role == "swarm" else self.handler or self.protocol

    @property
    def dialogue(self) -> Dialogue:
        """How the server is spoken to; raises ValueError where ``request`` or ``until`` is faulty."""
        return Dialogue(
            request=parse_octets(self.request) if self.request else b"",
            expect_bytes=self.expect_bytes,
            until=parse_octets(self.until) if self.until else b"",
        )

    def settled(self) -> Self:
        """Return it with what follows from other fields.

        A request of one's own has its own size, and where ``expect_bytes`` or ``until`` tells how an answer
        ends there is no framing. What is faulty is left as it is.
        """
        if self.role == "server":
            return self
        try:
            dialogue = self.dialogue
        except (TypeError, ValueError):
            return self
        tuning = self.tuning
        if dialogue.request:
            tuning = replace(tuning, request_bytes=len(dialogue.request))
        if dialogue.tells_ends:
            tuning = replace(tuning, framing="none")
        return replace(self, tuning=tuning)

    def validated(self) -> Self:
        """Return self, or raise :class:`ConfigError` with every fault."""
        if faults := list(self.faults()):
            raise ConfigError(faults)
        return self

    def with_values(self, values: Mapping[str, Value]) -> Experiment:
        """Return a copy in which the fields named by their keys (``service_time``) have new values."""
        own: dict[str, Any] = {}
        tuned: dict[str, Any] = {}
        for key, value in values.items():
            entry = FIELDS[key]
            (tuned if entry.live else own)[entry.attribute] = value
        return replace(self, tuning=replace(self.tuning, **tuned), **own)

    def value(self, key: str) -> Value:
        """Return the value of the field with this key, whether live or fixed."""
        entry = FIELDS[key]
        found: Value = getattr(self.tuning if entry.live else self, entry.attribute)
        return found


def _is_open(host: str) -> bool:
    """Tell whether who listens on this address can be reached from another machine."""
    return bool(host) and not is_loopback(host)


def _address_faults(key: str, shown: str, host: str, family: str) -> Iterator[Fault]:
    found = family_name(host)
    if not found:
        yield Fault(key, shown, "is not a numeric IPv4 or IPv6 address, such as 127.0.0.1")
    elif found != family:
        yield Fault(key, shown, f"is not an address of the family {family}")


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """Where a field lives: its attribute name, whether it is live, and its description."""

    attribute: str
    live: bool
    spec: FieldSpec


def entries(owner: type, *, live: bool) -> Iterator[FieldEntry]:
    """Yield the described fields of a dataclass, in the order in which they are declared."""
    owned: tuple[Field[Any], ...] = fields(owner)
    for f in owned:
        if "spec" in f.metadata:
            yield FieldEntry(f.name, live, spec_of(f))


FIELDS: Mapping[str, FieldEntry] = {
    entry.spec.key: entry for entry in (*entries(Tuning, live=True), *entries(Experiment, live=False))
}
"""Every field by its key, the live ones first."""
FIELDS_BY_ATTRIBUTE: Mapping[str, FieldEntry] = {entry.attribute: entry for entry in FIELDS.values()}
"""Every field by the name of its attribute, under which it is written in JSON."""
