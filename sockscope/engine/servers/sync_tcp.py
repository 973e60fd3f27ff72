"""What TCP endpoints that serve in threads of their own have in common, whatever their threads do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from time import perf_counter

from sockscope.core.addresses import Address, format_address
from sockscope.core.config.models import SERVER_MODELS
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.addresses import plain_address
from sockscope.engine.options import set_no_delay
from sockscope.engine.role import Assignment
from sockscope.engine.servers.accept_gate import AcceptGate
from sockscope.engine.servers.connections import ConnectionsEndpoint
from sockscope.engine.servers.conversation import Conversation
from sockscope.engine.servers.endpoint import Inheritance, ServerContext
from sockscope.engine.servers.listener import Arrival, Listener
from sockscope.engine.threads import ThreadGroup, ThreadRecorder, Waker
from sockscope.engine.tls.contexts import told
from sockscope.engine.tls.faults import handshake_error
from sockscope.engine.tls.sockets import TlsSocket
from sockscope.engine.turns import in_turns
from sockscope.errors import ResourceLimitError

READ_BYTES = 65_536
"""Most bytes of one read, unless the tuning says otherwise."""


class SyncConnection:
    """An accepted connection whose thread does soon what the loop tells it."""

    record: ConnectionRecord
    _conversation: Conversation

    def __init__(self, arrival: Arrival) -> None:
        self.sock = arrival.sock
        self.heard_before = -1
        self.idle_since_s = 0.0
        # Why it ends, when that was decided here.
        self._reason: CloseReason | None = None
        self._arrival = arrival
        self._began_s = perf_counter()

    def open(self, endpoint: SyncTcpEndpoint) -> None:
        """Register it, in its thread: it can be used."""
        self.record = endpoint.opened(self._arrival)
        self.record.tls = self._arrival.tuning.tls
        self._conversation = Conversation(
            endpoint.recorder, self.record, self._arrival.tuning, endpoint.context.standstill
        )

    def wrap(self, endpoint: SyncTcpEndpoint) -> TlsSocket:
        """Return its socket with TLS over it, for a handshake that begins now; raises OSError."""
        self._began_s = perf_counter()
        self.sock = secured = endpoint.context.tls.wrap(endpoint.context.experiment, self.sock)
        self._arrival = self._arrival._replace(sock=secured)
        return secured

    def secured(self, endpoint: SyncTcpEndpoint, over: TlsSocket) -> None:
        """The TLS handshake is over."""
        reused = bool(over.session_reused)
        endpoint.recorder.on_handshake(perf_counter() - self._began_s, told(over), reused=reused)

    def not_secured(self, endpoint: SyncTcpEndpoint, error: OSError) -> None:
        """The TLS handshake came to nothing, unless somebody here has ended it."""
        if self._reason is None:
            address = format_address(self._arrival.remote)
            endpoint.recorder.on_handshake_failed(str(handshake_error(error)), address)

    @property
    def heard(self) -> int:
        """A number that grows with whatever the peer sends."""
        return self.record.reads

    @property
    def is_admitted(self) -> bool:
        """Whether a request of it is in service: threads have no permits to wait for."""
        return True

    def finish(self, reason: CloseReason) -> None:
        """Hear nothing more, answer what was read, then close."""
        raise NotImplementedError

    def close(self, reason: CloseReason, *, abort: bool = False) -> None:
        """Close; ``abort`` does not wait for what is being written."""
        raise NotImplementedError


class SyncTcpEndpoint(ConnectionsEndpoint):
    """A listener, its connections, and the threads that serve them.

    The threads add to ``connections`` and take away from it; the loop looks at it, and tells connections to
    end. Figures reach the recorder when the loop folds it.
    """

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        self.context = context
        tuning = self.tuning = assignment.tuning
        self.model = SERVER_MODELS[tuning.transport, tuning.server_model]
        self.look_at_tls(tuning)
        self.recorder = ThreadRecorder(context.recorder)
        self.gate = AcceptGate(self.recorder)
        self.waker = Waker()
        try:
            self.listener = Listener(context, assignment, self.waker)
        except BaseException:
            self.waker.close()
            raise
        self.address: Address = self.listener.address
        # Accepted connections whose TLS handshake is under way.
        self.handshaking: set[SyncConnection] = set()
        self.closing: CloseReason | None = None
        self.finishing: CloseReason | None = None
        self.thread_group = ThreadGroup(context.recorder, at_end=self.release)
        self._loop = asyncio.get_running_loop()

    @property
    def connections(self) -> Mapping[int, SyncConnection]:
        """The open connections by their number."""
        raise NotImplementedError

    def start_thread(self, name: str, work: Callable[[], object]) -> None:
        """Start a thread that accepts; raises ResourceLimitError when there are no more threads."""
        try:
            self.thread_group.start(name, work)
        except RuntimeError as error:
            self.release()
            raise ResourceLimitError(
                "threads", threading.active_count(), f"the server cannot start a thread: {error}"
            ) from error

    def release(self) -> None:
        """Close what is left when nobody is served any more; called by the last thread."""
        self.listener.close()
        self.waker.close()

    @property
    def read_bytes(self) -> int:
        """Most bytes that one read takes."""
        return self.tuning.read_bytes or READ_BYTES

    # Accepting, from a thread.

    def admits(self, arrival: Arrival) -> bool:
        """Whether there may be one more connection; else it is closed and counted."""
        self.context.standstill.wait()
        most = self.context.experiment.max_connections
        if len(self.connections) + len(self.handshaking) < most:
            return True
        self.turn_away(arrival, f"{most:,} connections are open already")
        return False

    def turn_away(self, arrival: Arrival, why: str) -> None:
        """Close a connection that cannot be served, and count it."""
        self.recorder.count("rejected")
        address = format_address(arrival.remote)
        self.recorder.on_error(f"not accepted: {why}", address=address, reason=CloseReason.LIMIT)
        arrival.sock.close()

    def count_raised(self, record: ConnectionRecord, text: str) -> None:
        """Count and tell that the handler of a connection has raised."""
        self.recorder.count("errors")
        self.recorder.on_error(text, record, reason=CloseReason.RAISED)

    def opened(self, arrival: Arrival) -> ConnectionRecord:
        """Register an accepted connection."""
        set_no_delay(arrival.sock, self.tuning.no_delay)
        local = plain_address(arrival.sock.getsockname())
        return self.recorder.on_open("tcp", local, arrival.remote, arrival.generation)

    # From the role.

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; connections accepted from now on get its framing and buffers."""
        self.look_at_tls(tuning)
        before, self.tuning = self.tuning, tuning
        self.listener.apply(tuning, generation)
        if tuning.no_delay != before.no_delay:
            await in_turns(self.connections.values(), self._set_no_delay)

    def look_at_tls(self, tuning: Tuning) -> None:
        """Make ready for TLS where it is asked for; raises ConfigError where that cannot be."""
        if tuning.tls:
            self.context.tls.context(self.context.experiment)  # made once, and not by several threads

    def _set_no_delay(self, connection: SyncConnection) -> None:
        with contextlib.suppress(OSError):  # its thread has closed it meanwhile
            set_no_delay(connection.sock, self.tuning.no_delay)

    def share(self) -> Inheritance | None:
        """Return a duplicate of the listener, or None when it is closed."""
        sock = self.listener.share()
        return Inheritance(sock) if sock is not None else None

    def take_back(self) -> None:
        """Go on as if nothing had been shared."""
        self.listener.take_back()

    def drain(self) -> None:
        """Close the listener; connections go on, those too that the kernel has made already."""
        self.listener.close()

    def finish(self, reason: CloseReason) -> None:
        """Close the listener, and each connection as soon as it owes no answer."""
        self.finishing = reason
        super().finish(reason)
        self._hang_up(reason)

    def _hang_up(self, reason: CloseReason) -> None:
        """End the handshakes that are under way."""
        for connection in list(self.handshaking):
            connection.close(reason, abort=True)

    @property
    def drained(self) -> bool:
        """Whether no connection and no thread is left."""
        return self.thread_group.ended

    @property
    def backlog(self) -> int:
        """Connections that the kernel has made and nobody has accepted yet."""
        return self.listener.backlog

    @property
    def listen_drops(self) -> int | None:
        """Connections that the kernel has dropped at the listener, while that is open."""
        return self.listener.drops

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of a connection."""
        connection = self.connections.get(conn_id)
        return connection.sock if connection is not None else None

    def socket_options(self) -> list[SocketOption]:
        """Return the listener's options and those of one accepted connection."""
        return [*self.listener.options(), *self.connection_options()]

    def close(self, reason: CloseReason) -> None:
        """Close the listener and abort every connection; the threads end a moment later."""
        self.closing = reason
        super().close(reason)
        self._hang_up(reason)
