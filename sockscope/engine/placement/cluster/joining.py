"""Reaching a cluster, which loads dask: nothing else does.

Runs of one loop that name the same cluster use it together, those of a race or of a sweep among them: it is
reached, or brought up, by the first, and left by the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from sockscope.core.addresses import Address
from sockscope.core.config.cluster import CLUSTER_KEYS
from sockscope.core.config.experiment import Experiment
from sockscope.core.roles import SERVER
from sockscope.engine.host_limits import HostLimits
from sockscope.engine.placement.cluster.actor import Begun
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.errors import EngineError

LOCAL = "sockscope.engine.placement.cluster.local"
"""The module that a process runs which holds a cluster of this machine alone."""


async def joined(experiment: Experiment) -> Cluster:
    """Return the cluster that an experiment names, reached.

    Raises EngineError where that cannot be, and ConfigError where a file will not do.
    """
    key = asyncio.get_running_loop(), *map(experiment.value, CLUSTER_KEYS)
    reached = _REACHED.get(key)
    if reached is None:
        reached = _REACHED[key] = _Reached(key, experiment)
    lease = Lease(reached, experiment)
    try:
        await asyncio.shield(reached.joining)
    except BaseException:
        await lease.leave()
        raise
    return lease


class _Reached:
    """A cluster that is reached, or about to be, and who uses it."""

    def __init__(self, key: tuple[object, ...], experiment: Experiment) -> None:
        try:
            from sockscope.engine.placement.cluster.dask_cluster import DaskCluster
        except ImportError as error:
            if error.name not in ("dask", "distributed"):
                raise
            raise EngineError(
                "a cluster needs dask.distributed, which is not installed: pip install 'sockscope[cluster]'"
            ) from None
        self.key = key
        self.cluster = DaskCluster(experiment)
        self.joining = asyncio.create_task(self.cluster.join())
        self.leases: set[Lease] = set()

    async def leave(self) -> None:
        del _REACHED[self.key]
        self.joining.cancel()
        await asyncio.wait([self.joining])
        await self.cluster.leave()


_REACHED: dict[tuple[object, ...], _Reached] = {}
"""The clusters in use, by the loop on which they were reached and by how they are named."""


class Lease:
    """A :class:`~sockscope.engine.placement.cluster.cluster.Cluster` for one of those who use it."""

    def __init__(self, reached: _Reached, experiment: Experiment) -> None:
        self._reached = reached
        self._cluster = reached.cluster
        self._experiment = experiment
        self._refused: set[str] = set()
        self._serving: Address | None = None
        reached.leases.add(self)

    @property
    def workers(self) -> tuple[str, ...]:
        """The addresses of its workers; the first one serves."""
        return tuple(worker for worker in self._cluster.workers if worker not in self._refused)

    @property
    def serves(self) -> bool:
        """Whether one of its workers has the server that is asked, be it of another run, as in a race."""
        experiment = self._experiment
        if experiment.role in ("both", SERVER):
            return True
        return any(lease._serving in experiment.targets for lease in self._reached.leases)

    @property
    def on_join(self) -> set[Callable[[str], None]]:
        """Who is to hear the address of each worker that comes from now on."""
        return self._cluster.on_join

    @property
    def on_loss(self) -> set[Callable[[str], None]]:
        """Who is to hear the address of each worker that is lost from now on."""
        return self._cluster.on_loss

    @property
    def on_trouble(self) -> set[Callable[[str], None]]:
        """Who is to hear what goes wrong with the cluster itself."""
        return self._cluster.on_trouble

    @property
    def is_here(self) -> bool:
        """Whether all of its workers are on this machine."""
        return self._cluster.is_here

    @property
    def limits(self) -> Mapping[str, HostLimits]:
        """What the machine of each worker allows."""
        return self._cluster.limits

    @property
    def path(self) -> tuple[str, ...]:
        """Where children on them are to find modules."""
        return self._cluster.path

    async def begin(self, worker: str, name: str, allocator: str) -> tuple[Any, Begun]:
        """Start a child on a worker; return its actor and what was begun. Raises EngineError."""
        return await self._cluster.begin(worker, name, allocator)

    async def admit(self, worker: str) -> None:
        """Use a worker that has come, all who use it; raises EngineError where that is not to be."""
        await self._cluster.admit(worker)
        self._refused.discard(worker)

    def refuse(self, worker: str) -> None:
        """Do without a worker that has come; others who use the cluster may use it."""
        self._refused.add(worker)

    def serve(self, address: Address) -> None:
        """Let it be known that one of its workers has a server there: of who asks it, to be let alone."""
        self._serving = address

    def lose(self, worker: str) -> None:
        """Do without a worker that does not answer any more, all who use it."""
        self._cluster.lose(worker)

    async def leave(self) -> None:
        """Let go of it; the last one lets it end."""
        leases = self._reached.leases
        if self in leases:
            leases.discard(self)
            if not leases:
                await self._reached.leave()
