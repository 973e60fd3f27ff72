"""Where the bytes of a read go: memory that is fetched for each, or a buffer that is kept."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import resource
import socket
import sys
import sysconfig
import time

from sockscope.lab.lessons.cannot import CannotBeShown

MESSAGE = bytes(16 * 1024)
MESSAGES = 1000
HELD_MESSAGE_BYTES = 64 * 1024
KEPT_EVERY = 50
M_TOP_PAD, M_MMAP_THRESHOLD = -2, -3
"""mallopt(3)"""


class Fresh(asyncio.Protocol):
    """Is given new bytes by each read: asyncio asks for 256 KiB, and gives back what was not needed."""

    received_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count what has come, and say so at the end of a message."""
        self.received_bytes += len(data)
        if self.received_bytes % len(MESSAGE) == 0:
            self._transport.write(b".")


class Reused(asyncio.BufferedProtocol):
    """Lends the same buffer to each read."""

    received_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport, and make the buffer."""
        self._transport = transport
        self._buffer = bytearray(256 * 1024)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Say where the next read puts its bytes."""
        return self._buffer  # the same memory again

    def buffer_updated(self, nbytes: int) -> None:
        """Count what has come, and say so at the end of a message."""
        self.received_bytes += nbytes
        if self.received_bytes % len(MESSAGE) == 0:
            self._transport.write(b".")


def set_threshold(threshold_bytes: int) -> list[bytes]:
    """Let glibc map what is larger than this for itself, as MALLOC_MMAP_THRESHOLD_ does; 0: as it comes.

    Return what fills the holes in its heap, out of which it would serve such a request otherwise.
    """
    if not threshold_bytes:
        bytes(16 << 20)  # freed at once: glibc learns from that, and raises the threshold
        return []
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, threshold_bytes)
    libc.mallopt(M_TOP_PAD, 0)
    filling = [bytes(threshold_bytes // 2) for _ in range(64)]
    libc.malloc_trim(0)
    return filling


async def read_into(threshold_bytes: int = 0, *, reused: bool = False) -> dict[str, float]:
    """Send messages to a protocol, and tell the page faults and the processor time of the loop's thread."""
    _check_allocator()
    filling = set_threshold(threshold_bytes)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Reused if reused else Fresh, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        await asyncio.to_thread(_send, client, 100)
        faults, begun_s = _page_faults(), time.thread_time()
        await asyncio.to_thread(_send, client, MESSAGES)
        cpu_s = time.thread_time() - begun_s
        faults = _page_faults() - faults
    server.close()
    return {
        "messages": MESSAGES,
        "page_faults": faults,
        "filling_bytes": sum(map(len, filling)),
        "cpu_s_per_message": cpu_s / MESSAGES,
    }


def hold_and_let_go(reader: socket.socket, writer: socket.socket) -> tuple[int, int]:
    """Hold 1,000 messages of 64 KiB, then let most of them go; return how much memory the process has."""
    held = []
    for _ in range(MESSAGES):
        writer.sendall(bytes(HELD_MESSAGE_BYTES))
        held.append(reader.recv(HELD_MESSAGE_BYTES, socket.MSG_WAITALL))
    at_peak_bytes = resident_bytes()
    held = held[::KEPT_EVERY]  # of the others no reference is left
    return at_peak_bytes, resident_bytes()


async def peak(*, trim: bool = False) -> dict[str, float]:
    """Go through a peak of memory, and tell how much the process has before, during and after it."""
    _check_allocator()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        writer = socket.create_connection(listening.getsockname())
        reader, _ = listening.accept()
    for end, option in ((writer, socket.SO_SNDBUF), (reader, socket.SO_RCVBUF)):
        end.setsockopt(socket.SOL_SOCKET, option, 2 * HELD_MESSAGE_BYTES)
    reader.settimeout(15)
    writer.settimeout(15)
    before_bytes = resident_bytes()
    with writer, reader:
        at_peak_bytes, after_bytes = hold_and_let_go(reader, writer)
    if trim:
        ctypes.CDLL(None).malloc_trim(0)
        after_bytes = resident_bytes()
    return {
        "messages_bytes": MESSAGES * HELD_MESSAGE_BYTES,
        "kept_bytes": MESSAGES * HELD_MESSAGE_BYTES // KEPT_EVERY,
        "grown_bytes": at_peak_bytes - before_bytes,
        "left_bytes": max(after_bytes - before_bytes, 0),
    }


def resident_bytes() -> int:
    """Return how much memory this process has of the machine's (RSS)."""
    with open("/proc/self/statm") as figures:
        return int(figures.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _send(client: socket.socket, messages: int) -> None:
    for _ in range(messages):
        client.sendall(MESSAGE)
        client.recv(1)


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


def _check_allocator() -> None:
    """Raise CannotBeShown where memory does not come from glibc as it is without settings."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        raise CannotBeShown("this is about the allocator of glibc, and this system has another one")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise CannotBeShown("this Python is built without the global lock, and with an allocator of its own")
    chosen = [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]
    if chosen or "LD_PRELOAD" in os.environ:
        raise CannotBeShown(f"the allocator has been chosen by {(chosen or ['LD_PRELOAD'])[0]}")
