"""Both roles on the loop of the engine: the dashboard's default, and what makes one loop's limits visible."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core.experiment import Experiment
from sockscope.engine.clients.swarm import Swarm
from sockscope.engine.role import Role, ServerRole
from sockscope.engine.servers.role import Server


@dataclass(frozen=True, slots=True)
class Placed:
    """The roles of a run; None is a role that runs elsewhere or not at all."""

    server: ServerRole | None
    swarm: Role | None


def place_in_loop(experiment: Experiment) -> Placed:
    """Make the roles of ``experiment`` on the running loop."""
    return Placed(
        Server(experiment) if experiment.role != "swarm" else None,
        Swarm(experiment) if experiment.role != "server" else None,
    )
