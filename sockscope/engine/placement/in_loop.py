"""A role on the running loop: the engine's own, or that of a child process."""

from __future__ import annotations

from sockscope.core.experiment import Experiment
from sockscope.engine.clients.swarm import Swarm
from sockscope.engine.role import Role
from sockscope.engine.servers.role import Server


def make_role(name: str, experiment: Experiment) -> Role:
    """Return the ``server`` or the ``client`` role of ``experiment``."""
    return Server(experiment) if name == "server" else Swarm(experiment)
