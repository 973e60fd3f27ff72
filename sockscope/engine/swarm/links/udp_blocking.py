"""The ``blocking`` client over UDP: a thread for each client, which blocks in send and recv, with a timeout.

As over TCP the thread goes on by itself as long as nothing stands between an answer and the next request;
all else is decided on the loop. The socket's timeout is the request's, in slices, so that a thread soon sees
that the timeout was turned or the socket given up. While a thread waits, it alone tells of a timeout.
"""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.events import CloseReason
from sockscope.engine.os_errors import close_reason, close_socket, describe
from sockscope.engine.stops import STOPS
from sockscope.engine.swarm.links.client_thread import ClientThread
from sockscope.engine.swarm.links.udp import UdpLink
from sockscope.engine.threads import SLICE_S

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

LEAST_S = 1e-3
"""Shortest wait for room: a timeout of 0 would be none."""
HEARD_AT_ONCE = 64
"""Datagrams that are looked at before a request, though there may be more."""


class BlockingUdpLink(UdpLink):
    """A link whose socket blocks a thread."""

    __slots__ = ("_at_work", "_handed_s", "_lock", "_thread")

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._thread = ClientThread(swarm, client)
        self._lock = self._thread.lock
        # Whether the thread has been told to wait for an answer and has not told of one.
        self._at_work = False
        # How long the request under way took from the loop to its thread: nothing was asked meanwhile.
        self._handed_s = 0.0

    @property
    def most_under_way(self) -> int:
        """One: a thread waits for its answer."""
        return 1

    # In the thread.

    def _ask(self, sock: socket.socket, wire: bytes) -> None:
        """Send a request and wait; send the next again and again as long as nothing else is to be done."""
        with self._lock:
            if ordered_s := self._sent_s:
                self._sent_s = now_s = perf_counter()
                self._handed_s = now_s - ordered_s
                if not self.steady:
                    self._waited_s += self._handed_s
        try:
            self._send_blocking(sock, wire)
            data = self._wait_for(sock)
            while data is not None and (wire := self._goes_on_by_itself(sock, data)):
                self._send_blocking(sock, wire)
                data = self._wait_for(sock)
        except OSError as error:
            self._thread.tell(self._broken, sock, error)
        else:
            self._thread.tell(self._heard, sock, data, perf_counter())

    def _receive(self, sock: socket.socket) -> None:
        """Wait on for the answer."""
        try:
            data = self._wait_for(sock)
        except OSError as error:
            self._thread.tell(self._broken, sock, error)
        else:
            self._thread.tell(self._heard, sock, data, perf_counter())

    def _send_blocking(self, sock: socket.socket, wire: bytes) -> None:
        try:
            if self._is_unix:
                self._send_when_there_is_room(sock, wire)
            else:
                sock.send(wire)
        except TimeoutError:
            self._swarm.recorder.post(partial(self._not_sent, [wire]))
        except OSError:
            self._swarm.recorder.post(partial(self._not_written, [wire]))
            raise

    def _send_when_there_is_room(self, sock: socket.socket, wire: bytes) -> None:
        """Send at a Unix socket, where the sender waits for room, for as long as the request may take."""
        with contextlib.suppress(BlockingIOError):
            os.write(sock.fileno(), wire)
            return
        recorder = self._swarm.recorder
        recorder.post(partial(recorder.count, "held"))
        while self._left_s(sock) > 0:
            sock.settimeout(max(min(self._left_s(sock), SLICE_S), LEAST_S))
            with contextlib.suppress(TimeoutError):
                sock.send(wire)
                return
        self._held.append(wire)
        recorder.post(partial(self._not_written, [wire]))

    def _left_s(self, sock: socket.socket) -> float:
        """Return until when the request may be answered; 0 when its socket is given up."""
        return self._sent_s + self._timeout_s - perf_counter() if sock is self._socket else 0.0

    def _wait_for(self, sock: socket.socket) -> bytes | None:
        """Return the next datagram; None when the request has timed out, or the socket is given up."""
        while True:
            try:
                return sock.recv(self._read_size)
            except TimeoutError:
                timeout_s = self._swarm.tuning.request_timeout_s
                left_s = self._sent_s + timeout_s - perf_counter()
                if left_s <= 0 or sock is not self._socket:
                    return None
                sock.settimeout(min(left_s, SLICE_S))

    def _goes_on_by_itself(self, sock: socket.socket, data: bytes) -> bytes:
        with self._lock:
            return self._goes_on(data, perf_counter()) if sock is self._socket else b""

    # On the loop.

    def watch(self, sock: socket.socket) -> None:
        """Have a thread to wait for the socket; raises OSError."""
        self._thread.begin()
        self._at_work = False
        sock.settimeout(min(self._swarm.tuning.request_timeout_s, SLICE_S))

    def unwatch(self, sock: socket.socket) -> None:
        """Wake up the thread if it waits, and have it close the socket."""
        if self._at_work:
            with contextlib.suppress(OSError):  # not where a system shuts down TCP alone: a slice ends soon
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.order(partial(close_socket, sock))
        self._swarm.loop.call_soon(self._client.lost, CloseReason.CLOSED)

    def hear(self) -> bool:
        """Take what has come while nobody read; return whether the connection is over."""
        for _ in range(HEARD_AT_ONCE):
            sock, record = self._socket, self.record
            if sock is None or record is None:
                return True
            try:
                # Not recv(), which would wait for the timeout of the socket.
                data = os.read(sock.fileno(), self._read_size)
            except BlockingIOError:
                return False
            except OSError as error:
                self._count_refusal(record, error)
                self._client.leave(close_reason(error), describe(error))
                return True
            self._take(data, perf_counter())
        return False

    def send(self, waited_s: float = 0.0, now_s: float = 0.0) -> None:
        """Send one request, unless nobody listens any more, as was heard since the last answer."""
        if self.hear():
            self._swarm.take_back()
        else:
            super().send(waited_s, now_s)

    def transmit(self) -> None:
        """Have the thread send the request and wait for the answer."""
        assert self._socket is not None
        self._at_work = True
        self._thread.order(partial(self._ask, self._socket, self._make()))

    def _heard(self, sock: socket.socket, data: bytes | None, read_s: float) -> None:
        """The thread has a datagram, or has waited for as long as the timeout (None)."""
        if sock is not self._socket:
            self._swarm.recorder.unread += data is not None
            return
        self._at_work = False
        asked_s, handed_s = self._sent_s, self._handed_s + perf_counter() - read_s
        if data is not None:
            self._take(data, read_s)
        else:
            STOPS.look()
            before_s = perf_counter() - self._swarm.tuning.request_timeout_s
            if self.overdue(before_s):
                self.time_out(before_s)
        if asked_s and self._sent_s != asked_s:
            # It is over, and on the way back here nothing was asked either.
            self._swarm.idle.add(handed_s)
        # With the next request on its way the thread waits for its answer already.
        if self.under_way and not self._at_work and sock is self._socket:
            self._at_work = True
            self._thread.order(partial(self._receive, sock))

    def _broken(self, sock: socket.socket, error: OSError) -> None:
        if sock is self._socket:
            self._at_work = False
            self._refused(error)

    def overdue(self, before_s: float) -> bool:
        """Whether a request was sent before ``before_s``, is not answered, and no thread waits for that."""
        return not self._at_work and super().overdue(before_s)

    def settle(self, before_s: float) -> None:
        """Call lost what was given up before ``before_s`` and is not among what nobody has read yet."""
        if not self._at_work:
            self.hear()
        super().settle(before_s)

    def outdate(self) -> None:
        """The tuning changed: the thread has counted its next request, or asks for it."""
        with self._lock:
            super().outdate()

    def skip(self, stopped_s: float) -> None:
        """Let no time have passed for what is under way."""
        with self._lock:
            super().skip(stopped_s)

    def close(self, *, abort: bool) -> None:
        """Give the socket up; a thread that waits at it is woken up."""
        with self._lock:
            super().close(abort=abort)

    def dismiss(self) -> None:
        """Let the thread end."""
        self._thread.end()
