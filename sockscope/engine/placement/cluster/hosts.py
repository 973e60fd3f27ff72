"""Hosts on the workers of a cluster: which workers a role gets, and a child process on each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from sockscope.core.addresses import family_name
from sockscope.core.config.cluster import host_of, is_here
from sockscope.core.config.experiment import Experiment
from sockscope.engine.host_limits import kernel_name
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.engine.placement.cluster.worker_process import WorkerProcess
from sockscope.engine.placement.hosts.child import ChildHost
from sockscope.engine.placement.hosts.host import DeathHandler, Host, TroubleHandler
from sockscope.errors import EngineError


@dataclass(frozen=True, slots=True)
class WorkerHosts:
    """Makes the hosts of a role, number i of them on number i of ``workers``: a ``HostFactory``."""

    cluster: Cluster
    workers: tuple[str, ...]

    def __call__(
        self,
        experiment: Experiment,
        roles: tuple[str, ...],
        index: int,
        on_trouble: TroubleHandler,
        on_death: DeathHandler,
    ) -> Host:
        """Return a host that is yet to be started."""
        worker = self.workers[index]
        carrier = partial(WorkerProcess, self.cluster, worker)
        if is_here(worker):
            return ChildHost(experiment, roles, index, on_trouble, on_death, carrier)
        host = host_of(worker)
        placed = replace(experiment, host=host)
        cores_of = whose_cores(self.cluster, worker)
        return ChildHost(placed, roles, index, on_trouble, on_death, carrier, at=host, cores_of=cores_of)


def serving_host(worker: str, family: str) -> str:
    """Return the address by which other machines reach a server on a worker; raises EngineError for none."""
    if family == "unix":
        raise EngineError("Unix sockets do not reach other machines: use TCP or UDP over IP")
    host = host_of(worker)
    if family_name(host) not in ("", family):
        raise EngineError(
            f"the worker that is to serve is known by {host}, which is not {family.replace('ip', 'IP')}: use "
            "the family of its address (-4, -6), or name another of its machine with --bind"
        )
    return host


def whose_cores(cluster: Cluster, worker: str) -> str:
    """Return the machine whose cores a worker has: the address of the first worker there, empty for this one.

    Namespaces and containers of one machine have several addresses, and its cores in common.
    """
    limits = cluster.limits.get(worker)
    kernel = limits.kernel if limits is not None else ""
    if is_here(worker) or (kernel and kernel == kernel_name()):
        return ""
    there = [one for one, found in cluster.limits.items() if kernel and found.kernel == kernel]
    return host_of((*there, worker)[0])


def hosts_on(cluster: Cluster, *, generates: bool) -> WorkerHosts:
    """Return the hosts of a role: the first worker, or of one that makes requests every other one.

    That has the first, too, where there is no other or the server is not here.
    """
    first, rest = cluster.workers[:1], cluster.workers[1:]
    if not generates:
        return WorkerHosts(cluster, first)
    return WorkerHosts(cluster, (rest or first) if cluster.serves else cluster.workers)
