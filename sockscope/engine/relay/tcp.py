"""The streams of a relay: a listener, and a splice for each connection that it accepts."""

from __future__ import annotations

import asyncio
import socket
import sys

from sockscope.core.addresses import Address, format_address
from sockscope.core.events import CloseReason
from sockscope.engine.addresses import family_of, plain_address, socket_address
from sockscope.engine.os_errors import listen_error
from sockscope.engine.relay.passage import Common, PassedEnds
from sockscope.engine.relay.splice import Splice
from sockscope.engine.servers.accept_gate import ACCEPT_PAUSE_S, AcceptGate
from sockscope.engine.turns import in_turns

ACCEPTS_PER_TURN = 64
"""Connections accepted in one turn of the loop."""
_CAN_REFUSE = sys.platform == "linux"
"""Whether a listener keeps its port after shutdown(2), refuses who connects, and may listen again."""


class TcpPassage:
    """A listener and what came in there. ``most`` connections are open at a time, any more are reset."""

    def __init__(self, common: Common, address: Address, most: int) -> None:
        self._common = common
        self._most = most
        self._splices: dict[int, Splice] = {}
        self._gate = AcceptGate(common.recorder)
        self._pause: asyncio.TimerHandle | None = None
        self._listener: socket.socket | None = _listening(common, address)
        self.address: Address = plain_address(self._listener.getsockname())
        self._refuses = False
        common.loop.add_reader(self._listener, self._accept)
        self._meet()

    def _accept(self) -> None:
        listener = self._listener
        if listener is None:
            return
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, remote = listener.accept()
            except BlockingIOError:
                self._gate.open()
                return
            except OSError as error:
                if self._gate.failed(error):
                    continue
                self._pause_accepting()
                return
            room = self._gate.accepted(sock.fileno())
            self._splice(sock, plain_address(remote))
            if not room:
                self._pause_accepting()
                return

    def _splice(self, sock: socket.socket, remote: Address) -> None:
        common, recorder = self._common, self._common.recorder
        if len(self._splices) >= self._most:
            recorder.rejected += 1
            recorder.on_error(
                f"not accepted: {self._most:,} connections are open already",
                address=format_address(remote),
                reason=CloseReason.LIMIT,
            )
            sock.close()
            return
        record = recorder.on_open("tcp", self.address, remote, common.generation)
        record.tap = common.name
        common.opened += 1
        splice = self._splices[record.conn_id] = Splice(self, common, sock, record)
        splice.connect()

    def _pause_accepting(self) -> None:
        """No descriptor is left: the listener would stay readable, so look again later."""
        assert self._listener is not None
        self._common.loop.remove_reader(self._listener)
        self._pause = self._common.loop.call_later(ACCEPT_PAUSE_S, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if self._listener is None or self._refuses:
            return
        if not self._gate.has_room():
            self._pause = self._common.loop.call_later(ACCEPT_PAUSE_S, self._resume_accepting)
            return
        self._pause = None
        self._common.loop.add_reader(self._listener, self._accept)
        self._accept()

    def forget(self, splice: Splice, reason: CloseReason, text: str) -> None:
        """A splice is closed."""
        self._splices.pop(splice.record.conn_id, None)
        self._common.recorder.on_close(splice.record, reason, text)

    # From the relay.

    def _meet(self) -> None:
        """Listen or do not, as the faults are now: where all are refused the kernel does it, as it can.

        A share of them only is reset after the kernel has made the connection, as it makes all.
        """
        listener, refuses = self._listener, self._common.up.faults.refuse_ratio >= 1 and _CAN_REFUSE
        if listener is None or refuses == self._refuses or listener.family is socket.AF_UNIX:
            return
        self._refuses = refuses
        if refuses:
            self._common.loop.remove_reader(listener)
            listener.shutdown(socket.SHUT_RDWR)
        else:
            listener.listen(self._common.experiment.backlog)
            self._resume_accepting()

    async def turn(self) -> None:
        """Go over to the faults that are on now."""
        self._meet()
        await in_turns(self._splices.values(), Splice.turn)

    def drain(self) -> None:
        """Accept who has connected by now, and nobody else."""
        if self._listener is None:
            return
        if self._pause is not None:
            self._pause.cancel()
        elif not self._refuses:
            self._accept()
            self._common.loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None

    @property
    def drained(self) -> bool:
        """Whether every connection is closed."""
        return not self._splices

    @property
    def open_connections(self) -> int:
        """Connections that are open here."""
        return len(self._splices)

    def ends(self) -> list[PassedEnds]:
        """Return the ends of the connections that reach the server."""
        return [splice.ends for splice in self._splices.values() if splice.ends is not None]

    @property
    def not_accepting(self) -> str:
        """Why nobody is accepted at the moment."""
        return self._gate.why_not

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of the client's side of a connection, or None."""
        splice = self._splices.get(conn_id)
        return splice.client if splice is not None else None

    def close_connection(self, conn_id: int, reason: CloseReason) -> bool:
        """Close one connection on both sides."""
        splice = self._splices.get(conn_id)
        if splice is not None:
            splice.close(reason)
        return splice is not None

    def look_at_buffers(self) -> int:
        """Return 0: over TCP nothing is dropped, and what is unread is not told."""
        return 0

    def close(self, reason: CloseReason) -> None:
        """Close everything now."""
        self.drain()
        for splice in list(self._splices.values()):
            splice.close(reason)


def _listening(common: Common, address: Address) -> socket.socket:
    """Return a listener at an address; raises ListenError."""
    try:
        sock = _bound(common, address)
        sock.listen(common.experiment.backlog)
    except OSError as error:
        raise listen_error(address, error, of_tap=common.overheard is not None) from error
    return sock


def _bound(common: Common, address: Address) -> socket.socket:
    """Return a socket at an address, and at a port that stays its own; raises OSError."""
    sock = socket.socket(family_of(address[0]), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if sock.family is socket.AF_UNIX:
            common.files.bind(sock, address[0])
            return sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket_address(address))
        if address[1]:
            return sock
        # Linux lets go of a port that it has chosen when the socket listens no more.
        named = _bound(common, plain_address(sock.getsockname()))
    except OSError:
        sock.close()
        raise
    sock.close()
    return named
