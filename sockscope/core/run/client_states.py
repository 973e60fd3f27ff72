"""What every client of the swarm is doing at one moment, one byte a client, and what the server has of them.

Each process of the swarm samples its clients, and each of the server its connections, when a reader asks for
it. Only the two together tell whether a connection is in the backlog, or a request in service:
:func:`client_states` puts them together, by the ends of the connections. A relay in between has a connection
to the server for each of a client, and tells which belong together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING
from zlib import crc32

from sockscope.core.addresses import Address

if TYPE_CHECKING:
    from sockscope.core.run.snapshot import RoleSnapshot, Snapshot

MOST_CLIENTS = 10_000
"""Clients of which each is told apart; of more, it is told how many do what, and not what the server has."""
NOT_SEEN_S = 0.0
"""Stands for the time since which a connection may be in the backlog, where it is not for sure."""
_HOSTS_KEPT = 1_024


class Doing(IntEnum):
    """What a client is doing; docs/metrics.md defines each. The numbers are those of the bytes."""

    CONNECTING = 0
    IN_BACKLOG = 1
    WAITING = 2
    IN_FLIGHT = 3
    SERVED = 4
    THINKING = 5
    TIMED_OUT = 6
    BACKING_OFF = 7
    IDLE = 8
    GONE = 9

    @property
    def title(self) -> str:
        """The state in words."""
        return _TITLES[self]

    @property
    def about(self) -> str:
        """One sentence that says when a client is in this state."""
        return _ABOUT[self]


_TITLES = {
    Doing.CONNECTING: "connecting",
    Doing.IN_BACKLOG: "in the backlog",
    Doing.WAITING: "waiting for a permit",
    Doing.IN_FLIGHT: "in flight",
    Doing.SERVED: "being served",
    Doing.THINKING: "thinking",
    Doing.TIMED_OUT: "timed out",
    Doing.BACKING_OFF: "backing off",
    Doing.IDLE: "idle",
    Doing.GONE: "gone",
}
_ABOUT = {
    Doing.CONNECTING: "it has no connection yet on which it can ask",
    Doing.IN_BACKLOG: "the kernel has made its connection, and the server has not accepted it",
    Doing.WAITING: "it wants to ask and has no permit, or no connection of the pool",
    Doing.IN_FLIGHT: "it has asked, and the answer has not come",
    Doing.SERVED: "it has asked, and the server has read the request and not answered it yet",
    Doing.THINKING: "it pauses before its next request",
    Doing.TIMED_OUT: "its last request, or attempt to connect, was given up after the timeout",
    Doing.BACKING_OFF: "it has failed and waits before it tries again",
    Doing.IDLE: "it has nothing to ask",
    Doing.GONE: "it makes no more requests",
}


@dataclass(frozen=True, slots=True)
class ClientSample:
    """The clients of one process of the swarm at ``time_s``: their ``numbers``, ascending, and ``states``.

    Of too many there are the states alone (:meth:`bare`).
    ``places`` are the positions in these of the clients about which the server knows more: ``ends`` names
    their connections (:func:`end_of`), and ``opened_s`` tells since when those have been open that may be in
    the backlog still; :data:`NOT_SEEN_S` for those that are not for sure.
    """

    time_s: float
    numbers: Sequence[int]
    states: bytes
    places: Sequence[int] = ()
    ends: Sequence[int] = ()
    opened_s: Sequence[float] = ()

    def later(self, by_s: float) -> ClientSample:
        """Return the same with every moment later by so much."""
        opened_s = [moment_s and moment_s + by_s for moment_s in self.opened_s]
        return replace(self, time_s=self.time_s + by_s, opened_s=opened_s)

    def bare(self) -> ClientSample:
        """Return the states alone: a byte a client."""
        return ClientSample(self.time_s, (), self.states)

    def gone(self) -> ClientSample:
        """Return the same clients when their process has ended."""
        return replace(self, states=bytes([Doing.GONE]) * len(self.states), places=(), ends=(), opened_s=())


@dataclass(frozen=True, slots=True)
class ServiceSample:
    """The connections of one process of the server at ``time_s``, by their ends (:func:`end_of`).

    ``accepted`` are those over TCP that it has accepted, and ``in_service`` those with a request that it has
    read and not answered; None: nothing tells requests apart.
    """

    time_s: float
    accepted: Sequence[int] = ()
    in_service: Sequence[int] | None = ()


@dataclass(frozen=True, slots=True)
class RelayedSample:
    """The connections of a relay: of each the client's end, its own end towards the server (:func:`end_of`),
    and since when it has been connected to that; :data:`NOT_SEEN_S` over UDP."""

    client_ends: Sequence[int] = ()
    server_ends: Sequence[int] = ()
    connected_s: Sequence[float] = ()

    def later(self, by_s: float) -> RelayedSample:
        """Return the same with every moment later by so much."""
        return replace(self, connected_s=[moment_s and moment_s + by_s for moment_s in self.connected_s])


def end_of(address: Address) -> int:
    """Return a number for the client's end of a connection, by which both ends of it call it."""
    return _host_number(address[0]) | address[1]


@lru_cache(_HOSTS_KEPT)
def _host_number(host: str) -> int:
    return crc32(host.encode(errors="replace")) << 16


