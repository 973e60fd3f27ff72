from __future__ import annotations

import errno

import pytest

from sockscope.core.addresses import format_address
from sockscope.core.events import CloseReason
from sockscope.engine.os_errors import close_reason, describe, listen_error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, CloseReason.EOF),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), CloseReason.REFUSED),
        (ConnectionResetError(errno.ECONNRESET, "x"), CloseReason.RESET),
        (BrokenPipeError(errno.EPIPE, "x"), CloseReason.RESET),
        (OSError(errno.ETIMEDOUT, "x"), CloseReason.TIMEOUT),
        (TimeoutError(), CloseReason.TIMEOUT),
        (OSError(errno.ENETUNREACH, "x"), CloseReason.OS_ERROR),
        (OSError("no number"), CloseReason.OS_ERROR),
    ],
)
def test_an_error_is_a_reason(error: OSError | None, reason: CloseReason) -> None:
    assert close_reason(error) is reason


@pytest.mark.parametrize(
    ("address", "number", "advice"),
    [
        (("192.0.2.1", 80), errno.EADDRINUSE, "the port is in use; choose another with --port"),
        (("192.0.2.1", 0), errno.EADDRINUSE, "no ephemeral port is left"),
        (("192.0.2.1", 80), errno.EACCES, "choose a higher --port"),
        (("192.0.2.1", 8080), errno.EACCES, "Permission denied: something forbids"),
        (("192.0.2.1", 80), errno.EADDRNOTAVAIL, "leave out --bind"),
        (("127.0.0.1", 0), errno.EADDRNOTAVAIL, "the loopback interface is down"),
        (("::1", 0), errno.EADDRNOTAVAIL, "this machine has no IPv6 loopback; use -4"),
        (("::1", 80), errno.EAFNOSUPPORT, "use -4"),
        (("::1", 80), errno.EMFILE, "no descriptors are left"),
        (("::1", 80), errno.ENFILE, "Too many open files"),
    ],
)
def test_an_address_that_cannot_be_listened_on_comes_with_advice_about_what_was_asked_for(
    address: tuple[str, int], number: int, advice: str
) -> None:
    error = listen_error(address, OSError(number, "x"))
    assert str(error).startswith(f"cannot listen on {format_address(address)}: ")
    assert advice in str(error)
    assert error.os_error.errno == number


def test_what_happened_is_told_without_the_class_of_the_exception() -> None:
    assert describe(ConnectionResetError(errno.ECONNRESET, "x")) == "Connection reset by peer"
    assert describe(ValueError("why")) == "why"
    assert describe(ValueError()) == "ValueError"
