"""What this machine and process allow; checked before a run starts, not found out in the middle of it."""

from __future__ import annotations

import os
import resource
from math import ceil, sqrt
from pathlib import Path

from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.link import needs_relay
from sockscope.core.roles import RELAY, SERVER
from sockscope.core.units import counted
from sockscope.errors import ResourceLimitError

LOOP_DESCRIPTORS = 16
"""What an event loop opens for itself, with some to spare."""
RESERVED_DESCRIPTORS = 64
"""Left for the program itself: terminal, files, the loop, connections in the backlog."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one; return the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        except (OSError, ValueError):
            # Some systems refuse a soft limit as high as the hard one they report; the soft one stays.
            return soft
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def descriptor_limit() -> int:
    """Return how many descriptors this process may open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def open_descriptors() -> int | None:
    """Return how many descriptors are open, cheaply; None where that cannot be told.

    Since Linux 6.2 the size of ``/proc/self/fd`` is that number; before, and on other systems with
    ``/dev/fd``, the entries are counted.
    """
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            size = os.stat(folder).st_size if folder.startswith("/proc") else 0
            return size or len(os.listdir(folder))
        except OSError:
            continue
    return None


def descriptors_needed(role: str, tuning: Tuning) -> int:
    """Return how many sockets the experiment opens in that process which opens the most.

    Where both roles share a process, each TCP connection has two ends there and each UDP client one. A relay
    has as many more.
    """
    if role in (SERVER, RELAY):
        return RESERVED_DESCRIPTORS
    ends = 2 if tuning.transport == "tcp" else 1
    relayed = tuning.connections * ends if needs_relay(tuning) else 0
    if role == "both" and tuning.layout in ("loop", "child"):
        together = tuning.connections * ends
        most = together + relayed if tuning.layout == "loop" else max(together, relayed)
        return most + RESERVED_DESCRIPTORS
    most = -(-tuning.connections // tuning.swarm_processes)
    if role == "both" and tuning.transport == "tcp":
        most = max(most, _most_accepted(tuning.connections, tuning.server_processes))
    # A relay is where the clients are, or in a process of its own.
    with_clients = tuning.layout in ("loop", "server")
    return (most + relayed if with_clients else max(most, relayed)) + RESERVED_DESCRIPTORS


def _most_accepted(clients: int, servers: int) -> int:
    """Return how many of the connections one of several servers may get.

    SO_REUSEPORT spreads them by a hash: evenly, but for chance, of which five standard deviations are
    allowed for.
    """
    if servers == 1:
        return clients
    share = clients / servers
    return min(clients, ceil(share + 5 * sqrt(share)))


def check_room_for_loop() -> None:
    """Raise ResourceLimitError when the descriptor limit does not even allow an event loop."""
    limit = descriptor_limit()
    if limit - (open_descriptors() or 0) < LOOP_DESCRIPTORS:
        raise ResourceLimitError(
            "descriptors",
            limit,
            f"this process may open {limit:,} descriptors, too few for an event loop; "
            f"raise the limit first: ulimit -n 1024",
        )


def check_descriptors(experiment: Experiment, tuning: Tuning) -> None:
    """Raise ResourceLimitError when the descriptor limit does not allow so many clients.

    The limits of other machines are looked at when these are reached (placement/cluster/preflight.py).
    """
    if tuning.layout == CLUSTER:
        return
    limit = descriptor_limit()
    needed = descriptors_needed(experiment.role, tuning)
    if needed <= limit:
        return
    ends = descriptors_needed(experiment.role, tuning) - RESERVED_DESCRIPTORS
    whose = "this" if tuning.layout == "loop" else "a"
    possible = max(0, (limit - RESERVED_DESCRIPTORS) * tuning.connections // max(1, ends))
    who = "pooled connection" if tuning.pool else "client"
    need = "needs" if tuning.connections == 1 else "need"
    fewer = f"use at most {counted(possible, who)}, or " if possible else ""
    raise ResourceLimitError(
        "descriptors",
        limit,
        f"{counted(tuning.connections, who)} {need} {needed:,} descriptors, but {whose} process may open "
        f"{limit:,}; {fewer}raise the limit first: ulimit -n {needed}",
    )


def ephemeral_range() -> range | None:
    """Return the ephemeral ports of a source address, or None where that cannot be read."""
    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return None
    return range(low, high + 1) or None


def read_number(path: str) -> int | None:
    """Return the whole number in a file of ``/proc/sys``, or None where there is no such file."""
    try:
        return int(Path(path).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
