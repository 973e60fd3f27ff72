"""What is run: a :class:`Tuning` can change while the run goes on, the rest of an :class:`Experiment` cannot.

Both are frozen. ``faults()`` collects everything that is wrong; ``validated()`` raises all of it at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Self

from sockscope.core.config.fields import FieldSpec, Kind, Value, spec_of
from sockscope.core.wire.dialogue import Dialogue
from sockscope.core.wire.framing import LENGTH_HEADER_BYTES, MAX_FRAME_BYTES
from sockscope.core.wire.octets import parse_octets
from sockscope.core.wire.sequence import SEQUENCE_BYTES
from sockscope.errors import ConfigError, Fault

MAX_CLIENTS = 10_000
MAX_UDP_PAYLOAD_BYTES = 65_507
"""65,535 less the 20 bytes of an IPv4 header and the 8 of a UDP header (RFC 768, RFC 791)."""
MAX_SECONDS = 3_600.0
MAX_DEPTH = 1_024
MAX_TURN_BYTES = 64 << 20
"""Most bytes that a client has under way at once: 64 MiB."""
MAX_PROCESSES = 64
MAX_REQUEST_BYTES = 1 << 20
"""Largest request of one's own: 1 MiB."""
MAX_UNTIL_BYTES = 1 << 10
SERVERS = (
    "default", "blocking", "threaded", "pool", "select", "poll", "epoll", "kqueue",
    "streams", "protocol", "buffered", "datagram",
)  # fmt: skip
"""Names of the server models; which of them serve a transport, and exist on a platform, is in
:mod:`sockscope.engine.servers.registry`."""
SERVERS_OF = {
    "tcp": ("blocking", "threaded", "pool", "select", "poll", "epoll", "kqueue",
            "streams", "protocol", "buffered"),
    "udp": ("blocking", "threaded", "epoll", "datagram"),
}  # fmt: skip
DEFAULT_SERVERS = {"tcp": "protocol", "udp": "datagram"}
CLIENTS = ("selector", "protocol", "streams", "blocking")
CLIENTS_OF = {"tcp": CLIENTS, "udp": ("selector", "protocol")}
WORKS = ("wait", "cpu", "block")
PLACES = ("loop", "child", "server", "apart")
ALLOCATORS = ("calm", "default", "tuned")
LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1"}
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_REFERENCE_FORM = {
    "handler": "module:function, such as my_server:handle",
    "protocol": "module:class, such as my_server:MyProtocol",
}


def _field(default: Value, key: str, label: str, kind: Kind, doc: str, **rest: Any) -> Any:
    return field(default=default, metadata={"spec": FieldSpec(key, label, kind, doc, **rest)})


