"""Looks at the clients of a swarm and tells what each is doing, when a reader asks for it.

Everything follows from what clients, links and the pool know anyway. To go through thousands of clients,
which lie all over the memory, takes a loop tens of milliseconds: a large swarm is looked at in turns, a part
for each reading.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, islice
from typing import NamedTuple

from sockscope.core.addresses import UNIX, Address
from sockscope.core.connection import ConnectionRecord
from sockscope.core.run.client_states import NOT_SEEN_S, ClientSample, Doing, end_of
from sockscope.engine.swarm.client import Client, ClientState
from sockscope.engine.swarm.pool import Pool

LOOKED_AT_ONCE = 1_024
"""Clients that are looked at for one reading."""


def _mask(*states: Doing) -> bytes:
    return bytes(int(state in states) for state in range(256))


_ASKS = _mask(Doing.IN_FLIGHT, Doing.WAITING, Doing.IDLE)
"""Whose connection may be in the backlog, or served."""
_UNCERTAIN = _mask(Doing.CONNECTING, Doing.BACKING_OFF)
"""What the state of a client alone does not tell."""


class _Part(NamedTuple):
    """What was seen of clients that were looked at together: as in :class:`ClientSample`."""

    places: array[int]
    ends: array[int]
    opened_s: array[float]


class ClientLooks:
    """The clients as they were when they were looked at last."""

    def __init__(self) -> None:
        self._numbers = array("I")
        self._states = bytearray()
        self._parts: dict[int, _Part] = {}
        self._next = 0

    def sample(
        self, clients: Mapping[int, Client], target: Address, now_s: float, *, has_budget: bool
    ) -> ClientSample:
        """Look at the next of these clients of a server at ``target``; return what all of them are doing.

        ``clients`` are there by their numbers. Without a budget who has no connection has nothing to ask.
        """
        self._take_over(clients)
        count = len(self._states)
        start = self._next if self._next < count else 0
        self._next = start + LOOKED_AT_ONCE
        looked = list(islice(clients.values(), start, self._next))
        states = _states_of(looked, has_budget=has_budget)
        self._states[start : start + len(looked)] = states
        self._parts[start] = _asking(looked, states, target, start)
        parts = [part for at, part in self._parts.items() if at < count]
        return ClientSample(
            now_s,
            self._numbers,
            bytes(self._states),
            *(sum((column for column in columns[1:]), columns[0]) for columns in zip(*parts, strict=True)),
        )

    def _take_over(self, clients: Mapping[int, Client]) -> None:
        """Have a state for each client, and for no other; who is new is connecting."""
        numbers = array("I", clients)
        if numbers != self._numbers:
            before = dict(zip(self._numbers, self._states, strict=True))
            self._states = bytearray([before.get(number, Doing.CONNECTING) for number in numbers])
            self._numbers = numbers
            self._parts.clear()


def sample_of_pool(
    connections: Iterable[Client], pool: Pool, target: Address, now_s: float, index: int, of: int
) -> ClientSample:
    """Return what the clients of a pool are doing: number ``index`` of ``of`` processes.

    They have no numbers of their own: those with a connection come first, then who waits, then who thinks.
    """
    held = [connection for connection in connections if pool.has_turn(connection.pacer)]
    having = _states_of(held, has_budget=True)
    states = having + bytes([Doing.WAITING]) * pool.waiting + bytes([Doing.THINKING]) * pool.thinking
    numbers = array("I", range(index + 1, index + 1 + of * len(states), of))
    return ClientSample(now_s, numbers, bytes(states), *_asking(held, having, target, 0))


def _states_of(clients: Sequence[Client], *, has_budget: bool) -> bytearray:
    states = bytearray([client.state.doing for client in clients])
    for place in compress(range(len(clients)), states.translate(_UNCERTAIN)):
        states[place] = _doing(clients[place], has_budget=has_budget)
    record = next((client.link.record for client in clients if client.link.record is not None), None)
    if record is not None and record.transport == "udp":
        # A client goes on at once when a request has timed out, which is seen while it may be late.
        for place, client in enumerate(clients):
            if client.link.undecided:
                states[place] = Doing.TIMED_OUT
    return states


def _doing(client: Client, *, has_budget: bool) -> Doing:
    if client.retiring and client.state is not ClientState.CONNECTING:
        return Doing.GONE
    if client.state is ClientState.BACKING_OFF:
        return Doing.TIMED_OUT if client.timed_out else Doing.BACKING_OFF
    if client.state is ClientState.IDLE and not has_budget:
        return Doing.IDLE
    return client.state.doing


def _asking(clients: Sequence[Client], states: bytearray, target: Address, start: int) -> _Part:
    """Return of which clients the server knows more: who asks, or has had no answer on its connection."""
    found: list[tuple[int, ConnectionRecord, float]] = []
    for place in compress(range(len(clients)), states.translate(_ASKS)):
        record = clients[place].link.record
        if record is None or record.local_address[0] in ("", UNIX):
            continue  # not connected, or a client's end of a Unix socket that has no name
        opened_s = NOT_SEEN_S
        heard = record.exchanges or record.odd_frames_in
        if not (heard or record.tls) and record.transport == "tcp" and record.remote_address == target:
            opened_s = record.opened_s
        if opened_s or states[place] == Doing.IN_FLIGHT:
            found.append((start + place, record, opened_s))
    return _Part(
        array("I", [place for place, _, _ in found]),
        array("Q", [record.client_end or _name(record) for _, record, _ in found]),
        array("d", [opened_s for _, _, opened_s in found]),
    )


def _name(record: ConnectionRecord) -> int:
    record.client_end = end_of(record.local_address)
    return record.client_end
