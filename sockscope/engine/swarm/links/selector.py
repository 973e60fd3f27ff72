"""The ``selector`` client over TCP: a non-blocking socket in the swarm's readiness set.

No transport and no task stands between the socket and the link: a read is ``recv_into``, a write is
``send``, and the connection itself is made in the same set.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.engine.addresses import both_ends, socket_address
from sockscope.engine.os_errors import close_reason, close_socket, describe
from sockscope.engine.swarm.links.dialling import FULL_BACKLOG_S, connects_at_once, is_connected
from sockscope.engine.swarm.links.tcp import TcpLink
from sockscope.engine.swarm.readiness import BUFFER_BYTES, READ, READ_ONCE, WRITE
from sockscope.engine.tls.faults import handshake_error
from sockscope.engine.tls.sockets import TlsSocket

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext


class SelectorLink(TcpLink):
    """A link over a socket of the readiness set."""

    __slots__ = (
        "_began_s", "_buffer", "_deadline", "_fault", "_interest", "_receive", "_send", "_socket", "_target",
        "_unsent",
    )  # fmt: skip

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._buffer = swarm.readiness.buffer
        self._socket: socket.socket | None = None
        self._target: Address = ("", 0)
        # When the TLS handshake began; 0: there is none under way.
        self._began_s = 0.0
        # What the socket is watched for while nothing is unsent. A TLS socket is read a record at a time, of
        # which several may have come.
        self._interest = READ_ONCE
        # The end of an attempt to connect; None when there is none under way.
        self._deadline: asyncio.TimerHandle | None = None
        # An error of a write that waits to be told: the next read finds but the end, for the kernel tells an
        # error once, to whoever asks first.
        self._fault: OSError | None = None
        # What the kernel has not taken yet.
        self._unsent = bytearray()

    # Connecting.

    def connect(self, target: Address) -> None:
        """Connect; what takes longer than a call is awaited in the set, for the connect timeout at most."""
        self.begin()
        self._target = target
        self._fault = None
        self._unsent = bytearray()
        try:
            sock = self._socket = self.new_socket(target)
            sock.setblocking(False)
            if connects_at_once(sock, target):
                self._go_on_with(sock)
            else:
                self._swarm.readiness.add(sock, WRITE, self._connect_on)
                self._set_deadline()
        except BlockingIOError:
            self._swarm.loop.call_later(FULL_BACKLOG_S, self._ask_again, sock)
            self._set_deadline()
        except OSError as error:
            self._connect_failed(error)

    def _set_deadline(self) -> None:
        timeout_s = self._swarm.tuning.connect_timeout_s
        self._deadline = self._swarm.loop.call_later(timeout_s, self._connect_failed, TimeoutError())

    def _ask_again(self, sock: socket.socket) -> None:
        """Connect to a Unix socket whose backlog was full."""
        if sock is not self._socket or self._deadline is None:
            return
        try:
            connects_at_once(sock, self._target)
            self._go_on_with(sock)
        except BlockingIOError:
            self._swarm.loop.call_later(FULL_BACKLOG_S, self._ask_again, sock)
        except OSError as error:
            self._connect_failed(error)

    def give_up_connecting(self) -> None:
        """End the attempt."""
        if self._deadline is not None:
            self._connect_failed(None)

    def _connect_on(self, _: int) -> None:
        """The attempt has ended, it seems: ask the socket how."""
        sock = self._socket
        if sock is None:
            return
        failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or sock.connect_ex(
            socket_address(self._target)
        )
        try:
            if not is_connected(failed):
                return
            self._swarm.readiness.remove(sock)
            self._go_on_with(sock)
        except OSError as error:
            self._connect_failed(error)

    def _go_on_with(self, sock: socket.socket) -> None:
        """Take a connected socket into use, after the TLS handshake if there is one; raises OSError."""
        self._interest, readiness = READ_ONCE, self._swarm.readiness
        if self._tls is None:
            self._end_attempt()
            readiness.add(sock, READ_ONCE, self._ready)
            self._connected(sock)
            return
        both_ends(sock)
        self._interest, self._began_s = READ, perf_counter()
        sock = self._socket = self._tls.wrap(sock, self._target, self._session)
        readiness.add(sock, WRITE, self._shake_hands)
        if self._deadline is None:
            self._set_deadline()

    def _shake_hands(self, _: int) -> None:
        """Go on with the TLS handshake."""
        sock, readiness = self._socket, self._swarm.readiness
        assert isinstance(sock, TlsSocket)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            readiness.watch(sock, READ)
            return
        except ssl.SSLWantWriteError:
            readiness.watch(sock, WRITE)
            return
        except OSError as error:
            self._connect_failed(error)
            return
        self._end_attempt()
        self._secured(sock, self._began_s, perf_counter())
        self._began_s = 0.0
        readiness.remove(sock)
        readiness.add(sock, READ, self._ready)
        self._connected(sock)

    def _connected(self, sock: socket.socket) -> None:
        try:
            local, remote = both_ends(sock)
        except OSError as error:
            # The peer has reset it already, or there is none.
            self._connect_failed(error)
            return
        self._receive, self._send = sock.recv_into, sock.send
        self._client.connected("tcp", local, remote)

    def _connect_failed(self, error: OSError | None) -> None:
        self._end_attempt()
        if self._began_s and error is not None:
            error = handshake_error(error)
        self._began_s = 0.0
        self._let_go()
        self._client.connect_failed(error)

    def _end_attempt(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Reading.

    def _ready(self, events: int) -> None:
        """Recognise the answer; the hot path of a swarm."""
        if events != READ:
            self._ready_for_more(events)
            return
        buffer, receive = self._buffer, self._receive
        try:
            size = receive(buffer)
        except OSError as error:
            self._read_failed(error)
            return
        expect = self._expect
        now = perf_counter()
        if (
            expect is None
            or size != len(expect)
            or not buffer.startswith(expect)
            or now - self._sent_s > self._timeout_s
        ):
            self._take(size)
            return
        # Functions are taken out of their slots before they are called: as a method call the same is twice as
        # slow in CPython 3.11.
        record, on_exchange = self.record, self._on_exchange
        on_exchange((self._sent_s, now, record, self._kept, self._kept_answer))  # type: ignore[arg-type]
        if not self.steady:
            record.odd_read(size, 1)  # type: ignore[union-attr]
            if self._waited_s:
                self._on_waited((self._sent_s, now, self._waited_s))
            self._sent_s = 0.0
            self._expect = None
            self._client.answered()
            return
        # The next request goes out here and now, so its clock is this one.
        self._sent_s = now
        record.exchanges += 1  # type: ignore[union-attr]
        send, wire = self._send, self._wire
        try:
            sent = send(wire)
        except OSError as error:
            self._write_failed(wire, error)
            return
        if sent != len(wire):
            self._keep_unsent(wire, sent)

    def _ready_for_more(self, events: int) -> None:
        """There is room to write, or an end or an error to be read behind what has come."""
        if events & WRITE:
            self._write_on()
        sock = self._socket
        if sock is None or not events & ~WRITE:
            return
        try:
            size = self._receive(self._buffer)
        except OSError as error:
            self._read_failed(error)
            return
        self._take(size)
        if sock is self._socket:
            self._watch(sock)

    def _take(self, size: int) -> None:
        """Take a read that is not the answer in one, or the end."""
        if not size:
            self._lost(self._fault)
            return
        sock = self._socket
        self._take_read(self._swarm.readiness.taken(size), perf_counter())
        if size == BUFFER_BYTES and sock is not None and sock is self._socket:
            # There may be more, of which nothing would be told.
            self._watch(sock)

    def _read_failed(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self._lost(error)

    def _watch(self, sock: socket.socket) -> None:
        """Be told of what there is to read, and of room to write while something is unsent."""
        self._swarm.readiness.watch(sock, self._interest | WRITE if self._unsent else self._interest)

    # Writing.

    def transmit(self) -> None:
        """Write the request."""
        self._expect, data = self._whole, self._wire
        if self._unsent:
            self._unsent += data
            return
        # As in :meth:`_ready`; this is what a request with a permit goes out by.
        send = self._send
        try:
            sent = send(data)
        except OSError as error:
            self._write_failed(data, error)
            return
        if sent != len(data):
            self._keep_unsent(data, sent)

    def converse(self, says: bytes) -> None:
        """Write these bytes; what is read is told anyway."""
        if says:
            self._write(says)

    def transmit_several(self, wires: list[bytes]) -> None:
        """Write requests as one run of bytes."""
        self._write(b"".join(wires) if len(wires) > 1 else wires[0])

    def _write(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            return
        send = self._send
        try:
            sent = send(data)
        except OSError as error:
            self._write_failed(data, error)
            return
        if sent != len(data):
            self._keep_unsent(data, sent)

    def _write_failed(self, data: bytes, error: OSError) -> None:
        if isinstance(error, BlockingIOError):
            self._keep_unsent(data, 0)
        else:
            # Not from within the write: the caller still works with this connection.
            self._fault = error
            self._swarm.loop.call_soon(self._broken, self._socket, error)

    def _keep_unsent(self, data: bytes, sent: int) -> None:
        """Write the rest of ``data`` when the kernel has room for it."""
        if self._socket is not None:
            self._unsent += memoryview(data)[sent:]
            self._watch(self._socket)

    def _write_on(self) -> None:
        """The kernel has room for more of what is unsent."""
        sock = self._socket
        assert sock is not None
        try:
            del self._unsent[: self._send(self._unsent)]
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if self._unsent:
            self._watch(sock)
        elif self._closing:
            self._lost(None)
        else:
            self._watch(sock)

    # Closing.

    @property
    def unsent(self) -> bool:
        """Whether the kernel has yet to take something."""
        return bool(self._unsent)

    def close(self, *, abort: bool) -> None:
        """Close after what is still to be written, or at once.

        Until then reads go on, or a server that waits until it is read would not read either.
        """
        self._expect = None
        self._closing = True
        sock = self._socket
        if sock is None:
            return
        if self._unsent and not abort:
            self._watch(sock)
            return
        self._unsecured(truncated=False)
        self._let_go()
        self._swarm.loop.call_soon(self._closed, self.record)

    def _closed(self, record: object) -> None:
        if record is self.record:
            self._client.lost(close_reason(None))

    def _broken(self, sock: socket.socket | None, error: OSError) -> None:
        if sock is not None and sock is self._socket:
            self._lost(error)

    def _lost(self, error: OSError | None) -> None:
        if self._over is not None:
            self._unsecured(truncated=isinstance(error, ssl.SSLEOFError))
        self._let_go()
        self._client.lost(close_reason(error), "" if error is None else describe(error))

    def _let_go(self) -> None:
        """Take the socket out of the set and close it."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self._swarm.readiness.remove(sock)
            close_socket(sock)
        self._unsent = bytearray()

    @property
    def sock(self) -> socket.socket | None:
        """The socket of the connection; None without one."""
        return self._socket if self.record is not None else None
