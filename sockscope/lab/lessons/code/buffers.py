"""What a read takes at most, and what two kernels hold for a peer that does not read."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

from sockscope.lab.lessons.cannot import CannotBeShown

SENT_BYTES = 1 << 20


def read_to_end(connection: socket.socket, at_most_bytes: int) -> tuple[int, int]:
    """Read until the peer closes; return how many bytes came and in how many reads."""
    read_bytes = reads = 0
    while data := connection.recv(at_most_bytes):  # at most so much, however much waits
        read_bytes += len(data)
        reads += 1
    return read_bytes, reads


def write_unread(writer: socket.socket) -> int:
    """Write until the kernel takes no more for 0.3 s; return how many bytes it took."""
    written_bytes = 0
    writer.setblocking(False)
    while select.select([], [writer], [], 0.3)[1]:
        with contextlib.suppress(BlockingIOError):
            written_bytes += writer.send(bytes(1024))  # nobody reads them
    return written_bytes


def connected(buffer_bytes: int = 0) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection of the loopback, with buffers of this size if it is one."""
    with socket.socket() as listener, contextlib.ExitStack() as undo:
        writer = undo.enter_context(socket.socket())
        if buffer_bytes:
            # An accepted socket has the receive buffer of its listener.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        writer.connect(listener.getsockname())
        reader, _ = listener.accept()
        undo.pop_all()
        return writer, reader


async def transfer(at_most_bytes: int = 256) -> dict[str, float]:
    """Send 1 MiB to a reader that takes at most so many bytes a read."""
    writer, reader = connected()

    def send() -> None:
        with writer:
            writer.sendall(bytes(SENT_BYTES))

    with reader:
        sender = threading.Thread(target=send)
        sender.start()
        read_bytes, reads = read_to_end(reader, at_most_bytes)
        sender.join()
    return {"read_bytes": read_bytes, "reads": reads}


async def unread(buffer_bytes: int = 4096) -> dict[str, float]:
    """Write to a peer that does not read, with buffers of this size at both ends."""
    writer, reader = connected(buffer_bytes)
    with writer, reader:
        given_bytes = writer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        received_bytes = reader.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        if min(given_bytes, received_bytes) < 2 * buffer_bytes:
            raise CannotBeShown(f"net.core.rmem_max or wmem_max allows no buffer of {buffer_bytes} bytes")
        return {"written_bytes": write_unread(writer)}
