"""What a placement needs of a cluster, which it gets without loading dask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sockscope.engine.host_limits import HostLimits
from sockscope.engine.placement.cluster.actor import Begun


class Cluster(Protocol):
    """What a placement needs of a cluster."""

    @property
    def workers(self) -> tuple[str, ...]:
        """The addresses of its workers; the first one serves."""
        ...

    @property
    def on_join(self) -> set[Callable[[str], None]]:
        """Who is to hear the address of each worker that comes from now on."""
        ...

    @property
    def serves(self) -> bool:
        """Whether one of its workers has the server of the run, which is no target elsewhere."""
        ...

    @property
    def is_here(self) -> bool:
        """Whether all of its workers are on this machine."""
        ...

    @property
    def limits(self) -> Mapping[str, HostLimits]:
        """What the machine of each worker allows."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """Where children on them are to find modules."""
        ...

    async def begin(self, worker: str, name: str, allocator: str) -> tuple[Any, Begun]:
        """Start a child on a worker; return its actor and what was begun. Raises EngineError."""
        ...

    async def admit(self, worker: str) -> None:
        """Use a worker that has come as the last one; raises EngineError where that is not to be."""
        ...

    def lose(self, worker: str) -> None:
        """Do without a worker that does not answer any more."""
        ...

    async def leave(self) -> None:
        """Let go of it; one that was brought up here ends with the last who uses it."""
        ...
