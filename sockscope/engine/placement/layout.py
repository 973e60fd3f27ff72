"""Where each role runs, and how its tuning is divided among several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sockscope.core.config.experiment import Tuning
from sockscope.engine.placement.hosts.child import ChildHost
from sockscope.engine.placement.hosts.host import HostFactory
from sockscope.engine.placement.hosts.loop import LoopHost
from sockscope.engine.roles import ROLE_KINDS, RoleKind


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
    "child": lambda kind, tuning: Place(ChildHost, shared=True),
    "server": lambda kind, tuning: HERE if kind.aimed else Place(ChildHost),
    "apart": lambda kind, tuning: Place(ChildHost, kind.processes(tuning)),
}
"""For each layout of a tuning, where it places a role."""


def place_of(kind: RoleKind, tuning: Tuning) -> Place:
    """Return where a role is to run."""
    return PLACES[tuning.layout](kind, tuning)


def share_of(role: str, tuning: Tuning, index: int, of: int) -> Tuning:
    """Return what of ``tuning`` number ``index`` of ``of`` processes of a role is to do.

    Clients, permits and pooled connections are divided such that the parts add up to the whole; 0 means no
    limit, so a process whose part of the permits would be none gets no clients either. What a server admits
    is divided likewise.
    """
    if of == 1:
        return tuning
    kind = ROLE_KINDS[role]
    busy = busy_of(tuning, of) if kind.generates else of
    shares: dict[str, Any] = {name: part(getattr(tuning, name), index, busy) for name in kind.divided}
    return replace(tuning, **shares)


def busy_of(tuning: Tuning, of: int) -> int:
    """Return how many of ``of`` processes that generate requests get clients."""
    divided = [name for kind in ROLE_KINDS.values() if kind.generates for name in kind.divided]
    limits: list[int] = [getattr(tuning, name) for name in divided]
    return min([of, *(limit for limit in limits if limit)])


def part(whole: int, index: int, of: int) -> int:
    """Return part ``index`` of ``whole`` divided as evenly as it goes; all ``of`` parts add up to it."""
    return (whole + of - 1 - index) // of if index < of else 0
