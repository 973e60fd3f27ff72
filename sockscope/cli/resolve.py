"""From the hosts that a user typed to numeric addresses."""

from __future__ import annotations

import contextlib
import socket

from sockscope.core.addresses import family_name, format_address, numeric, parse_host, parse_target
from sockscope.errors import ConfigError

_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def resolve(target: str, family: str | None, name: str = "HOST:PORT") -> tuple[str, str]:
    """Return the numeric addresses of ``target``, to be tried in turn, and the family of the first.

    ``family`` (``ipv4``, ``ipv6``) restricts the answer; the order is the system's (RFC 6724). Raises
    ConfigError, in which the target is called ``name``.
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
    """Return the numeric address that ``host`` names; raises ValueError with the reason."""
    return addresses_of(parse_host(host), family)[0]


def addresses_of(host: str, family: str | None) -> list[str]:
    """Return the numeric addresses of a host, the system's first choice first; raises ValueError."""
    if numeric(host) is not None:
        if family and family_name(host) != family:
            raise ValueError(f"is not an address of the family {family}")
        return [_zoned(host)]
    name = host.lower().rstrip(".")
    if name.endswith(".localhost") or name == "localhost":
        host = "localhost"  # RFC 6761, section 6.3
    wanted = _FAMILIES.get(family or "", socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(host, None, wanted, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "it is not a name"
        among = f" as {family}" if family else ""
        raise ValueError(f"cannot be resolved{among}: {reason}") from None
    return list(dict.fromkeys(_zoned(str(address[0])) for *_, address in found))


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
