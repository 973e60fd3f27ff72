"""A request in two small writes, with and without Nagle's algorithm."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time

HEAD, BODY = b"POST /item 64\r\n\r\n", bytes(64)
REQUESTS = 60
WARM_UP = 20
"""Linux acknowledges at once in the beginning of a connection."""


def ask(connection: socket.socket, *, in_one: bool) -> None:
    """Send a request, and wait for the answer."""
    if in_one:
        connection.sendall(HEAD + BODY)
    else:
        connection.sendall(HEAD)
        connection.sendall(BODY)  # held back until the head is acknowledged
    connection.recv(100)


def serve(connection: socket.socket) -> None:
    """Answer each request when the whole of it is there."""
    with connection, contextlib.suppress(ConnectionError):
        while connection.recv(len(HEAD) + len(BODY), socket.MSG_WAITALL):
            connection.sendall(b"200 OK\r\n\r\n")


async def ask_often(*, no_delay: bool = False, in_one: bool = False) -> dict[str, float]:
    """Ask one after the other over one connection of the loopback, and time each."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        served, _ = listening.accept()
    server = threading.Thread(target=serve, args=(served,), daemon=True)
    server.start()
    times_s = []
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
        for _ in range(WARM_UP + REQUESTS):
            begun_s = time.perf_counter()
            ask(client, in_one=in_one)
            times_s.append(time.perf_counter() - begun_s)
    server.join()
    measured_s = times_s[WARM_UP:]
    return {
        "requests": len(measured_s),
        "median_s": statistics.median(measured_s),
        "least_s": min(measured_s),
        "held_back": sum(time_s >= 0.035 for time_s in measured_s),
    }
