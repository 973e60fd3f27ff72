"""Socket options: set as asked, and read back as the kernel has them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.run.snapshot import SocketOption
from sockscope.errors import ConfigError

# Linux only, and not in the socket module: asm-generic/socket.h, uapi/linux/socket.h.
_SO_BUF_LOCK, _SNDBUF_LOCK, _RCVBUF_LOCK = 72, 1, 2
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_REUSE_PORT: int | None = getattr(socket, "SO_REUSEPORT", None)
# struct tcp_info (linux/tcp.h): eight bytes, then 32-bit words; unacked is word 4 and sacked word 5 (on a
# listener: the accept queue and its limit), rtt is word 15, in microseconds.
_UNACKED, _SACKED, _RTT = 4, 5, 15
_WORDS = struct.Struct("=8x16I")
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")


def dropped_datagrams(sock: socket.socket) -> int:
    """Return how many datagrams the kernel has dropped at a socket so far; 0 where it does not tell.

    That is ``sk_drops``, the last word of SO_MEMINFO (linux/sock_diag.h), which ``ss -u -m`` shows as ``d``.
    """
    if sys.platform != "linux":
        return 0
    try:
        words = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return 0
    drops: int = _MEMINFO.unpack(words)[-1] if len(words) == _MEMINFO.size else 0
    return drops


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
    """Switch TCP_NODELAY."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(no_delay))


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


def rtt_s(sock: socket.socket) -> float | None:
    """Return the kernel's smoothed round-trip time in seconds, or None."""
    words = tcp_info_words(sock)
    return words[_RTT] / 1e6 if words else None


def listener_backlog(sock: socket.socket) -> int | None:
    """Return how many connections the kernel queues at a listener (it may cap what was asked), or None."""
    words = tcp_info_words(sock)
    return words[_SACKED] if words else None


def listener_queue(sock: socket.socket) -> int | None:
    """Return how many connections wait at a listener to be accepted, or None."""
    words = tcp_info_words(sock)
    return words[_UNACKED] if words else None


def buffer_options(sock: socket.socket, tuning: Tuning, prefix: str = "") -> list[SocketOption]:
    """Return requested and effective buffer sizes. Linux doubles what is asked (socket(7))."""
    return [
        SocketOption(f"{prefix}SO_RCVBUF", tuning.rcvbuf_bytes or None, _get(sock, socket.SO_RCVBUF)),
        SocketOption(f"{prefix}SO_SNDBUF", tuning.sndbuf_bytes or None, _get(sock, socket.SO_SNDBUF)),
    ]


def no_delay_option(sock: socket.socket, tuning: Tuning, prefix: str = "") -> SocketOption:
    """Return requested and effective TCP_NODELAY."""
    effective: int | None
    try:
        effective = int(bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
    except OSError:
        effective = None
    return SocketOption(f"{prefix}TCP_NODELAY", int(tuning.no_delay), effective)


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
    """Return requested and effective SO_REUSEADDR (of a listener) and SO_REUSEPORT."""
    found: list[SocketOption] = []
    if sock.type is socket.SOCK_STREAM:
        found.append(_flag("SO_REUSEADDR", experiment.reuse_address, _get(sock, socket.SO_REUSEADDR)))
    if _REUSE_PORT is not None:
        found.append(_flag("SO_REUSEPORT", experiment.reuse_port, _get(sock, _REUSE_PORT)))
    return found


def _flag(name: str, requested: bool, effective: int | None) -> SocketOption:
    return SocketOption(name, int(requested), None if effective is None else int(bool(effective)))
