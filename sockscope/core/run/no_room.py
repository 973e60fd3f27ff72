"""Rules of the verdict for what the kernel has no room for: ports, and what a peer is to read."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.run.evidence import (
    FAILING_RATIO,
    HALF,
    PORT_RANGE,
    RECORDER,
    SOCKSTAT,
    Finding,
    Seen,
)
from sockscope.core.run.kinds import Kind
from sockscope.core.run.longest import buffers

TIME_WAIT_S = 60
"""How long Linux keeps a port of a connection that its end has closed first (TCP_TIMEWAIT_LEN)."""


def out_of_ports(seen: Seen) -> Finding | None:
    """Connections cannot be made since no ephemeral port is left."""
    swarm, used = seen.window.swarm, seen.window.resources
    if swarm is None or not swarm.totals.connects_without_port:
        return None
    without = swarm.totals.connects_without_port
    lacking = without / (without + swarm.totals.connections_opened)
    if not seen.at_least(
        "connects that found no port", lacking, "ratio", FAILING_RATIO, "connect(2), EADDRNOTAVAIL"
    ):
        return None
    seen.note("connections in TIME_WAIT", used.time_wait, "count", SOCKSTAT)
    seen.note("ephemeral ports", used.ephemeral_ports, "count", PORT_RANGE)
    told = f"no ephemeral port is left for {units.format_ratio(lacking)} of the connections"
    if used.time_wait is not None and used.ephemeral_ports is not None:
        told += (
            f": of {used.ephemeral_ports:,} for a server, connections in TIME_WAIT hold {used.time_wait:,}, "
            f"each for {TIME_WAIT_S} s"
        )
    return Finding(Kind.EPHEMERAL_PORTS, f"{told}; a longer --lifetime takes fewer of them")


def send_buffer(seen: Seen) -> Finding | None:
    """Datagrams do not get into the send buffer."""
    totals = seen.window.main.totals
    unsent = totals.datagrams_unsent
    if seen.window.tuning.transport != "udp" or not unsent:
        return None
    share = unsent / (unsent + totals.datagrams_sent)
    if not seen.at_least(
        "datagrams that were not taken", share, "ratio", FAILING_RATIO, "sendto(2), EAGAIN, ENOBUFS"
    ):
        return None
    whose = "clients" if seen.window.swarm is not None else "server"
    return Finding(
        Kind.UDP_SEND_BUFFER,
        f"the kernel did not take {units.format_ratio(share)} of the datagrams of the {whose}: "
        "its send buffer was full, so they are sent faster than the network takes them",
    )


def slow_readers(seen: Seen) -> Finding | None:
    """Most connections of the server stand still because their peers do not read."""
    server = seen.window.server
    if server is None or not server.unwritable_s or seen.window.measured_s <= 0:
        return None
    still = server.unwritable_s / server.connected_s if server.connected_s else 0.0
    source = f"{RECORDER}, high-water mark of write buffers"
    if not seen.at_least("time for which connections stand still", still, "ratio", HALF, source):
        return None
    if buffers(seen) is not None:
        return None  # they are read, a small buffer at a time
    count = server.unwritable_s / seen.window.measured_s
    there = server.connected_s / seen.window.measured_s
    rate = units.format_count(seen.figures.requests_per_s)
    return Finding(
        Kind.SLOW_READERS,
        f"{count:,.0f} of {there:,.0f} connections stand still on average, since their peers do not read "
        f"what is written to them; {rate} answers per second",
    )
