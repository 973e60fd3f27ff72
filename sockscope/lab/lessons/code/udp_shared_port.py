"""Two UDP sockets on one port: who gets which datagram."""

from __future__ import annotations

import contextlib
import socket
import sys

from sockscope.lab.lessons.cannot import CannotBeShown

EACH = 5
"""Datagrams of each client."""


def share(option: int) -> list[socket.socket]:
    """Bind two sockets to the same address and port; both have to have the option."""
    first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    first.setsockopt(socket.SOL_SOCKET, option, 1)
    second.setsockopt(socket.SOL_SOCKET, option, 1)
    first.bind(("127.0.0.1", 0))
    second.bind(first.getsockname())
    return [first, second]


def received(server: socket.socket) -> list[tuple[str, int]]:
    """Return from where each datagram came that waits at a socket."""
    server.setblocking(False)
    peers = []
    with contextlib.suppress(BlockingIOError):
        while True:
            _, peer = server.recvfrom(100)
            peers.append(peer)
    return peers


async def deliver(option: str = "SO_REUSEPORT", clients: int = 64) -> dict[str, float]:
    """Send some datagrams from each of some clients, and see which socket has got them."""
    if sys.platform != "linux":
        raise CannotBeShown(
            "how datagrams are spread over such sockets differs among systems: this is Linux's way"
        )
    first, second = share(getattr(socket, option))
    with first, second, contextlib.ExitStack() as opened:
        for _ in range(clients):
            client = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(EACH):
                client.sendto(b"hello", first.getsockname())
        at_first, at_second = received(first), received(second)
    return {
        "sent": clients * EACH,
        "first": len(at_first),
        "second": len(at_second),
        "clients_at_both": len({*at_first} & {*at_second}),
    }
