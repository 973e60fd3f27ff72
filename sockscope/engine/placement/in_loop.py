"""A role on the running loop: the engine's own, or that of a child process."""

from __future__ import annotations

from sockscope.core.config.experiment import Experiment
from sockscope.engine.role import Role
from sockscope.engine.servers.server import Server
from sockscope.engine.swarm.swarm import Swarm


def make_role(name: str, experiment: Experiment) -> Role:
    """Return the ``server`` or the ``swarm`` role of ``experiment``."""
    return Server(experiment) if name == "server" else Swarm(experiment)
