"""Starting a server again on the port on which it has just ended."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys

from sockscope.lab.lessons.cannot import CannotBeShown

PATIENCE_S = 5.0
TIME_WAIT = "06"
LISTEN = "0A"


def listen(port: int, *, reuse: bool) -> socket.socket:
    """Listen on a port of the loopback; raises OSError (EADDRINUSE) where that is not possible."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        server.bind(("127.0.0.1", port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


def converse(server: socket.socket, first_to_close: str) -> None:
    """Connect once, and close both ends, one before the other."""
    client = socket.create_connection(server.getsockname())
    served, _ = server.accept()
    first, second = (served, client) if first_to_close == "server" else (client, served)
    first.close()
    second.recv(1)  # the end of the stream: the other has closed
    second.close()


def states(port: int) -> list[str]:
    """Return the states of the sockets whose own port this is, as /proc/net/tcp has them."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return [row[3] for row in rows if row[1].endswith(f":{port:04X}")]


async def restart(
    first_to_close: str = "server", *, reuse: bool = False, reused: bool = False, still_listens: bool = False
) -> dict[str, float]:
    """Serve once, end, and listen on the same port again; ``reused`` is the option of the first server."""
    if sys.platform != "linux":
        raise CannotBeShown("only Linux has /proc/net/tcp, where one sees the states")
    server = listen(0, reuse=reused)
    port = server.getsockname()[1]
    converse(server, first_to_close)
    if not still_listens:
        server.close()
    async with asyncio.timeout(PATIENCE_S):
        while set(states(port)) - {TIME_WAIT, LISTEN}:
            await asyncio.sleep(0.01)
    waiting = states(port).count(TIME_WAIT)
    try:
        listen(port, reuse=reuse).close()
        error = 0
    except OSError as refused:
        error = refused.errno or -1
    server.close()
    return {"time_wait": waiting, "listens": error == 0, "address_in_use": error == errno.EADDRINUSE}
