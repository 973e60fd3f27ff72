"""The same numbered messages over UDP and TCP, on a way that loses some, or delays each by chance."""

from __future__ import annotations

import asyncio
import ctypes
import random
import socket
import struct
import sys
import threading
import time
from itertools import pairwise

from sockscope.lab.lessons.cannot import CannotBeShown

SIZE = 100
MESSAGES = [b"%0100d" % number for number in range(300)]
BURST = 10
LOST = 0.2
MOST_DELAY_S = 0.05
PATIENCE_S = 5.0
SO_ATTACH_FILTER = 26
TOTAL_RETRANSMITTED, OUT_OF_ORDER = 100, 224
"""Where struct tcp_info (linux/tcp.h) has the segments sent again, and those that came out of order."""


def lose(receiver: socket.socket, ratio: float) -> None:
    """Let the kernel throw away this share of what comes for a socket, as a bad link does.

    A classic BPF program: load a random number, take all of the packet if it is large enough, else nothing.
    """
    load = (0x20, 0, 0, 0xFFFFF000 + 56)  # SKF_AD_OFF + SKF_AD_RANDOM
    jump = (0x35, 0, 1, int(ratio * 2**32))  # if it is at least so much, the next; else the one after
    program = b"".join(struct.pack("HBBI", *one) for one in (load, jump, (6, 0, 0, 2**32 - 1), (6, 0, 0, 0)))
    kept = ctypes.create_string_buffer(program)
    receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 4, ctypes.addressof(kept)))


def over_udp(sender: socket.socket, receiver: socket.socket) -> list[bytes]:
    """Send every message as a datagram; return what each read has brought."""
    reads = []
    for number, message in enumerate(MESSAGES, start=1):
        sender.sendto(message, receiver.getsockname())
        if number % BURST == 0:
            reads += waiting_at(receiver)
    return reads


def over_tcp(sender: socket.socket, receiver: socket.socket) -> list[bytes]:
    """Write every message with a call of its own, ten at a time; return what each read has brought."""
    reads: list[bytes] = []
    for first in range(0, len(MESSAGES), BURST):
        for message in MESSAGES[first : first + BURST]:
            sender.sendall(message)
        missing = BURST * SIZE
        while missing:
            reads.append(receiver.recv(4096))
            missing -= len(reads[-1])
    return reads


def waiting_at(receiver: socket.socket) -> list[bytes]:
    """Return the datagrams that wait at a socket."""
    receiver.setblocking(False)
    found = []
    while True:
        try:
            found.append(receiver.recv(4096))
        except BlockingIOError:
            return found


class Relay(asyncio.DatagramProtocol):
    """Passes each datagram on after a while of its own."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Keep the transport."""
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Pass it on later; whichever is due first goes first."""
        delay_s = random.uniform(0, MOST_DELAY_S)
        asyncio.get_running_loop().call_later(delay_s, self._transport.sendto, data, self._target)


async def lossy(transport: str = "udp") -> dict[str, float]:
    """Send all messages to a socket that loses a fifth of what comes."""
    if sys.platform != "linux":
        raise CannotBeShown("a socket is made to lose by a filter of Linux")
    sender, receiver = _udp() if transport == "udp" else _tcp()
    with sender, receiver:
        lose(receiver, LOST)
        begun_s = time.monotonic()
        reads = (over_udp if transport == "udp" else over_tcp)(sender, receiver)
        figures = {**_told(reads), "took_s": time.monotonic() - begun_s}
        if transport == "tcp":
            figures["sent_again"] = _tcp_info(sender, TOTAL_RETRANSMITTED)
            figures["came_out_of_order"] = _tcp_info(receiver, OUT_OF_ORDER)
        else:
            figures["kernel_dropped"] = _dropped(receiver)
        return figures


async def jittery() -> dict[str, float]:
    """Send all messages as datagrams through a relay that delays each by chance."""
    sender, receiver = _udp()
    reads: list[bytes] = []

    def receive() -> None:
        receiver.settimeout(PATIENCE_S)
        try:
            while len(reads) < len(MESSAGES):
                reads.append(receiver.recv(4096))
        except TimeoutError:
            return

    with sender, receiver:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: Relay(receiver.getsockname()), local_addr=("127.0.0.1", 0)
        )
        receiving = threading.Thread(target=receive)
        receiving.start()
        for message in MESSAGES:
            sender.sendto(message, transport.get_extra_info("sockname"))
            await asyncio.sleep(0.001)
        await asyncio.to_thread(receiving.join)
        transport.close()
    return _told(reads)


def _told(reads: list[bytes]) -> dict[str, float]:
    """Return what is to be known of the reads: how many, which are one message, what was overtaken."""
    stream = b"".join(reads)
    came = [stream[at : at + SIZE] for at in range(0, len(stream), SIZE)]
    return {
        "messages": len(MESSAGES),
        "came": len(came),
        "reads": len(reads),
        "one_message_reads": sum(len(read) == SIZE for read in reads),
        "overtaken": sum(one > other for one, other in pairwise(came)),
        "complete": float(came == MESSAGES),
    }


def _udp() -> tuple[socket.socket, socket.socket]:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM), receiver


def _tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sender = socket.create_connection(listening.getsockname())
        receiver, _ = listening.accept()
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sender, receiver


def _tcp_info(end: socket.socket, offset: int) -> int:
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(info[offset : offset + 4], sys.byteorder)


def _dropped(receiver: socket.socket) -> int:
    """Return what the kernel says it has dropped at a socket: the last column of /proc/net/udp."""
    port = f":{receiver.getsockname()[1]:04X}"
    with open("/proc/net/udp") as table:
        rows = [line.split() for line in table]
    return sum(int(row[-1]) for row in rows if row[1].endswith(port))
