"""The ``blocking`` client: a thread for each client, which blocks in connect, sendall and recv.

The thread does what it is ordered to. As long as nothing stands between an answer and the next request (no
permits, no think time, no budget) it goes straight on by itself; everything else is decided on the loop by
the closed loop that all clients share, so that permits, think time, lifetime and their figures are the same
for every model. The loop ends a wait from outside by shutting down the socket.

While a thread is at work the client's fields are its own, but for what the lock says.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Tuning
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.addresses import both_ends, socket_address
from sockscope.engine.os_errors import close_reason, close_socket, describe
from sockscope.engine.swarm.links.tcp import DialledLink, tcp_options

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

READ_BYTES = 65_536
"""Most bytes that one read takes."""


class Dialled(NamedTuple):
    """A connected socket and its two ends."""

    sock: socket.socket
    local: Address
    remote: Address


class BlockingLink(DialledLink):
    """A link whose socket blocks a thread."""

    __slots__ = ("_at_work", "_begun", "_dialling", "_handed_s", "_lock", "_orders", "_sock")

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._sock: socket.socket | None = None
        self._dialling: socket.socket | None = None
        self._begun = False
        # Whether the thread has been told to wait for an answer and has not told of one.
        self._at_work = False
        # How long the request under way took from the loop to its thread: nothing was asked meanwhile.
        self._handed_s = 0.0
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # Around the end of a request (answered or given up) and of a socket (shut down or closed).
        self._lock = threading.RLock()

    # In the thread.

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            order()

    def _dial(self, target: Address, reply: asyncio.Future[Dialled]) -> None:
        try:
            sock = self.new_socket(target)
        except OSError as error:
            self._tell(_fail, reply, error)
            return
        self._dialling = sock
        try:
            sock.settimeout(self._swarm.tuning.connect_timeout_s)
            sock.connect(socket_address(target))
            sock.settimeout(None)
            dialled = Dialled(sock, *both_ends(sock))
        except OSError as error:
            with self._lock:
                self._dialling = None
                sock.close()
            self._tell(_fail, reply, error)
            return
        with self._lock:
            self._dialling = None
        self._tell(_succeed, reply, dialled)

    def _ask(self, sock: socket.socket, wire: bytes) -> None:
        """Send a request and read; send it again and again as long as nothing else is to be done."""
        with self._lock:
            if ordered_s := self._sent_s:
                self._sent_s = now_s = perf_counter()
                self._handed_s = now_s - ordered_s
        try:
            sock.sendall(wire)
            while self._goes_on(data := sock.recv(READ_BYTES)):
                sock.sendall(data)
        except OSError as error:
            self._end(sock, error)
        else:
            self._hand_over(sock, data)

    def _goes_on(self, data: bytes) -> bool:
        """Record a whole answer and return True if the next request is to go out here and now."""
        with self._lock:
            if data != self._whole or not (self.steady and self._sent_s):
                return False
            now = perf_counter()
            record = self.record
            assert record is not None
            self._on_exchange((self._sent_s, now, record, self._kept, self._kept))
            self._sent_s = now
            record.exchanges += 1
            return True

    def _receive(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(READ_BYTES)
        except OSError as error:
            self._end(sock, error)
        else:
            self._hand_over(sock, data)

    def _hand_over(self, sock: socket.socket, data: bytes) -> None:
        if data:
            self._tell(self._heard, sock, data, perf_counter())
        else:
            self._end(sock, None)

    def _end(self, sock: socket.socket, error: OSError | None) -> None:
        with self._lock:
            if sock.fileno() < 0:
                return
            close_socket(sock)
        self._tell(self._ended, sock, error)

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        self._swarm.loop.call_soon_threadsafe(call, *args)

    # On the loop.

    async def dial(self, target: Address) -> None:
        """Connect within the tuning's connect timeout; raises OSError or TimeoutError."""
        self.begin()
        self._begin_thread()
        reply: asyncio.Future[Dialled] = self._swarm.loop.create_future()
        self._orders.put(partial(self._dial, target, reply))
        try:
            sock, local, remote = await reply
        except asyncio.CancelledError:
            if reply.done() and not reply.cancelled() and reply.exception() is None:
                reply.result().sock.close()
            raise
        self._sock = sock
        self._at_work = False
        self._client.connected("tcp", local, remote)

    def _begin_thread(self) -> None:
        if self._begun:
            return
        try:
            self._swarm.thread_group.start(f"client {self._client.number}", self._work)
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no more threads") from error
        self._begun = True

    def hear(self) -> bool:
        """Take what has come while nobody read, the end included; return whether the connection is over."""
        assert self._sock is not None
        try:
            unasked = self._sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            self._client.leave(close_reason(error), describe(error))
            return True
        if unasked:
            self._take_read(unasked, perf_counter())
        else:
            self._client.leave(close_reason(None))
        return self._closing

    def send(self) -> None:
        """Send one request, unless the connection has ended since the last answer."""
        if self.hear():
            self._swarm.take_back()
        else:
            super().send()

    def outdate(self) -> None:
        """The tuning changed: the thread has counted its next request, or asks for it."""
        with self._lock:
            super().outdate()

    def transmit(self) -> None:
        """Have the thread write the request and wait for the answer."""
        assert self._sock is not None
        self._at_work = True
        self._orders.put(partial(self._ask, self._sock, self._wire))

    def _heard(self, sock: socket.socket, data: bytes, read_s: float) -> None:
        if sock is not self._sock:
            return
        self._at_work = False
        asked_s, handed_s = self._sent_s, self._handed_s + perf_counter() - read_s
        self._take_read(data, read_s)
        if asked_s and self._sent_s != asked_s:
            # It was the answer, and on the way back here nothing was asked either.
            self._swarm.idle.add(handed_s)
        # With the next request on its way the thread waits for its answer already.
        if self.under_way and not self._at_work:
            self._at_work = True
            self._orders.put(partial(self._receive, sock))

    def _ended(self, sock: socket.socket, error: OSError | None) -> None:
        if sock is self._sock:
            self._sock = None
            self._client.lost(close_reason(error), "" if error is None else describe(error))

    def time_out(self, before_s: float) -> None:
        """Give the connection up, unless the answer comes at this very moment."""
        with self._lock:
            if self.overdue(before_s):
                super().time_out(before_s)

    def close(self, *, abort: bool) -> None:
        """Close the socket; a thread that waits at it is woken up."""
        self._expect = None
        self._closing = True
        if self._sock is None:
            return
        if self._at_work:
            _shut_down(self._sock, self._lock)
        self._orders.put(partial(self._end, self._sock, None))

    def dismiss(self) -> None:
        """Let the thread end."""
        if self._begun:
            self._orders.put(None)
        if self._dialling is not None:
            _shut_down(self._dialling, self._lock)

    def socket_options(self, tuning: Tuning) -> list[SocketOption]:
        """Return TCP_NODELAY and the buffer sizes."""
        return tcp_options(self._sock, tuning)


def _shut_down(sock: socket.socket, lock: threading.RLock) -> None:
    # Under the lock, for the thread may close it, and the descriptor be another's a moment later.
    with lock, contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _succeed(reply: asyncio.Future[Dialled], dialled: Dialled) -> None:
    if reply.done():
        dialled.sock.close()
    else:
        reply.set_result(dialled)


def _fail(reply: asyncio.Future[Dialled], error: OSError) -> None:
    if not reply.done():
        reply.set_exception(error)
