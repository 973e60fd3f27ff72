"""Looks at all clients of a swarm and tells what each is doing, when a reader asks for it.

Nothing is kept for it: everything follows from what clients, links and the pool know anyway. Thousands of
clients are looked at in one turn of the loop, so the steps that concern all of them are short.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable
from itertools import compress

from sockscope.core.addresses import Address, is_unix
from sockscope.core.connection import ConnectionRecord
from sockscope.core.run.client_states import NOT_SEEN, ClientSample, Doing, end_of
from sockscope.engine.swarm.client import Client, ClientState
from sockscope.engine.swarm.pool import Pool


def _mask(*states: Doing) -> bytes:
    return bytes(int(state in states) for state in range(256))


_ASKS = _mask(Doing.IN_FLIGHT, Doing.WAITING, Doing.IDLE)
"""Whose connection may be in the backlog, or served."""
_UNCERTAIN = _mask(Doing.CONNECTING, Doing.BACKING_OFF)
"""What the state of a client alone does not tell."""


def sample_of(
    clients: Collection[Client], target: Address, now_s: float, *, has_budget: bool = True
) -> ClientSample:
    """Return what these clients of a server at ``target`` are doing.

    Without a budget, who has no connection has nothing to ask any more.
    """
    states = bytearray([client.state.doing for client in clients])
    everybody = range(len(states))
    uncertain = states.translate(_UNCERTAIN)
    for place, client in zip(compress(everybody, uncertain), compress(clients, uncertain), strict=True):
        states[place] = _doing(client, has_budget=has_budget)
    asks = states.translate(_ASKS)
    asking = [
        (place, record)
        for place, client in zip(compress(everybody, asks), compress(clients, asks), strict=True)
        if (record := client.link.record) is not None
    ]
    _note_timeouts(states, clients, asking)
    if is_unix(target[0]):
        asking = []  # the clients' ends have no names there
    return ClientSample(
        now_s,
        array("I", [client.number for client in clients]),
        bytes(states),
        array("I", [place for place, _ in asking]),
        array("Q", [record.client_end or _name(record) for _, record in asking]),
        array("d", [_unheard_s(record, target, now_s) for _, record in asking]),
    )


def sample_of_pool(
    connections: Iterable[Client], pool: Pool, target: Address, now_s: float, index: int, of: int
) -> ClientSample:
    """Return what the clients of a pool are doing: number ``index`` of ``of`` processes.

    They have no numbers of their own: those with a connection come first, then who waits, then who thinks.
    """
    held = [connection for connection in connections if pool.has_turn(connection.pacer)]
    sample = sample_of(held, target, now_s)
    states = sample.states + bytes([Doing.WAITING]) * pool.waiting + bytes([Doing.THINKING]) * pool.thinking
    numbers = array("I", range(index + 1, index + 1 + of * len(states), of))
    return ClientSample(now_s, numbers, states, sample.places, sample.ends, sample.ages_s)


def _doing(client: Client, *, has_budget: bool) -> Doing:
    if client.retiring and client.state is not ClientState.CONNECTING:
        return Doing.GONE
    if client.state is ClientState.BACKING_OFF:
        return Doing.TIMED_OUT if client.timed_out else Doing.BACKING_OFF
    if client.state is ClientState.IDLE and not has_budget:
        return Doing.IDLE
    return client.state.doing


def _note_timeouts(
    states: bytearray, clients: Iterable[Client], asking: list[tuple[int, ConnectionRecord]]
) -> None:
    """Over UDP a client goes on at once when a request has timed out, which is seen while it may be late."""
    if asking and asking[0][1].transport == "udp":
        for place, client in enumerate(clients):
            if client.link.undecided:
                states[place] = Doing.TIMED_OUT


def _name(record: ConnectionRecord) -> int:
    record.client_end = end_of(record.local_address)
    return record.client_end


def _unheard_s(record: ConnectionRecord, target: Address, now_s: float) -> float:
    """Return how long a connection has been open that may be in the backlog, else :data:`NOT_SEEN`."""
    if record.exchanges or record.odd_frames_in or record.transport != "tcp" or record.tls:
        return NOT_SEEN  # the server has answered on it, or has shaken hands
    return now_s - record.opened_s if record.remote_address == target else NOT_SEEN
