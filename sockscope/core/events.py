"""What happened to connections and to the run: few, rare, and worth a line in the log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class CloseReason(Enum):
    """How a connection ended, seen from the side that reports it."""

    EOF = "EOF"
    """The peer finished sending and everything it asked for was answered."""
    RESET = "reset"
    """The peer reset the connection (RST), or it broke while data was under way."""
    REFUSED = "refused"
    """Nobody listened at the address."""
    TIMEOUT = "timeout"
    """No connection, or no answer, within the time allowed."""
    IDLE = "idle"
    """Nothing was read for the server's idle timeout."""
    GARBAGE = "garbage"
    """The bytes could not be cut into frames, or were not the answer that was expected."""
    LIMIT = "limit"
    """The server held as many connections as it may."""
    LIFETIME = "lifetime"
    """The client made as many requests on it as a connection is to carry."""
    RETIRED = "retired"
    """There are to be fewer clients."""
    REPLACED = "replaced"
    """A knob was turned that needs new sockets."""
    CLOSED = "closed"
    """Somebody asked for it to be closed."""
    RAISED = "raised"
    """The user's own handler or protocol raised an exception; the event's text has it."""
    STOPPED = "stopped"
    """The run ended."""
    OS_ERROR = "OS error"
    """The kernel said something else; the event's text has it."""

    @property
    def is_fault(self) -> bool:
        """Whether something went wrong, as opposed to a planned end."""
        return self in _FAULTS


_FAULTS = frozenset(
    {CloseReason.RESET, CloseReason.REFUSED, CloseReason.TIMEOUT, CloseReason.GARBAGE, CloseReason.LIMIT,
     CloseReason.RAISED, CloseReason.OS_ERROR}
)  # fmt: skip


class EventKind(Enum):
    """What kind of line this is in the log."""

    OPEN = "open"
    CLOSE = "close"
    ERROR = "error"
    TUNING = "tuning"
    MARKER = "marker"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log.

    ``time_s`` is on the monotonic clock. ``role`` is ``server``, ``swarm`` or ``run``. ``conn_id`` is 0
    when no connection is meant. ``generation`` numbers the tunings.
    """

    time_s: float
    kind: EventKind
    role: str
    conn_id: int = 0
    address: str = ""
    reason: CloseReason | None = None
    text: str = ""
    generation: int = 0

    @property
    def is_fault(self) -> bool:
        """Whether this line tells of something that went wrong."""
        return self.kind is EventKind.ERROR or (self.reason is not None and self.reason.is_fault)
