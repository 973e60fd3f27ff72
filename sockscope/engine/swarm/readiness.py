"""The readiness set of a swarm: its sockets in one epoll (kqueue) of their own, read in bounded turns.

The descriptor of the set is one reader of the event loop. However many of its sockets are ready, one turn of
the loop handles at most :data:`EVENTS_PER_TURN` of them, so that no more requests than that are answered at
a time. That bounds the server's side of a shared loop too, and keeps timers, keys and the screen on time
whatever the number of clients is. The kernel hands out what is ready in turns: nobody starves.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from collections.abc import Callable
from typing import Any, Protocol

EVENTS_PER_TURN = 64
"""Sockets handled in one turn of the loop: a millisecond of work, and as fast as more of them at a time."""
MANY = 1_024
"""From so many sockets on half as many are handled in a turn: by their next turn they are cold in the caches,
and each takes twice as long."""
BUFFER_BYTES = 65_536
"""Most bytes that one read takes."""
READ = 1
WRITE = 4
"""What a socket is watched for, and what it is ready for: the bits of EPOLLIN and EPOLLOUT. Whatever else the
kernel reports (an error, a hang-up) shows in the next read."""
READ_ONCE = READ | 2 | 0x2000 | 1 << 31
"""Watched for with EPOLLPRI, EPOLLRDHUP and EPOLLET: what has come is told once, and not as long as it is
unread, which saves the kernel a look at every socket after every read. Whoever has not read all of it calls
:meth:`ReadinessSet.watch` again, as is needed after urgent data: a read ends there, whatever comes behind it
(tcp(7)). kqueue goes on telling, which does no harm."""

Ready = Callable[[int], None]
"""Called with what its socket is ready for."""


class Poller(Protocol):
    """A kernel's readiness mechanism that has a descriptor of its own."""

    def fileno(self) -> int:
        """Return the descriptor, which is readable while a watched socket is ready."""
        ...

    def register(self, fd: int, events: int) -> None:
        """Watch a descriptor."""
        ...

    def modify(self, fd: int, events: int) -> None:
        """Watch a descriptor for something else."""
        ...

    def unregister(self, fd: int) -> None:
        """Watch a descriptor no longer."""
        ...

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """Return at most ``most`` descriptors that are ready, each with what it is ready for."""
        ...

    def close(self) -> None:
        """Close the mechanism's own descriptor."""
        ...


class KqueuePoller:
    """kqueue(2) with the calls of ``select.epoll``; ``kernel`` has its names, as ``select`` has on BSD."""

    def __init__(self, kernel: Any = select) -> None:
        self._kernel = kernel
        self._queue = kernel.kqueue()
        self._watched: dict[int, int] = {}

    def fileno(self) -> int:
        """Return the descriptor, which is readable while a watched socket is ready."""
        descriptor: int = self._queue.fileno()
        return descriptor

    def register(self, fd: int, events: int) -> None:
        """Watch a descriptor."""
        self._watched[fd] = 0
        self.modify(fd, events)

    def modify(self, fd: int, events: int) -> None:
        """Watch a descriptor for something else."""
        kernel = self._kernel
        before, self._watched[fd] = self._watched[fd], events
        changes = [
            kernel.kevent(fd, kind, kernel.KQ_EV_ADD if events & bit else kernel.KQ_EV_DELETE)
            for bit, kind in ((READ, kernel.KQ_FILTER_READ), (WRITE, kernel.KQ_FILTER_WRITE))
            if (events ^ before) & bit
        ]
        if changes:
            self._queue.control(changes, 0)

    def unregister(self, fd: int) -> None:
        """Watch a descriptor no longer."""
        self.modify(fd, 0)
        del self._watched[fd]

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """Return at most ``most`` descriptors that are ready, each with what it is ready for."""
        kernel = self._kernel
        ready = self._queue.control(None, most, timeout)
        return [(event.ident, WRITE if event.filter == kernel.KQ_FILTER_WRITE else READ) for event in ready]

    def close(self) -> None:
        """Close the queue."""
        self._queue.close()


def new_poller() -> Poller:
    """Return the mechanism of this system; raises OSError when no descriptor is left for it."""
    return select.epoll() if hasattr(select, "epoll") else KqueuePoller()


class ReadinessSet:
    """Sockets and what is called when they are ready. ``buffer`` is shared by all reads of the set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self.buffer)
        self._loop = loop
        self._ready: dict[int, Ready] = {}
        self._poller: Poller | None = None

    def __len__(self) -> int:
        return len(self._ready)

    def taken(self, size: int) -> bytes:
        """Return the first ``size`` bytes of the buffer, to keep."""
        return bytes(self._view[:size])

    def add(self, sock: socket.socket, events: int, ready: Ready) -> None:
        """Call ``ready`` whenever ``sock`` is ready for one of ``events``; raises OSError."""
        poller = self._poller
        if poller is None:
            poller = self._poller = new_poller()
            self._poll = poller.poll
            self._loop.add_reader(poller.fileno(), self._turn)
        fd = sock.fileno()
        poller.register(fd, events)
        self._ready[fd] = ready

    def watch(self, sock: socket.socket, events: int) -> None:
        """Watch a socket of the set for other events from now on."""
        assert self._poller is not None
        self._poller.modify(sock.fileno(), events)

    def remove(self, sock: socket.socket) -> None:
        """Watch a socket no longer; it must still be open.

        User code in this process may have closed its descriptor: then the kernel has forgotten it already.
        """
        fd = sock.fileno()
        if self._ready.pop(fd, None) is not None and self._poller is not None:
            try:
                self._poller.unregister(fd)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EBADF):
                    raise

    def close(self) -> None:
        """Let go of the mechanism; the sockets stay open."""
        self._ready.clear()
        if self._poller is not None:
            self._loop.remove_reader(self._poller.fileno())
            self._poller.close()
            self._poller = None

    def _turn(self) -> None:
        handlers = self._ready
        most = EVENTS_PER_TURN if len(handlers) < MANY else EVENTS_PER_TURN // 2
        for fd, events in self._poll(0, most):
            # One that was closed by a call before it is gone; where its number belongs to another socket by
            # now, that one finds nothing to read.
            ready = handlers.get(fd)
            if ready is not None:
                ready(events)
