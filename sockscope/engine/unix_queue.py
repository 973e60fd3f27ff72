"""How many connections wait at a listening Unix socket, and how many may (Linux, sock_diag(7)).

What ``ss -xl`` shows as Recv-Q and Send-Q. The kernel tells it of any socket whose inode is known.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from sockscope.core.addresses import UNIX

# linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h.
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_SHOW_RQLEN, _RQLEN, _NO_COOKIE = 0x10, 4, 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBHIIIII")
_MESSAGE_BYTES = 16
_ATTRIBUTE = struct.Struct("=HH")
_LENGTHS = struct.Struct("=II")
_ACCEPTS = 0x10000
"""__SO_ACCEPTCON (linux/net.h), which /proc/net/unix shows of a socket that listens."""


class Queue(NamedTuple):
    """Connections that wait to be accepted, and how many may (one more finds a place)."""

    waiting: int
    most: int


def queue_of(sock: socket.socket) -> Queue | None:
    """Return what waits at a listening Unix socket; None where that cannot be told."""
    with contextlib.suppress(OSError):
        return _asked(os.fstat(sock.fileno()).st_ino)
    return None


def queue_at(host: str) -> Queue | None:
    """Return what waits at the Unix socket of whatever server; None where that cannot be told."""
    with contextlib.suppress(OSError):
        inode = _inode_of(host)
        if inode and (found := _asked(inode)) is not None:
            return found
        _inode_of.cache_clear()  # another listens there by now, or nobody
    return None


@lru_cache(maxsize=8)
def _inode_of(host: str) -> int:
    """Return the inode of the socket that listens there; 0: of none. Milliseconds among thousands."""
    path = host.removeprefix(UNIX)
    wanted = {os.fsencode(path), os.fsencode(path if path.startswith("@") else os.path.abspath(path))}
    with open("/proc/net/unix", "rb") as table:
        next(table, None)
        for line in table:
            row = line.rstrip(b"\n").split(maxsplit=7)
            if len(row) == 8 and row[7] in wanted and int(row[3], 16) & _ACCEPTS:
                return int(row[6])
    return 0


def _asked(inode: int) -> Queue | None:
    """Ask the kernel about a socket; raises OSError where it cannot be asked."""
    body = _REQUEST.pack(socket.AF_UNIX, 0, 0, _NO_COOKIE, inode, _SHOW_RQLEN, _NO_COOKIE, _NO_COOKIE)
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        netlink.send(header + body)
        answer = netlink.recv(4_096)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None  # there is no such socket
    for kind, value in attributes(answer[_HEADER.size + _MESSAGE_BYTES :]):
        if kind == _RQLEN:
            return Queue(*_LENGTHS.unpack_from(value))
    return None


def attributes(rest: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the attributes of a netlink message, each its type and its payload."""
    while len(rest) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(rest)
        if size < _ATTRIBUTE.size:
            return
        yield kind, rest[_ATTRIBUTE.size : size]
        rest = rest[(size + 3) & ~3 :]
