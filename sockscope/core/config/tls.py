"""What TLS is described by: names, protocols, and a certificate as the roles of a run get it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sockscope.core.addresses import numeric

MOST_PROTOCOL_BYTES = 255
"""Longest name of a protocol (RFC 7301, section 3.1)."""
_NAME = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, both in PEM."""

    chain: bytes
    key: bytes = field(repr=False)


def parse_server_name(text: str) -> str:
    """Return the name of a server, or its numeric address; raises ValueError with the reason."""
    if numeric(text) is None and not _NAME.fullmatch(text):
        raise ValueError("is neither a host name nor an address")
    return text


def parse_alpn(text: str) -> list[str]:
    """Return the protocols of ``h2,http/1.1``; raises ValueError with the reason."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not name:
            raise ValueError("is a list with an empty name in it; it is written as h2,http/1.1")
        if not name.isascii() or len(name) > MOST_PROTOCOL_BYTES:
            raise ValueError(f"is not made of ASCII names of at most {MOST_PROTOCOL_BYTES} B each")
    return names
