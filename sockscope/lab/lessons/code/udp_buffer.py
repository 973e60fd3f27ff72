"""Datagrams sent to a socket that reads late: what its buffer cannot hold, the kernel drops."""

from __future__ import annotations

import socket
import sys

from sockscope.lab.lessons.cannot import CannotBeShown

DATAGRAMS = 300
DATA = bytes(100)


def send_to(receiver: socket.socket, pause_every: int) -> int:
    """Send every datagram, and read after each ``pause_every`` of them; return how many were read."""
    read = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(1, DATAGRAMS + 1):
            sender.sendto(DATA, receiver.getsockname())  # succeeds, whatever becomes of it
            if number % pause_every == 0:
                read += read_all(receiver)
    return read + read_all(receiver)


def read_all(receiver: socket.socket) -> int:
    """Read what waits in the buffer; return how many datagrams that were."""
    read = 0
    try:
        while receiver.recv(2048):
            read += 1
    except BlockingIOError:
        return read
    return read


def dropped(receiver: socket.socket) -> int:
    """Return what the kernel says it has dropped at this socket: the last column of /proc/net/udp."""
    port = f":{receiver.getsockname()[1]:04X}"
    with open("/proc/net/udp") as table:
        rows = [line.split() for line in table]
    return sum(int(row[-1]) for row in rows if row[1].endswith(port))


async def overflow(buffer_bytes: int = 16384, pause_every: int = DATAGRAMS) -> dict[str, float]:
    """Send to a socket of the loopback with a receive buffer of this size."""
    if sys.platform != "linux":
        raise CannotBeShown("only Linux tells the drops of a socket in /proc/net/udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        given = receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        if given < 2 * buffer_bytes:
            raise CannotBeShown(f"net.core.rmem_max allows no buffer of {buffer_bytes} bytes")
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        read = send_to(receiver, pause_every)
        return {
            "sent": DATAGRAMS,
            "read": read,
            "kernel_dropped": dropped(receiver),
            "sent_bytes": DATAGRAMS * len(DATA),
            "buffer_bytes": given,
        }
