"""Clients that connect while the server does not accept."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from sockscope.lab.lessons.cannot import CannotBeShown

CLIENTS = 12
WATCH_S = 0.06
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def listen(backlog: int) -> socket.socket:
    """Return a socket that listens, and that nobody accepts from yet."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(backlog)
    listener.setblocking(False)
    return listener


async def ask(client: socket.socket, address: tuple[str, int]) -> None:
    """Connect, and send a request."""
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, address)
    await loop.sock_sendall(client, b"hello\n")


async def ask_all(clients: list[socket.socket], address: tuple[str, int]) -> list[asyncio.Task[None]]:
    """Let one client after the other begin; return what has become of each."""
    tasks = []
    for client in clients:
        client.setblocking(False)
        tasks.append(asyncio.create_task(ask(client, address)))
        await asyncio.wait(tasks[-1:], timeout=WATCH_S)
    await asyncio.wait(tasks, timeout=0.4)
    return tasks


async def overflow(backlog: int = 4, *, accept: bool = False) -> dict[str, float]:
    """Let twelve clients connect; count those that believe they are connected."""
    if SOMAXCONN.exists() and int(SOMAXCONN.read_text()) < backlog:
        raise CannotBeShown(f"net.core.somaxconn allows no backlog of {backlog}")
    loop = asyncio.get_running_loop()
    began_s = time.perf_counter()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(backlog))
        clients = [stack.enter_context(socket.socket()) for _ in range(CLIENTS)]
        tasks = await ask_all(clients, listener.getsockname())
        connected = sum(task.done() and task.exception() is None for task in tasks)
        failed = sum(task.done() and task.exception() is not None for task in tasks)
        accepted = 0
        while accept and accepted < CLIENTS:
            connection, _ = await loop.sock_accept(listener)
            stack.enter_context(connection)
            accepted += 1
        took_s = time.perf_counter() - began_s
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "clients": CLIENTS,
        "connected": connected,
        "failed": failed,
        "waiting": CLIENTS - connected - failed,
        "accepted": accepted,
        "took_s": took_s,
    }
