"""What is run: a :class:`Tuning` can change while the run goes on, the rest of an :class:`Experiment` cannot.

Both are frozen. ``field_faults()`` collects everything that is wrong; ``validated()`` raises all of it at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Self

from sockscope.core.addresses import (
    UNIX,
    Address,
    family_name,
    format_address,
    is_loopback,
    parse_target,
    parse_unix,
    why_not_one_machine,
)
from sockscope.core.config.arguments import read_arguments
from sockscope.core.config.bounds import MAX_CONNECTIONS, room_faults
from sockscope.core.config.cluster import local_workers, parse_cluster
from sockscope.core.config.faults import (
    cluster_faults,
    dialogue_faults,
    own_server_faults,
    placed_faults,
    range_faults,
    telling_faults,
    tls_faults,
)
from sockscope.core.config.fields import FieldSpec, Flag, Kind, Knob, Subject, Value, declared, spec_of
from sockscope.core.config.presets import PRESETS
from sockscope.core.config.taps import MOST_TAPS, Lead, leads_of, parse_lead
from sockscope.core.config.tls import parse_alpn, parse_server_name
from sockscope.core.config.tuning import MAX_SECONDS, Tuning
from sockscope.core.impairment.fault import parse_faults, text_of
from sockscope.core.roles import RELAY, SERVER, SWARM
from sockscope.core.wire.dialogue import COUNT, FAULT, IGNORE, Dialogue
from sockscope.core.wire.ends import End, Known, Size, Until, UntilLine, parse_id_field, parse_length_field
from sockscope.core.wire.framing import MAX_FRAME_BYTES
from sockscope.core.wire.octets import parse_octets
from sockscope.core.wire.patterns import parse_pattern
from sockscope.core.wire.recognise import AUTO, TELLINGS
from sockscope.core.wire.requests import Requests, parse_weights
from sockscope.errors import ConfigError, FieldFault

FRAMED = "framing"
"""The answer whose end the framing tells."""
MAX_STALL_S = 60.0
READY = -1.0
"""The warm-up that ends when every client has a connection."""
LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1", "unix": UNIX}
"""Where a server listens that is not told where."""


_FILE = Flag(metavar="FILE", only_typed=bool)
"""Whoever reads a TOML file or a variable of somebody else shall open no file by it."""
_CLUSTER_FILE = Flag(metavar="FILE", only_typed=bool)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One run: what is fixed for its whole length, and the tuning that it starts with."""

    tuning: Tuning = field(default_factory=Tuning)
    role: str = declared("both", "role", "role", Kind.CHOICE,
        "what runs here: both, or one of them", choices=("both", SERVER, SWARM, RELAY),
        of_tap=True, subject=Subject.CIRCUMSTANCE, varied=False, flag=None)  # fmt: skip
    target: str = declared("", "target", "target", Kind.TEXT,
        "address of a server that runs elsewhere; several, separated by commas, are tried in turn",
        role=SWARM, of_tap=True, subject=Subject.CIRCUMSTANCE, varied=False,
        flag=Flag(metavar="HOST:PORT", argument_of=SWARM, in_race=False))  # fmt: skip
    allow_remote: bool = declared(False, "allow_remote", "allow remote", Kind.FLAG,
        "let the clients aim at another machine",
        role=SWARM, of_tap=True, subject=Subject.CIRCUMSTANCE,
        flag=Flag(in_race=False, only_typed=bool))  # fmt: skip
    also: str = declared("", "also", "also", Kind.TEXT,
        "another address to listen at and where that leads, as LISTEN=TARGET",
        role=RELAY, of_tap=True, subject=Subject.CIRCUMSTANCE, varied=False, several=True, reads=parse_lead,
        flag=Flag(metavar="LISTEN=TARGET", in_race=False, only_typed=lambda text: _leads_out(str(text))),
        )  # fmt: skip
    told_apart: str = declared(AUTO, "told_apart", "told apart", Kind.CHOICE,
        "how requests and answers are told apart: auto (by the first bytes, else by turns), turns, "
        "length (4 bytes, big-endian), newline, http, resp, postgres, or bytes (not at all)",
        choices=TELLINGS,
        role=RELAY, transport="tcp", of_tap=True, subject=Subject.WORKLOAD, varied=False,
        flag=Flag(long="--framing", called="--framing", in_race=False))  # fmt: skip
    loop: str = declared("uvloop", "loop", "loop", Kind.CHOICE,
        "event loop that everything runs on", choices=("uvloop", "asyncio"),
        of_tap=True, subject=Subject.SETUP, varied=False, knob=Knob(40, "N"))  # fmt: skip
    allocator: str = declared("calm", "allocator", "allocator", Kind.CHOICE,
        "how glibc's malloc is set up: calm (thresholds lifted by freeing one large block), "
        "default (as it comes), tuned (thresholds set in the environment of child processes)",
        choices=("calm", "default", "tuned"),
        subject=Subject.SETUP)  # fmt: skip
    bind: str = declared("", "bind", "bind", Kind.TEXT,
        "address or name that the server listens on, or unix:/path, unix:@name; the loopback by default",
        role=SERVER, of_tap=True, subject=Subject.CIRCUMSTANCE,
        flag=Flag(metavar="ADDRESS", only_typed=lambda host: _is_open(str(host))))  # fmt: skip
    port: int = declared(0, "port", "port", Kind.COUNT,
        "port of the server; 0 = the kernel chooses", high=65_535,
        role=SERVER, of_ip=True, of_tap=True, subject=Subject.CIRCUMSTANCE, varied=False,
        flag=Flag("-p", in_race=False))  # fmt: skip
    duration_s: float = declared(0.0, "duration", "duration", Kind.DURATION,
        "length of the run; 0 = until stopped", high=31_536_000, zero_word="until stopped",
        of_tap=True, subject=Subject.CIRCUMSTANCE, varied=False, flag=Flag("-d", in_race=False))  # fmt: skip
    requests: int = declared(0, "requests", "requests", Kind.COUNT,
        "stop after this many requests; 0 = no limit", high=1e15, zero_word="no limit",
        role=SWARM, subject=Subject.CIRCUMSTANCE, varied=False, flag=Flag("-n"))  # fmt: skip
    give_up_s: float = declared(10.0, "give_up", "give up", Kind.DURATION,
        "fail when nothing is answered for this long, on top of timeout and think time (with a number of "
        "requests), and when the event loop is blocked for this long beyond the end of the run; 0 = never",
        high=MAX_SECONDS, zero_word="never",
        role=SWARM, subject=Subject.CIRCUMSTANCE, varied=False, flag=Flag(in_race=False))  # fmt: skip
    warmup_s: float = declared(0.0, "warmup", "warm-up", Kind.DURATION,
        "time at the start that the figures leave out; ready = until every client is connected",
        high=MAX_SECONDS, words=(("ready", READY),),
        subject=Subject.CIRCUMSTANCE, varied=False)  # fmt: skip
    stall_at_s: float = declared(0.0, "stall_at", "stall at", Kind.DURATION,
        "moment, counted as the duration is, at which the server stands still once; 0 = never",
        high=31_536_000, zero_word="never",
        role=SERVER, subject=Subject.WORKLOAD, varied=False, flag=Flag(in_race=False))  # fmt: skip
    stall_s: float = declared(1.0, "stall", "stall", Kind.DURATION,
        "how long the loop or the threads of the server stand still then, and at the key k of the dashboard",
        low=0.001, high=MAX_STALL_S, smallest_step=0.001,
        role=SERVER, subject=Subject.WORKLOAD, varied=False, flag=Flag(in_race=False))  # fmt: skip
    cluster: str = declared("", "cluster", "cluster", Kind.TEXT,
        "workers of dask.distributed, which imply --place cluster: local:N for N of them in processes of "
        "this machine, or the address of a scheduler, such as tls://10.0.0.1:8786; the first worker serves",
        subject=Subject.PLACEMENT, varied=False, reads=parse_cluster,
        flag=Flag(metavar="local:N|ADDRESS", only_typed=lambda text: _is_elsewhere(str(text))),
        )  # fmt: skip
    cluster_ca: str = declared("", "cluster_ca", "cluster CA", Kind.TEXT,
        "certificates (PEM) of those who have signed the certificates of the cluster",
        subject=Subject.PLACEMENT, varied=False, flag=_CLUSTER_FILE)  # fmt: skip
    cluster_cert: str = declared("", "cluster_cert", "cluster cert", Kind.TEXT,
        "certificate (PEM) by which the cluster knows who may use it",
        subject=Subject.PLACEMENT, varied=False, flag=_CLUSTER_FILE)  # fmt: skip
    cluster_key: str = declared("", "cluster_key", "cluster key", Kind.TEXT,
        "private key (PEM) of that certificate, where it is not in the same file",
        subject=Subject.PLACEMENT, varied=False, flag=_CLUSTER_FILE)  # fmt: skip
    allow_insecure_cluster: bool = declared(False, "allow_insecure_cluster", "insecure cluster", Kind.FLAG,
        "use a cluster beyond this machine without TLS: whoever reaches it runs code on its workers",
        subject=Subject.PLACEMENT, varied=False, flag=Flag(only_typed=bool))  # fmt: skip
    backlog: int = declared(4_096, "backlog", "backlog", Kind.COUNT,
        "connections the kernel may queue until they are accepted", low=1, high=65_535,
        role=SERVER, transport="tcp", of_tap=True, subject=Subject.SETUP)  # fmt: skip
    max_connections: int = declared(MAX_CONNECTIONS, "max_connections", "max connections", Kind.COUNT,
        "connections a process of the server holds at once; any more are closed on arrival",
        low=1, high=1_000_000,
        role=SERVER, of_tap=True, subject=Subject.SETUP)  # fmt: skip
    idle_timeout_s: float = declared(0.0, "idle_timeout", "idle timeout", Kind.DURATION,
        "the server closes a connection that has been silent for this long and awaits no answer; 0 = never",
        high=MAX_SECONDS, zero_word="off",
        role=SERVER, subject=Subject.SETUP)  # fmt: skip
    reuse_address: bool = declared(True, "reuse_address", "reuse address", Kind.FLAG,
        "SO_REUSEADDR: listen on a port that still has connections in TIME_WAIT",
        role=SERVER, transport="tcp", of_ip=True, subject=Subject.SETUP)  # fmt: skip
    reuse_port: bool = declared(False, "reuse_port", "reuse port", Kind.FLAG,
        "SO_REUSEPORT: share the port with other servers that ask for it too",
        role=SERVER, of_ip=True, subject=Subject.SETUP)  # fmt: skip
    handler: str = declared("", "handler", "handler", Kind.TEXT,
        "your handle(reader, writer), or handle(sock) in threads, as module:function, serves instead of "
        "a model",
        role=SERVER, subject=Subject.SETUP,
        flag=Flag(metavar="MODULE:FUNCTION", in_race=False))  # fmt: skip
    protocol: str = declared("", "protocol", "protocol", Kind.TEXT,
        "your asyncio.Protocol (DatagramProtocol with -u), as module:class, serves instead of a model",
        role=SERVER, subject=Subject.SETUP, flag=Flag(metavar="MODULE:CLASS", in_race=False))  # fmt: skip
    asgi: str = declared("", "asgi", "asgi", Kind.TEXT,
        "your ASGI application, as module:application, serves under uvicorn's protocol instead of a model",
        role=SERVER, subject=Subject.SETUP,
        flag=Flag(metavar="MODULE:APPLICATION", in_race=False))  # fmt: skip
    handler_arg: str = declared("", "handler_arg", "handler arg", Kind.ARGUMENTS,
        "argument of your handler or protocol, or of what makes it, as name=value: a number, true, "
        "false, null or a list as in JSON, else text; a table in TOML",
        role=SERVER, subject=Subject.SETUP, several=True,
        flag=Flag(metavar="NAME=VALUE"))  # fmt: skip
    startup: str = declared("", "startup", "startup", Kind.TEXT,
        "your function or coroutine, as module:function, to be done before your server listens; where it "
        "gives an async context manager, that is left when the server has ended",
        role=SERVER, subject=Subject.SETUP,
        flag=Flag(metavar="MODULE:FUNCTION"))  # fmt: skip
    shutdown: str = declared("", "shutdown", "shutdown", Kind.TEXT,
        "your function or coroutine, as module:function, to be done when your server has ended",
        role=SERVER, subject=Subject.SETUP,
        flag=Flag(metavar="MODULE:FUNCTION"))  # fmt: skip
    pid: int = declared(0, "pid", "pid", Kind.COUNT,
        "process of the target, whose CPU and memory are shown; 0 = none", high=1 << 22,
        role=SWARM, subject=Subject.CIRCUMSTANCE, flag=Flag(in_race=False))  # fmt: skip
    request: str = declared("", "request", "request text", Kind.OCTETS,
        "what a client sends instead of filler: text with escapes such as \\r\\n, hex:0a0b, or on the "
        "command line @file or @directory; {n} and {client} are filled in; several are asked in turn",
        role=SWARM, subject=Subject.WORKLOAD, several=True)  # fmt: skip
    weights: str = declared("", "weights", "weights", Kind.TEXT,
        "how often each of several requests is asked, such as 3,1",
        role=SWARM, subject=Subject.WORKLOAD, flag=Flag(metavar="N,N"))  # fmt: skip
    expect_bytes: int = declared(0, "expect", "expect", Kind.BYTES,
        "length of an answer; 0 = the framing tells", high=MAX_FRAME_BYTES,
        zero_word="framing",
        role=SWARM, subject=Subject.WORKLOAD)  # fmt: skip
    until: str = declared("", "until", "until", Kind.OCTETS,
        "bytes that end an answer: text with escapes such as \\r\\n, or hex:0d0a",
        role=SWARM, of_tap=True, subject=Subject.WORKLOAD)  # fmt: skip
    until_line: str = declared("", "until_line", "until line", Kind.TEXT,
        "pattern of the last line of an answer that has several, such as /^\\d{3} /",
        role=SWARM, of_tap=True, subject=Subject.WORKLOAD, reads=parse_pattern,
        flag=Flag(metavar="/RE/"))  # fmt: skip
    length_field: str = declared("", "length_field", "length field", Kind.TEXT,
        "where an answer says how many bytes follow, as offset:size[:little][+extra], such as 0:4 or 2:2+6; "
        "the size may be varint (MQTT)",
        role=SWARM, of_tap=True, subject=Subject.WORKLOAD, reads=parse_length_field,
        flag=Flag(metavar="FIELD"))  # fmt: skip
    answer: str = declared(FRAMED, "answer", "answer", Kind.CHOICE,
        "what else tells where an answer ends: the framing, HTTP/1.1, RESP (Redis), a websocket's message, "
        "or EOF",
        choices=(FRAMED, *(known.value for known in Known)),
        role=SWARM, subject=Subject.WORKLOAD)  # fmt: skip
    greeting: str = declared("", "greeting", "greeting", Kind.OCTETS,
        "bytes that end what the server says first, written as --until is",
        role=SWARM, subject=Subject.WORKLOAD)  # fmt: skip
    preamble: str = declared("", "preamble", "preamble", Kind.OCTETS,
        "what a client sends once on each connection (AUTH, EHLO, CONNECT), written as --request is; its "
        "answer is awaited and not counted",
        role=SWARM, subject=Subject.WORKLOAD, several=True)  # fmt: skip
    preamble_until: str = declared("", "preamble_until", "preamble until", Kind.OCTETS,
        "bytes that end the answer to a preamble; without it that ends as the others do",
        role=SWARM, subject=Subject.WORKLOAD)  # fmt: skip
    unasked: str = declared(FAULT, "unasked", "unasked", Kind.CHOICE,
        "what becomes of data that nobody asked for: a fault ends the connection, count counts it, "
        "ignore does neither", choices=(FAULT, COUNT, IGNORE),
        role=SWARM, transport="tcp", subject=Subject.WORKLOAD)  # fmt: skip
    id_field: str = declared("", "id_field", "id field", Kind.TEXT,
        "where a UDP request carries a number that its answer has too, as offset:size, such as 0:2 for DNS",
        role=SWARM, transport="udp", subject=Subject.WORKLOAD, reads=parse_id_field,
        flag=Flag(metavar="OFFSET:SIZE"))  # fmt: skip
    tls_name: str = declared("", "tls_name", "TLS name", Kind.TEXT,
        "name of the server that the clients ask for (SNI) and that its certificate must have; "
        "the host by default",
        role=SWARM, subject=Subject.WORKLOAD, reads=parse_server_name, flag=Flag(metavar="HOST"))  # fmt: skip
    alpn: str = declared("", "alpn", "ALPN", Kind.TEXT,
        "protocols that the ends here offer (ALPN), the preferred first, such as h2,http/1.1",
        subject=Subject.WORKLOAD, reads=parse_alpn, flag=Flag(metavar="NAME,NAME"))  # fmt: skip
    tls_ca: str = declared("", "tls_ca", "TLS CA", Kind.TEXT,
        "certificates (PEM) of those whom the clients trust instead of the system's; a server alone takes "
        "only clients with a certificate that one of them has signed",
        subject=Subject.SETUP, flag=_FILE)  # fmt: skip
    tls_insecure: bool = declared(False, "tls_insecure", "TLS insecure", Kind.FLAG,
        "let the clients take any certificate, whoever has made it and for whom",
        role=SWARM, subject=Subject.SETUP, flag=Flag(only_typed=bool))  # fmt: skip
    tls_cert: str = declared("", "tls_cert", "TLS cert", Kind.TEXT,
        "certificate (PEM) of the server here, or with a target of the clients",
        subject=Subject.SETUP, flag=_FILE)  # fmt: skip
    tls_key: str = declared("", "tls_key", "TLS key", Kind.TEXT,
        "private key (PEM) of that certificate, where it is not in the same file",
        subject=Subject.SETUP, flag=_FILE)  # fmt: skip
    tls_client_cert: str = declared("", "tls_client_cert", "client cert", Kind.TEXT,
        "certificate (PEM) of the clients, which a server here then demands",
        role=SWARM, subject=Subject.SETUP, flag=_FILE)  # fmt: skip
    tls_client_key: str = declared("", "tls_client_key", "client key", Kind.TEXT,
        "private key (PEM) of the clients' certificate, where it is not in the same file",
        role=SWARM, subject=Subject.SETUP, flag=_FILE)  # fmt: skip
    seed: int = declared(1, "seed", "seed", Kind.COUNT,
        "seed of everything random (backoff jitter)", high=1 << 62,
        role=SWARM, of_tap=True, subject=Subject.CIRCUMSTANCE)  # fmt: skip
    host: str = ""
    """The address of the machine a role is on, where others reach it; whoever places it there puts it."""
    checkout: str = ""
    """Where the files of the revision are that own code is of; whoever runs it puts them there."""

    def field_faults(self) -> Iterator[FieldFault]:
        """Yield everything that is wrong with this experiment, its tuning included."""
        found = [*self.tuning.field_faults(), *range_faults(self)]
        yield from found
        faulty = {fault.field for fault in found}
        if not faulty & {"role", "bind", "target", "also"}:
            yield from self._address_faults()
        if self.role not in (SERVER, RELAY) and not faulty & {*DIALOGUE, *ENDS}:
            yield from dialogue_faults(self)
        if self.role == RELAY and not faulty & {"told_apart", *ENDS}:
            yield from telling_faults(self)
        if self.role != "swarm" and faulty.isdisjoint({*OWN, "handler_arg"}):
            yield from own_server_faults(self)
        yield from tls_faults(self)
        if "cluster" not in faulty:
            yield from cluster_faults(self)
        if not faulty:
            yield from room_faults(self)
        if "fault" not in faulty:
            yield from placed_faults(self)
        if self.duration_s and self.stall_at_s >= self.duration_s and self.role != "swarm":
            yield FieldFault("stall_at", self.stall_at_s, "is not before the end of the run (--duration)")
        if self.allocator == "tuned" and self.tuning.layout == "loop":
            yield FieldFault(
                "allocator", "tuned", "needs a process of its own; place it child, server or apart"
            )

    def _address_faults(self) -> Iterator[FieldFault]:
        if self.port and self.role != "swarm" and self.tuning.family == "unix":
            yield FieldFault("port", self.port, "is for IP; a Unix socket has a path (--bind unix:/path)")
        if self.bind and self.role != "swarm":
            yield from _address_faults("bind", self.bind, self.bind, self.tuning.family)
            if why := why_not_one_machine(self.bind):
                yield FieldFault("bind", self.bind, why)
        if self.role not in (SWARM, RELAY):
            if self.pid and self.role == "both":
                yield FieldFault("pid", self.pid, "is the process of a server elsewhere: only with --target")
            return
        try:
            hosts = [host for host, _ in self.targets]
        except ValueError as error:
            yield FieldFault("target", self.target, str(error))
            return
        # Those of the other family are tried when this one's lead nowhere.
        near = next((host for host in hosts if family_name(host) == self.tuning.family), hosts[0])
        # A relay may listen at one family and pass on to another.
        family = self.tuning.family if self.role == SWARM else family_name(near)
        yield from _address_faults("target", self.target, near, family)
        if why := next(filter(None, map(why_not_one_machine, hosts)), ""):
            yield FieldFault("target", self.target, why)
        if len({family_name(host) == "unix" for host in hosts}) > 1:
            yield FieldFault("target", self.target, "has Unix sockets and others; name one sort")
        if unknown := [host for host in hosts if not family_name(host) and host != near]:
            yield FieldFault("target", self.target, f"contains a name instead of an address: {unknown[0]}")
        if self.role == RELAY:
            yield from self._lead_faults()

    def _lead_faults(self) -> Iterator[FieldFault]:
        leads = list(leads_of(self.also))
        if len(leads) >= MOST_TAPS:
            yield FieldFault("also", f"{len(leads):,} addresses", f"are more than {MOST_TAPS - 1}")
        first = (self.bind or LOOPBACK[self.tuning.family], self.port)
        listened = [first, *(lead.listen for lead in leads)]
        fixed = [one for one in listened if one[1] or one[0].startswith(UNIX)]
        if twice := next((one for one in fixed if fixed.count(one) > 1), None):
            yield FieldFault("also", format_address(twice), "is listened at already")
        for lead in leads:
            for host, _ in (lead.listen, *lead.targets):
                yield from _address_faults("also", lead.text, host, family_name(host))
                if why := why_not_one_machine(host):
                    yield FieldFault("also", lead.text, why)
            if len({family_name(host) == "unix" for host, _ in lead.targets}) > 1:
                yield FieldFault("also", lead.text, "has Unix sockets and others; name one sort")

    @property
    def targets(self) -> tuple[Address, ...]:
        """The addresses that the swarm or a relay alone aims at, tried in turn; raises ValueError."""
        return tuple(map(parse_target, self.target.split(",")))

    @property
    def leads(self) -> tuple[Lead, ...]:
        """Where a relay alone listens besides its first address, and where that leads; raises ValueError."""
        return tuple(leads_of(self.also))

    def names_address(self, tuning: Tuning) -> bool:
        """Tell whether a server is to have one certain address, whoever has had it before."""
        return self.bind not in ("", UNIX) if tuning.family == "unix" else self.port != 0

    @property
    def own_server(self) -> str:
        """``module:name`` of the user's own code, ``@revision`` included; empty where a model serves."""
        return "" if self.role in (SWARM, RELAY) else self.handler or self.protocol or self.asgi

    @property
    def own_key(self) -> str:
        """The key of the field that names the user's own code; empty where a model serves."""
        return next((key for key in OWN if self.value(key)), "") if self.own_server else ""

    @property
    def client_certificate(self) -> tuple[str, str]:
        """The files of the clients' certificate and of its key; empty where they have none."""
        if self.tls_client_cert or self.role != SWARM:
            return self.tls_client_cert, self.tls_client_key
        return self.tls_cert, self.tls_key

    @property
    def own_arguments(self) -> dict[str, object]:
        """The arguments of the user's own handler or protocol; raises ValueError where one is faulty."""
        return read_arguments(self.handler_arg)

    @property
    def dialogue(self) -> Dialogue:
        """How the server is spoken to; raises ValueError where what describes that is faulty."""
        texts = self.request.split("\n") if self.request else []
        weights = parse_weights(self.weights, len(texts)) if self.weights else ()
        return Dialogue(
            Requests.of([parse_octets(text) for text in texts], weights) if texts else None,
            next((ENDS[key](self.value(key)) for key in self.ends), None),
            accept=parse_pattern(self.tuning.accept) if self.tuning.accept else None,
            reject=parse_pattern(self.tuning.reject) if self.tuning.reject else None,
            greeting=parse_octets(self.greeting) if self.greeting else b"",
            preambles=tuple(map(parse_octets, self.preamble.split("\n"))) if self.preamble else (),
            preamble_until=parse_octets(self.preamble_until) if self.preamble_until else b"",
            unasked=self.unasked,
            id_field=parse_id_field(self.id_field) if self.id_field else None,
        )

    @property
    def ends(self) -> list[str]:
        """The keys of the fields that tell where an answer ends: one at most, if nothing is wrong."""
        return [key for key in ENDS if self.value(key) not in (0, "", FRAMED)]

    def settled(self) -> Self:
        """Return it with what follows from other fields.

        Clients of an ASGI application speak HTTP. A request of one's own has its own size, and where another
        field tells how an answer ends there is no framing; a connection that ends with its answer carries one
        request. What is faulty is left as it is.
        """
        if self.role in (SERVER, RELAY):
            return self
        if self.asgi and self.role == "both" and not (self.request or self.ends):
            http = PRESETS["http"]
            accept = self.tuning.accept or http["accept"]
            return self.with_values({**http, "accept": accept}).settled()
        try:
            dialogue = self.dialogue
        except (TypeError, ValueError):
            return self
        tuning = self.tuning
        if dialogue.requests:
            tuning = replace(tuning, request_bytes=dialogue.requests.size)
        if dialogue.tells_ends:
            tuning = replace(tuning, framing="none")
        if dialogue.end is Known.EOF:
            tuning = replace(tuning, lifetime=1)
        return replace(self, tuning=tuning)

    def unsettled(self) -> Self:
        """Return it with the defaults of what followed from other fields, for those to be others."""
        settled = self.settled().tuning
        if self.role in (SERVER, RELAY) or settled != self.tuning:
            return self  # what stands there does not follow from anything
        dialogue, default = self.dialogue, Tuning()
        size = default.request_bytes if dialogue.requests else settled.request_bytes
        framing = default.framing if dialogue.tells_ends else settled.framing
        lifetime = default.lifetime if dialogue.end is Known.EOF else settled.lifetime
        return replace(self, tuning=replace(settled, request_bytes=size, framing=framing, lifetime=lifetime))

    def validated(self) -> Self:
        """Return self, or raise :class:`ConfigError` with every fault."""
        if faults := list(self.field_faults()):
            raise ConfigError(faults)
        return self

    def with_values(self, values: Mapping[str, Value]) -> Self:
        """Return a copy in which the fields named by their keys (``service_time``) have new values."""
        own: dict[str, Any] = {}
        tuned: dict[str, Any] = {}
        for key, value in values.items():
            entry = FIELDS[key]
            (tuned if entry.live else own)[entry.attribute] = value
        return replace(self, tuning=replace(self.tuning, **tuned), **own)

    def speaking(self, protocol: str) -> Self:
        """Return a copy whose clients speak as those of ``protocol`` do (``redis``), as with ``--as``.

        What it means is in :data:`sockscope.core.config.presets.PRESETS`. Raises ConfigError when there is no
        such protocol.
        """
        if protocol not in PRESETS:
            raise ConfigError.of("as", protocol, f"is none of {', '.join(PRESETS)}")
        return self.with_values({key: FIELDS[key].spec.parse(raw) for key, raw in PRESETS[protocol].items()})

    def with_faults(self, text: str) -> Self:
        """Return a copy with these faults on demand, such as ``loss=2%, delay=20ms up``, and no others.

        Raises ConfigError, which names the faulty part.
        """
        return self.with_values({"fault": text_of(parse_faults(text))})

    def value(self, key: str) -> Value:
        """Return the value of the field with this key, whether live or fixed."""
        entry = FIELDS[key]
        found: Value = getattr(self.tuning if entry.live else self, entry.attribute)
        return found


