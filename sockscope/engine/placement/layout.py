"""Where each role runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.tuning import Tuning
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.engine.placement.cluster.hosts import hosts_on
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


def _on_workers(kind: RoleKind, tuning: Tuning, cluster: Cluster | None) -> Place:
    """Place who makes the requests on every worker but the first, which has the others."""
    assert cluster is not None
    hosts = hosts_on(cluster, generates=kind.generates)
    return Place(hosts, len(hosts.workers))


PLACES: Mapping[str, Callable[[RoleKind, Tuning, Cluster | None], Place]] = {
    "loop": lambda kind, tuning, _: HERE,
    "child": lambda kind, tuning, _: Place(ChildHost, shared=not kind.apart),
    "server": lambda kind, tuning, _: HERE if kind.aimed else Place(ChildHost),
    "apart": lambda kind, tuning, _: Place(ChildHost, kind.processes(tuning)),
    CLUSTER: _on_workers,
}
"""For each layout of a tuning, where it places a role; the cluster is the one that the run uses, if any."""


def place_of(kind: RoleKind, tuning: Tuning, cluster: Cluster | None = None) -> Place:
    """Return where a role is to run."""
    return PLACES[tuning.layout](kind, tuning, cluster)
