"""What a placement knows of a role, whichever it is and wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction, isfunction
from typing import Protocol

from sockscope.core.addresses import Address
from sockscope.core.arrivals import WHOLE_SCHEDULE, Turn
from sockscope.core.config.tls import Certificate
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.run.lens import Hold
from sockscope.core.run.snapshot import Capture, Cursors, Relayed, RoleSnapshot, ServerSide

DRAIN_S = 5.0
"""How long connections may go on where nobody new is accepted any more."""
QUIET_S = 1.0
"""How long a change waits for what is under way and would not survive it; what takes longer is given up."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a role is to do from now on: the tuning, its number, and the address to listen on or to aim at.

    ``code`` is the number of the reading of the user's own code that serves who connects from now on.
    ``certificate`` is the throw-away one that the server of the run shows and its clients trust, if any.
    ``turn`` says which requests of an open loop are those of the process.
    """

    tuning: Tuning
    generation: int
    address: Address
    code: int = 0
    certificate: Certificate | None = None
    turn: Turn = WHOLE_SCHEDULE


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a role runs here: number ``index`` of ``of`` processes.

    Connections get their numbers in turns over the processes, beginning with ``first_turn``, so that a
    number is unique in the run and tells its process. Exchanges are numbered from ``first_record`` on.
    ``budget`` is how many requests it may make; None = no limit.
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
    """One role of a run. These calls are all that a placement has to carry to where it runs.

    :class:`sockscope.engine.recorded_role.RecordedRole` has those that most roles answer alike. Methods that
    are awaited may be asked from another process, methods that return nothing may be told to it
    (:data:`ASKED`, :data:`TOLD`); arguments and results are pickled on the way.
    """

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Begin; return the address in use. Raises EngineError."""
        ...

    async def apply(self, assignment: Assignment) -> Address:
        """Go over to a new assignment while running. On an error everything stays as it was."""
        ...

    async def reload(self, number: int) -> str:
        """Read the user's own code anew, for assignments with this number of it.

        Return what was edited, or nothing if nothing was. Raises ConfigError when it will not do.
        """
        ...

    def pause(self, paused: bool) -> None:
        """Stop or resume making new requests."""
        ...

    async def hold_connecting(self, held: bool) -> None:
        """Begin no connections, and return when none is under way or after QUIET_S; or go on with them."""
        ...

    def refill(self, requests: int) -> None:
        """Make so many more requests, after the budget of the run is spent."""
        ...

    def stall(self, seconds: float) -> None:
        """Stand still for so long, as in a call that blocks: the loop of the role, or its threads."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether the budget of requests is spent and all of them have ended; False without a budget."""
        ...

    def ahead(self) -> Sequence[Callable[[], None]]:
        """Return the parts of the next snapshot that can be done before it, in other turns of the loop."""
        return ()

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

    async def find_answer(self, seen_by_client: Capture) -> ServerSide | None:
        """Return the answering side of an exchange, or None when it was not here or is no longer."""
        ...

    async def find_relayed(self, seen_by_client: Capture) -> Relayed | None:
        """Return the connection of this role that an exchange went through on its way, or None."""
        ...

    async def count_held_up(self, hold: Hold) -> int:
        """Return how many exchanges waited for the end of a hold, of the last that were captured."""
        ...

    async def close_connection(self, conn_id: int) -> bool:
        """Close one connection; False when there is none with this number."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Accept nobody new; return when everybody is served, after ``grace_s`` seconds at the latest."""
        ...

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Let what is in flight finish for at most ``grace_s`` seconds, then close everything.

        What had to be closed was closed for ``reason``.
        """
        ...


_METHODS = {
    name: method for name, method in vars(Role).items() if isfunction(method) and not name.startswith("_")
}
ASKED = frozenset(name for name, method in _METHODS.items() if iscoroutinefunction(method))
"""Methods of a role that another process may ask for: what they return is sent back."""
TOLD = (
    frozenset(name for name, method in _METHODS.items() if method.__annotations__["return"] in (None, "None"))
    - ASKED
)
"""Methods of a role that another process may have called: they return nothing, and at once."""
