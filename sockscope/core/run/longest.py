"""Rules of the verdict for what takes longest while nothing is used up."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.run.evidence import HALF, Finding, Seen

PARTS = 4
"""From so many parts of a message on, buffers are small for it."""


def server_alone(seen: Seen) -> Finding | None:
    """A server without clients of ours waits for others."""
    if seen.window.swarm is not None:
        return None
    main = seen.window.main
    if seen.over:
        there = max(main.connections_open, main.totals.connections_opened)
        waited = (
            f"waited for requests of {units.counted(there, 'connection')}" if there else "had no connection"
        )
    elif main.connections_open:
        waited = f"waits for requests of {units.counted(main.connections_open, 'connection')}"
    else:
        waited = "has no connection"
    return Finding("clients", f"the server {waited}")


def think(seen: Seen) -> Finding | None:
    """Clients do not ask for most of the time."""
    cycle, swarm = seen.cycle, seen.window.swarm
    thought = f"clients think {units.format_duration(cycle.think_s)}"
    if (
        swarm is not None
        and cycle.service_s is None
        and cycle.think_s
        and swarm.in_flight < HALF * swarm.clients
    ):
        return Finding("think time", f"{thought}; nobody has asked in this time")
    if not cycle.mostly_thinks:
        return None
    return Finding(
        "think time", f"{thought} and wait {units.format_duration(cycle.wait_s + (cycle.service_s or 0.0))}"
    )


def buffers(seen: Seen) -> Finding | None:
    """Messages are much larger than the socket buffers that were asked for, and go through them in parts."""
    swarm, tuning = seen.window.swarm, seen.window.tuning
    if swarm is None or tuning.transport != "tcp" or not seen.cycle.mostly_queues:
        return None
    asked = [
        (option.effective, option.name)
        for role in seen.window.roles.values()
        for option in role.socket_options
        if option.name in ("SO_RCVBUF", "SO_SNDBUF") and option.requested and option.effective
    ]
    size_bytes, name = min(asked, default=(0, ""))
    reads = swarm.totals.reads / max(swarm.totals.responses, 1)
    if not size_bytes or tuning.request_bytes < PARTS * size_bytes or reads < PARTS:
        return None
    return Finding(
        "buffers",
        f"each answer takes {reads:,.0f} reads: {units.format_bytes(tuning.request_bytes)} go through "
        f"a buffer of {units.format_bytes(size_bytes)} ({name}) that is filled and emptied in turn",
    )
