"""An answer that is longer than the client has room for, and three ways to close after it."""

from __future__ import annotations

import asyncio
import socket
from threading import Event

from sockscope.lab.lessons.cannot import CannotBeShown

ANSWER_BYTES = 128 * 1024
SEND_BUFFER_BYTES = 512 * 1024
RECEIVE_BUFFER_BYTES = 16 * 1024
PATIENCE_S = 8.0


def close_at_once(connection: socket.socket) -> None:
    """Close; what the peer has sent and nobody has read is still in the receive buffer."""
    connection.close()


def close_when_read(connection: socket.socket) -> None:
    """End what is sent, read what still comes until the peer has closed, and only then close."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass
    connection.close()


def answer_one(listener: socket.socket, unread_bytes: int, *, patient: bool, handed_over: Event) -> None:
    """Read a request but for its last bytes, answer it, and close."""
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE_S)
    request = b""
    while len(request) < 100 - unread_bytes:
        request += connection.recv(100 - unread_bytes - len(request))
    connection.sendall(bytes(ANSWER_BYTES))
    if patient:
        handed_over.set()
        close_when_read(connection)
    else:
        close_at_once(connection)
        handed_over.set()


def ask(address: tuple[str, int], handed_over: Event) -> tuple[int, bool]:
    """Send 100 bytes, and read once the server is done; return what came, and whether a reset ended it."""
    received = 0
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        client.settimeout(PATIENCE_S)
        client.connect(address)
        client.sendall(bytes(100))
        if not handed_over.wait(PATIENCE_S):
            raise CannotBeShown("the send buffers of this machine do not hold an answer of 128 KiB")
        try:
            while data := client.recv(65536):
                received += len(data)
        except ConnectionResetError:
            return received, True
    return received, False


async def closes(unread_bytes: int = 0, *, patient: bool = False) -> dict[str, float]:
    """Ask once, and tell how much of the answer came."""
    handed_over = Event()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.settimeout(PATIENCE_S)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        serving = asyncio.create_task(
            asyncio.to_thread(answer_one, listener, unread_bytes, patient=patient, handed_over=handed_over)
        )
        received, was_reset = await asyncio.to_thread(ask, listener.getsockname(), handed_over)
        await serving
    return {"sent_bytes": ANSWER_BYTES, "received_bytes": received, "reset": float(was_reset)}