@dataclass(frozen=True, slots=True)
class Tuning:
    """Everything that can be turned while the run goes on. Field docs, units and ranges: ``FieldSpec``."""

    transport: str = _field("tcp", "transport", "transport", Kind.CHOICE,
        "what carries the requests", choices=("tcp", "udp"))  # fmt: skip
    family: str = _field("ipv4", "family", "family", Kind.CHOICE,
        "address family", choices=("ipv4", "ipv6"))  # fmt: skip
    framing: str = _field("length", "framing", "framing", Kind.CHOICE,
        "how TCP messages are told apart", choices=("length", "newline", "fixed", "none"))  # fmt: skip
    clients: int = _field(100, "clients", "clients", Kind.COUNT,
        "clients that run at once", low=1, high=MAX_CLIENTS)  # fmt: skip
    permits: int = _field(50, "permits", "permits", Kind.COUNT,
        "requests that may be in flight at once; 0 = no limit",
        high=MAX_CLIENTS, zero_word="off")  # fmt: skip
    request_bytes: int = _field(64, "size", "request", Kind.BYTES,
        "bytes of one request, its framing not counted", low=1, high=MAX_FRAME_BYTES)  # fmt: skip
    service_time_s: float = _field(0.005, "service_time", "service", Kind.DURATION,
        "time the server awaits before it answers", high=60, smallest_step=0.001)  # fmt: skip
    think_time_s: float = _field(0.0, "think_time", "think", Kind.DURATION,
        "pause of a client between an answer and its next request", high=60, smallest_step=0.001)  # fmt: skip
    lifetime: int = _field(0, "lifetime", "lifetime", Kind.COUNT,
        "requests per connection: a number, request (one) or run (never closed)",
        high=1_000_000_000, zero_word="run", words=(("request", 1),))  # fmt: skip
    request_timeout_s: float = _field(1.0, "timeout", "timeout", Kind.DURATION,
        "time a client waits for an answer", low=0.001, high=MAX_SECONDS, smallest_step=0.001)  # fmt: skip
    connect_timeout_s: float = _field(3.0, "connect_timeout", "connect", Kind.DURATION,
        "time a client waits for a connection", low=0.001, high=MAX_SECONDS, smallest_step=0.001)  # fmt: skip
    no_delay: bool = _field(True, "no_delay", "no delay", Kind.FLAG,
        "TCP_NODELAY: send small writes at once")  # fmt: skip
    rcvbuf_bytes: int = _field(0, "rcvbuf", "rcvbuf", Kind.BYTES,
        "SO_RCVBUF to ask for; 0 = the system's choice", high=1 << 30, zero_word="system",
        smallest_step=1000)  # fmt: skip
    sndbuf_bytes: int = _field(0, "sndbuf", "sndbuf", Kind.BYTES,
        "SO_SNDBUF to ask for; 0 = the system's choice", high=1 << 30, zero_word="system",
        smallest_step=1000)  # fmt: skip

    server: str = _field("default", "server", "server", Kind.CHOICE,
        "server model; default = protocol over TCP and datagram over UDP", choices=SERVERS)  # fmt: skip
    client: str = _field("selector", "client", "client", Kind.CHOICE,
        "client model", choices=CLIENTS)  # fmt: skip
    work: str = _field("wait", "work", "work", Kind.CHOICE,
        "how the server spends the service time: wait (as its model waits), cpu (a busy loop), "
        "block (time.sleep, even inside a coroutine)", choices=WORKS)  # fmt: skip
    server_permits: int = _field(0, "server_permits", "admission", Kind.COUNT,
        "requests that an asynchronous server serves at once; 0 = no limit",
        high=MAX_CLIENTS, zero_word="off")  # fmt: skip
    read_bytes: int = _field(0, "read_bytes", "read size", Kind.BYTES,
        "most bytes that one read of the server takes; 0 = the model's own",
        high=MAX_FRAME_BYTES, zero_word="model", smallest_step=64)  # fmt: skip
    depth: int = _field(1, "depth", "depth", Kind.COUNT,
        "requests that a client sends before it waits for their answers (pipelining)",
        low=1, high=MAX_DEPTH)  # fmt: skip
    batch: int = _field(1, "batch", "batch", Kind.COUNT,
        "requests handed to the transport in one call; more than one go out as one writelines",
        low=1, high=MAX_DEPTH)  # fmt: skip
    pool: int = _field(0, "pool", "pool", Kind.COUNT,
        "connections that the clients share; 0 = each client has its own",
        high=MAX_CLIENTS, zero_word="off")  # fmt: skip
    place: str = _field("loop", "place", "place", Kind.CHOICE,
        "where the roles run: both on this loop, both in one child process, the server in a child, "
        "or each in a child of its own", choices=PLACES)  # fmt: skip
    server_processes: int = _field(1, "server_processes", "servers", Kind.COUNT,
        "server processes that share the port (SO_REUSEPORT); more than one are placed apart",
        low=1, high=MAX_PROCESSES)  # fmt: skip
    swarm_processes: int = _field(1, "swarm_processes", "swarms", Kind.COUNT,
        "processes that the clients are spread over; more than one are placed apart",
        low=1, high=MAX_PROCESSES)  # fmt: skip

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
        ranges_hold = True
        for fault in _range_faults(self):
            ranges_hold = False
            yield fault
        if not ranges_hold:
            return
        yield from self._model_faults()
        yield from self._pipeline_faults()
        yield from self._pool_faults()
        if self.transport != "udp":
            return
        if self.request_bytes > MAX_UDP_PAYLOAD_BYTES:
            yield Fault(
                "size", self.request_bytes,
                f"a UDP datagram carries at most {MAX_UDP_PAYLOAD_BYTES:,} B; make it smaller or use TCP",
            )  # fmt: skip
        if self.request_bytes < SEQUENCE_BYTES:
            yield Fault(
                "size", self.request_bytes,
                f"a UDP request needs {SEQUENCE_BYTES} B for its sequence number; make it larger or use TCP",
            )  # fmt: skip

    def _model_faults(self) -> Iterator[Fault]:
        serving, asking = SERVERS_OF[self.transport], CLIENTS_OF[self.transport]
        shown = self.transport.upper()
        if self.server_model not in serving:
            yield Fault("server", self.server, f"does not serve {shown}; over {shown}: {', '.join(serving)}")
        if self.client not in asking:
            yield Fault("client", self.client, f"does not speak {shown}; over {shown}: {', '.join(asking)}")
        if 0 < self.server_permits < self.server_processes:
            yield Fault(
                "server_permits", self.server_permits,
                f"is less than one for each of {self.server_processes} server processes",
            )  # fmt: skip

    def _pool_faults(self) -> Iterator[Fault]:
        if self.pool and self.transport == "udp":
            yield Fault("pool", self.pool, "is for TCP: UDP has no connections that could be shared")
        if self.pool and self.client == "blocking":
            yield Fault(
                "pool", self.pool, "is for clients on an event loop: a blocking one has its connection"
            )

    def _pipeline_faults(self) -> Iterator[Fault]:
        if self.batch > self.depth:
            yield Fault(
                "batch", self.batch,
                f"is more than the depth: a client has {self.depth:,} requests to hand over before it waits",
            )  # fmt: skip
        if self.depth == 1:
            return
        if self.transport == "udp":
            yield Fault(
                "depth", self.depth,
                "is for TCP: a UDP client awaits the answer or loss of a request before it sends the next",
            )  # fmt: skip
        if self.client == "blocking":
            yield Fault(
                "depth", self.depth, "is for clients on an event loop: a blocking one sends and waits"
            )
        if self.depth * self.wire_bytes > MAX_TURN_BYTES:
            yield Fault(
                "depth", self.depth,
                f"times {self.wire_bytes:,} B is more than a client may send before it waits "
                f"({MAX_TURN_BYTES:,} B)",
            )  # fmt: skip

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
        changed = self.changes_to(other).keys()
        if changed & {
            "transport",
            "family",
            "framing",
            "rcvbuf_bytes",
            "sndbuf_bytes",
            "server",
            "client",
            "place",
        }:
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
        "what runs here: both, or one of them", choices=("both", "server", "swarm"))  # fmt: skip
    target: str = _field("", "target", "target", Kind.TEXT,
        "host:port of a server that runs elsewhere, which the swarm aims at")  # fmt: skip
    allow_remote: bool = _field(False, "allow_remote", "allow remote", Kind.FLAG,
        "let the swarm aim at another machine than this one")  # fmt: skip
    loop: str = _field("uvloop", "loop", "loop", Kind.CHOICE,
        "event loop under everything", choices=("uvloop", "asyncio"))  # fmt: skip
    allocator: str = _field("calm", "allocator", "allocator", Kind.CHOICE,
        "glibc's malloc: calm (thresholds lifted by freeing one large block), default (as it comes), "
        "tuned (thresholds set in the environment of child processes)", choices=ALLOCATORS)  # fmt: skip
    bind: str = _field("", "bind", "bind", Kind.TEXT,
        "numeric address that the server listens on; empty = loopback")  # fmt: skip
    port: int = _field(0, "port", "port", Kind.COUNT,
        "port of the server; 0 = the kernel chooses", high=65_535)  # fmt: skip
    duration_s: float = _field(0.0, "duration", "duration", Kind.DURATION,
        "length of the run; 0 = until stopped", high=31_536_000, zero_word="for ever")  # fmt: skip
    requests: int = _field(0, "requests", "requests", Kind.COUNT,
        "stop after this many requests; 0 = no limit", high=1e15, zero_word="no limit")  # fmt: skip
    warmup_s: float = _field(0.0, "warmup", "warm-up", Kind.DURATION,
        "time at the start that the figures leave out", high=MAX_SECONDS)  # fmt: skip
    backlog: int = _field(4_096, "backlog", "backlog", Kind.COUNT,
        "connections the kernel may queue until they are accepted", low=1, high=65_535)  # fmt: skip
    max_connections: int = _field(20_000, "max_connections", "max connections", Kind.COUNT,
        "connections the server holds at once; more are closed at accept", low=1, high=1_000_000)  # fmt: skip
    idle_timeout_s: float = _field(0.0, "idle_timeout", "idle timeout", Kind.DURATION,
        "the server closes a connection that is silent this long; 0 = never",
        high=MAX_SECONDS, zero_word="off")  # fmt: skip
    reuse_address: bool = _field(True, "reuse_address", "reuse address", Kind.FLAG,
        "SO_REUSEADDR: listen on a port whose last connections are in TIME_WAIT")  # fmt: skip
    reuse_port: bool = _field(False, "reuse_port", "reuse port", Kind.FLAG,
        "SO_REUSEPORT: share the port with other servers that ask for it too")  # fmt: skip
    handler: str = _field("", "handler", "handler", Kind.TEXT,
        "module:function: your async def handle(reader, writer) serves instead of a model")  # fmt: skip
    protocol: str = _field("", "protocol", "protocol", Kind.TEXT,
        "module:class: your asyncio.Protocol serves instead of a model")  # fmt: skip
    pid: int = _field(0, "pid", "pid", Kind.COUNT,
        "process of the target, whose CPU and memory are shown; 0 = none", high=1 << 22)  # fmt: skip
    request: str = _field("", "request", "request text", Kind.OCTETS,
        "what a client sends instead of filler: text with escapes such as \\r\\n, hex:0a0b, or on the "
        "command line @file")  # fmt: skip
    expect_bytes: int = _field(0, "expect", "expect", Kind.BYTES,
        "bytes that make an answer whole; 0 = told by the framing", high=MAX_FRAME_BYTES,
        zero_word="framing")  # fmt: skip
    until: str = _field("", "until", "until", Kind.OCTETS,
        "bytes that end an answer: text with escapes such as \\r\\n, or hex:0d0a")  # fmt: skip
    seed: int = _field(1, "seed", "seed", Kind.COUNT,
        "seed of everything random (backoff jitter)", high=1 << 62)  # fmt: skip

    def faults(self) -> Iterator[Fault]:
        """Yield everything that is wrong with this experiment, its tuning included."""
        yield from self.tuning.faults()
        own_faults = list(_range_faults(self))
        yield from own_faults
        faulty = {fault.field for fault in own_faults}
        if not faulty & {"role", "bind", "target"}:
            yield from self._address_faults()
        if self.role != "server" and not faulty & {"request", "expect", "until"}:
            yield from self._dialogue_faults()
        if self.role != "swarm" and not faulty & {"handler", "protocol"}:
            yield from self._own_server_faults()
        if self.allocator == "tuned" and self.tuning.layout == "loop":
            yield Fault("allocator", "tuned", "needs a process of its own; place it child, server or apart")

    def _address_faults(self) -> Iterator[Fault]:
        if self.bind and self.role != "swarm":
            yield from _address_faults("bind", self.bind, self.bind, self.tuning.family)
        if self.role != "swarm":
            if self.pid and self.role == "both":
                yield Fault("pid", self.pid, "is the process of a server elsewhere: only with --target")
            return
        host, port = split_address(self.target)
        if not 0 < port < 65_536:
            yield Fault("target", self.target, "is not an address with a port, such as 127.0.0.1:7007")
            return
        yield from _address_faults("target", self.target, host, self.tuning.family)
        if not self.allow_remote and not is_loopback(host):
            yield Fault("target", self.target, "is another machine; only with --allow-remote")

    def _dialogue_faults(self) -> Iterator[Fault]:
        if self.request.startswith("@"):
            yield Fault("request", self.request, "is a file, which only the command line reads")
            return
        dialogue, tuning = self.dialogue, self.tuning
        given = [key for key in ("request", "expect", "until") if self.value(key)]
        if given and tuning.transport == "udp":
            why = f"cannot be with --{given[0]}: without a number in each request loss could not be told"
            yield Fault("transport", tuning.transport, why)
        if dialogue.expect_bytes and dialogue.until:
            yield Fault("until", self.until, "and --expect exclude each other: an answer ends in one way")
        if len(dialogue.until) > MAX_UNTIL_BYTES:
            yield Fault("until", self.until, f"is longer than {MAX_UNTIL_BYTES:,} B")
        if dialogue.tells_ends and tuning.framing != "none":
            why = f"tells how answers end, and so does --{given[-1]}; leave it out"
            yield Fault("framing", tuning.framing, why)
        if tuning.depth > 1 and tuning.framing == "none" and not dialogue.tells_ends:
            why = "needs a framing: with none, answers that arrive in one read cannot be told apart"
            yield Fault("depth", tuning.depth, why)
        size = len(dialogue.request)
        if size > MAX_REQUEST_BYTES:
            yield Fault("request", self.request, f"is {size:,} B; at most {MAX_REQUEST_BYTES:,} B are sent")
        elif size and size != tuning.request_bytes:
            yield Fault("size", tuning.request_bytes, f"is told by the request, which is {size:,} B")
        if tuning.framing == "newline" and b"\n" in dialogue.request:
            why = "has a newline in it, which would end it there; choose another framing, or none"
            yield Fault("request", self.request, why)

    def _own_server_faults(self) -> Iterator[Fault]:
        if self.handler and self.protocol:
            yield Fault("protocol", self.protocol, "and --handler exclude each other: one of them serves")
        for key in ("handler", "protocol"):
            reference = str(self.value(key))
            if not reference:
                continue
            if not _REFERENCE.fullmatch(reference):
                yield Fault(key, reference, f"is not {_REFERENCE_FORM[key]}")
            if self.tuning.transport == "udp":
                yield Fault("transport", "udp", f"cannot be with --{key}, which serves TCP")
            if self.tuning.server != "default":
                why = f"and --{key} exclude each other: one of them serves"
                yield Fault("server", self.tuning.server, why)

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


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``127.0.0.1:80`` or ``[::1]:80``; port 0 when there is none."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port) if port.isascii() and port.isdigit() else 0


