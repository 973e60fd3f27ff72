"""What a server and a swarm have in common, wherever they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sockscope.core.connection import Address
from sockscope.core.experiment import Tuning
from sockscope.core.snapshot import Capture, Cursors, RoleSnapshot, ServerSide


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
        """Return the figures of this moment, or the newest that are known where the role runs elsewhere."""
        ...

    async def refresh(self) -> None:
        """Let the next snapshot be of this moment, wherever the role runs."""
        ...

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment until they are let go, whatever is overwritten meanwhile."""
        ...

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange as this role saw it, or None when it has been overwritten."""
        ...

    async def close_connection(self, conn_id: int) -> bool:
        """Close one connection; False when there is none with this number."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Let what is in flight finish for at most ``grace_s`` seconds, then close everything."""
        ...


class ServerRole(Role, Protocol):
    """A server: it can tell what it saw of an exchange of the clients."""

    async def find_answer(self, seen_by_client: Capture) -> ServerSide | None:
        """Return the server's side of an exchange, or None when it is no longer here."""
        ...
