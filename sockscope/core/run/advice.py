"""What to turn next, by the kind of verdict: which knob, which way, and what that does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sockscope.core.config.applicability import idle_fields
from sockscope.core.config.bounds import most_of
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.fields import Value
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.kinds import Kind

UP, DOWN = 1, -1


@dataclass(frozen=True, slots=True)
class Advice:
    """A knob to turn (its field's key) a step ``way`` up or down, or ``to`` a value; ``why`` says what for.

    Without a field it is what no knob does.
    """

    field: str
    way: int
    why: str
    to: Value | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a knob; one that cannot be made, or no longer, leaves it as it is."""

    field: str
    before: Value
    after: Value
    why: str

    @property
    def is_one(self) -> bool:
        """Whether it can be made."""
        return self.before != self.after


def _up(field: str, why: str) -> Advice:
    return Advice(field, UP, why)


def _down(field: str, why: str) -> Advice:
    return Advice(field, DOWN, why)


def _to(field: str, value: Value, why: str) -> Advice:
    return Advice(field, 0, why, value)


def _besides(why: str) -> Advice:
    return Advice("", 0, why)


_FEWER_CLIENTS = _down("clients", "fewer wait for it")
_MORE_CLIENTS = _up("clients", "more requests at the same time")
_KEEP_CONNECTIONS = _to("lifetime", 0, "connections are kept, and fewer are made")
_SHORTER_SERVICE = _down("service_time", "each request takes the server for less time")
_MANY_AT_A_TIME = _to("server", "default", "a model that serves all connections at a time")
_LONGER_BACKLOG = _besides("--backlog: a longer one, from the next run on")
_LESS_IN_FLIGHT = _down("permits", "fewer requests in flight: the same rate, less latency")
_APART = _to("place", "apart", "server and clients each get a core of their own")
_YIELD = _to("work", "wait", "service that leaves the loop to the others")
_QUIET = _besides("end other programs, or measure on a machine of your own")
_LARGE_BUFFER_BYTES = 4 << 20
_LARGE_RCVBUF = _to("rcvbuf", _LARGE_BUFFER_BYTES, "bursts fit into the receive buffer")
_PATIENCE = _up("timeout", "answers that are late count")

ADVICE: Mapping[Kind, tuple[Advice, ...]] = {
    Kind.RUN: (_besides("N starts a new run"),),
    Kind.PAUSED: (_besides("p lets the traffic go on"),),
    Kind.PROCESS: (_besides("any knob starts a child process again; a stopped one goes on with SIGCONT"),),
    Kind.OWN_CODE: (_besides("mend what raises; l loads the edit"),),
    Kind.INJECTED: (_to("fault", "", "the link and the server are as they are"), _besides("F: one by one")),
    Kind.DESCRIPTORS: (_FEWER_CLIENTS, _besides("ulimit -n: more descriptors")),
    Kind.SERVER_GONE: (_besides("start the server again: clients keep trying"),),
    Kind.EPHEMERAL_PORTS: (
        _KEEP_CONNECTIONS,
        _FEWER_CLIENTS,
        _besides("net.ipv4.ip_local_port_range: more ports"),
    ),
    Kind.NO_SERVER: (_besides("start the server, or aim elsewhere (c)"),),
    Kind.NO_CONNECTION: (_FEWER_CLIENTS, _up("connect_timeout", "slow connects count")),
    Kind.CONNECTIONS: (
        _FEWER_CLIENTS,
        _KEEP_CONNECTIONS,
        _besides("--max-connections: more of them, from the next run on"),
    ),
    Kind.ACCEPT_QUEUE: (_KEEP_CONNECTIONS, _FEWER_CLIENTS, _LONGER_BACKLOG),
    Kind.BACKLOG: (
        _MANY_AT_A_TIME,
        _FEWER_CLIENTS,
        _up("server_processes", "each serves as many again"),
        _to("lifetime", 1, "each connection ends after a request, and the next gets its turn"),
    ),
    Kind.NOT_ACCEPTING: (_MANY_AT_A_TIME, _FEWER_CLIENTS),
    Kind.TIMEOUTS: (_LESS_IN_FLIGHT, _FEWER_CLIENTS, _SHORTER_SERVICE, _PATIENCE, _LARGE_RCVBUF),
    Kind.NO_ANSWER: (_SHORTER_SERVICE, _besides("c: is it asked as it wants to be?")),
    Kind.ANSWERS: (_besides("--accept, --reject and --expect say which answers are taken"),),
    Kind.ERRORS: (_FEWER_CLIENTS, _besides("c: is it asked as it wants to be?")),
    Kind.UDP_RECEIVE_BUFFER: (_LARGE_RCVBUF, _LESS_IN_FLIGHT, _FEWER_CLIENTS),
    Kind.UDP_SEND_BUFFER: (
        _to("sndbuf", _LARGE_BUFFER_BYTES, "bursts fit into the send buffer"),
        _down("depth", "shorter bursts"),
        _LESS_IN_FLIGHT,
        _FEWER_CLIENTS,
    ),
    Kind.GENERATOR_BOUND: (
        _APART,
        _up("swarm_processes", "another core asks"),
        _down("rate", "fewer requests are due"),
    ),
    Kind.OFFERED_RATE: (_up("rate", "more requests are due"),),
    Kind.SERVER_CPU: (
        _up("server_processes", "another core serves"),
        _SHORTER_SERVICE,
        _LESS_IN_FLIGHT,
        _FEWER_CLIENTS,
    ),
    Kind.CLIENT_CPU: (_up("swarm_processes", "another core asks"), _LESS_IN_FLIGHT, _FEWER_CLIENTS),
    Kind.SHARED_CPU: (_APART, _LESS_IN_FLIGHT, _SHORTER_SERVICE, _FEWER_CLIENTS),
    Kind.SCREEN_CPU: (_APART, _besides("a smaller terminal; space freezes the view")),
    Kind.MACHINE_CPU: (
        _LESS_IN_FLIGHT,
        _FEWER_CLIENTS,
        _down("server_processes", "fewer processes for the cores there are"),
        _down("swarm_processes", "fewer processes for the cores there are"),
    ),
    Kind.OTHER_PROGRAMS: (_QUIET, _FEWER_CLIENTS),
    Kind.SERVER_OCCUPIED: (
        _MANY_AT_A_TIME,
        _SHORTER_SERVICE,
        _down("depth", "requests of one connection wait for each other no longer"),
        _MORE_CLIENTS,
    ),
    Kind.BLOCKED_LOOP: (_YIELD, _SHORTER_SERVICE, _up("server_processes", "another loop serves")),
    Kind.ADMISSION: (_up("server_permits", "more requests in service at a time"), _FEWER_CLIENTS),
    Kind.SEMAPHORE: (_up("permits", "more requests in flight at a time"), _SHORTER_SERVICE, _FEWER_CLIENTS),
    Kind.POOL: (_up("pool", "more connections to share"), _SHORTER_SERVICE, _FEWER_CLIENTS),
    Kind.THINK_TIME: (_down("think_time", "clients ask more often"), _MORE_CLIENTS),
    Kind.SERVICE_TIME: (_MORE_CLIENTS, _up("permits", "more requests in flight at a time"), _SHORTER_SERVICE),
    Kind.SLOW_READERS: (_besides("the peers have to read faster, or ask less before they do"),),
    Kind.SOCKET_BUFFERS: (
        _LARGE_RCVBUF,
        _to("sndbuf", _LARGE_BUFFER_BYTES, "a message is written at once"),
        _down("size", "messages fit into the buffers"),
    ),
    Kind.DELAYED_ACK: (
        _to("no_delay", True, "small writes leave at once"),
        _besides("TCP_NODELAY at the server, or one write per answer"),
    ),
    Kind.RETRANSMISSIONS: (
        _LESS_IN_FLIGHT,
        _FEWER_CLIENTS,
        _besides("the network between the two loses or delays what is sent"),
    ),
    Kind.SERVER: (_MORE_CLIENTS, _besides("--pid: what a server on this machine uses")),
    Kind.TARGET: (_besides("look at the target: the time is spent there"),),
    Kind.CLIENTS: (_besides("start clients: sockscope swarm HOST:PORT"),),
    Kind.LATENCY: (_MORE_CLIENTS, _up("permits", "more requests in flight at a time")),
    Kind.SCREEN: (_besides("a faster terminal, or a smaller one"),),
    Kind.NOT_KNOWN: (),
}
"""For each kind, the best first."""


def turns(kind: Kind, experiment: Experiment, tuning: Tuning) -> list[Turn]:
    """Return the turns that are advised and possible: knobs that mean something here, and are not at an end.

    A limit that is off cannot be raised.
    """
    idle = idle_fields(experiment, tuning)
    fields = (advice for advice in ADVICE[kind] if advice.field and advice.field not in idle)
    return [turn for advice in fields if (turn := _turn(advice, tuning)).is_one]


def again(before: Iterable[Turn], kind: Kind, experiment: Experiment, tuning: Tuning) -> list[Turn]:
    """Return the same turns from another tuning on, in the same order, with those that cannot be made now."""
    idle = idle_fields(experiment, tuning)
    advised = {advice.field: advice for advice in ADVICE[kind]}
    turns = [_turn(advised[turn.field], tuning) for turn in before]
    return [replace(turn, after=turn.before) if turn.field in idle else turn for turn in turns]


def _turn(advice: Advice, tuning: Tuning) -> Turn:
    spec = FIELDS[advice.field].spec
    before = after = getattr(tuning, FIELDS[advice.field].attribute)
    if advice.to is not None:
        large = isinstance(advice.to, int) and advice.to > 1 and before >= advice.to
        after = before if large else advice.to
    elif before or not spec.zero_word or advice.way == DOWN:  # a limit that is off cannot be raised
        after = spec.step(before, advice.way, most=most_of(spec, tuning))
    if advice.way == DOWN and not after and spec.zero_word:
        after = before
    return Turn(advice.field, before, after, advice.why)


def besides(kind: Kind) -> list[str]:
    """Return what no knob does."""
    return [advice.why for advice in ADVICE[kind] if not advice.field]
