"""What a server and a swarm have in common, wherever they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sockscope.core.connection import Address
from sockscope.core.experiment import Tuning
from sockscope.core.snapshot import Capture, Cursors, RoleSnapshot


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a role is to do from now on: the tuning, its number, and the address to listen on or to aim at."""

    tuning: Tuning
    generation: int
    address: Address


class Role(Protocol):
    """A server or a swarm. The calls are all that a placement has to carry."""

    async def start(self, assignment: Assignment) -> Address:
        """Begin; return the address in use. Raises EngineError."""
        ...

    async def apply(self, assignment: Assignment) -> Address:
        """Go over to a new assignment while running. On an error everything stays as it was."""
        ...

    def pause(self, paused: bool) -> None:
        """Stop or resume making new requests; a server has nothing to pause."""
        ...

    def give_way(self, wanted: bool) -> None:
        """Keep the turns of a shared loop short while somebody waits for the screen."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether everything that the run asked for is done; never true for a server."""
        ...

    def snapshot(self, cursors: Cursors) -> RoleSnapshot:
        """Return the figures of this moment."""
        ...

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment until they are let go, whatever is overwritten meanwhile."""
        ...

    def capture(self, record_id: int) -> Capture | None:
        """Return one exchange with its bytes, or None when it has been overwritten."""
        ...

    def close_connection(self, conn_id: int) -> bool:
        """Close one connection; False when there is none with this number."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Let what is in flight finish for at most ``grace_s`` seconds, then close everything."""
        ...
