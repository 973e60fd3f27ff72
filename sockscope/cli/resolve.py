"""From the HOST:PORT that a user typed to a numeric address."""

from __future__ import annotations

import socket

from sockscope.core.config.experiment import split_address
from sockscope.core.connection import format_address
from sockscope.errors import ConfigError

_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def resolve(target: str, family: str | None, name: str = "HOST:PORT") -> tuple[str, str]:
    """Return the numeric address of ``target`` and its family (``ipv4`` or ``ipv6``).

    ``family`` restricts the answer; without it the system's first choice is taken. Raises ConfigError, in
    which the target is called ``name``.
    """
    host, port = split_address(target)
    if not host or not 0 < port < 65_536:
        raise ConfigError.of(name, target, "is not an address with a port, such as 127.0.0.1:7007")
    wanted = _FAMILIES.get(family or "", socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(host, port, wanted, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "it is not a name"
        among = f" as {family}" if family else ""
        raise ConfigError.of(name, target, f"cannot be resolved{among}: {reason}") from None
    chosen, *_, address = found[0]
    names = {number: name for name, number in _FAMILIES.items()}
    return format_address((str(address[0]), port)), names[chosen]
