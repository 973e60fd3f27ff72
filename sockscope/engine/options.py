"""Socket options: set as asked, and read back as the kernel has them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import TcpInfo
from sockscope.core.run.snapshot import SocketOption
from sockscope.engine.unix_queue import queue_of
from sockscope.errors import ConfigError

# Linux only, and not in the socket module: asm-generic/socket.h, uapi/linux/socket.h.
_SO_BUF_LOCK, _SNDBUF_LOCK, _RCVBUF_LOCK = 72, 1, 2
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_REUSE_PORT: int | None = getattr(socket, "SO_REUSEPORT", None)
# struct tcp_info (linux/tcp.h): eight bytes, then 32-bit words; unacked is word 4 and sacked word 5 (on a
# listener: the accept queue and its limit).
_UNACKED, _SACKED = 4, 5
_WORDS = struct.Struct("=8x16I")
# The same from rtt on: rtt, rttvar, snd_cwnd, total_retrans, bytes_acked, delivery_rate (bytes per second),
# busy_time, rwnd_limited, sndbuf_limited; times in microseconds. Kernels only ever append to it.
_TCP_FIELDS = struct.Struct("=68x2I4xI16xI16xQ32x4Q")
_TCP_FIELD_ENDS = (72, 76, 84, 104, 128, 168, 176, 184, 192)
_MICROSECONDS_PER_S = 1_000_000
_SO_MEMINFO = 55
MAX_DATAGRAM_BYTES = 65_535
"""Most that a datagram has (RFC 768)."""
MOST_UNREAD = 65_536
"""Datagrams that are taken from a socket which is about to be closed, at the most."""
_MEMINFO = struct.Struct("=9I")


class ReceiveBuffer(NamedTuple):
    """The receive buffer of a UDP socket: the memory that unread datagrams take, and how many it had no room
    for since the socket was made."""

    unread_bytes: int = 0
    dropped: int = 0


def receive_buffer(sock: socket.socket) -> ReceiveBuffer:
    """Return what the kernel tells of a receive buffer; zeros where it does not.

    These are ``sk_rmem_alloc`` and ``sk_drops``, the first and the last word of SO_MEMINFO
    (linux/sock_diag.h), which ``ss -u -m`` shows as ``r`` and ``d``.
    """
    if sys.platform != "linux":
        return ReceiveBuffer()
    try:
        words = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return ReceiveBuffer()
    if len(words) != _MEMINFO.size:
        return ReceiveBuffer()
    unread_bytes, *_, dropped = _MEMINFO.unpack(words)
    return ReceiveBuffer(unread_bytes, dropped)


def take_unread(sock: socket.socket) -> Iterator[bytes]:
    """Yield what nobody has read of a UDP socket that is about to be closed, without waiting."""
    for _ in range(MOST_UNREAD):
        try:
            # Not recv(), which would wait for the timeout of a socket that has one.
            yield os.read(sock.fileno(), MAX_DATAGRAM_BYTES)
        except OSError:
            return


def socket_of(transport: asyncio.Transport) -> socket.socket | None:
    """Return the (wrapped) socket of a transport, or None when it is closing; uvloop forgets it by itself.

    uvloop closes the descriptor of one that was cancelled before it was connected, which never is closing.
    """
    sock: socket.socket | None = None if transport.is_closing() else transport.get_extra_info("socket")
    return sock if sock is not None and sock.fileno() >= 0 else None


def set_buffers(sock: socket.socket, tuning: Tuning) -> None:
    """Ask for the buffer sizes of ``tuning`` on a new socket; 0 leaves the system's choice."""
    if tuning.rcvbuf_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, tuning.rcvbuf_bytes)
    if tuning.sndbuf_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, tuning.sndbuf_bytes)


def set_accepted_buffers(sock: socket.socket, tuning: Tuning) -> None:
    """Do the same on an accepted Unix socket: only over TCP it has inherited what its listener has."""
    if sock.family == socket.AF_UNIX:
        set_buffers(sock, tuning)


