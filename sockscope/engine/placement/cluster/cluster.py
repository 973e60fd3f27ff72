"""What a placement needs of a cluster, which it gets without loading dask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sockscope.core.addresses import Address
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
    def on_loss(self) -> set[Callable[[str], None]]:
        """Who is to hear the address of each worker that is lost from now on."""
        ...

    @property
    def on_trouble(self) -> set[Callable[[str], None]]:
        """Who is to hear what goes wrong with the cluster itself."""
        ...

    @property
    def serves(self) -> bool:
        """Whether one of its workers has the server that is asked, which is no target elsewhere."""
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

    def refuse(self, worker: str) -> None:
        """Do without a worker that has come; others who use the cluster may use it."""
        ...

    def lose(self, worker: str) -> None:
        """Do without a worker that does not answer any more, all who use it."""
        ...

    def serve(self, address: Address) -> None:
        """Let it be known that one of its workers has a server there: of who asks it, to be let alone."""
        ...

    async def leave(self) -> None:
        """Let go of it; one that was brought up here ends with the last who uses it."""
        ...
