"""Where each role runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sockscope.core.config.tuning import Tuning
from sockscope.engine.placement.hosts.child import ChildHost
from sockscope.engine.placement.hosts.host import HostFactory
from sockscope.engine.placement.hosts.loop import LoopHost
from sockscope.engine.roles import RoleKind


@dataclass(frozen=True, slots=True)
class Place:
    """What a role runs in: hosts of one sort, one for each of its processes.

    Roles whose place is the same and ``shared`` run in one host together.
    """

    host: HostFactory
    processes: int = 1
    shared: bool = False


HERE = Place(LoopHost, shared=True)

PLACES: Mapping[str, Callable[[RoleKind, Tuning], Place]] = {
    "loop": lambda kind, tuning: HERE,
    "child": lambda kind, tuning: Place(ChildHost, shared=not kind.apart),
    "server": lambda kind, tuning: HERE if kind.aimed else Place(ChildHost),
    "apart": lambda kind, tuning: Place(ChildHost, kind.processes(tuning)),
}
"""For each layout of a tuning, where it places a role."""


def place_of(kind: RoleKind, tuning: Tuning) -> Place:
    """Return where a role is to run."""
    return PLACES[tuning.layout](kind, tuning)