OWN = ("handler", "protocol", "asgi")
"""The fields that name the user's own code, which serves instead of a model."""
TLS_FIELDS = {
    "tls_name", "alpn", "tls_ca", "tls_insecure", "tls_cert", "tls_key", "tls_client_cert", "tls_client_key",
}  # fmt: skip
"""Fields that mean nothing without TLS."""
DIALOGUE = {"request", "accept", "reject", "greeting", "preamble", "preamble_until", "id_field"}
"""Fields, besides :data:`ENDS`, without which nobody knows how a server is spoken to."""
CONVERSATION = (
    "request", "weights", "expect", "until", "until_line", "length_field", "answer", "accept", "reject",
    "greeting", "preamble", "preamble_until", "unasked", "id_field",
)  # fmt: skip
"""The fields that say how a server is spoken to, in the order of a conversation with it."""
ENDS: Mapping[str, Callable[[Any], End]] = {
    "expect": Size,
    "until": lambda text: Until(parse_octets(text)),
    "until_line": lambda text: UntilLine(parse_pattern(text)),
    "length_field": parse_length_field,
    "answer": Known,
}
"""The fields that tell where an answer ends, and what their values stand for."""


def _leads_out(text: str) -> bool:
    """Tell whether a tap with these leads can be reached from another machine, or cannot be read."""
    try:
        return any(_is_open(lead.listen[0]) for lead in leads_of(text))
    except ValueError:
        return False  # a fault that is told elsewhere


def _is_elsewhere(cluster: str) -> bool:
    """Tell whether a cluster is one that somebody else has brought up."""
    try:
        return bool(cluster) and not local_workers(cluster)
    except ValueError:
        return False  # a fault that is told elsewhere


def _is_open(host: str) -> bool:
    """Tell whether who listens on this address can be reached from another machine."""
    return bool(host) and not is_loopback(host)


def _address_faults(key: str, shown: str, host: str, family: str) -> Iterator[FieldFault]:
    found = family_name(host)
    if not found:
        yield FieldFault(key, shown, "is not a numeric IPv4 or IPv6 address, such as 127.0.0.1")
    elif found != family:
        yield FieldFault(key, shown, f"is not an address of the family {family}")
    elif found == "unix" and host != UNIX and (why := _fault_of_unix(host)):
        yield FieldFault(key, shown, why)


def _fault_of_unix(host: str) -> str:
    try:
        parse_unix(host)
    except ValueError as error:
        return str(error)
    return ""


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
