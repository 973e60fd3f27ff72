"""How many connections the kernel has dropped at the listeners of whatever server here (Linux, sock_diag(7)).

What ``ss -ltm`` shows as ``d`` in skmem. The kernel tells it of any listener, whoever has made it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from sockscope.core.addresses import Address, is_loopback, is_unix
from sockscope.engine.accept_queue import listening_for, written
from sockscope.engine.unix_queue import attributes

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h; TCP_LISTEN is state 10 (net/tcp_states.h).
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP = 4, 20, 0x301
_INET_DIAG_SKMEMINFO, _LISTENING, _NO_COOKIE = 7, 1 << 10, 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
_PORTS = struct.Struct("!HH")
_ADDRESSES_BYTES = 32
_COOKIE = struct.Struct("=III")
_SOURCE_AT, _MESSAGE_BYTES = 4, 72
_WORD = struct.Struct("=I")
_ANSWER_BYTES = 1 << 16


def drops_at(address: Address) -> int | None:
    """Return how many connections were dropped at those that listen at a loopback address, since they were
    made; None where that cannot be told."""
    host, port = address
    if is_unix(host) or not is_loopback(host):
        return None
    try:
        ipv4, ipv6 = (list(_listeners(family, port)) for family in (socket.AF_INET, socket.AF_INET6))
    except (OSError, struct.error):
        return None
    for of_ipv6, name in listening_for(host):
        if found := [drops for source, drops in (ipv6 if of_ipv6 else ipv4) if source == name]:
            return sum(found)
    return None


def _listeners(family: int, port: int) -> Iterator[tuple[bytes, int]]:
    """Yield the address of each socket that listens at a port, and what was dropped there."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_SKMEMINFO - 1), _LISTENING)
    body += _PORTS.pack(port, 0) + bytes(_ADDRESSES_BYTES) + _COOKIE.pack(0, _NO_COOKIE, _NO_COOKIE)
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        netlink.send(header + body)
        while answer := netlink.recv(_ANSWER_BYTES):
            while answer:
                size, kind, *_ = _HEADER.unpack_from(answer)
                if kind != _SOCK_DIAG_BY_FAMILY or size < _HEADER.size + _MESSAGE_BYTES:
                    return  # the end, or an error
                yield from _listener(family, port, answer[_HEADER.size : size])
                answer = answer[(size + 3) & ~3 :]


def _listener(family: int, port: int, message: bytes) -> Iterator[tuple[bytes, int]]:
    if _PORTS.unpack_from(message, _SOURCE_AT)[0] != port:
        return
    begin = _SOURCE_AT + _PORTS.size
    source = message[begin : begin + (4 if family == socket.AF_INET else 16)]
    for kind, value in attributes(message[_MESSAGE_BYTES:]):
        if kind == _INET_DIAG_SKMEMINFO:
            yield written(source), _WORD.unpack(value[-_WORD.size :])[0]
