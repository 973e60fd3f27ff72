"""What UDP endpoints that serve in threads of their own have in common, whatever their threads do.

Several threads, and the loop, look after the same peers; one lock guards their counters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter, sleep
from typing import NamedTuple

from sockscope.core.config.models import SERVER_MODELS
from sockscope.core.events import CloseReason
from sockscope.core.wire.sequence import number_of
from sockscope.engine.captures import clip
from sockscope.engine.own_errors import told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Remote, ServerContext
from sockscope.engine.servers.faults.requests import EXCEPTION, InjectedFault
from sockscope.engine.servers.peers import UdpPeer
from sockscope.engine.servers.udp_endpoint import (
    HELD_S,
    LARGEST_DATAGRAM_BYTES,
    MOST_HELD_S,
    UdpEndpoint,
    is_writable,
)
from sockscope.engine.threads import ThreadGroup, ThreadRecorder, Waker, spend_in_slices
from sockscope.errors import ResourceLimitError


class Datagram(NamedTuple):
    """One request: when it was read (monotonic seconds), its bytes, and who sent it."""

    read_s: float
    data: bytes
    remote: Remote
    peer: UdpPeer


class SyncUdpEndpoint(UdpEndpoint):
    """A UDP socket, its peers, and the threads that serve them."""

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        self.recorder = ThreadRecorder(context.recorder)
        self._standstill = context.standstill
        self.waker = Waker()
        try:
            super().__init__(context, assignment, self.recorder, threading.Lock())
        except BaseException:
            self.waker.close()
            raise
        self.model = SERVER_MODELS[self.tuning.transport, self.tuning.server_model]
        self.thread_group = ThreadGroup(context.recorder, at_end=self.release)

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
                        f"the server cannot start a thread: {error}",
                    ) from error  # fmt: skip
                self.recorder.on_error(f"only {number:,} threads can be started to serve in")
                break
        self.watch_idle()

    def release(self) -> None:
        """Close the socket and the waker; called by the last thread."""
        self.sock.close()
        self.waker.close()

    # In a thread.

    def receive(self) -> Datagram | None:
        """Read a datagram, without waiting, and count it.

        Returns None when its peer is not served, or when the socket is another's to read. Raises OSError.
        """
        self._standstill.wait()
        with self.lock:
            if not self.reading:
                return None
            data, remote = self.sock.recvfrom(self.tuning.read_bytes or LARGEST_DATAGRAM_BYTES)
            now = perf_counter()
            peer = self.peers.arrived(remote, number_of(data))
            if peer is None:
                return None
            self.owe(peer, len(data))
            peer.record.odd_read(len(data), 1)
        return Datagram(now, data, remote, peer)

    def spend(self) -> None:
        """Spend the service time in this thread."""
        if self.tuning.service_time_s:
            spend_in_slices(self.tuning.work, self.tuning.service_time_s, lambda: self.closed)

    def answer(self, request: Datagram) -> None:
        """Send the answer, unless its peer has been forgotten, and count it; it may have to wait for room."""
        try:
            self._standstill.at_request()
        except InjectedFault as error:
            self._raised(error, request)
            return
        until_s = perf_counter() + MOST_HELD_S if self.holds else 0.0
        while not self._answer(request, until_s):
            if is_writable(self.sock, HELD_S):
                sleep(HELD_S)  # it is the peer's buffer that has no room

    def _raised(self, error: InjectedFault, request: Datagram) -> None:
        """Count and tell that a handler has raised: there will be no answer."""
        with self.lock:
            self.owe_no_more(request.peer, len(request.data))
            self.recorder.count("errors")
            self.recorder.on_error(told(error, EXCEPTION), request.peer.record, reason=CloseReason.RAISED)

    def _answer(self, request: Datagram, until_s: float) -> bool:
        """Answer if there is room; return False when there may be later, until ``until_s``."""
        read_s, data, remote, peer = request
        with self.lock:
            # Taken before the bytes go: once they are on their way the client may be done first.
            answered_s = perf_counter()
            try:
                if not peer.gone:
                    self.sock.sendto(data, remote)
            except OSError as error:
                if isinstance(error, BlockingIOError) and answered_s < until_s and not self.closed:
                    return False
                self.owe_no_more(peer, len(data))
                self.answer_failed(error, peer, remote)
                return True
            self.owe_no_more(peer, len(data))
            if not peer.gone:
                peer.record.odd_write(len(data))
                kept = clip(data)
                self.recorder.on_exchange((read_s, answered_s, peer.record, kept, kept))
        return True

    # From the role.

    def take_back(self) -> None:
        """Read again: the successor could not begin."""
        super().take_back()
        self.waker.wake()

    @property
    def ended(self) -> bool:
        """Whether every thread has ended."""
        return self.thread_group.ended

    def close(self, reason: CloseReason) -> None:
        """Record the end of every peer, and close the socket as soon as the threads have ended."""
        super().close(reason)
        self.waker.wake()
