"""What the kernel's error numbers mean here: a reason to close, or a sentence with the fix."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from sockscope.core.addresses import Address, format_address, is_unix
from sockscope.core.config.experiment import LOOPBACK
from sockscope.core.events import CloseReason
from sockscope.engine.tls.faults import HandshakeError, ended_text
from sockscope.errors import ListenError

_REASONS = {
    errno.ECONNREFUSED: CloseReason.REFUSED,
    errno.ECONNRESET: CloseReason.RESET,
    errno.EPIPE: CloseReason.RESET,
    errno.ECONNABORTED: CloseReason.RESET,
    errno.ETIMEDOUT: CloseReason.TIMEOUT,
}

_NO_PERMISSION = "no permission; ports below 1024 need a privilege, choose a higher --port"
_LISTEN_ADVICE = {
    errno.EADDRINUSE: "the port is in use; choose another with --port, or 0 to let the kernel choose",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EADDRNOTAVAIL: "the server's machine has no such address; leave out --bind to use the default",
    errno.EAFNOSUPPORT: "this machine has no such address family; use -4",
    errno.EMFILE: "no descriptors are left; raise the limit (ulimit -n)",
}
_TAP_ADVICE = {
    errno.EADDRINUSE: "the port is in use; choose another, or 0 to let the kernel choose",
    errno.EADDRNOTAVAIL: "this machine has no such address; a port alone is one of the loopback",
}
_NO_PERMISSION_THERE = "no permission to make a socket there; choose another path with --bind"
_UNIX_ADVICE = {
    errno.EADDRINUSE: "somebody listens there; choose another with --bind",
    errno.EEXIST: "what is there is no socket, and stays; choose another path with --bind",
    errno.ENOENT: "there is no such directory; make it first, or choose another path with --bind",
    errno.ENOTDIR: "a part of the path is no directory; choose another with --bind",
    errno.EACCES: _NO_PERMISSION_THERE,
    errno.EPERM: _NO_PERMISSION_THERE,
    errno.EAFNOSUPPORT: "this system has no abstract names; choose a path with --bind",
    errno.EMFILE: _LISTEN_ADVICE[errno.EMFILE],
}
_PRIVILEGED = 1024
_NO_PORT_LEFT = (
    "no ephemeral port is left; choose one with --port, wait a minute for connections in TIME_WAIT, "
    "or widen net.ipv4.ip_local_port_range"
)
_NO_LOOPBACK = {
    LOOPBACK["ipv4"]: "the loopback interface is down: sudo ip link set lo up",
    LOOPBACK["ipv6"]: "this machine has no IPv6 loopback; use -4, or set net.ipv6.conf.lo.disable_ipv6=0",
}


def close_reason(error: BaseException | None) -> CloseReason:
    """Return the reason that an exception of a socket stands for; None is a clean EOF."""
    if error is None:
        return CloseReason.EOF
    if isinstance(error, ssl.SSLEOFError):
        return CloseReason.EOF
    if isinstance(error, ssl.SSLError | HandshakeError):
        return CloseReason.TLS
    if isinstance(error, TimeoutError):
        return CloseReason.TIMEOUT
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno, CloseReason.OS_ERROR)
    return CloseReason.OS_ERROR


def has_no_room(error: OSError) -> bool:
    """Tell whether a datagram was not sent because there was no room for it in the send buffer."""
    return isinstance(error, BlockingIOError) or error.errno == errno.ENOBUFS


def describe(error: BaseException) -> str:
    """Return what happened in a few words, without the exception's class."""
    if isinstance(error, ssl.SSLError):
        return ended_text(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def close_socket(sock: socket.socket) -> None:
    """Close a socket, whose descriptor user code in this process may have closed already."""
    try:
        sock.close()
    except OSError as error:
        if error.errno != errno.EBADF:
            raise


def listen_error(address: Address, error: OSError, *, of_tap: bool = False) -> ListenError:
    """Return the error for an address that cannot be listened on, with advice: a tap has no flags for it."""
    advice = _TAP_ADVICE.get(error.errno or 0) if of_tap and not is_unix(str(address[0])) else None
    return ListenError(format_address(address), error, advice or _advice(address, error))


def _advice(address: Address, error: OSError) -> str:
    """Return what to do, by what was asked for: nobody chose an address or a port that is the default."""
    host, port = str(address[0]), int(address[1])
    if is_unix(host):
        return _UNIX_ADVICE.get(error.errno or 0, describe(error))
    if error.errno == errno.EADDRINUSE and port == 0:
        return _NO_PORT_LEFT
    if error.errno == errno.EADDRNOTAVAIL and host in _NO_LOOPBACK:
        return _NO_LOOPBACK[host]
    if error.errno in (errno.EACCES, errno.EPERM) and port >= _PRIVILEGED:
        return f"{describe(error)}: something forbids this program to listen there"
    return _LISTEN_ADVICE.get(error.errno or 0, describe(error))
