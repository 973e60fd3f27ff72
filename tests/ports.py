"""Ports that nobody else is given."""

from __future__ import annotations

import itertools
import os
import socket

_CANDIDATES = itertools.chain.from_iterable(
    (range(10_000 + os.getpid() % 20_000, 30_000), range(10_000, 30_000))
)


def unused_port() -> int:
    """Return a port that is free for TCP and UDP, and a different one each time.

    It lies below the ephemeral ports: those come and go with the sockets of other tests, so one of them that
    was free a moment ago may be somebody's by the time it is used.
    """
    for port in _CANDIDATES:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")
