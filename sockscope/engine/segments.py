"""Several datagrams with one call: the generic segmentation offload of UDP (Linux 4.18).

The kernel takes one buffer and the size of a datagram, and cuts it (UDP_SEGMENT, linux/udp.h). Who receives
cannot tell the datagrams from others.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator

# linux/udp.h, linux/socket.h: not in the socket module.
_SOL_UDP, _UDP_SEGMENT = 17, 103
_MOST_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of the kernels that have the fewest."""
_MOST_BYTES = 65_507
"""Of all segments of a call: what one UDP datagram over IPv4 carries."""
_SIZE = struct.Struct("=H")
_CANNOT = {errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP}


def can_join(sock: socket.socket) -> bool:
    """Tell whether to try: a UDP socket (over AF_UNIX the kernel would send one long datagram) on Linux."""
    return sys.platform == "linux" and sock.family in (socket.AF_INET, socket.AF_INET6)


def runs(wires: list[bytes]) -> Iterator[list[bytes]]:
    """Cut datagrams into runs that one call can send: of one size, but for the last, which may be shorter."""
    begin = 0
    while begin < len(wires):
        size = len(wires[begin])
        most = begin + max(1, min(_MOST_SEGMENTS, _MOST_BYTES // max(size, 1)))
        end = begin + 1
        while end < min(most, len(wires)) and len(wires[end]) <= size == len(wires[end - 1]):
            end += 1
        yield wires[begin:end]
        begin = end


def send_joined(sock: socket.socket, run: list[bytes]) -> bool:
    """Send a run with one call; return whether the kernel can. Raises OSError as ``send`` does."""
    try:
        sock.sendmsg(run, [(_SOL_UDP, _UDP_SEGMENT, _SIZE.pack(len(run[0])))])
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True
