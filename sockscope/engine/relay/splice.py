"""A spliced connection: a client's and the relay's own to the server, and the two ways between them.

What is read from one side is written to the other at once, from one buffer. What a side does not take is
kept, at most one read of it, and no more is read from the other side until it has gone: that is how a slow
reader is felt at the far end. EOF is passed on as a half-close when everything before it has gone, and a
reset as a reset.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.core.connection import ConnectionRecord, ConnectionState
from sockscope.core.events import CloseReason
from sockscope.engine.addresses import both_ends, family_of, socket_address
from sockscope.engine.options import set_no_delay
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.relay.direction import Direction
from sockscope.engine.relay.passage import Common
from sockscope.engine.swarm.readiness import BUFFER_BYTES, READ, READ_ONCE, WRITE
from sockscope.engine.unix_sockets import name_client

if TYPE_CHECKING:
    from sockscope.engine.relay.tcp import TcpPassage

_BROKEN = 0x8
"""EPOLLERR: the peer has reset the connection, or it broke otherwise."""
_PEER_ENDED = 0x2000 | 0x10 | _BROKEN
"""With EPOLLRDHUP and EPOLLHUP: there is an end to be read behind the last bytes, which is not told again."""
FULL_BACKLOG_S = 0.01
"""How often a Unix socket asks again that finds the backlog full: nothing tells when that has room."""
_ABORT = struct.pack("ii", 1, 0)
KEEP_ALIVE_S = 15
"""A peer that is silent for so long is probed (SO_KEEPALIVE), so that one that has vanished is told of."""


class Way:
    """One direction of a splice, from ``source`` to ``target``."""

    __slots__ = (
        "_common", "_direction", "_recv_into", "_record", "_send", "_splice", "back", "ended", "is_up",
        "passed", "pending", "source", "target", "watched",
    )  # fmt: skip

    back: Way
    """The other direction, which writes to the source of this one."""

    def __init__(self, splice: Splice, direction: Direction, source: socket.socket, target: socket.socket):
        self._splice = splice
        self._common = splice.common
        self._record = splice.record
        self._direction = direction
        self.is_up = direction.name == "up"
        self.source, self.target = source, target
        self._recv_into, self._send = source.recv_into, target.send
        self.pending = b""
        """What has been read and the target has not taken yet."""
        self.ended = False
        """Whether EOF was read."""
        self.passed = False
        """Whether EOF was passed on, or nothing more can be."""
        self.watched = 0

    def ready(self, events: int) -> None:
        """The source is ready for ``events``: there is something to read, or room to write."""
        if events & WRITE:
            self.back.flush()
        if not (self.pending or self.ended):
            if events != WRITE:
                self._read(events)
        elif events & _BROKEN:
            # What cannot be read now will not be read any more.
            self._splice.break_off(_error_of(self.source))

    def _read(self, events: int) -> None:
        common, direction, record = self._common, self._direction, self._record
        try:
            size = self._recv_into(common.readiness.buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._splice.break_off(error)
            return
        if not size:
            self.ended = True
            self.finish()
            return
        direction.reads += 1
        direction.bytes_in += size
        if self.is_up:
            record.odd_reads += 1
            record.odd_bytes_in += size
            record.tally.changed = True
        self._write(size)
        if size == BUFFER_BYTES or events & _PEER_ENDED:
            self.watch_again()

    def _write(self, size: int) -> None:
        """Write what was read; what is not taken waits, and so does the source."""
        common = self._common
        try:
            sent = self._send(common.view[:size])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._splice.break_off(error, unwritable=self)
            return
        if sent:
            self._count(sent)
        if sent == size:
            common.recorder.on_late((perf_counter() - common.readiness.turn_s,))
        else:
            self.pending = bytes(common.view[sent:size])
            self._stopped()

    def _count(self, sent: int) -> None:
        direction = self._direction
        direction.writes += 1
        direction.bytes_out += sent
        if not self.is_up:
            record = self._record
            record.odd_writes += 1
            record.odd_bytes_out += sent
            record.tally.changed = True

    def _stopped(self) -> None:
        """The target does not read: wait until it does."""
        if not self.is_up:
            self._common.recorder.on_paused(self._record)
        self._direction.held += 1
        self._direction.held_bytes += len(self.pending)
        self.watch_again()
        self.back.watch_again()

    def flush(self) -> None:
        """The target may have room again."""
        if not self.pending:
            return
        try:
            sent = self._send(self.pending)
        except BlockingIOError:
            return
        except OSError as error:
            self._splice.break_off(error, unwritable=self)
            return
        self._count(sent)
        self._direction.held_bytes -= sent
        self.pending = self.pending[sent:]
        if self.pending:
            return
        self._direction.held -= 1
        if not self.is_up:
            self._common.recorder.on_resumed(self._record)
        self.back.watch_again()
        if self.ended:
            self.finish()
        else:
            self.watch_again()

    def finish(self) -> None:
        """Pass EOF on, when everything before it has gone."""
        if self.pending or self.passed:
            return
        self.passed = True
        if self.back.passed:
            self._splice.close(CloseReason.EOF)
            return
        self._record.state = ConnectionState.HALF_CLOSED
        try:
            self.target.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._splice.break_off(error)

    def watch_again(self) -> None:
        """Watch the source for what matters now, and hear anew what it is ready for already."""
        if self._splice.closed:
            return
        events = READ_ONCE if not (self.pending or self.ended) else READ_ONCE & ~READ
        if self.back.pending:
            events |= WRITE
        self._common.readiness.watch(self.source, events)

    def forget(self) -> None:
        """Nothing waits any more."""
        if self.pending:
            self._direction.held -= 1
            self._direction.held_bytes -= len(self.pending)
            self.pending = b""

    def drain(self) -> None:
        """Pass on what has come before the end of the connection, as far as it is taken at once."""
        while not (self.pending or self.ended or self._splice.closed):
            before = self._direction.reads
            self._read(0)
            if self._direction.reads == before:
                return


class Splice:
    """A client's connection, and the one to the server that goes with it."""

    def __init__(
        self, passage: TcpPassage, common: Common, client: socket.socket, record: ConnectionRecord
    ) -> None:
        self.common = common
        self.record = record
        self.client = client
        self.server: socket.socket | None = None
        self.closed = False
        self._passage = passage
        self._untried = list(common.targets)
        self._give_up_s = perf_counter() + common.connect_timeout_s
        self._up: Way | None = None
        self._breaking = False
        client.setblocking(False)
        _keep(client)
        common.readiness.add(client, READ_ONCE & ~READ, self._client_waits)

    # The connection to the server.

    def connect(self, _: float = 0.0) -> None:
        """Begin to connect to the server, or try again."""
        if self.closed:
            return
        target = self._untried[0]
        try:
            if self.server is None:
                self.server = _new_socket(target)
            number = self.server.connect_ex(socket_address(target))
            if number == errno.EAGAIN and self.server.family is socket.AF_UNIX:
                self._connect_later()
            elif number in (errno.EINPROGRESS, errno.EALREADY):
                self.common.readiness.add(self.server, WRITE, self._connecting)
            elif number in (0, errno.EISCONN):
                self._connected(self.server)
            else:
                raise OSError(number, os.strerror(number))
        except OSError as error:
            self._failed(error)

    def _connect_later(self) -> None:
        if perf_counter() > self._give_up_s:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        self.common.schedule.at(perf_counter() + FULL_BACKLOG_S, self.connect)

    def _connecting(self, _: int) -> None:
        server = self.server
        if server is None:
            return
        self.common.readiness.remove(server)
        number = server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            if number:
                raise OSError(number, os.strerror(number))
            self._connected(server)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """The server cannot be reached: the next address, or the client hears of it."""
        self._drop_server()
        if len(self._untried) > 1 and isinstance(error, ConnectionRefusedError):
            del self._untried[0]
            self.connect()
            return
        recorder, reason = self.common.recorder, close_reason(error)
        recorder.count({
            CloseReason.REFUSED: "refused", CloseReason.TIMEOUT: "connect_timeouts",
        }.get(reason, "connect_failures"))  # fmt: skip
        recorder.connects_without_port += error.errno == errno.EADDRNOTAVAIL
        self.abort(reason, f"cannot connect to the server: {describe(error)}")

    def _connected(self, server: socket.socket) -> None:
        local, _ = both_ends(server)
        self.record.local_address = local
        common = self.common
        up = self._up = Way(self, common.up, self.client, server)
        down = Way(self, common.down, server, self.client)
        up.back, down.back = down, up
        common.readiness.add(server, READ_ONCE, down.ready)
        common.readiness.remove(self.client)
        common.readiness.add(self.client, READ_ONCE, up.ready)

    def _client_waits(self, events: int) -> None:
        """The client has ended while there is no server yet; what it has sent may still be meant."""
        if events & _BROKEN:
            self.abort(CloseReason.RESET, "the client has gone before the server was reached")

    def _drop_server(self) -> None:
        if self.server is not None:
            self.common.readiness.remove(self.server)
            self.server.close()
            self.server = None

    # Its end.

    def break_off(self, error: OSError, unwritable: Way | None = None) -> None:
        """One side has broken the connection: the other one hears of it, after what came before.

        A side that takes nothing more may have said something still.
        """
        if self.closed or self._breaking:
            return
        self._breaking = True
        if unwritable is not None:
            unwritable.forget()
            unwritable.back.drain()
        reason = close_reason(error)
        self.abort(reason, describe(error) if reason is CloseReason.OS_ERROR else "")

    def abort(self, reason: CloseReason, text: str = "") -> None:
        """Reset both sides."""
        for sock in (self.client, self.server):
            if sock is not None and sock.family is not socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self.close(reason, text)

    def close(self, reason: CloseReason, text: str = "") -> None:
        """Close both sides now."""
        if self.closed:
            return
        self.closed = True
        if self._up is not None:
            self._up.forget()
            self._up.back.forget()
        self.common.readiness.remove(self.client)
        self.client.close()
        self._drop_server()
        self._passage.forget(self, reason, text)


def _new_socket(target: Address) -> socket.socket:
    sock = socket.socket(family_of(target[0]), socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        if sock.family is socket.AF_UNIX:
            name_client(sock)
        else:
            _keep(sock)
    except OSError:
        sock.close()
        raise
    return sock


def _keep(sock: socket.socket) -> None:
    """Delay nothing on a connection, and find out when its peer has vanished."""
    if sock.family is socket.AF_UNIX:
        return
    set_no_delay(sock, no_delay=True)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if (idle := getattr(socket, "TCP_KEEPIDLE", None)) is not None:
        sock.setsockopt(socket.IPPROTO_TCP, idle, KEEP_ALIVE_S)


def _error_of(sock: socket.socket) -> OSError:
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
    return OSError(number, os.strerror(number))
