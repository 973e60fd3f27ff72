"""Links that a task connects, and how a socket is connected at once or in time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING

from sockscope.core.addresses import Address
from sockscope.engine.addresses import both_ends, socket_address
from sockscope.engine.swarm.links.tcp import TcpLink

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

FULL_BACKLOG_S = 0.02
"""How often a Unix socket asks again that finds the backlog full: nothing tells when that has room."""


def connects_at_once(sock: socket.socket, target: Address) -> bool:
    """Begin to connect; tell whether that is done already. Raises OSError if it has failed.

    That is BlockingIOError where the backlog of a Unix socket is full (connect(2), EAGAIN): nothing is under
    way then.
    """
    # Over loopback the handshake is done inside the first call, and the second says so.
    name = socket_address(target)
    return is_connected(sock.connect_ex(name)) or is_connected(sock.connect_ex(name))


def is_connected(number: int) -> bool:
    """Read the result of a connect: True when connected, False while under way; raises OSError."""
    if number in (0, errno.EISCONN):
        return True
    if number in (errno.EINPROGRESS, errno.EALREADY):
        return False
    raise OSError(number, os.strerror(number))


class DialledLink(TcpLink):
    """A link that a task connects: to a transport, to streams, or in a thread."""

    __slots__ = ("_attempt", "_given_up", "_may_cancel")

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._attempt: asyncio.Task[None] | None = None
        # Not once a loop makes a transport of the socket: uvloop would drop that without a word to the
        # protocol, which may know it already.
        self._may_cancel = True
        # Whether the attempt is wanted no more, and has nothing to tell when it fails.
        self._given_up = False

    async def dial(self, target: Address) -> None:
        """Make a connection and tell the client; raises OSError or TimeoutError."""
        raise NotImplementedError

    def connect(self, target: Address) -> None:
        """Begin to connect in a task."""
        self._given_up = False
        self._attempt = self._swarm.loop.create_task(self.dial(target))
        self._attempt.add_done_callback(self._dialled)

    def give_up_connecting(self) -> None:
        """Cancel the attempt, unless the connection is being handed over already."""
        self._given_up = True
        if self._attempt is not None and self._may_cancel:
            self._attempt.cancel()

    def _dialled(self, attempt: asyncio.Task[None]) -> None:
        self._attempt = None
        error = None if attempt.cancelled() else attempt.exception()
        if isinstance(error, OSError):
            self._client.connect_failed(None if self._given_up else error)
        elif attempt.cancelled() or error is not None:
            self._client.connect_failed(None)
        if error is not None and not isinstance(error, OSError):
            context = {"message": "a client failed to connect", "exception": error}
            self._swarm.loop.call_exception_handler(context)

    async def dial_socket(self, target: Address) -> socket.socket:
        """Return a socket connected within the tuning's connect timeout; raises OSError or TimeoutError."""
        self.begin()
        sock = self.new_socket(target)
        try:
            sock.setblocking(False)
            try:
                connected = connects_at_once(sock, target)
            except BlockingIOError:
                connected = False
            if not connected:
                async with asyncio.timeout(self._swarm.tuning.connect_timeout_s):
                    await self._connect_in_time(sock, target)
            both_ends(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _connect_in_time(self, sock: socket.socket, target: Address) -> None:
        if sock.family != socket.AF_UNIX:
            await self._swarm.loop.sock_connect(sock, socket_address(target))
            return
        while True:
            with contextlib.suppress(BlockingIOError):
                if connects_at_once(sock, target):
                    return
            await asyncio.sleep(FULL_BACKLOG_S)
