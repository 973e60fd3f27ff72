"""The open connections of a TCP endpoint, whoever serves them: who is silent for too long, who is closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from time import perf_counter
from typing import Protocol

from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord, ConnectionState
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.options import buffer_options, no_delay_options
from sockscope.engine.servers.accept_gate import AcceptGate
from sockscope.engine.servers.endpoint import SequenceCounts, ServerContext


class OpenConnection(Protocol):
    """An accepted connection, as its endpoint sees it."""

    record: ConnectionRecord
    heard_before: int
    idle_since_s: float

    @property
    def heard(self) -> int:
        """A number that grows with whatever the peer sends."""
        ...

    @property
    def is_admitted(self) -> bool:
        """Whether a request of it is in service, if one was read and is not answered."""
        ...

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more, answer what was read, then close. It need not be done on return."""
        ...

    def close(self, reason: CloseReason, *, abort: bool = False) -> None:
        """Close; ``abort`` does not wait for what is being written. It need not be done on return."""
        ...


class ConnectionsEndpoint:
    """What an endpoint does with all its connections; a subclass accepts and serves them."""

    context: ServerContext
    tuning: Tuning
    gate: AcceptGate
    _idle_timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> Mapping[int, OpenConnection]:
        """The open connections by their number."""
        raise NotImplementedError

    @property
    def drained(self) -> bool:
        """Whether nobody is served any more."""
        raise NotImplementedError

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of a connection."""
        raise NotImplementedError

    def drain(self) -> None:
        """Close the listener; connections go on, those too that the kernel has made already."""
        raise NotImplementedError

    async def take_faults(self) -> None:
        """Nothing to do: who serves in threads meets them at each request."""

    def transports(self) -> Iterable[asyncio.Transport]:
        """Return none: threads have sockets."""
        return ()

    def cancels(self) -> Iterable[Callable[[], object]]:
        """Return nothing: by default no handler is a task."""
        return ()

    def watch_idle(self) -> None:
        """Close, every now and then, who has been silent for too long."""
        limit_s = self.context.experiment.idle_timeout_s
        if not limit_s:
            return
        now = perf_counter()
        for connection in list(self.connections.values()):
            heard = connection.heard
            if heard != connection.heard_before or self.owes_answer(connection.record):
                connection.heard_before, connection.idle_since_s = heard, now
            elif now - connection.idle_since_s >= limit_s:
                connection.close(CloseReason.IDLE, abort=True)
        loop = asyncio.get_running_loop()
        self._idle_timer = loop.call_later(max(limit_s / 8, 0.01), self.watch_idle)

    def owes_answer(self, record: ConnectionRecord) -> bool:
        """Whether a connection is silent because its peer waits for an answer, which it is there to read."""
        return record.frames_in > record.frames_out and record.state is not ConnectionState.PAUSED

    def in_service(self, start: int, most: int) -> list[ConnectionRecord]:
        """Return the connections with a request that was read and admitted, and is not answered.

        ``most`` of them are looked at, from ``start`` on in the order in which they came.
        """
        # What was read and answered at once is in neither count.
        owing = [
            connection
            for connection in list(islice(self.connections.values(), start, start + most))
            if connection.record.odd_frames_in > connection.record.odd_frames_out
        ]
        return [connection.record for connection in owing if connection.is_admitted]

    def finish(self, reason: CloseReason) -> None:
        """Close the listener, and each connection as soon as it owes no answer."""
        self.drain()
        for connection in list(self.connections.values()):
            connection.finish(reason)

    def close(self, reason: CloseReason) -> None:
        """Close the listener and abort every connection; threads end a moment later."""
        self.drain()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for connection in list(self.connections.values()):
            connection.close(reason, abort=True)

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Close one connection, after what is to be written if the peer reads; False when it is not here."""
        connection = self.connections.get(conn_id)
        if connection is None:
            return False
        connection.close(reason, abort=connection.record.state is ConnectionState.PAUSED)
        return True

    @property
    def owing(self) -> bool:
        """Whether a connection is left, or somebody who may be about to accept one."""
        return not self.drained

    @property
    def open_connections(self) -> int:
        """Connections that are open."""
        return len(self.connections)

    @property
    def backlog(self) -> int:
        """Connections that the kernel has made and nobody has accepted yet."""
        raise NotImplementedError

    @property
    def not_accepting(self) -> str:
        """Why nobody is accepted at the moment."""
        return self.gate.why_not

    def sequence_counts(self) -> SequenceCounts:
        """Return zeros: TCP numbers its bytes itself."""
        return SequenceCounts()

    def connection_options(self) -> list[SocketOption]:
        """Return the options of one accepted connection, which are those of all."""
        for conn_id in list(self.connections):
            if sock := self.socket_of(conn_id):
                return [*no_delay_options(sock, self.tuning), *buffer_options(sock, self.tuning)]
        return []
