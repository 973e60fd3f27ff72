"""A peer that is gone without a word: it neither answers nor acknowledges, and nobody says so."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import struct
import sys
import time

from sockscope.lab.lessons.cannot import CannotBeShown

SO_ATTACH_FILTER = 26
TCP_ESTABLISHED = 1


def watch_for_silence(connection: socket.socket) -> None:
    """Let the kernel ask a silent peer after a second, and give up a second later if there is no answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 1)


def limit_unacknowledged(connection: socket.socket) -> None:
    """Give up when what was sent has not been acknowledged for a second (RFC 5482)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)


def vanish(peer: socket.socket) -> None:
    """Let the kernel discard all that comes for this socket, as if its machine had lost its power.

    A classic BPF program of one instruction, "accept 0 bytes"; it needs no privileges (socket(7)).
    """
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    attach = struct.pack("HL", 1, ctypes.addressof(program))
    peer.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attach)


async def wait(
    wait_s: float = 4.0, *, keep_alive: bool = False, user_timeout: bool = False, send: bool = False
) -> dict[str, float]:
    """Connect, let the peer vanish, and read for at most ``wait_s``; tell how that ended."""
    if sys.platform != "linux":
        raise CannotBeShown("a peer is made to vanish by a socket filter of Linux")
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        peer, _ = listening.accept()
    with client, peer:
        client.setblocking(False)
        if keep_alive:
            watch_for_silence(client)
        if user_timeout:
            limit_unacknowledged(client)
        vanish(peer)
        sent = client.send(b"are you there?") if send else 0
        begun_s = time.monotonic()
        error = 0
        try:
            async with asyncio.timeout(wait_s):
                await loop.sock_recv(client, 100)
        except TimeoutError as ended:
            error = ended.errno or 0  # the kernel's has a number (ETIMEDOUT), that of the limit has none
        return {
            "sent_bytes": sent,
            "waited_s": time.monotonic() - begun_s,
            "noticed": error == errno.ETIMEDOUT,
            "established": client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0] == TCP_ESTABLISHED,
            "retransmitted": client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[2],
        }