@dataclass(frozen=True, slots=True)
class ClientStates:
    """What the clients are doing: ``numbers``, ascending, and of each the byte in ``states``.

    Where these are of too many clients there are no numbers, and the order tells nothing.

    ``is_whole`` tells whether the server's part is known: else nobody is known to be in the backlog or being
    served, and is in flight or waiting.
    """

    numbers: Sequence[int] = ()
    states: bytes = b""
    is_whole: bool = False

    def counts(self) -> Mapping[Doing, int]:
        """Return how many clients are in each state; they add up to the clients."""
        return {doing: self.states.count(doing) for doing in Doing}


@dataclass(frozen=True, slots=True)
class Reception:
    """What a server has of its clients; None: not known, or over UDP there is no such thing.

    ``backlog`` are connections that it has not accepted yet, as the kernel counts them, ``accepted`` those
    that are open (over UDP the peers heard), and ``in_service`` those with a request that it has read and not
    answered.
    """

    backlog: int | None
    accepted: int | None
    in_service: int | None


def client_states(snapshot: Snapshot) -> ClientStates:
    """Return what the clients are doing; nothing where the reader of the snapshot did not ask for it."""
    swarm = snapshot.swarm
    if swarm is None or not swarm.client_samples:
        return ClientStates()
    if any(len(sample.numbers) < len(sample.states) for sample in swarm.client_samples):
        return ClientStates(states=b"".join(sample.states for sample in swarm.client_samples))
    known = _known_of(snapshot, swarm)
    parts = [(sample.numbers, _judged(sample, known)) for sample in swarm.client_samples]
    if len(parts) == 1:
        return ClientStates(*parts[0], is_whole=known is not None)
    # Each process has numbered its own; one number carries both, so that they are sorted as numbers are.
    pairs = sorted(
        number << 8 | state
        for numbers, states in parts
        for number, state in zip(numbers, states, strict=True)
    )
    return ClientStates(
        array("I", [pair >> 8 for pair in pairs]), bytes([pair & 0xFF for pair in pairs]), known is not None
    )


def reception(snapshot: Snapshot) -> Reception:
    """Return what the server has of the clients."""
    server, swarm = snapshot.server, snapshot.swarm
    over_tcp = (server or snapshot.main).transport == "tcp"
    if server is None:
        return Reception(swarm.backlog if swarm is not None and over_tcp else None, None, None)
    known = _Known.of(server.service_samples)
    in_service = len(known.in_service) if known is not None and known.in_service is not None else None
    return Reception(server.backlog if over_tcp else None, server.connections_open, in_service)


def _known_of(snapshot: Snapshot, swarm: RoleSnapshot) -> _Known | None:
    """Return what the server knows of the clients, if they are connected to it, or to a relay before it."""
    server, relay = snapshot.server, snapshot.relay
    known = _Known.of(server.service_samples) if server is not None else None
    if server is None or known is None or server.address == swarm.address:
        return known
    if relay is None or relay.address != swarm.address or not relay.relayed_samples:
        return None
    return known.through(relay.relayed_samples)


@dataclass(frozen=True, slots=True)
class _Known:
    """What all processes of the server know together, each since ``time_s`` at the latest."""

    time_s: float
    accepted: frozenset[int] = field(repr=False)
    in_service: frozenset[int] | None = field(repr=False)
    unaccepted: frozenset[int] | None = field(default=None, repr=False)
    """Those that a relay has connected and the server has not accepted; None: all that are not accepted."""

    @classmethod
    def of(cls, samples: Sequence[ServiceSample]) -> _Known | None:
        if not samples:
            return None
        served = [sample.in_service for sample in samples]
        return cls(
            min(sample.time_s for sample in samples),
            _together(sample.accepted for sample in samples),
            None if None in served else _together(one for one in served if one is not None),
        )

    def through(self, samples: Sequence[RelayedSample]) -> _Known:
        """Return the same by the ends of those clients that are connected through a relay."""
        accepted, in_service, unaccepted = set(), set(), set()
        for sample in samples:
            columns = sample.client_ends, sample.server_ends, sample.connected_s
            for client, server, connected_s in zip(*columns, strict=True):
                if server in self.accepted:
                    accepted.add(client)
                elif 0 < connected_s < self.time_s:
                    unaccepted.add(client)
                if self.in_service is not None and server in self.in_service:
                    in_service.add(client)
        return _Known(
            self.time_s,
            frozenset(accepted),
            None if self.in_service is None else frozenset(in_service),
            frozenset(unaccepted),
        )


def _together(ends: Iterable[Sequence[int]]) -> frozenset[int]:
    return frozenset().union(*ends)


def _judged(sample: ClientSample, known: _Known | None) -> bytes:
    """Return the states of a sample, with what the server knows."""
    if known is None:
        return sample.states
    states = bytearray(sample.states)
    accepted, in_service = known.accepted, known.in_service or frozenset()
    left = known.unaccepted
    for place, end, opened_s in zip(sample.places, sample.ends, sample.opened_s, strict=True):
        # What is younger than what the server has told may be accepted by now.
        if 0 < opened_s < known.time_s and (end not in accepted if left is None else end in left):
            states[place] = Doing.IN_BACKLOG
        elif end in in_service and states[place] == Doing.IN_FLIGHT:
            states[place] = Doing.SERVED
    return bytes(states)