def change_buffers(sock: socket.socket, tuning: Tuning) -> None:
    """Do the same on a socket that may have other sizes; 0 makes it as one that never had any.

    Linux no longer fits a buffer to its connection once a size was asked for, until SO_BUF_LOCK (since 5.15)
    takes that back. Elsewhere the size itself is all that can be had again.
    """
    before = locked = _buffer_locks(sock)
    for option, lock, wanted in (
        (socket.SO_RCVBUF, _RCVBUF_LOCK, tuning.rcvbuf_bytes),
        (socket.SO_SNDBUF, _SNDBUF_LOCK, tuning.sndbuf_bytes),
    ):
        if not wanted and locked & lock:
            _take_back(sock, option)
            locked &= ~lock
    if locked != before:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, locked)
    set_buffers(sock, tuning)


def _buffer_locks(sock: socket.socket) -> int:
    """Return which buffers of a socket are of a size that was asked for; all of them where nothing tells."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK)
    except OSError:
        return _SNDBUF_LOCK | _RCVBUF_LOCK


def _take_back(sock: socket.socket, option: int) -> None:
    """Give a buffer the size that it has in a new socket."""
    with socket.socket(sock.family, sock.type) as new:
        size = new.getsockopt(socket.SOL_SOCKET, option)
    sock.setsockopt(socket.SOL_SOCKET, option, size)
    if sock.getsockopt(socket.SOL_SOCKET, option) > size:
        # Linux doubles what is asked (socket(7)).
        sock.setsockopt(socket.SOL_SOCKET, option, size // 2)


def set_no_delay(sock: socket.socket, no_delay: bool) -> None:
    """Switch TCP_NODELAY, which a Unix socket has not."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(no_delay))


def has_nagle(sock: socket.socket) -> bool:
    """Tell whether small writes wait for the ACK of earlier ones (RFC 896): TCP_NODELAY is off."""
    try:
        return not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    except OSError:
        return False


def set_read_size(transport: asyncio.Transport, read_bytes: int) -> None:
    """Let one read of ``transport`` take so many bytes at the most; 0 is the loop's own size.

    The transports of asyncio's own loop pass ``max_size`` to recv; those of uvloop always read into the
    256,000 bytes that the loop owns.
    """
    own = getattr(type(transport), "max_size", None)
    if own is not None:
        transport.max_size = read_bytes or own  # type: ignore[attr-defined]


def tcp_info_words(sock: socket.socket) -> tuple[int, ...] | None:
    """Return the first 16 words of the kernel's TCP_INFO, or None where there is none."""
    if _TCP_INFO is None:
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _WORDS.size)
    except OSError:
        return None
    return _WORDS.unpack(raw) if len(raw) == _WORDS.size else None


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """Return what the kernel tells of a TCP connection, or None where it tells nothing."""
    if _TCP_INFO is None:
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_FIELDS.size)
    except OSError:
        return None
    return parsed_tcp_info(raw)


def parsed_tcp_info(raw: bytes) -> TcpInfo:
    """Return the fields of a ``struct tcp_info``, as far as it reaches."""
    size = len(raw)
    values: Sequence[int | None] = _TCP_FIELDS.unpack(raw.ljust(_TCP_FIELDS.size, b"\0")[: _TCP_FIELDS.size])
    if size < _TCP_FIELDS.size:
        values = [value if end <= size else None for value, end in zip(values, _TCP_FIELD_ENDS, strict=True)]
    rtt, rttvar, cwnd, retransmits, acked, rate, busy, rwnd, sndbuf = values
    return TcpInfo(
        _seconds(rtt), _seconds(rttvar), cwnd, retransmits, acked, rate or None,
        _seconds(busy), _seconds(rwnd), _seconds(sndbuf),
    )  # fmt: skip


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / _MICROSECONDS_PER_S


