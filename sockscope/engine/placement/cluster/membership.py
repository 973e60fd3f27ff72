"""What a run has of a cluster: it joins when roles are to be there first, and leaves when it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sockscope.core.addresses import Address
from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SERVER
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.engine.placement.cluster.hosts import serving_host
from sockscope.engine.placement.cluster.joining import joined
from sockscope.engine.placement.cluster.preflight import check_bounds, check_workers
from sockscope.engine.placement.hosts.host import TroubleHandler
from sockscope.errors import EngineError, SockscopeError


class Membership:
    """The part of one run in a cluster, if it has one.

    ``on_join`` is called with each worker that has come since, ``on_trouble(text, False)`` with what goes
    wrong with the cluster itself.
    """

    def __init__(
        self, experiment: Experiment, on_trouble: TroubleHandler, on_join: Callable[[str], None]
    ) -> None:
        self._experiment = experiment
        self._on_trouble = on_trouble
        self._on_join = on_join
        self.cluster: Cluster | None = None
        """The cluster; None before it was joined."""

    @property
    def is_here(self) -> bool:
        """Whether everything runs on this machine."""
        return self.cluster is None or self.cluster.is_here

    async def join(self, tuning: Tuning, in_force: Tuning) -> None:
        """Reach the cluster if roles are to run on it and that is still to be done; raises EngineError.

        ``in_force`` is the tuning that the run has so far. Raises ResourceLimitError where a machine of it
        does not allow what is asked of it, and ConfigError where it is more than the workers take.
        """
        if tuning.layout != CLUSTER:
            return
        come = self.cluster is None
        if self.cluster is None:
            self.cluster = await joined(self._experiment)
            self.cluster.on_join.add(self._on_join)
            self.cluster.on_trouble.add(self._cluster_trouble)
        if come or tuning != in_force:  # those that are left have more than they would be given
            check_bounds(tuning, self.cluster)
        check_workers(self._experiment, tuning, self.cluster)

    async def leave(self) -> None:
        """Leave the cluster, which goes on for others who use it."""
        if self.cluster is not None:
            self.cluster.on_join.discard(self._on_join)
            self.cluster.on_trouble.discard(self._cluster_trouble)
            await self.cluster.leave()

    def _cluster_trouble(self, text: str) -> None:
        self._on_trouble(text, False)

    def listening(self, tuning: Tuning, address: Address) -> Address:
        """Return the address to listen on: where the one given is this machine's, the first worker's."""
        experiment, cluster = self._experiment, self.cluster
        named = experiment.bind or experiment.role not in ("both", SERVER)
        if tuning.layout != CLUSTER or cluster is None or cluster.is_here or named:
            return address
        return serving_host(cluster.workers[0], tuning.family), address[1]

    def serve(self, address: Address) -> None:
        """Let it be known that the run has a server there: of who asks it, to be let alone."""
        if self.cluster is not None:
            self.cluster.serve(address)

    async def divide_anew(self, divide: Callable[[], Awaitable[None]], come: Sequence[str]) -> None:
        """Have the run divided anew: places were lost, or workers have ``come``, which are used from now on.

        Raises what ``divide`` raises, or EngineError; those workers are not used then.
        """
        cluster = self.cluster
        assert cluster is not None
        try:
            for worker in come:
                await cluster.admit(worker)
            while True:
                tried = cluster.workers
                try:
                    return await divide()
                except EngineError:
                    if not cluster.workers or cluster.workers == tried:
                        raise
                    # One was lost meanwhile, maybe one that had nothing yet: those that are left do.
        except SockscopeError:
            for worker in come:
                cluster.refuse(worker)
            raise
