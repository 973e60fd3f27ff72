"""Reaching a cluster, which loads dask: nothing else does."""

from __future__ import annotations

from sockscope.core.config.experiment import Experiment
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.errors import EngineError

LOCAL = "sockscope.engine.placement.cluster.local"
"""The module that a process runs which holds a cluster of this machine alone."""


async def joined(experiment: Experiment) -> Cluster:
    """Return the cluster that an experiment names, reached; raise EngineError where that cannot be."""
    try:
        from sockscope.engine.placement.cluster.dask_cluster import DaskCluster
    except ImportError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise EngineError(
            "a cluster needs dask.distributed, which is not installed: pip install 'sockscope[cluster]'"
        ) from None
    cluster = DaskCluster(experiment)
    await cluster.join()
    return cluster
