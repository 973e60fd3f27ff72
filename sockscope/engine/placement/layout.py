"""Which processes there are, who plays in them, and how the clients are divided among several."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core.config.division import busy_processes, divided
from sockscope.core.config.experiment import Experiment, Tuning

ROLES = ("server", "swarm")
_TITLES = {"server": "server", "swarm": "clients"}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a role is played: on this loop (``here``), in the child that both share, or in its own ones."""

    kind: str
    processes: int = 1


HERE = Site("here")


def roles_of(experiment: Experiment) -> tuple[str, ...]:
    """Return the names of the roles that run at all."""
    absent = {"server": "swarm", "swarm": "server"}.get(experiment.role)
    return tuple(name for name in ROLES if name != absent)


def site_of(name: str, tuning: Tuning) -> Site:
    """Return where a role is to be played."""
    match tuning.layout:
        case "child":
            return Site("shared")
        case "server":
            return Site("own") if name == "server" else HERE
        case "apart":
            return Site("own", tuning.server_processes if name == "server" else tuning.swarm_processes)
        case _:
            return HERE


def title_of(names: tuple[str, ...], index: int = 0) -> str:
    """Return what a process that plays these roles is called: ``server and clients``, ``clients 2``."""
    number = f" {index + 1}" if index else ""
    return " and ".join(_TITLES[name] for name in names) + number


def share_of(name: str, tuning: Tuning, index: int, of: int) -> Tuning:
    """Return what of ``tuning`` number ``index`` of ``of`` processes of a role is to do."""
    return divided(tuning, name, index, of)


def busy_of(tuning: Tuning, of: int) -> int:
    """Return how many of ``of`` swarm processes get clients."""
    return busy_processes(tuning, of)
