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
import socket
import ssl
import threading
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING, NamedTuple

from sockscope.core.addresses import Address
from sockscope.engine.addresses import both_ends, socket_address
from sockscope.engine.os_errors import close_reason, close_socket, describe
from sockscope.engine.swarm.links.client_thread import ClientThread
from sockscope.engine.swarm.links.dialling import FULL_BACKLOG_S, DialledLink
from sockscope.engine.swarm.links.transport import LEAST_HANDSHAKE_S
from sockscope.engine.tls.contexts import ClientTls
from sockscope.engine.tls.faults import handshake_error
from sockscope.engine.tls.sockets import TlsSocket

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

    __slots__ = ("_at_work", "_dialling", "_handed_s", "_lock", "_sock", "_thread")

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._sock: socket.socket | None = None
        self._dialling: socket.socket | None = None
        # Whether the thread has been told to wait for an answer and has not told of one.
        self._at_work = False
        # How long the request under way took from the loop to its thread: nothing was asked meanwhile.
        self._handed_s = 0.0
        self._thread = ClientThread(swarm, client)
        # Around the end of a request (answered or given up) and of a socket (shut down or closed).
        self._lock = self._thread.lock

    # In the thread.

    def _dial(self, target: Address, reply: asyncio.Future[Dialled]) -> None:
        try:
            sock = self.new_socket(target)
        except OSError as error:
            self._thread.tell(_fail, reply, error)
            return
        self._dialling = sock
        try:
            timeout_s = self._swarm.tuning.connect_timeout_s
            until_s = perf_counter() + timeout_s
            sock.settimeout(timeout_s)
            self._connect_in_thread(sock, target, until_s)
            ends = both_ends(sock)
            if self._tls is not None:
                sock = self._shake_hands(sock, self._tls, target, until_s)
            sock.settimeout(None)
            dialled = Dialled(sock, *ends)
        except OSError as error:
            with self._lock:
                if self._dialling is not None:
                    self._dialling.close()
                self._dialling = None
                sock.close()
            self._thread.tell(_fail, reply, error)
            return
        with self._lock:
            self._dialling = None
        self._thread.tell(_succeed, reply, dialled)

    def _connect_in_thread(self, sock: socket.socket, target: Address, until_s: float) -> None:
        while not self._client.retiring:
            try:
                sock.connect(socket_address(target))
            except BlockingIOError:  # the backlog of a Unix socket is full
                if perf_counter() >= until_s:
                    raise TimeoutError from None
                sleep(FULL_BACKLOG_S)
            else:
                return
        raise ConnectionAbortedError

    def _shake_hands(self, sock: socket.socket, tls: ClientTls, target: Address, until_s: float) -> TlsSocket:
        """Return the socket when the TLS handshake is over; raises OSError."""
        began_s = perf_counter()
        try:
            with self._lock:
                self._dialling = secured = tls.wrap(sock, target, self._session)
            secured.settimeout(max(until_s - began_s, LEAST_HANDSHAKE_S))
            secured.do_handshake()
        except OSError as error:
            raise handshake_error(error) from None
        self._thread.tell(self._secured, secured, began_s, perf_counter())
        return secured

    def _ask(self, sock: socket.socket, wire: bytes) -> None:
        """Send a request and read; send it again and again as long as nothing else is to be done."""
        with self._lock:
            if ordered_s := self._sent_s:
                self._sent_s = now_s = perf_counter()
                self._handed_s = now_s - ordered_s
                if not self.steady:
                    self._waited_s += self._handed_s
        try:
            sock.sendall(wire)
            while self._goes_on(data := sock.recv(READ_BYTES)):
                sock.sendall(wire)
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
            if now - self._sent_s > self._timeout_s:
                return False
            record = self.record
            assert record is not None
            self._on_exchange((self._sent_s, now, record, self._kept, self._kept_answer))
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
            self._thread.tell(self._heard, sock, data, perf_counter())
        else:
            self._end(sock, None)

    def _end(self, sock: socket.socket, error: OSError | None) -> None:
        with self._lock:
            if sock.fileno() < 0:
                return
            self._unsecured(truncated=isinstance(error, ssl.SSLEOFError))
            close_socket(sock)
        self._thread.tell(self._ended, sock, error)

    # On the loop.

    async def dial(self, target: Address) -> None:
        """Connect within the tuning's connect timeout; raises OSError or TimeoutError."""
        self.begin()
        self._thread.begin()
        reply: asyncio.Future[Dialled] = self._swarm.loop.create_future()
        self._thread.order(partial(self._dial, target, reply))
        try:
            sock, local, remote = await reply
        except asyncio.CancelledError:
            if reply.done() and not reply.cancelled() and reply.exception() is None:
                reply.result().sock.close()
            raise
        self._sock = sock
        self._at_work = False
        self._client.connected("tcp", local, remote)

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

    def send(self, waited_s: float = 0.0, now_s: float = 0.0) -> None:
        """Send one request, unless the connection has ended since the last answer."""
        if self.hear():
            self._swarm.take_back()
        else:
            super().send(waited_s, now_s)

    def outdate(self) -> None:
        """The tuning changed: the thread has counted its next request, or asks for it."""
        with self._lock:
            super().outdate()

    def transmit(self) -> None:
        """Have the thread write the request and wait for the answer."""
        assert self._sock is not None
        self._at_work = True
        self._thread.order(partial(self._ask, self._sock, self._wire))

    def converse(self, says: bytes) -> None:
        """Have the thread write these bytes, if there are any, and read."""
        assert self._sock is not None
        self._at_work = True
        order = partial(self._ask, self._sock, says) if says else partial(self._receive, self._sock)
        self._thread.order(order)

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
        waits = (self.under_way and self._unproved is None) or self._prologue
        if waits and not self._at_work:
            self._at_work = True
            self._thread.order(partial(self._receive, sock))

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
        self._thread.order(partial(self._end, self._sock, None))

    def dismiss(self) -> None:
        """Let the thread end."""
        self._thread.end()
        if self._dialling is not None:
            _shut_down(self._dialling, self._lock)

    @property
    def sock(self) -> socket.socket | None:
        """The socket of the connection; None without one."""
        return self._sock


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
