"""What a server and a swarm have in common, wherever they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from sockscope.core.config.experiment import Tuning
from sockscope.core.connection import Address
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import Capture, Cursors, RoleSnapshot, ServerSide


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a role is to do from now on: the tuning, its number, and the address to listen on or to aim at."""

    tuning: Tuning
    generation: int
    address: Address


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a role is played here: number ``index`` of ``of`` processes.

    Connections get their numbers in turns over the processes, beginning with ``first_turn``, so that a
    number is unique in the run and tells its process. Exchanges are numbered from ``first_record`` on.
    ``budget`` is how many requests a swarm may make; None = no limit.
    """

    index: int = 0
    of: int = 1
    first_turn: int = 0
    first_record: int = 0
    budget: int | None = None

    @property
    def first_conn_id(self) -> int:
        """Number of the first connection; each further one is ``of`` higher."""
        return 1 + self.first_turn * self.of + self.index


WHOLE = Share()
"""All of a role, from the beginning of a run."""


class Role(Protocol):
    """A server or a swarm. The calls are all that a placement has to carry."""

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Begin; return the address in use. Raises EngineError."""
        ...

    async def apply(self, assignment: Assignment) -> Address:
        """Go over to a new assignment while running. On an error everything stays as it was."""
        ...

    def pause(self, paused: bool) -> None:
        """Stop or resume making new requests; a server has nothing to pause."""
        ...

    def refill(self, requests: int) -> None:
        """Make so many more requests, after the budget of the run is spent; a server has none to make."""
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

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Let what is in flight finish for at most ``grace_s`` seconds, then close everything.

        What had to be closed was closed for ``reason``.
        """
        ...


@runtime_checkable
class ServerRole(Role, Protocol):
    """A server: it can tell what it saw of an exchange of the clients."""

    async def drain(self, grace_s: float) -> None:
        """Accept nobody new; return when everybody is served, after ``grace_s`` seconds at the latest."""
        ...

    async def find_answer(self, seen_by_client: Capture) -> ServerSide | None:
        """Return the server's side of an exchange, or None when it is no longer here."""
        ...
