"""Which fields only one of the two roles knows."""

from __future__ import annotations

SERVER_FIELDS = frozenset(
    {"service_time", "bind", "port", "backlog", "max_connections", "idle_timeout", "server", "work",
     "server_permits", "read_bytes", "server_processes", "reuse_address", "reuse_port", "handler", "protocol"}
)  # fmt: skip
"""Keys of the fields that only a server has; a swarm alone does not know them."""
CLIENT_FIELDS = frozenset(
    {"clients", "permits", "think_time", "lifetime", "timeout", "connect_timeout", "requests", "seed",
     "target", "allow_remote", "client", "depth", "batch", "pool", "swarm_processes", "request", "expect",
     "until", "pid"}
)  # fmt: skip
"""Keys of the fields that only clients have; a server alone does not know them."""


def unknown_fields(role: str) -> frozenset[str]:
    """Return the keys of the fields that a run of ``role`` (``both``, ``server``, ``swarm``) lacks."""
    return {"server": CLIENT_FIELDS, "swarm": SERVER_FIELDS}.get(role, frozenset())
