"""Waiting for many connections with one call: select, poll and epoll, and what a call costs."""

from __future__ import annotations

import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from sockscope.lab.lessons.cannot import CannotBeShown

BUSY = 5
"""Connections with something to read, unless all have."""
ROUNDS = 5
CALLS = 15
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: a close that leaves no port in TIME_WAIT."""

Wait = Callable[[], list[object]]


def ways_to_wait(sockets: list[socket.socket]) -> dict[str, Wait]:
    """Return three calls that wait until something can be read from some of the sockets."""
    numbers = [one.fileno() for one in sockets]
    poll, epoll = select.poll(), select.epoll()
    for number in numbers:
        poll.register(number, select.POLLIN)
        epoll.register(number, select.EPOLLIN)  # the kernel keeps it, until it is taken out
    return {
        "select": lambda: [*select.select(numbers, [], [])[0]],  # all numbers go to the kernel
        "poll": lambda: [*poll.poll()],  # all of them, too
        "epoll": lambda: [*epoll.poll(maxevents=len(numbers))],  # none
    }


def cost(wait: Wait) -> tuple[int, float]:
    """Return how many a call finds ready, and its processor time: the least mean of some rounds."""
    means_s = []
    for _ in range(ROUNDS):
        begun_s = time.thread_time()
        for _ in range(CALLS):
            ready = wait()
        means_s.append((time.thread_time() - begun_s) / CALLS)
    return len(ready), min(means_s)


async def wait_for(connections: int = 10, busy: int = BUSY) -> dict[str, float]:
    """Open connections, let some have something to read, and wait for them in three ways."""
    if sys.platform != "linux":
        raise CannotBeShown("epoll is Linux's; BSD and macOS have kqueue, which is like it")
    _make_room(2 * connections + 64)
    with ExitStack() as opened:
        clients, served = _connect(connections, opened)
        for client in clients[-busy:]:
            client.send(b"x")  # is never read, so it is found at each call
        select.select([], [], [], 0.05)
        figures: dict[str, float] = {
            "connections": connections,
            "busy": busy,
            "highest_descriptor": max(one.fileno() for one in served),
            "select_refused": 0,
        }
        for name, wait in ways_to_wait(served).items():
            try:
                figures[f"{name}_ready"], figures[f"{name}_s"] = cost(wait)
            except ValueError:  # filedescriptor out of range in select()
                figures[f"{name}_refused"] = 1
        return figures


def _connect(connections: int, opened: ExitStack) -> tuple[list[socket.socket], list[socket.socket]]:
    """Return both ends of so many connections of the loopback."""
    clients, served = [], []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(connections):
            clients.append(opened.enter_context(socket.create_connection(listening.getsockname())))
            served.append(opened.enter_context(listening.accept()[0]))
            clients[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return clients, served


def _make_room(descriptors: int) -> None:
    """Raise the limit of descriptors of this process as far as it is needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        raise CannotBeShown(f"ulimit -Hn allows {hard} descriptors, and this takes {descriptors}")
    if soft != resource.RLIM_INFINITY and soft < descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
