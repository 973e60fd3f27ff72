"""How addresses are written: hosts and ports as people type them, and as SockScope writes them.

A host is what RFC 3986 (section 3.2.2) knows: an IPv4 address, an IPv6 address in brackets, or a name, in
which ``%41`` stands for a byte. An IPv6 address may name its zone (RFC 4007, section 11: ``fe80::1%eth0``),
whose percent sign may be encoded as in a URI (RFC 6874: ``fe80::1%25eth0``).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote_to_bytes

Address = tuple[str, int]
"""A host and a port; of a link-local IPv6 host with its zone. A Unix socket is a host with port 0."""
UNIX = "unix:"
"""How a Unix socket is written: with its path behind this, or ``@`` and a name (abstract: unix(7)).

Alone it is a name that nobody has, as port 0 is a port."""
UNNAMED = f"{UNIX}(unnamed)"
"""A Unix socket that is bound to nothing, as clients that do not care are."""
MOST_PATH_BYTES = 107
"""Longest path of a Unix socket on Linux, in bytes (unix(7))."""
MOST_NAME = 255
"""Longest name (RFC 1035, section 2.3.4)."""
_EXAMPLE = "such as 127.0.0.1:7007 or [::1]:7007"
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
# The delimiters of a URI, and what no name, address or zone has in it.
_NO_PART = frozenset(" /?#[]@\\<>\"'`^{|}")


def format_address(address: Address) -> str:
    """Return ``127.0.0.1:80``, or ``[::1]:80`` for IPv6."""
    host, port = address
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(text: str) -> Address:
    """Return host and port of what :func:`format_address` wrote; port 0 when there is none."""
    if is_unix(text):
        return text, 0
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port) if port.isascii() and port.isdigit() and len(port) <= 9 else 0


def parse_target(text: str) -> Address:
    """Return the host (a name, or as :func:`parse_host` gives it) and the port that ``text`` names.

    Raises ValueError with the reason.
    """
    text = text.strip()
    if is_unix(text):
        return parse_unix(text), 0
    if "://" in text:
        raise ValueError(f"is a URL; write host and port alone, {_EXAMPLE}")
    if "@" in text:
        raise ValueError("names a user; write host and port alone")
    host, port = _halves(text)
    number = port.lstrip("0")
    if not (host and port.isascii() and number.isdigit() and len(number) <= 5 and int(number) < 65_536):
        raise ValueError(f"is not an address with a port, {_EXAMPLE}")
    return parse_host(host), int(number)


def is_unix(host: str) -> bool:
    """Tell whether a host is a Unix socket."""
    return host.startswith(UNIX)


def parse_unix(text: str) -> str:
    """Return the host that a Unix socket is (``unix:/run/it``, ``unix:@it``); raises ValueError."""
    path = text.removeprefix(UNIX)
    if path in ("", "@") or "\0" in path:
        raise ValueError("is not a Unix socket, such as unix:/run/my.sock, or unix:@name for an abstract one")
    if not path.isprintable():
        raise ValueError("has a character in its path or name that cannot be printed")
    size = len(path.encode())
    if size > MOST_PATH_BYTES:
        raise ValueError(f"has a path of {size:,} B; a Unix socket has at most {MOST_PATH_BYTES}")
    return text


def _halves(text: str) -> tuple[str, str]:
    """Return host, brackets included, and port."""
    if text.startswith("["):
        inner, bracket, rest = text.partition("]")
        if not bracket:
            raise ValueError("has an unclosed bracket")
        return inner + bracket, rest.removeprefix(":") if rest.startswith(":") else ""
    host, _, port = text.rpartition(":")
    if ":" in host:
        raise ValueError(f"is ambiguous: an IPv6 address before a port is in brackets, {_EXAMPLE}")
    return host, port


def parse_host(text: str) -> str:
    """Return a host without brackets and escapes; raises ValueError with the reason.

    An address comes back in its canonical form (``::1`` for ``0:0::1``), with the zone after a percent sign
    if it has one; anything else is a name, to be looked up.
    """
    text = text.strip()
    if "://" in text:
        raise ValueError("is a URL; write the address alone")
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and (host.endswith("]") or ":" not in host):
        raise ValueError("names a port; that is --port")
    if text.startswith("["):
        if not text.endswith("]"):
            raise ValueError("has an unclosed bracket")
        return _bracketed(text[1:-1])
    if colon:
        return _ipv6(text)
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return _name(text)


def _bracketed(text: str) -> str:
    if text[:1] in ("v", "V"):
        raise ValueError("is an address of a future version of IP (IPvFuture), which no system has yet")
    return _ipv6(text)


def _ipv6(text: str) -> str:
    address, percent, zone = text.partition("%")
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError("is not an IPv6 address") from None
    # As the kernel's own library writes it (RFC 5952, section 5).
    numeric = str(found) if found.ipv4_mapped is None else f"::ffff:{found.ipv4_mapped}"
    if not percent:
        return numeric
    if zone.startswith("25") and len(zone) > 2:
        zone = _decoded(zone[2:])
    if not zone or not zone.isprintable() or "%" in zone or _NO_PART & set(zone):
        raise ValueError("has a zone that is not the name or number of an interface, such as %eth0")
    return f"{numeric}%{zone}"


def _name(text: str) -> str:
    name = _decoded(text)
    if not name or len(name) > MOST_NAME or not name.isprintable() or (_NO_PART | {":", "%"}) & set(name):
        raise ValueError("is neither an IPv4 or IPv6 address nor a name")
    return name


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise ValueError("has escapes that are not UTF-8") from None


def numeric(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host without brackets is, without its zone; None when it is a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def family_name(host: str) -> str:
    """Return ``ipv4``, ``ipv6`` or ``unix`` for an address, and nothing for a name."""
    if is_unix(host):
        return "unix"
    found = numeric(host)
    return f"ipv{found.version}" if found is not None else ""


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's loopback, or a Unix socket.

    An IPv4 address that is written as an IPv6 one (``::ffff:127.0.0.1``) is that address.
    """
    found = _unmapped(host)
    return is_unix(host) or (found is not None and found.is_loopback)


def why_not_one_machine(host: str) -> str:
    """Return why an address is nobody's own, to listen on or to be answered from; empty where it may be."""
    found = _unmapped(host)
    if found is None:
        return ""
    if found.is_multicast:
        return "is a multicast address, not that of one machine"
    return "is the broadcast address, not that of one machine" if found == _BROADCAST else ""


def _unmapped(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is; of an IPv4 one that is written as IPv6, the former."""
    found = numeric(host)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
