"""Where datagrams have gone: sent = received + lost, by cause, in each direction.

Nothing here is estimated: what was received and lost is counted where it happens, and the last four figures
are what is left, so the sum holds at any moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sockscope.core.run.relay import Passed
from sockscope.core.run.snapshot import RoleSnapshot, Snapshot

LEAST_UNREAD_BYTES = 512
"""Least memory that a datagram takes in a receive buffer (``truesize``: its octets and its ``sk_buff``)."""
_SKEW = 2
"""How many times faster than on average datagrams may come between the moments at which ends are asked."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The datagrams of one direction; None is not known: where the other end is not of this run, or the
    kernel does not tell (``receive_buffer``, but on Linux).

    ``sent`` is what the sender has handed to the kernel. Of that ``received`` were read by the other end, and
    ``late`` were, too, but answer requests that had timed out. ``send_buffer``: the kernel did not take them
    (EAGAIN, ENOBUFS). ``receive_buffer``: they came to a full one. ``unread``: they were in one when its
    socket was given up. ``device_queue``: the queue of the network device dropped them, which the sender is
    not told (``SndbufErrors`` of the machine beyond what senders were told). ``nobody_listened``: their
    socket had been closed when they came, or there was none (``NoPorts`` of the machine, as far as requests
    were abandoned or refused). Where a relay is between the two ends, its sockets count as well, ``impaired``
    were lost by a fault, ``relay_full`` found no room in the relay, and ``doubled`` is below 0: so many were
    sent twice by a fault. ``on_the_way``: they may be in a receive buffer, or were counted by one end
    only as yet; it is below 0 where the receiver was asked later than the sender, and has read what was sent
    meanwhile. ``not_explained`` is the rest: lost in the network; below 0 it is
    datagrams of others that came to the receiver.
    """

    sent: int | None
    received: int | None
    late: int | None
    send_buffer: int | None
    receive_buffer: int | None
    unread: int | None
    device_queue: int | None = None
    nobody_listened: int | None = None
    on_the_way: int | None = None
    not_explained: int | None = None
    impaired: int | None = None
    relay_full: int | None = None
    doubled: int | None = None


def flows(snapshot: Snapshot) -> tuple[Flow | None, Flow | None]:
    """Return the datagrams to the server and those to the clients; None where there are none.

    Over Unix sockets nothing is dropped, and nothing is told.
    """
    server, swarm, tuning = snapshot.server, snapshot.swarm, snapshot.tuning
    if tuning.transport != "udp" or tuning.family == "unix":
        return None, None
    under_way = (swarm.in_flight + swarm.undecided) if swarm is not None else 0
    skew_s = abs(server.time_s - swarm.time_s) if server is not None and swarm is not None else 0.0

    kernel = snapshot.resources.kernel_udp
    no_ports = kernel.no_ports if kernel is not None else 0
    abandoned = min(swarm.abandoned, no_ports) if swarm is not None else 0
    refused = no_ports if any(one.totals.connections_refused for one in snapshot.roles.values()) else 0

    told = sum(role.totals.datagrams_unsent for role in snapshot.roles.values())
    # Of those that went out with one call the kernel counts one.
    queue_dropped = max(0, kernel.sndbuf_errors - told) * tuning.batch if kernel is not None else 0

    relay = snapshot.relay
    if relay is not None and server is not None and swarm is not None:
        skew_s += max(abs(relay.time_s - server.time_s), abs(relay.time_s - swarm.time_s))
    up, down = (relay.relay.up, relay.relay.down) if relay is not None and relay.relay else (None, None)

    def flow(
        sender: RoleSnapshot | None,
        receiver: RoleSnapshot | None,
        passed: Passed | None,
        queued: int,
        unheard: int,
    ) -> Flow:
        counted = _relayed(_counted(sender, receiver), passed)
        if kernel is None and not counted.receive_buffer:
            # The kernel tells of no drops, of a socket either.
            counted = replace(counted, receive_buffer=None)
        if sender is None or receiver is None:
            return counted
        most_since = _most_since(sender, skew_s, snapshot.measured_s)
        unread_bytes = receiver.unread_bytes + (relay.unread_bytes if relay is not None else 0)
        most = unread_bytes // LEAST_UNREAD_BYTES + under_way + most_since
        inside = passed.inside if passed is not None else 0
        return _with_rest(counted, queued, unheard, inside, least=-most_since, most=most)

    to_server = flow(swarm, server, up, queue_dropped, refused)
    left = queue_dropped - (to_server.device_queue or 0)
    return to_server, flow(server, swarm, down, left, abandoned)


def _counted(sender: RoleSnapshot | None, receiver: RoleSnapshot | None) -> Flow:
    sent = sender.totals if sender is not None else None
    came = receiver.totals if receiver is not None else None
    return Flow(
        sent=sent.datagrams_sent + sent.datagrams_unsent if sent else None,
        received=came.datagrams_received - came.datagrams_late if came else None,
        late=came.datagrams_late if came else None,
        send_buffer=sent.datagrams_unsent if sent else None,
        receive_buffer=came.datagrams_dropped if came else None,
        unread=came.datagrams_unread if came else None,
    )


def _most_since(sender: RoleSnapshot, skew_s: float, measured_s: float) -> int:
    """Return how many datagrams may have been sent between the moments at which the two ends were asked."""
    per_s = sender.totals.datagrams_sent / measured_s if measured_s > 0 else 0.0
    return math.ceil(_SKEW * per_s * skew_s)


def _relayed(flow: Flow, passed: Passed | None) -> Flow:
    """Add what became of them in a relay between the two ends, if there has been one."""
    if passed is None:
        return flow
    return replace(
        flow,
        send_buffer=(flow.send_buffer or 0) + passed.unsent,
        receive_buffer=(flow.receive_buffer or 0) + passed.dropped,
        unread=(flow.unread or 0) + passed.unread,
        impaired=passed.impaired.lost,
        relay_full=passed.declined + passed.overflowed + passed.undelivered,
        doubled=-passed.impaired.duplicated,
    )


def _with_rest(flow: Flow, queued: int, unheard: int, inside: int, least: int, most: int) -> Flow:
    """Add what is left of the sent ones: each cause as far as it can be, and what is not explained.

    ``inside`` are in a relay, beside those that are on their way to or from it.
    """
    parts = (
        flow.received, flow.late, flow.send_buffer, flow.receive_buffer, flow.unread,
        flow.impaired, flow.relay_full, flow.doubled,
    )  # fmt: skip
    rest = (flow.sent or 0) - sum(part or 0 for part in parts) - inside
    device_queue = max(0, min(rest, queued))
    rest -= device_queue
    nobody_listened = max(0, min(rest, unheard))
    rest -= nobody_listened
    on_the_way = min(max(rest, least), most)
    return replace(
        flow,
        device_queue=device_queue,
        nobody_listened=nobody_listened,
        on_the_way=on_the_way + inside,
        not_explained=rest - on_the_way,
    )
