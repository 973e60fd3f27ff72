"""Peers of a run in a process of their own: ``python -m tests.scenarios.peers MODE [PORT]``.

A server prints its port. All of them end when their stdin does, and after a minute at the latest.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

LIFE_S = 60
SOON_S = 0.5


def talk(sock: socket.socket, work_s: float) -> None:
    """Answer what is asked, ``work_s`` later."""
    try:
        while data := sock.recv(65_536):
            time.sleep(work_s)
            sock.sendall(data)
    except OSError:
        pass


def reset(sock: socket.socket, work_s: float) -> None:
    """Break the connection off when something is asked."""
    sock.recv(65_536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def be_absent() -> None:
    """Tell a port at which nobody listens, and keep others from it."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    time.sleep(LIFE_S)


def serve(
    *,
    talk: Callable[[socket.socket, float], None] = talk,
    work_s: float = 0.001,
    one: bool = False,
    deaf: bool = False,
    then: int = 0,
    backlog: int = 64,
) -> None:
    """Serve each connection in a thread, or ``one`` at a time, or none at all.

    ``then`` is the signal that ends or stops it a while after the first connection.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    print(listener.getsockname()[1], flush=True)
    while deaf:
        time.sleep(LIFE_S)
    first = True
    while True:
        sock, _ = listener.accept()
        if then and first:
            threading.Timer(SOON_S, os.kill, (os.getpid(), then)).start()
        first = False
        if one:
            talk(sock, work_s)
        else:
            threading.Thread(target=talk, args=(sock, work_s), daemon=True).start()


SERVERS: dict[str, Callable[[], None]] = {
    "absent": be_absent,
    "echo": serve,
    "mute": lambda: serve(work_s=LIFE_S),
    "resets": lambda: serve(talk=reset),
    "slow": lambda: serve(work_s=0.5),
    "short": lambda: serve(backlog=0),
    "one": lambda: serve(one=True),
    "deaf": lambda: serve(deaf=True),
    "stops": lambda: serve(then=signal.SIGSTOP),
    "dies": lambda: serve(then=signal.SIGKILL),
}


def connected(port: int, connections: int = 20) -> list[socket.socket]:
    """Return so many connections with small buffers."""
    sockets: list[socket.socket] = []
    for _ in range(connections):
        while True:
            try:
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                sock.connect(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def be_idle(port: int) -> None:
    """Connect, and ask nothing."""
    sockets = connected(port)
    time.sleep(LIFE_S * len(sockets))


def ask_and_never_read(port: int) -> None:
    """Send requests (framing ``length``), and read no answer."""
    asked, sockets = (1_024).to_bytes(4, "big") + bytes(1_024), connected(port)
    while True:
        for sock in sockets:
            try:
                sock.send(asked)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                return


CLIENTS: dict[str, Callable[[int], None]] = {"unread": ask_and_never_read, "idle": be_idle}


def until_stdin_ends() -> None:
    """End this process with who began it."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    signal.alarm(LIFE_S)
    threading.Thread(target=until_stdin_ends, daemon=True).start()
    mode, *rest = sys.argv[1:]
    SERVERS[mode]() if mode in SERVERS else CLIENTS[mode](int(rest[0]))