def listener_backlog(sock: socket.socket) -> int | None:
    """Return how many connections the kernel queues at a listener (it may cap what was asked), or None."""
    if sock.family == socket.AF_UNIX:
        queue = queue_of(sock)
        return queue.most if queue is not None else None
    words = tcp_info_words(sock)
    return words[_SACKED] if words else None


def listener_queue(sock: socket.socket) -> int | None:
    """Return how many connections wait at a listener to be accepted, or None."""
    if sock.family == socket.AF_UNIX:
        queue = queue_of(sock)
        return queue.waiting if queue is not None else None
    words = tcp_info_words(sock)
    return words[_UNACKED] if words else None


class ListenDrops:
    """Counts the connections that the kernel drops at a listener from now on, as its backlog is full.

    That is ``sk_drops``, the last word of SO_MEMINFO (linux/sock_diag.h), which ``ss -l -t -m`` shows as
    ``d``. Each attempt counts: whoever is dropped asks again.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock: socket.socket | None = sock
        self._before = _dropped_at(sock)

    @property
    def count(self) -> int | None:
        """How many there were while it was open; None where the kernel does not tell."""
        now = _dropped_at(self._sock) if self._sock is not None else None
        return now - self._before if now is not None and self._before is not None else None

    def end(self) -> int:
        """Count no more, and return how many there were."""
        found, self._sock = self.count, None
        return found or 0


def _dropped_at(sock: socket.socket) -> int | None:
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return None
    try:
        words = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return None
    dropped: int | None = _MEMINFO.unpack(words)[-1] if len(words) == _MEMINFO.size else None
    return dropped


def buffer_options(sock: socket.socket, tuning: Tuning, prefix: str = "") -> list[SocketOption]:
    """Return requested and effective buffer sizes. Linux doubles what is asked (socket(7)).

    On a Unix socket what is sent waits in the buffer of the sender; the receiver's has no effect (unix(7)).
    """
    sent = SocketOption(f"{prefix}SO_SNDBUF", tuning.sndbuf_bytes or None, _get(sock, socket.SO_SNDBUF))
    if sock.family == socket.AF_UNIX:
        return [sent]
    read = SocketOption(f"{prefix}SO_RCVBUF", tuning.rcvbuf_bytes or None, _get(sock, socket.SO_RCVBUF))
    return [read, sent]


def no_delay_options(sock: socket.socket, tuning: Tuning, prefix: str = "") -> list[SocketOption]:
    """Return requested and effective TCP_NODELAY; nothing for a Unix socket."""
    if sock.family == socket.AF_UNIX:
        return []
    effective: int | None
    try:
        effective = int(bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
    except OSError:
        effective = None
    return [SocketOption(f"{prefix}TCP_NODELAY", int(tuning.no_delay), effective)]


def _get(sock: socket.socket, option: int) -> int | None:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, option)
    except OSError:
        return None


def set_reuse_port(sock: socket.socket) -> None:
    """Share the port with other sockets that ask for it too; raise ConfigError where the system cannot."""
    if _REUSE_PORT is None:
        raise ConfigError.of("reuse_port", True, "this system has no SO_REUSEPORT")
    sock.setsockopt(socket.SOL_SOCKET, _REUSE_PORT, 1)


def reuse_options(sock: socket.socket, experiment: Experiment) -> list[SocketOption]:
    """Return requested and effective SO_REUSEADDR (of a listener) and SO_REUSEPORT; none of a Unix socket."""
    found: list[SocketOption] = []
    if sock.family == socket.AF_UNIX:
        return found
    if sock.type is socket.SOCK_STREAM:
        found.append(_flag("SO_REUSEADDR", experiment.reuse_address, _get(sock, socket.SO_REUSEADDR)))
    if _REUSE_PORT is not None:
        found.append(_flag("SO_REUSEPORT", experiment.reuse_port, _get(sock, _REUSE_PORT)))
    return found


def _flag(name: str, requested: bool, effective: int | None) -> SocketOption:
    return SocketOption(name, int(requested), None if effective is None else int(bool(effective)))
