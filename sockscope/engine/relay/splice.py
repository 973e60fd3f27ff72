"""A spliced connection: a client's and the relay's own to the server, and the two ways between them.

Whichever side breaks its connection, the other one sees a reset.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.impairment.stream import NONE, Fate
from sockscope.core.run.client_states import end_of
from sockscope.engine.addresses import both_ends, family_of, socket_address
from sockscope.engine.options import set_no_delay
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.relay.overheard import Talk
from sockscope.engine.relay.passage import Common, PassedEnds
from sockscope.engine.relay.way import BROKEN, Way
from sockscope.engine.swarm.readiness import READ, READ_ONCE, WRITE
from sockscope.engine.unix_sockets import name_client

if TYPE_CHECKING:
    from sockscope.engine.relay.tcp import TcpPassage

FULL_BACKLOG_S = 0.01
"""How often a Unix socket asks again that finds the backlog full: nothing tells when that has room."""
BY_FAULT = "by a fault"
"""What a connection says of its end that was made on purpose."""
_ABORT = struct.pack("ii", 1, 0)
KEEP_ALIVE_S = 15
"""A peer that is silent for so long is probed (SO_KEEPALIVE), so that one that has vanished is told of."""


class Splice:
    """A client's connection, and the one to the server that goes with it."""

    def __init__(
        self, passage: TcpPassage, common: Common, client: socket.socket, record: ConnectionRecord
    ) -> None:
        self.common = common
        self.record = record
        self.client = client
        self.server: socket.socket | None = None
        self.ends: PassedEnds | None = None
        """What both ends are called, once the server is reached."""
        self.closed = False
        self._passage = passage
        self._untried = list(common.targets)
        self._give_up_s = perf_counter() + common.connect_timeout_s
        self._up: Way | None = None
        self.talk = Talk(common.overheard, record) if common.overheard is not None else None
        self.breaking = False
        """Whether one side has broken it, so that an end of the other is none to be passed on."""
        self.counts_from_s = record.opened_s
        """Since when the ages count at which faults do something to it, monotonic."""
        self._fate = NONE
        client.setblocking(False)
        _keep(client)
        common.readiness.add(client, READ_ONCE & ~READ, self._client_waits)
        self._meet()

    # The connection to the server.

    def connect(self, _: float = 0.0) -> None:
        """Begin to connect to the server, or try again."""
        if self.closed:
            return
        if self._fate.refused:
            self.common.up.refused += 1
            self.abort(CloseReason.REFUSED, BY_FAULT)
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
        self.common.unreached += 1
        recorder.count({
            CloseReason.REFUSED: "refused", CloseReason.TIMEOUT: "connect_timeouts",
        }.get(reason, "connect_failures"))  # fmt: skip
        recorder.connects_without_port += error.errno == errno.EADDRNOTAVAIL
        self.abort(reason, f"cannot connect to the server: {describe(error)}")

    def _connected(self, server: socket.socket) -> None:
        local, _ = both_ends(server)
        self.record.local_address = local
        self.ends = PassedEnds(end_of(self.record.remote_address), end_of(local), perf_counter())
        common = self.common
        up = self._up = Way(self, common.up, self.client, server)
        down = Way(self, common.down, server, self.client)
        up.back, down.back = down, up
        number = self.record.conn_id
        if common.is_impaired:
            for way, direction in (up, common.up), (down, common.down):
                way.turn(direction.stream(number))
        common.readiness.add(server, READ_ONCE, down.ready)
        common.readiness.remove(self.client)
        common.readiness.add(self.client, READ_ONCE, up.ready)

    def _client_waits(self, events: int) -> None:
        """The client has ended while there is no server yet; what it has sent may still be meant."""
        if events & BROKEN:
            self.abort(CloseReason.RESET, "the client has gone before the server was reached")

    def _drop_server(self) -> None:
        if self.server is not None:
            self.common.readiness.remove(self.server)
            self.server.close()
            self.server = None

    # Faults.

    def turn(self) -> None:
        """Go over to the faults that are on now; ages count from now on."""
        if self.closed:
            return
        self.counts_from_s = perf_counter()
        self._meet()
        if self._up is not None:
            for way, direction in (self._up, self.common.up), (self._up.back, self.common.down):
                way.turn(direction.stream(self.record.conn_id))

    def _meet(self) -> None:
        """Plan what is to become of the connection, where that is something else than before."""
        number, impairer = self.record.conn_id, self.common.up.stream(self.record.conn_id)
        before, self._fate = self._fate, impairer.fate(number) if impairer is not None else NONE
        after_s = self._fate.reset_after_s
        if after_s not in (None, before.reset_after_s):
            self.common.schedule.at(self.counts_from_s + after_s, partial(self._reset, self._fate))

    def _reset(self, fate: Fate, _: float) -> None:
        if self._fate.reset_after_s == fate.reset_after_s and not self.closed:
            self.common.up.reset += 1
            self.abort(CloseReason.RESET, BY_FAULT)

    # Its end.

    def break_off(self, error: OSError, unwritable: Way | None = None) -> None:
        """One side has broken the connection: the other one hears of it, after what came before.

        A side that takes nothing more may have said something still.
        """
        if self.closed or self.breaking:
            return
        self.breaking = True
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
        if self.talk is not None:
            self.talk.end()
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
