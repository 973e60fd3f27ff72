"""A connection for each request, from a handful of ports, until there is none left."""

from __future__ import annotations

import errno
import random
import socket
import struct
import sys
import time
from pathlib import Path

from sockscope.lab.lessons.cannot import CannotBeShown

PORTS = 20
IP_LOCAL_PORT_RANGE = 51
"""ip(7), since Linux 6.3: the ports that a socket may be given, here instead of the system's 28,232."""
RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
TIME_WAIT = "06"
LINUX_REUSES_AFTER_S = 0.9
"""On the loopback Linux takes a port in TIME_WAIT for a new connection after 1 s (tcp_tw_reuse is 2)."""
TRIES = 5


def ask(server: socket.socket, ports: tuple[int, int], first_to_close: str) -> None:
    """Connect, ask, hang up; raises OSError (EADDRNOTAVAIL) if no port is left for it."""
    with socket.socket() as client:
        client.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("I", ports[1] << 16 | ports[0]))
        client.connect(server.getsockname())
        served, _ = server.accept()
        client.send(b"?")
        served.send(served.recv(1))
        client.recv(1)
        first, second = (client, served) if first_to_close == "client" else (served, client)
        first.close()  # whoever closes first keeps the connection in TIME_WAIT
        second.recv(1)  # the end of the stream
        second.close()


def ask_often(
    servers: list[socket.socket], ports: tuple[int, int], requests: int, first_to_close: str
) -> tuple[int, int]:
    """Ask the servers in turn, each time on a new connection; return how many were answered, and errno."""
    for number in range(requests):
        try:
            ask(servers[number % len(servers)], ports, first_to_close)
        except OSError as error:
            return number, error.errno or -1
    return requests, 0


def ask_on_one(server: socket.socket, ports: tuple[int, int], requests: int) -> tuple[int, int]:
    """Ask everything over one connection."""
    answered = 0
    with socket.socket() as client:
        client.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("I", ports[1] << 16 | ports[0]))
        client.connect(server.getsockname())
        served, _ = server.accept()
        with served:
            for _ in range(requests):
                client.send(b"?")
                served.send(served.recv(1))
                answered += len(client.recv(1))
            client.close()
            served.recv(1)
    return answered, 0


async def use_up(
    requests: int = 40, servers: int = 1, *, first_to_close: str = "client", keep: bool = False
) -> dict[str, float]:
    """Ask until all is answered or no port is left."""
    for _ in range(TRIES):
        ports = _free_range()
        listening = [socket.create_server((f"127.{_byte()}.{_byte()}.{_byte()}", 0)) for _ in range(servers)]
        begun_s = time.monotonic()
        if keep:
            answered, error = ask_on_one(listening[0], ports, requests)
        else:
            answered, error = ask_often(listening, ports, requests, first_to_close)
        took_s = time.monotonic() - begun_s
        waiting = [_in_time_wait(one.getsockname()) for one in listening]
        for one in listening:
            one.close()
        if took_s < LINUX_REUSES_AFTER_S:
            break
    else:
        raise CannotBeShown("this machine is so busy that ports come back sooner than they are used up")
    return {
        "ports": PORTS,
        "asked": requests,
        "answered": answered,
        "no_port_left": error == errno.EADDRNOTAVAIL,
        "client_time_wait": sum(at_client for at_client, _ in waiting),
        "server_time_wait": sum(at_server for _, at_server in waiting),
    }


def _byte() -> int:
    return random.randrange(1, 255)


def _free_range() -> tuple[int, int]:
    """Return the first and the last of some ports that nobody has, of those that the kernel gives away."""
    if sys.platform != "linux":
        raise CannotBeShown("only Linux gives a socket a range of ports of its own")
    with socket.socket() as client:
        try:
            client.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("I", 0))
        except OSError:
            raise CannotBeShown(
                "a socket's own range of ports (IP_LOCAL_PORT_RANGE) needs Linux 6.3"
            ) from None
    low, high = map(int, RANGE_FILE.read_text().split())
    taken = {int(row[1].rpartition(":")[2], 16) for row in _rows() if row[3] != TIME_WAIT}
    for _ in range(1000):
        first = random.randrange(low, max(high - PORTS, low + 1))
        if not taken.intersection(range(first, first + PORTS)):
            return first, first + PORTS - 1
    raise CannotBeShown(f"there are no {PORTS} free ports in a row")


def _in_time_wait(server: tuple[str, int]) -> tuple[int, int]:
    """Return how many connections with a server are in TIME_WAIT at its clients, and at itself."""
    (number,) = struct.unpack("=I", socket.inet_aton(server[0]))
    address = f"{number:08X}:{server[1]:04X}"
    waiting = [row for row in _rows() if row[3] == TIME_WAIT]
    return sum(row[2] == address for row in waiting), sum(row[1] == address for row in waiting)


def _rows() -> list[list[str]]:
    """Return the rows of the kernel's tables: number, local address, remote address, state, ..."""
    rows: list[list[str]] = []
    for name in ("tcp", "tcp6"):
        path = Path("/proc/net") / name
        if path.exists():
            rows += [line.split() for line in path.read_text().splitlines()[1:]]
    return rows
