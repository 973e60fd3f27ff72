"""What the passages of a relay share: the sockets that are watched, what is counted, where it goes."""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter
from typing import NamedTuple, Protocol

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Experiment
from sockscope.core.events import CloseReason
from sockscope.engine.recorder import Recorder
from sockscope.engine.relay.direction import DOWN, UP, Direction
from sockscope.engine.relay.edges import Edges
from sockscope.engine.relay.overheard import Overheard, form_of
from sockscope.engine.relay.schedule import Schedule
from sockscope.engine.swarm.readiness import ReadinessSet
from sockscope.engine.unix_sockets import SocketFiles


class TimedSet(ReadinessSet):
    """A readiness set that remembers when its turn began: what is found ready then has waited since."""

    turn_s = 0.0

    def _turn(self) -> None:
        self.turn_s = perf_counter()
        super()._turn()


class Common:
    """What belongs to all passages that lead to the same server.

    With ``edges`` it is overheard what passes, and those of each exchange are kept there.
    """

    def __init__(self, experiment: Experiment, recorder: Recorder, edges: Edges | None = None) -> None:
        self.experiment = experiment
        self.recorder = recorder
        self.loop = asyncio.get_running_loop()
        self.readiness = TimedSet(self.loop)
        self.view = memoryview(self.readiness.buffer)
        self.schedule = Schedule(self.loop)
        self.files = SocketFiles()
        self.up, self.down = Direction(UP, experiment.seed), Direction(DOWN, experiment.seed)
        self.overheard = Overheard(recorder, edges, form_of(experiment)) if edges is not None else None
        """What is told apart of what passes, where that is looked at: where nobody else here sees it."""
        self.name = ""
        """What tells it from others of the same relay, if there are any."""
        self.opened = self.unreached = 0
        """Connections that came in, and those of them for which the server could not be reached."""
        self.is_impaired = False
        """Whether any fault is on."""
        self.generation = 0
        self.targets: tuple[Address, ...] = ()
        """Where what comes from clients goes; of several the first that answers."""
        self.connect_timeout_s = 0.0
        self.answer_s = 0.0
        """How long an answer over UDP is waited for at the most."""

    def close(self) -> None:
        """Watch nothing any more."""
        self.schedule.close()
        self.readiness.close()
        self.files.remove()


class PassedEnds(NamedTuple):
    """Both ends of one connection by their numbers; see :class:`RelayedSample`."""

    client: int
    server: int
    connected_s: float


class Passage(Protocol):
    """One address of a relay, and everything that came in there."""

    address: Address

    async def turn(self) -> None:
        """Go over to the faults that the directions have now."""
        ...

    def drain(self) -> None:
        """Take nobody new; who is here is served."""
        ...

    @property
    def drained(self) -> bool:
        """Whether nobody is here any more, and nothing is on its way."""
        ...

    @property
    def open_connections(self) -> int:
        """Connections (peers) that are here."""
        ...

    def ends(self) -> list[PassedEnds]:
        """Return the ends of the connections that reach the server."""
        ...

    @property
    def not_accepting(self) -> str:
        """Why nobody new is taken at the moment; empty while somebody may be."""
        ...

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of a connection on the side of its client, or None."""
        ...

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Close one connection, on both sides; False when it is not one of these."""
        ...

    def look_at_buffers(self) -> int:
        """Take up what the kernel has dropped at the sockets; return the memory of what is unread there."""
        ...

    def close(self, reason: CloseReason) -> None:
        """Close everything now."""
        ...
