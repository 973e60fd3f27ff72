"""Ports that nobody else is given."""

from __future__ import annotations

import itertools
import os
import socket

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_OWN = range(10_000 + _WORKER, 30_000, _WORKERS)
"""Ports of this worker: one that another gave back may still be tried by the clients of its test."""
_FIRST = os.getpid() % len(_OWN)
_CANDIDATES = itertools.chain(_OWN[_FIRST:], _OWN[:_FIRST])


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
