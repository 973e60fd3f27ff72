"""Whether the machines of a cluster allow what a run asks of them: looked at before its roles begin there."""

from __future__ import annotations

from sockscope.core.config.bounds import bound_faults
from sockscope.core.config.cluster import is_here
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.units import counted
from sockscope.engine.limits import RESERVED_DESCRIPTORS
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.engine.placement.cluster.hosts import hosts_on
from sockscope.engine.roles import RoleKind, kinds_in
from sockscope.errors import ConfigError, EngineError, ResourceLimitError


def check_workers(experiment: Experiment, tuning: Tuning, cluster: Cluster) -> None:
    """Raise ResourceLimitError when the machine of a worker does not allow its part of the connections.

    A role there has a process to itself, which raises its own limit of descriptors as far as it may. Raises
    EngineError when no worker is left.
    """
    if not cluster.workers:
        raise EngineError(f"no worker of the cluster {experiment.cluster} is left")
    for kind in kinds_in(experiment, tuning):
        workers = hosts_on(cluster, generates=kind.generates).workers
        for worker in workers:
            if worker in cluster.limits:
                _check_descriptors(
                    kind, tuning, worker, len(workers), cluster.limits[worker].most_descriptors
                )
                _check_ports(kind, tuning, worker, len(workers), cluster.limits[worker].ephemeral_ports)


def check_bounds(tuning: Tuning, cluster: Cluster) -> None:
    """Raise ConfigError when more is asked of the clients than their workers take."""
    workers = len(hosts_on(cluster, generates=True).workers)
    if faults := list(bound_faults(tuning, workers)):
        raise ConfigError(faults)


def sockets_on_worker(kind: RoleKind, tuning: Tuning, workers: int) -> int:
    """Return how many sockets a role opens for connections on one of its ``workers``, at the most."""
    if kind.generates:
        return -(-tuning.connections // workers)
    accepted = tuning.connections if tuning.transport == "tcp" else 0
    return accepted + tuning.connections if kind.aimed else accepted  # a relay connects, too


def _check_descriptors(kind: RoleKind, tuning: Tuning, worker: str, workers: int, limit: int) -> None:
    needed = sockets_on_worker(kind, tuning, workers) + RESERVED_DESCRIPTORS
    if needed > limit:
        raise ResourceLimitError(
            "descriptors",
            limit,
            f"the {kind.title} on the worker {worker} {_needs(kind)} {needed:,} descriptors for "
            f"{_whole(tuning, workers)}, but a process there may open {limit:,}; use fewer clients"
            f"{' or more workers' if kind.generates else ''}, or raise the limit there first: "
            f"ulimit -n {needed}",
        )


def _check_ports(kind: RoleKind, tuning: Tuning, worker: str, workers: int, ports: range | None) -> None:
    """Check the ephemeral ports of a machine's one source address; on loopback clients go over to others."""
    if ports is None or is_here(worker) or not kind.aimed or tuning.family == "unix":
        return
    needed = -(-tuning.connections // (workers if kind.generates else 1))
    if needed > len(ports):
        raise ResourceLimitError(
            "ports",
            len(ports),
            f"the {kind.title} on the worker {worker} {_needs(kind)} {needed:,} ephemeral ports for "
            f"{_whole(tuning, workers)}, but there are {len(ports):,}; use fewer clients"
            f"{' or more workers' if kind.generates else ''}, or widen net.ipv4.ip_local_port_range there",
        )


def _needs(kind: RoleKind) -> str:
    return "need" if kind.generates else "needs"


def _whole(tuning: Tuning, workers: int) -> str:
    part = -(-tuning.connections // workers)
    who = "pooled connection" if tuning.pool else "client"
    return counted(part, who) if workers == 1 else f"{counted(part, who)} of {tuning.connections:,}"
