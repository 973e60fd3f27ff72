"""Whether there are ephemeral ports enough for the connections of a race."""

from __future__ import annotations

from sockscope.core.results.contest import Contest, Contestant
from sockscope.engine.limits import ephemeral_range
from sockscope.errors import ResourceLimitError

SOURCES = {"ipv4": 254, "ipv6": 1}
"""Loopback source addresses that clients go over to, one after the other, when ports are used up."""


def check_ports(contest: Contest) -> None:
    """Raise ResourceLimitError when a contestant's batches make more connections than there are ports.

    A port stays taken for a minute after its connection (TIME_WAIT); each server has all ports for itself. On
    systems that do not tell their range, and for rates, whose connections cannot be told in advance, nothing
    is checked; a connection that finds no port is counted as an error.
    """
    if (port_range := ephemeral_range()) is None:
        return
    ports = len(port_range)
    for contestant in contest.contestants:
        needed = connections_needed(contest, contestant)
        possible = ports * SOURCES.get(contestant.experiment.tuning.family, 1)
        if needed > possible:
            raise ResourceLimitError(
                "ports",
                possible,
                f"{contestant.name} makes {needed:,} connections in {contest.rounds:,} rounds, but there are "
                f"{possible:,} ephemeral ports; use fewer requests or rounds, a longer --lifetime, or IPv4",
            )


def connections_needed(contest: Contest, contestant: Contestant) -> int:
    """Return how many connections the batches of a contestant make at the least."""
    tuning = contestant.experiment.tuning
    if not contest.requests or tuning.transport == "udp" or tuning.family == "unix":
        return 0
    if not tuning.lifetime:
        return tuning.clients
    return contest.rounds * -(-contest.requests // tuning.lifetime)
