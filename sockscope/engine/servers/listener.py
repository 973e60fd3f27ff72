"""A TCP listener that a thread waits at while the loop may empty and close it.

Both ends accept without blocking and under a lock, so that no connection is accepted after the close and
none that the kernel had made before is forgotten. A waker wakes up the thread that waits.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from typing import Any, NamedTuple

from sockscope.core.addresses import Address
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.addresses import plain_address
from sockscope.engine.options import (
    ListenDrops,
    change_buffers,
    listener_backlog,
    listener_queue,
    reuse_options,
    set_accepted_buffers,
)
from sockscope.engine.os_errors import listen_error
from sockscope.engine.role import Assignment
from sockscope.engine.servers.accept_gate import ACCEPT_PAUSE_S
from sockscope.engine.servers.endpoint import ServerContext, bound_socket
from sockscope.engine.threads import Waker


class Arrival(NamedTuple):
    """An accepted socket, where it comes from, and the tuning that was in force when it connected.

    ``peer_name`` is where it comes from as ``accept`` told it: two values, or four over IPv6, or a path.
    """

    sock: socket.socket
    remote: Address
    tuning: Tuning
    generation: int
    peer_name: Any


class Listener:
    """A listening socket, and what was in its backlog when the loop looked."""

    def __init__(self, context: ServerContext, assignment: Assignment, waker: Waker) -> None:
        self.tuning = assignment.tuning
        self.generation = assignment.generation
        self._context = context
        self._lock = threading.Lock()
        self._taken: deque[Arrival] = deque()
        self._waker = waker
        # A duplicate listens elsewhere too: to end the listening itself would end it there as well.
        self._shared = context.inheritance is not None
        self._refusing = False
        self._socket: socket.socket | None = bound_socket(socket.SOCK_STREAM, context, assignment)
        try:
            self._socket.listen(context.experiment.backlog)
        except OSError as error:
            self._socket.close()
            raise listen_error(assignment.address, error) from error
        self._drops = ListenDrops(self._socket)
        self.address: Address = plain_address(self._socket.getsockname())

    # From the thread that accepts.

    def fileno(self) -> int:
        """Return the descriptor to watch, -1 when it is closed."""
        return self._socket.fileno() if self._socket is not None else -1

    def accept(self) -> Arrival | None:
        """Return who has connected, without waiting; None when there is nobody. Raises OSError."""
        with self._lock:
            if self._taken:
                return self._taken.popleft()
            return self._accept()

    def wait(self) -> None:
        """Return when somebody may have connected, or the loop has closed the listener."""
        if (descriptor := self.fileno()) < 0:
            return
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        poll.poll()
        self._waker.clear()

    def pause(self) -> None:
        """Wait a moment, but not longer than the listener is open."""
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        poll.poll(ACCEPT_PAUSE_S * 1_000)
        self._waker.clear()

    @property
    def has_taken(self) -> bool:
        """Whether the loop has taken somebody out of the backlog who is still to be accepted."""
        return bool(self._taken)

    @property
    def finished(self) -> bool:
        """Whether it is closed and everybody who had connected has been accepted."""
        return (self._refusing or self._socket is None) and not self._taken

    # From the loop.

    def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning for who connects from now on; who is in the backlog keeps the one before."""
        with self._lock:
            if not tuning.frames_alike(self.tuning):
                self._take_backlog()
            self.tuning, self.generation = tuning, generation
            if self._socket is not None:
                change_buffers(self._socket, tuning)
        if self._taken:
            self._waker.wake()

    def refuse(self) -> None:
        """Let nobody new connect, but keep who has connected for the next :meth:`accept`."""
        with self._lock:
            if self._socket is None or self._refusing:
                return
            self._take_backlog()
            self._refusing = True
            self._context.recorder.listen_drops += self._drops.end()
            if not self._shared:
                # Ends the listening itself, whoever still watches the descriptor; BSD has no such thing.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Refuse, and close the descriptor: no thread may watch it, but one may be in :meth:`wait`."""
        self.refuse()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        self._waker.wake()

    def share(self) -> socket.socket | None:
        """Return a duplicate of the listening socket, on which a successor can go on to listen."""
        with self._lock:
            if self._socket is None or self._refusing:
                return None
            sock = self._socket.dup()
            self._shared = True
            return sock

    def take_back(self) -> None:
        """Forget that it was shared: the successor has closed its duplicate."""
        with self._lock:
            self._shared = False

    @property
    def backlog(self) -> int:
        """Connections that wait here, taken out of the kernel's queue by the loop or still in it."""
        with self._lock:
            queued = listener_queue(self._socket) if self._socket is not None else None
            return len(self._taken) + (queued or 0)

    @property
    def drops(self) -> int | None:
        """Connections that the kernel has dropped here, while it listens."""
        with self._lock:
            return self._drops.count

    def options(self) -> list[SocketOption]:
        """Return the listener's options, requested and effective."""
        with self._lock:
            if self._socket is None:
                return []
            experiment = self._context.experiment
            return [
                *reuse_options(self._socket, experiment),
                SocketOption("backlog", experiment.backlog, listener_backlog(self._socket)),
            ]

    # Under the lock.

    def _accept(self) -> Arrival | None:
        if self._socket is None or self._refusing:
            return None
        try:
            sock, peer_name = self._socket.accept()
        except BlockingIOError:
            return None
        set_accepted_buffers(sock, self.tuning)
        return Arrival(sock, plain_address(peer_name), self.tuning, self.generation, peer_name)

    def _take_backlog(self) -> None:
        with contextlib.suppress(OSError):  # without descriptors the rest is lost with the listener
            # Linux queues one more than it is asked to.
            for _ in range(self._context.experiment.backlog + 1):
                if (arrival := self._accept()) is None:
                    return
                self._taken.append(arrival)
