"""From the hosts that a user typed to numeric addresses."""

from __future__ import annotations

import contextlib
import socket

from sockscope.core.addresses import (
    UNIX,
    family_name,
    format_address,
    is_unix,
    numeric,
    parse_host,
    parse_target,
    parse_unix,
)
from sockscope.errors import ConfigError

_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def resolve(target: str, family: str | None, name: str = "HOST:PORT") -> tuple[str, str]:
    """Return the numeric addresses of ``target``, to be tried in turn, and the family of the first.

    ``family`` (``ipv4``, ``ipv6``, ``unix``) restricts the answer; the order is the system's (RFC 6724).
    Raises ConfigError, in which the target is called ``name``.
    """
    found: dict[str, str] = {}
    try:
        for one in target.split(","):
            host, port = parse_target(one)
            found |= {format_address((each, port)): each for each in addresses_of(host, family)}
    except ValueError as error:
        raise ConfigError.of(name, target, str(error)) from None
    return ",".join(found), family_name(next(iter(found.values())))


def resolve_bind(host: str, family: str | None) -> str:
    """Return the numeric address, or Unix socket, that ``host`` names; raises ValueError with the reason."""
    if is_unix(host.strip()):
        known = host.strip() if host.strip() == UNIX else parse_unix(host.strip())
    else:
        known = parse_host(host)
    return addresses_of(known, family)[0]


def addresses_of(host: str, family: str | None) -> list[str]:
    """Return the numeric addresses of a host, the system's first choice first; raises ValueError."""
    found = family_name(host)
    if found and family and found != family:
        raise ValueError(f"is not an address of the family {family}")
    if found:
        return [host if found == "unix" else _zoned(host)]
    if family == "unix":
        raise ValueError("is not a Unix socket, such as unix:/run/my.sock")
    name = host.lower().rstrip(".")
    if name.endswith(".localhost") or name == "localhost":
        host = "localhost"  # RFC 6761, section 6.3
    try:
        known = _looked_up(host, family)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "it is not a name"
        among = f" as {family}" if family else ""
        raise ValueError(f"cannot be resolved{among}: {reason}") from None
    return list(dict.fromkeys(_zoned(one) for one in known))


def _looked_up(host: str, family: str | None) -> list[str]:
    """Return what the system knows of a name; raises OSError and UnicodeError.

    The dot at the end of a complete name (RFC 3986, section 3.2.2) is known to the DNS alone, not to a hosts
    file.
    """
    wanted = _FAMILIES.get(family or "", socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(host, None, wanted, socket.SOCK_STREAM)
    except socket.gaierror:
        if not host.endswith(".") or not host.strip("."):
            raise
        found = socket.getaddrinfo(host[:-1], None, wanted, socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _zoned(host: str) -> str:
    """Return an address whose zone the sockets of this machine know; raises ValueError.

    A link-local address needs one (RFC 4007, section 6). Of others the number of the interface is enough.
    """
    address, _, zone = host.partition("%")
    known = numeric(address)
    assert known is not None
    if not zone:
        if known.version == 6 and known.is_link_local:
            names = ", ".join(f"%{name}" for _, name in socket.if_nameindex())
            raise ValueError(f"is link-local: add the interface that leads there ({names})")
        return host
    index = int(zone) if zone.isascii() and zone.isdigit() and len(zone) < 10 else 0
    with contextlib.suppress(OSError):
        index = socket.if_nametoindex(zone)
    try:
        name = socket.if_indextoname(index)
    except (OSError, OverflowError):
        raise ValueError(f"has the zone {zone}, but there is no such interface here") from None
    return f"{address}%{name}" if known.is_link_local else f"{address}%{index}"
