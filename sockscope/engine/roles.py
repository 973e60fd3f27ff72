"""The table of roles: what sets one apart for whoever places, starts, divides and stops them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.link import needs_relay
from sockscope.core.roles import RELAY, ROLE_NAMES, SERVER, SWARM
from sockscope.engine.relay.relay import Relay
from sockscope.engine.role import Role
from sockscope.engine.servers.server import Server
from sockscope.engine.swarm.swarm import Swarm


def _one(tuning: Tuning) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class RoleKind:
    """One kind of role.

    ``make`` returns a new one for an experiment, on the loop on which it is to run, and ``present`` tells
    whether a run of the experiment has it while the tuning is in force: some come and go.

    A role that is ``aimed`` is assigned the address of the role that started before it, any other the
    address of the experiment. One that ``listens`` accepts connections: it is drained before it is stopped
    when another takes its place. One that ``generates`` makes the requests of the run: it is paused and
    resumed, has the budget of requests, and is quiet while roles move; the exchanges that it sees are those
    of the run. Without a process of a ``vital`` role the run has failed.

    One that is ``apart`` has a process to itself where roles are not on this loop.

    ``processes`` is how many processes it has when each role has its own; what of the tuning is divided among
    them is said by its fields (:mod:`sockscope.core.config.division`).
    """

    name: str
    make: Callable[[Experiment], Role]
    present: Callable[[Experiment, Tuning], bool]
    aimed: bool = False
    listens: bool = False
    generates: bool = False
    vital: bool = False
    apart: bool = False
    processes: Callable[[Tuning], int] = _one

    @property
    def title(self) -> str:
        """What its processes are called on the screen."""
        return ROLE_NAMES[self.name].title


ROLE_KINDS: dict[str, RoleKind] = {
    kind.name: kind
    for kind in (
        RoleKind(
            SERVER,
            make=Server,
            present=lambda experiment, _: experiment.role in ("both", SERVER),
            listens=True,
            processes=attrgetter("server_processes"),
        ),
        RoleKind(
            RELAY,
            make=Relay,
            present=lambda experiment, tuning: (
                experiment.role == RELAY or (experiment.role != SERVER and needs_relay(tuning))
            ),
            aimed=True,
            listens=True,
            apart=True,
        ),
        RoleKind(
            SWARM,
            make=Swarm,
            present=lambda experiment, _: experiment.role in ("both", SWARM),
            aimed=True,
            generates=True,
            vital=True,
            processes=attrgetter("swarm_processes"),
        ),
    )
}
"""Every kind of role by its name, in the order in which they start; they stop in the opposite one."""


def kinds_in(experiment: Experiment, tuning: Tuning) -> tuple[RoleKind, ...]:
    """Return the roles that a run has while ``tuning`` is in force, in the order in which they start."""
    return tuple(kind for kind in ROLE_KINDS.values() if kind.present(experiment, tuning))


def title_of(roles: tuple[str, ...], index: int = 0) -> str:
    """Return what a process that hosts these roles is called: ``server and clients``, ``clients 2``."""
    number = f" {index + 1}" if index else ""
    return " and ".join(ROLE_KINDS[name].title for name in roles) + number
