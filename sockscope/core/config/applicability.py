"""Which fields mean nothing to a run, and why: those of a role that is not here, and those of a server model
where the user's own code serves."""

from __future__ import annotations

from collections.abc import Mapping

from sockscope.core.config.experiment import Experiment

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
MODEL_FIELDS = frozenset({"server", "service_time", "work", "server_permits", "read_bytes"})
"""Keys of the fields that only a server model has; the user's own code does not know them."""


def unknown_fields(role: str) -> frozenset[str]:
    """Return the keys of the fields that a run of ``role`` (``both``, ``server``, ``swarm``) lacks."""
    return {"server": CLIENT_FIELDS, "swarm": SERVER_FIELDS}.get(role, frozenset())


def without_effect(experiment: Experiment) -> Mapping[str, str]:
    """Return, by key, the fields that mean nothing to this run, each with the reason in words."""
    why = {"server": "there are no clients here", "swarm": "the server is elsewhere"}
    found = dict.fromkeys(unknown_fields(experiment.role), why.get(experiment.role, ""))
    if experiment.own_server:
        found |= dict.fromkeys(MODEL_FIELDS, f"{experiment.own_server} serves, not a model")
    return found
