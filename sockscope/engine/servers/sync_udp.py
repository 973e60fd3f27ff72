"""What UDP endpoints that serve in threads of their own have in common: a socket, its peers, their counters.

Several threads, and the loop, look after the same peers; one lock guards their counters.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Tuning
from sockscope.core.config.models import SERVER_MODELS
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.core.wire.sequence import number_of
from sockscope.engine.addresses import plain_address
from sockscope.engine.options import buffer_options, change_buffers, dropped_datagrams, reuse_options
from sockscope.engine.os_errors import describe
from sockscope.engine.recorder import clip
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.datagram import DRAIN_SILENCE_S, LARGEST_DATAGRAM_BYTES
from sockscope.engine.servers.endpoint import (
    Inheritance,
    Remote,
    SequenceCounts,
    ServerContext,
    bound_socket,
)
from sockscope.engine.servers.peers import Peers, UdpPeer
from sockscope.engine.threads import ThreadGroup, ThreadRecorder, Waker, spend_in_slices
from sockscope.errors import ResourceLimitError


class Datagram(NamedTuple):
    """One request: when it was read (monotonic seconds), its bytes, and who sent it."""

    read_s: float
    data: bytes
    remote: Remote
    peer: UdpPeer


class SyncUdpEndpoint:
    """A UDP socket, its peers, and the threads that serve them."""

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        self.context = context
        self.recorder = ThreadRecorder(context.recorder)
        tuning = self.tuning = assignment.tuning
        self.model = SERVER_MODELS[tuning.transport, tuning.server_model]
        self.waker = Waker()
        try:
            self.sock = bound_socket(socket.SOCK_DGRAM, context, assignment)
        except BaseException:
            self.waker.close()
            raise
        self.address: Address = plain_address(self.sock.getsockname())
        self.peers = Peers(context, self.recorder, self.address, assignment.generation)
        self.reading = True
        self.closing = False
        self.thread_group = ThreadGroup(context.recorder, at_end=self.release)
        self._lock = threading.Lock()
        self._owed = 0
        self._reads_seen = -1
        self._last_read_s = perf_counter()
        self._loop = asyncio.get_running_loop()
        self._watcher: asyncio.TimerHandle | None = None

    def start_threads(self, work: Callable[[], object], count: int = 1) -> None:
        """Start up to ``count`` threads; raises ResourceLimitError when there is not even one."""
        for number in range(count):
            try:
                self.thread_group.start(f"udp {self.model.name} {number + 1}", work)
            except RuntimeError as error:
                if not number:
                    self.release()
                    raise ResourceLimitError(
                        "threads", threading.active_count(),
                        f"this system gives no thread to the server: {error}",
                    ) from error  # fmt: skip
                self.recorder.on_error(f"no more than {number:,} threads to serve in")
                break
        self._watch_idle()

    def release(self) -> None:
        """Close the socket and the waker; called by the last thread."""
        self.sock.close()
        self.waker.close()

    # In a thread.

    def receive(self) -> Datagram | None:
        """Read a datagram, without waiting, and count it.

        Returns None when its peer is not served, or when the socket is another's to read. Raises OSError.
        """
        with self._lock:
            if not self.reading:
                return None
            data, remote = self.sock.recvfrom(self.tuning.read_bytes or LARGEST_DATAGRAM_BYTES)
            now = perf_counter()
            peer = self.peers.arrived(remote, number_of(data))
            if peer is None:
                return None
            peer.in_service += 1
            self._owed += 1
            peer.record.odd_read(len(data), 1)
        return Datagram(now, data, remote, peer)

    def spend(self) -> None:
        """Spend the service time in this thread."""
        if self.tuning.service_time_s:
            spend_in_slices(self.tuning.work, self.tuning.service_time_s, lambda: self.closing)

    def answer(self, request: Datagram) -> None:
        """Send the answer, unless its peer has been forgotten, and count it."""
        read_s, data, remote, peer = request
        with self._lock:
            self._owed -= 1
            peer.in_service -= 1
            if peer.gone:
                return
            # Taken before the bytes go: once they are on their way the client may be done first.
            answered_s = perf_counter()
            try:
                self.sock.sendto(data, remote)
            except OSError as error:
                self.recorder.count("errors")
                self.recorder.on_error(f"answer not sent: {describe(error)}", peer.record)
                return
            peer.record.odd_write(len(data))
            kept = clip(data)
            self.recorder.on_exchange((read_s, answered_s, peer.record, kept, kept))

    # From the role.

    def _watch_idle(self) -> None:
        with self._lock:
            again_s = self.peers.forget_silent()
        self._watcher = self._loop.call_later(again_s, self._watch_idle)

    def sequence_counts(self) -> SequenceCounts:
        """Return datagrams lost, reordered and duplicated of the peers that are here."""
        with self._lock:
            return self.peers.sequence_counts()._replace(dropped=self._dropped)

    @property
    def _dropped(self) -> int:
        """What the kernel has dropped here; a socket that is shared is its successor's to tell of."""
        return dropped_datagrams(self.sock) if self.reading else 0

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; buffers of a UDP socket can change in place."""
        self.tuning = tuning
        self.peers.generation = generation
        with contextlib.suppress(OSError):  # the last thread has closed it meanwhile
            change_buffers(self.sock, tuning)

    def share(self) -> Inheritance | None:
        """Return a duplicate of the socket, or None when it is closed or another's already."""
        with self._lock:
            if not self.reading:
                return None
            sock = self.sock.dup()
            self.reading = False
            return Inheritance(sock, self.peers.counted())

    def take_back(self) -> None:
        """Read again: the successor could not begin."""
        self.reading = True
        self.waker.wake()

    def drain(self) -> None:
        """Nothing to do: what was sent before is still to be read, and is answered until all are silent."""

    def finish(self, reason: CloseReason) -> None:
        """Answer who is here; UDP peers are told nothing."""
        self.drain()

    @property
    def drained(self) -> bool:
        """Whether no answer is due and nothing came lately; once closed, whether every thread has ended."""
        if self.closing:
            return self.thread_group.ended
        with self._lock:
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
    def not_accepting(self) -> str:
        """Nobody is accepted over UDP, and nobody is refused."""
        return ""

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return None: UDP peers share one socket, which has no counters of its own."""
        return None

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Forget a peer; its next datagram makes a new connection."""
        with self._lock:
            return self.peers.forget_connection(conn_id, reason)

    def socket_options(self) -> list[SocketOption]:
        """Return the socket's buffer sizes, and whether it shares its port."""
        return [
            *reuse_options(self.sock, self.context.experiment),
            *buffer_options(self.sock, self.tuning),
        ]

    def close(self, reason: CloseReason) -> None:
        """Record the end of every peer, and close the socket as soon as the threads have ended."""
        if self._watcher is not None:
            self._watcher.cancel()
        with self._lock:
            self.recorder.count("dropped", self._dropped)
            self.closing = True
            self.reading = False
            self.peers.forget_all(reason)
        self.waker.wake()
