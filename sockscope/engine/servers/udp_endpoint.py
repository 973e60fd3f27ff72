"""What UDP endpoints have in common: a socket, its peers, and the answers that are due to them."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import islice
from time import perf_counter
from typing import Any

from sockscope.core.addresses import Address
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.addresses import plain_address
from sockscope.engine.options import (
    ReceiveBuffer,
    buffer_options,
    change_buffers,
    receive_buffer,
    reuse_options,
    take_unread,
)
from sockscope.engine.os_errors import describe, has_no_room
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import (
    Inheritance,
    Remote,
    SequenceCounts,
    ServerContext,
    bound_socket,
)
from sockscope.engine.servers.peers import Peers, UdpPeer
from sockscope.engine.threads import ThreadRecorder
from sockscope.engine.timers import punctual

MOST_OWED = 65_536
"""Requests in service or waiting for it, at the most; then the socket is left alone, and the kernel drops."""
MOST_OWED_BYTES = 67_108_864
"""Bytes of these requests, at the most: a datagram may hold 64 KiB."""
READS_PER_TURN = 64
"""Datagrams read in one turn of a loop, so that a flood cannot keep the loop for itself."""
LARGEST_DATAGRAM_BYTES = 65_536
"""More than any datagram holds, so that none is cut off."""
HELD_S = 1e-3
"""How often an answer is tried again for which a Unix socket had no room: nothing tells when it has."""
MOST_HELD_S = 1.0
"""How long that may take; then its peer does not read."""
DRAIN_SILENCE_S = 0.25
"""A draining socket is done when nothing came for this long."""


def is_writable(sock: socket.socket, within_s: float) -> bool:
    """Tell whether the send buffer of a socket has room, or has within so many seconds."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(within_s * 1_000))


