"""The roles of a run, and how people call them: what they do is in :mod:`sockscope.engine.roles`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SERVER = "server"
RELAY = "relay"
SWARM = "swarm"


@dataclass(frozen=True, slots=True)
class RoleName:
    """The words for one role.

    ``name`` is what it is called in snapshots, JSON and messages, ``title`` what its processes are called on
    the screen. ``prefix`` begins the number of each of its connections (``s12``), and ``side`` names whose
    end of the connections is meant.
    """

    name: str
    title: str
    prefix: str
    side: str


ROLE_NAMES: Mapping[str, RoleName] = {
    role.name: role
    for role in (
        RoleName(SERVER, "server", "s", "server's side"),
        RoleName(RELAY, "relay", "r", "relay's side"),
        RoleName(SWARM, "clients", "c", "clients' side"),
    )
}
"""Every role by its name, in the order in which they start: whoever is connected to comes first."""


def numbered(role: str, conn_id: int) -> str:
    """Return how a connection of a role is called on the screen: ``s12``, ``c12``."""
    return f"{ROLE_NAMES[role].prefix}{conn_id}"
