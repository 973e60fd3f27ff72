"""Datagrams that wait for room in the queue of a Unix socket, the first that waits first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

Send = Callable[[], None]
"""Sends what waits; raises BlockingIOError where there is no room yet."""


class HeldDatagrams:
    """What the clients of a swarm have to send and the kernel does not take: EAGAIN (unix(7)).

    Over UDP a datagram for which a receiver has no room is dropped, here its sender is held. Whoever is to
    send while others wait waits behind them, as in the queue that the kernel has for blocking senders.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[socket.socket, Send] = {}
        self._watched: socket.socket | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def hold(self, sock: socket.socket, send: Send) -> None:
        """Call ``send`` when it is this socket's turn and there is room."""
        self._waiting[sock] = send
        self._watch_first()

    def let_go(self, sock: socket.socket) -> bool:
        """Let a socket wait no longer; return whether it did."""
        waited = self._waiting.pop(sock, None) is not None
        self._watch_first()
        return waited

    def _go_on(self) -> None:
        """There is room: send what has waited longest."""
        while self._waiting:
            sock, send = next(iter(self._waiting.items()))
            try:
                send()
            except BlockingIOError:
                break
            self._waiting.pop(sock, None)
        self._watch_first()

    def _watch_first(self) -> None:
        first = next(iter(self._waiting), None)
        if first is self._watched:
            return
        if self._watched is not None:
            self._loop.remove_writer(self._watched)
        self._watched = first
        if first is not None:
            self._loop.add_writer(first, self._go_on)