def is_loopback(host: str) -> bool:
    """Tell whether a numeric host is this machine's loopback."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _address_faults(key: str, shown: str, host: str, family: str) -> Iterator[Fault]:
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        yield Fault(key, shown, "is not a numeric IPv4 or IPv6 address, such as 127.0.0.1")
        return
    if f"ipv{version}" != family:
        yield Fault(key, shown, f"is not an address of the family {family}")


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """Where a field lives: its attribute name, whether it is live, and its description."""

    attribute: str
    live: bool
    spec: FieldSpec


def _range_faults(config: Tuning | Experiment) -> Iterator[Fault]:
    for f in fields(config):
        if "spec" in f.metadata:
            spec = spec_of(f)
            value = getattr(config, f.name)
            if why := spec.check(value):
                yield Fault(spec.key, value, why)


def _entries() -> dict[str, FieldEntry]:
    def rows(owner: type, live: bool) -> Iterator[tuple[str, FieldEntry]]:
        owned: tuple[Field[Any], ...] = fields(owner)
        for f in owned:
            if "spec" in f.metadata:
                spec = spec_of(f)
                yield spec.key, FieldEntry(f.name, live, spec)

    return {**dict(rows(Tuning, live=True)), **dict(rows(Experiment, live=False))}


FIELDS: Mapping[str, FieldEntry] = _entries()
"""Every field by its key, the live ones first."""