class UdpEndpoint:
    """A UDP socket and its peers; a subclass reads and answers.

    ``lock`` is held around what several threads may look at: the peers and what is owed to them.
    """

    def __init__(
        self,
        context: ServerContext,
        assignment: Assignment,
        recorder: Recorder | ThreadRecorder,
        lock: AbstractContextManager[Any, Any],
    ) -> None:
        self.context = context
        self.tuning = assignment.tuning
        self.lock = lock
        self.sock = bound_socket(socket.SOCK_DGRAM, context, assignment)
        self.address: Address = plain_address(self.sock.getsockname())
        self.holds = self.sock.family == socket.AF_UNIX
        """Whether an answer waits for room instead of being lost."""
        self.peers = Peers(context, recorder, self.address, assignment.generation)
        self.closed = False
        self.reading = True
        """Whether the socket is read here: it is not closed, nor a successor's to read."""
        self._given = False
        self._recorder = recorder
        self._owed = self._owed_bytes = 0
        self._reads_seen = -1
        self._last_read_s = perf_counter()
        self._loop = asyncio.get_running_loop()
        self.call_later = punctual(self._loop)
        # The next attempt to send what waits for room.
        self._retry: asyncio.TimerHandle | None = None
        self._watcher: asyncio.TimerHandle | None = None

    # What is owed; under the lock.

    def owe(self, peer: UdpPeer, size: int) -> None:
        """A request of ``size`` bytes is to be answered."""
        peer.in_service += 1
        self._owed += 1
        self._owed_bytes += size

    def owe_no_more(self, peer: UdpPeer, size: int) -> None:
        """It is, or never will be."""
        peer.in_service -= 1
        self._owed -= 1
        self._owed_bytes -= size

    @property
    def has_room(self) -> bool:
        """Whether one more request may be read; else the kernel keeps it, or drops it."""
        return self._owed < MOST_OWED and self._owed_bytes < MOST_OWED_BYTES

    def answer_failed(self, error: OSError, peer: UdpPeer, remote: Remote) -> None:
        """Count and log an answer that could not be sent; a Unix socket that is gone is told as such."""
        if self.holds and isinstance(error, ConnectionRefusedError | FileNotFoundError):
            self.peers.has_gone(remote, peer)
            return
        self._recorder.count("errors")
        if has_no_room(error):
            self._recorder.count("unsent")
        self._recorder.on_error(f"answer not sent: {describe(error)}", peer.record)

    def send_later(self, send: Callable[[], None]) -> None:
        """Call ``send`` when there may be room, once more at least; it stops watching the socket.

        Nothing tells when a peer's buffer has room, and a peer that never reads has ours filled, too.
        """
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self.call_later(HELD_S, send)
        if not is_writable(self.sock, 0.0):
            self._loop.add_writer(self.sock, send)

    # From the role.

    async def take_faults(self) -> None:
        """Nothing to do: who serves in threads meets them at each request."""

    def transports(self) -> Iterable[asyncio.Transport]:
        """Return none: a datagram socket has no write buffer of ours."""
        return ()

    def cancels(self) -> Iterable[Callable[[], object]]:
        """Return nothing: no handler is a task."""
        return ()

    def watch_idle(self) -> None:
        """Forget, every now and then, who has been silent for too long."""
        with self.lock:
            again_s = self.peers.forget_silent()
        self._watcher = self._loop.call_later(again_s, self.watch_idle)

    def sequence_counts(self) -> SequenceCounts:
        """Return datagrams lost, reordered, duplicated and dropped here; nothing once it is closed."""
        with self.lock:
            unread_bytes, dropped = self._buffer_now
            return self.peers.sequence_counts()._replace(dropped=dropped, unread_bytes=unread_bytes)

    @property
    def _buffer_now(self) -> ReceiveBuffer:
        """What the kernel tells of the socket; one that is shared is its successor's to tell of."""
        return ReceiveBuffer() if self.holds or self._given or self.closed else receive_buffer(self.sock)

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; buffers of a UDP socket can change in place."""
        self.tuning = tuning
        self.peers.generation = generation
        with contextlib.suppress(OSError):  # it is closed meanwhile
            change_buffers(self.sock, tuning)

    def share(self) -> Inheritance | None:
        """Return a duplicate of the socket, or None when it is closed or another's already."""
        with self.lock:
            if not self.reading:
                return None
            sock = self.sock.dup()
            self.reading = False
            self._given = True
            return Inheritance(sock, self.peers.counted())

    def take_back(self) -> None:
        """Read again: the successor could not begin."""
        self.reading = True
        self._given = False

    def drain(self) -> None:
        """Nothing to do: what was sent before is still to be read, and is answered until all are silent."""

    def finish(self, reason: CloseReason) -> None:
        """Answer who is here; UDP peers are told nothing."""
        self.drain()

    @property
    def ended(self) -> bool:
        """Whether nobody is at work any more, once it is closed."""
        return True

    @property
    def drained(self) -> bool:
        """Whether no answer is due and nothing came lately; once closed, whether all work has ended."""
        if self.closed:
            return self.ended
        with self.lock:
            reads = self.peers.reads
        now = perf_counter()
        if reads != self._reads_seen:
            self._reads_seen, self._last_read_s = reads, now
        return not self._owed and now - self._last_read_s >= DRAIN_SILENCE_S

    @property
    def owing(self) -> bool:
        """Whether an answer is due."""
        return self._owed > 0

    @property
    def open_connections(self) -> int:
        """Peers that are remembered."""
        return len(self.peers.known)

    @property
    def backlog(self) -> int:
        """Nobody is accepted over UDP."""
        return 0

    @property
    def listen_drops(self) -> int | None:
        """Nobody connects over UDP."""
        return None

    @property
    def not_accepting(self) -> str:
        """Nobody is accepted over UDP, and nobody is refused."""
        return ""

    def in_service(self, start: int, most: int) -> list[ConnectionRecord]:
        """Return the peers with a request that was read and is not answered; ``most`` from ``start`` on."""
        with self.lock:
            looked = islice(self.peers.known.values(), start, start + most)
            return [peer.record for peer in looked if peer.in_service]

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return None: UDP peers share one socket, which has no counters of its own."""
        return None

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Forget a peer; its next datagram makes a new connection."""
        with self.lock:
            return self.peers.forget_connection(conn_id, reason)

    def socket_options(self) -> list[SocketOption]:
        """Return the socket's buffer sizes, and whether it shares its port."""
        return [
            *reuse_options(self.sock, self.context.experiment),
            *buffer_options(self.sock, self.tuning),
        ]

    def close(self, reason: CloseReason) -> None:
        """Record the end of every peer, and read nothing more; the subclass closes the socket."""
        if self._watcher is not None:
            self._watcher.cancel()
        with self.lock:
            if not (self.holds or self._given or self.closed):
                self._recorder.count("unread", sum(1 for _ in take_unread(self.sock)))
            self._recorder.count("dropped", self._buffer_now.dropped)
            self.closed = True
            self.reading = False
            self.peers.forget_all(reason)
