from __future__ import annotations

import errno

import pytest

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
    ("number", "advice"),
    [
        (errno.EADDRINUSE, "the port is in use; choose another with --port"),
        (errno.EACCES, "choose a higher --port"),
        (errno.EADDRNOTAVAIL, "leave --bind out"),
        (errno.EAFNOSUPPORT, "use -4"),
        (errno.EMFILE, "no descriptors are left"),
        (errno.ENFILE, "Too many open files"),
    ],
)
def test_an_address_that_cannot_be_listened_on_comes_with_advice(number: int, advice: str) -> None:
    error = listen_error(("::1", 80), OSError(number, "x"))
    assert str(error).startswith("cannot listen on [::1]:80: ")
    assert advice in str(error)
    assert error.os_error.errno == number


def test_what_happened_is_told_without_the_class_of_the_exception() -> None:
    assert describe(ConnectionResetError(errno.ECONNRESET, "x")) == "Connection reset by peer"
    assert describe(ValueError("why")) == "why"
    assert describe(ValueError()) == "ValueError"
