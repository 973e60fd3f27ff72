"""What every server model offers to the server role."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.addresses import family_of, socket_address
from sockscope.engine.limiter import Limiter
from sockscope.engine.options import change_buffers, set_buffers, set_reuse_port
from sockscope.engine.os_errors import listen_error
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import Assignment
from sockscope.engine.servers.faults.faults import Faults
from sockscope.engine.standstill import Standstill
from sockscope.engine.tls.contexts import ServerTls
from sockscope.engine.unix_sockets import SocketFiles
from sockscope.errors import ConfigError

Remote = tuple[str, int] | tuple[str, int, int, int] | str | bytes
"""An address as the socket module gives it: of IPv6 with flow label and scope, of a Unix socket its path or,
as bytes, its abstract name."""


class SequenceCounts(NamedTuple):
    """What the numbers of UDP datagrams tell, how many the kernel has ``dropped`` at the socket, and the
    memory that those take there which nobody has read yet."""

    lost: int = 0
    reordered: int = 0
    duplicated: int = 0
    dropped: int = 0
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What an endpoint leaves to the one that takes its place at the same address.

    ``sock`` is a duplicate of its socket: nobody is refused while one model makes way for another, and no
    port has to be free. ``counted`` tells how far the UDP peers had counted their datagrams.
    """

    sock: socket.socket
    counted: Mapping[Remote, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What a model is given: the run's fixed part, the recorder it writes to, and who is admitted.

    The admission limit is one for all endpoints of a server; models that serve on an event loop keep it.
    With an ``inheritance`` the model goes on at another's address. ``files`` binds to Unix sockets. A
    ``standstill`` holds up models in threads, and ``faults`` are those that are made on purpose.
    """

    experiment: Experiment
    recorder: Recorder
    admission: Limiter = field(default_factory=lambda: Limiter(0))
    inheritance: Inheritance | None = None
    standstill: Standstill = field(default_factory=Standstill)
    faults: Faults = field(default_factory=Faults)
    files: SocketFiles = field(default_factory=SocketFiles)
    tls: ServerTls = field(default_factory=ServerTls)


class Endpoint(Protocol):
    """One listening socket (or UDP socket) with everything that came in through it."""

    address: Address

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning that needs no new endpoint; it is in force at every connection on return."""
        ...

    async def take_faults(self) -> None:
        """Serve requests by way of the context's faults while these strike, and else without them."""
        ...

    def transports(self) -> Iterable[asyncio.Transport]:
        """Return the transports of its connections; none over UDP and in threads."""
        ...

    def cancels(self) -> Iterable[Callable[[], object]]:
        """Return what cancels each handler that is a task."""
        ...

    def share(self) -> Inheritance | None:
        """Return what a successor needs; None when there is nothing to share any more.

        Datagrams are the successor's to read from now on, connections its own to accept from the drain on.
        """
        ...

    def take_back(self) -> None:
        """Go on with what was shared: the successor could not begin."""
        ...

    def drain(self) -> None:
        """Accept nobody new; serve who is here."""
        ...

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing new, answer what was asked, and close each connection as that is done."""
        ...

    @property
    def drained(self) -> bool:
        """Whether nobody is served any more."""
        ...

    @property
    def owing(self) -> bool:
        """Whether the end should wait: a TCP connection is open, or an answer is due."""
        ...

    @property
    def open_connections(self) -> int:
        """Connections that are open here."""
        ...

    def in_service(self, start: int, most: int) -> list[ConnectionRecord]:
        """Return the connections with a request that was read and admitted, and is not answered.

        ``most`` of them are looked at, from ``start`` on in the order in which they came.
        """
        ...

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of a connection for a look at its kernel counters, or None."""
        ...

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Close one connection; False when it is not one of these."""
        ...

    @property
    def backlog(self) -> int:
        """Connections that wait to be accepted; over UDP there are none."""
        ...

    @property
    def listen_drops(self) -> int | None:
        """Connections that the kernel has dropped at the listener so far; None where it does not tell, once
        it is closed, and over UDP."""
        ...

    @property
    def not_accepting(self) -> str:
        """Why nobody is accepted at the moment; empty while somebody may be, and over UDP."""
        ...

    def sequence_counts(self) -> SequenceCounts:
        """Return what the numbers of UDP datagrams have told so far; nothing once closed, and over TCP."""
        ...

    def socket_options(self) -> list[SocketOption]:
        """Return the options, requested and effective."""
        ...

    def close(self, reason: CloseReason) -> None:
        """Close everything now."""
        ...


def bound_socket(kind: socket.SocketKind, context: ServerContext, assignment: Assignment) -> socket.socket:
    """Return a non-blocking socket bound to the assignment's address; raise ListenError or ConfigError.

    SO_REUSEADDR is for listeners alone: two UDP sockets that both ask for it may take the same port.
    An inherited socket is bound already.
    """
    address, experiment = assignment.address, context.experiment
    if context.inheritance is not None:
        inherited = context.inheritance.sock
        inherited.setblocking(False)
        change_buffers(inherited, assignment.tuning)
        return inherited
    try:
        sock = socket.socket(family_of(address[0]), kind)
    except OSError as error:
        raise listen_error(address, error) from error
    try:
        sock.setblocking(False)
        set_buffers(sock, assignment.tuning)
        if sock.family is socket.AF_UNIX:
            context.files.bind(sock, address[0])
            return sock
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(experiment.reuse_address))
        if experiment.reuse_port:
            set_reuse_port(sock)
        sock.bind(socket_address(address))
    except OSError as error:
        sock.close()
        raise listen_error(address, error) from error
    except ConfigError:
        sock.close()
        raise
    return sock
