"""The ``streams`` client over UDP: a coroutine per client that awaits ``loop.sock_recv``.

UDP has no streams: what is the same as over TCP is that a coroutine awaits each answer, and that the next
request is sent on the way.
"""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.engine.options import MAX_DATAGRAM_BYTES
from sockscope.engine.swarm.links.udp import UdpLink

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

READS_PER_TURN = 16
"""Datagrams that a coroutine takes until the loop has its turn, though there are more."""


class StreamsUdpLink(UdpLink):
    """A link whose socket a coroutine waits for."""

    __slots__ = ("_conversation",)

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._conversation: asyncio.Task[None] | None = None

    def watch(self, sock: socket.socket) -> None:
        """Begin the coroutine."""
        self._conversation = self._swarm.loop.create_task(self._converse(sock))
        self._conversation.add_done_callback(self._ended)

    def unwatch(self, sock: socket.socket) -> None:
        """End the coroutine and close the socket, which the loop watches until then."""
        assert self._conversation is not None
        self._conversation.add_done_callback(lambda _: self._let_go(sock))
        self._conversation.cancel()

    async def _converse(self, sock: socket.socket) -> None:
        """Take the answers of a connection to its end."""
        loop = self._swarm.loop
        try:
            while sock is self._socket:
                for _ in range(READS_PER_TURN):
                    data = await loop.sock_recv(sock, MAX_DATAGRAM_BYTES)
                    if sock is not self._socket:
                        self._swarm.recorder.unread += 1
                        break
                    now = perf_counter()
                    if wire := self._goes_on(data, now):
                        self._send(wire)
                    else:
                        self._take(data, now)
                else:
                    # The standard loop reads what is there without a turn of its own.
                    await asyncio.sleep(0)
        except OSError as error:
            self._refused(error)

    def _ended(self, conversation: asyncio.Task[None]) -> None:
        if not conversation.cancelled() and (error := conversation.exception()) is not None:
            self._swarm.loop.call_exception_handler({"message": "a client failed", "exception": error})
