"""What happened to connections and to the run: few, rare, and worth a line in the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from heapq import merge

from sockscope.core.ring import RingPage

ENDED_BY_SERVER = "the server closed the connection"
"""What a client says of EOF."""


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
    TLS = "TLS"
    """A TLS handshake came to nothing, or what followed was not in order; the event's text has it."""
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
     CloseReason.TLS, CloseReason.RAISED, CloseReason.OS_ERROR}
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

    @property
    def is_of_run(self) -> bool:
        """Whether this line is about the run as a whole, as tunings and markers are."""
        return self.role == "run"


class EventLog:
    """The last ``capacity`` events of connections, and as many of the run, numbered together from 0 for ever.

    However many connections open and close, they take the place of no tuning and no marker.
    """

    __slots__ = ("_of_connections", "_of_run", "count")

    def __init__(self, capacity: int) -> None:
        self._of_connections: deque[tuple[int, Event]] = deque(maxlen=capacity)
        self._of_run: deque[tuple[int, Event]] = deque(maxlen=capacity)
        self.count = 0

    def extend(self, events: Collection[Event], missed: int = 0) -> None:
        """Store several events, which come after all there are; ``missed`` before them were lost already."""
        self.count += missed
        for number, event in enumerate(events, self.count):
            (self._of_run if event.is_of_run else self._of_connections).append((number, event))
        self.count += len(events)

    def since(self, cursor: int, most: int | None = None) -> RingPage[Event]:
        """Return the events from number ``cursor`` on: all of the run, at most the newest ``most`` others."""
        of_run, others = _newest(self._of_run, cursor, None), _newest(self._of_connections, cursor, most)
        found = [event for _, event in merge(of_run, others, key=_number)]
        return RingPage(found, max(0, self.count - cursor - len(found)), self.count)


def _newest(numbered: deque[tuple[int, Event]], cursor: int, most: int | None) -> list[tuple[int, Event]]:
    """Return those from number ``cursor`` on, at most the newest ``most``, the oldest first."""
    found: list[tuple[int, Event]] = []
    for entry in reversed(numbered):
        if entry[0] < cursor or len(found) == most:
            break
        found.append(entry)
    found.reverse()
    return found


def _number(entry: tuple[int, Event]) -> int:
    return entry[0]
