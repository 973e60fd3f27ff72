"""What the kernel's error numbers mean here: a reason to close, or a sentence with the fix."""

from __future__ import annotations

import errno
import os

from sockscope.core.addresses import Address, format_address
from sockscope.core.events import CloseReason
from sockscope.errors import ListenError

_REASONS = {
    errno.ECONNREFUSED: CloseReason.REFUSED,
    errno.ECONNRESET: CloseReason.RESET,
    errno.EPIPE: CloseReason.RESET,
    errno.ECONNABORTED: CloseReason.RESET,
    errno.ETIMEDOUT: CloseReason.TIMEOUT,
}

_LISTEN_ADVICE = {
    errno.EADDRINUSE: "the port is in use; choose another with --port, or 0 to let the kernel choose",
    errno.EACCES: "no permission; ports below 1024 need a privilege, choose a higher --port",
    errno.EPERM: "no permission; ports below 1024 need a privilege, choose a higher --port",
    errno.EADDRNOTAVAIL: "this machine has no such address; leave --bind out to use loopback",
    errno.EAFNOSUPPORT: "this machine has no such address family; use -4",
    errno.EMFILE: "no descriptors are left; use fewer clients, or raise the limit (ulimit -n)",
}


def close_reason(error: BaseException | None) -> CloseReason:
    """Return the reason that an exception of a socket stands for; None is a clean EOF."""
    if error is None:
        return CloseReason.EOF
    if isinstance(error, TimeoutError):
        return CloseReason.TIMEOUT
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno, CloseReason.OS_ERROR)
    return CloseReason.OS_ERROR


def describe(error: BaseException) -> str:
    """Return what happened in a few words, without the exception's class."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def listen_error(address: Address, error: OSError) -> ListenError:
    """Return the error for an address that cannot be listened on, with advice."""
    advice = _LISTEN_ADVICE.get(error.errno or 0, describe(error))
    return ListenError(format_address(address), error, advice)
