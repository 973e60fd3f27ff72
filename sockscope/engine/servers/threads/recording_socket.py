"""The socket that the user's code gets in a thread: a real one whose reads, writes and closing are noted.

Nothing else of SockScope is called by the user's code, so what is raised through this file is the user's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sockscope.engine.servers.threads.own import OwnThreadConnection

T = TypeVar("T")


class RecordingSocket(socket.socket):
    """An accepted socket, whose descriptor it takes over from ``sock``."""

    def __init__(self, sock: socket.socket, connection: OwnThreadConnection) -> None:
        self._connection = connection
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())

    # Reads.

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read what has come."""
        data = self._told(super().recv, bufsize, flags)
        self._connection.read(data, flags)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read what has come into ``buffer``."""
        size = self._told(super().recv_into, buffer, nbytes, flags)
        self._read_into([buffer], size, flags)
        return size

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Read what has come."""
        data, address = self._told(super().recvfrom, bufsize, flags)
        self._connection.read(data, flags)
        return data, address

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, Any, int, Any]:
        """Read what has come."""
        found = self._told(super().recvmsg, bufsize, ancbufsize, flags)
        self._connection.read(found[0], flags)
        return found

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Read what has come into ``buffer``."""
        size, address = self._told(super().recvfrom_into, buffer, nbytes, flags)
        self._read_into([buffer], size, flags)
        return size, address

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, Any, int, Any]:
        """Read what has come into several buffers."""
        pieces = list(buffers)
        found = self._told(super().recvmsg_into, pieces, ancbufsize, flags)
        self._read_into(pieces, found[0], flags)
        return found

    def _read_into(self, buffers: list[Any], size: int, flags: int) -> None:
        self._connection.read(b"".join(memoryview(piece).cast("B")[:size] for piece in buffers)[:size], flags)

    # Writes.

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Write as much of ``data`` as there is room for."""
        now = perf_counter()
        size = self._told(super().send, data, flags)
        self._connection.wrote(now, bytes(memoryview(data).cast("B")[:size]))
        return size

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """Write as ``send`` does; where to a stream does not ask."""
        now = perf_counter()
        size = self._told(super().sendto, data, *flags_and_address)
        self._connection.wrote(now, bytes(memoryview(data).cast("B")[:size]))
        return size

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Write ``data``, however long the peer takes to read it."""
        view = memoryview(data).cast("B")
        self._connection.wrote(perf_counter(), bytes(view))
        try:
            sent = self._told(super().send, view, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent < len(view):
            with self._connection.paused():
                self._told(super().sendall, view[sent:], flags)

    def sendmsg(self, buffers: Iterable[Any], *more: Any) -> int:
        """Write as much of several pieces as there is room for."""
        pieces = list(buffers)
        now = perf_counter()
        size = self._told(super().sendmsg, pieces, *more)
        self._connection.wrote(now, b"".join(pieces)[:size])
        return size

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Write a file, from ``offset`` on."""
        now, before = perf_counter(), self._connection.record.bytes_out
        sent = self._told(super().sendfile, file, offset, count)
        # Where the system cannot, it is sent in pieces, which are counted already.
        if self._connection.record.bytes_out == before:
            self._connection.traffic.sent_file(now, file, offset, sent)
        return sent

    # The end.

    def close(self) -> None:
        """Close it."""
        self._connection.closes(super().close)

    def detach(self) -> int:
        """Give the descriptor away; what goes through it from then on is not counted."""
        self._connection.leaves_count("detach()")
        return super().detach()

    def dup(self) -> Any:
        """Return a duplicate, whose reads and writes are not counted."""
        self._connection.leaves_count("dup()")
        sock = socket.socket(self.family, self.type, self.proto, os.dup(self.fileno()))
        sock.settimeout(self.gettimeout())
        return sock

    def _told(self, call: Callable[..., T], *arguments: Any) -> T:
        standstill = self._connection.endpoint.context.standstill
        standstill.wait()
        try:
            return call(*arguments)
        except ConnectionError as error:
            self._connection.lost(error)
            raise
        finally:
            standstill.wait()
