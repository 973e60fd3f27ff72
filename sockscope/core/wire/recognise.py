"""What a client speaks, told from the first bytes that it sends: only where these leave no doubt.

The answer does not depend on how the bytes were cut into reads: more of them never change it. At most
:data:`MOST_BYTES` are looked at; what is not known by then is told apart by turns, as who speaks changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sockscope.core.wire.postgres import GSS_WANTED, MAX_START_BYTES, START, TLS_WANTED

MOST_BYTES = 4_096
"""First bytes of a connection that are looked at."""
HTTP, RESP, POSTGRES, TLS, BYTES, TURNS = "HTTP/1", "RESP", "PostgreSQL", "TLS", "bytes", "turns"
"""Requests and answers of HTTP/1 (RFC 9112); values of Redis; messages of PostgreSQL; records of TLS (RFC
8446); what is not told apart; whatever else."""
AUTO = "auto"
TELLINGS = (AUTO, TURNS, "length", "newline", "http", "resp", "postgres", BYTES)
"""The ways to tell requests and answers apart that one may ask for by name."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_REQUEST_LINE = re.compile(rb"[A-Z]{1,20} [!-~]+ HTTP/1\.[0-9]\r?\n")
_BEGINS_LINE = re.compile(rb"[A-Z]{1,20}( ([!-~]+( (H(T(T(P(/(1(\.([0-9](\r)?)?)?)?)?)?)?)?)?)?)?)?")
_COMMAND = re.compile(rb"\*[1-9][0-9]{0,6}\r\n\$[1-9][0-9]{0,3}\r\n")
_BEGINS_COMMAND = re.compile(rb"\*([1-9][0-9]{0,6}(\r(\n(\$([1-9][0-9]{0,3}(\r)?)?)?)?)?)?")
_HELLO_HEADER_BYTES = 11
_SERVER_NAME, _VERSIONS = 0, 43
_TLS13 = 0x0304


@dataclass(frozen=True, slots=True)
class Recognised:
    """What is spoken: ``form`` is :data:`HTTP`, :data:`RESP`, :data:`POSTGRES`, :data:`TLS`, :data:`BYTES` or
    :data:`TURNS`, and ``name`` what people call it (``TLS 1.3 to example.org``)."""

    form: str
    name: str


BY_TURNS = Recognised(TURNS, "by turns")


def recognise(begun: bytes) -> Recognised | None:
    """Return what begins with these bytes of a client; None while more of them are needed."""
    seen = begun[:MOST_BYTES]
    if not seen:
        return None
    found: Recognised | None = BY_TURNS
    if _is_hello(seen):
        found = _hello(seen)
    elif _PREFACE.startswith(seen[: len(_PREFACE)]) and len(seen) > 3:
        # RFC 9113, section 3.4; a word of up to three letters may yet be a method of HTTP/1.
        found = Recognised(BYTES, "HTTP/2") if len(seen) >= len(_PREFACE) else None
    elif seen[0] == 0:
        found = _postgres(seen)
    elif _REQUEST_LINE.match(seen):
        found = Recognised(HTTP, "HTTP/1")
    elif _COMMAND.match(seen):
        found = Recognised(RESP, "RESP")
    elif _BEGINS_LINE.fullmatch(seen) or _BEGINS_COMMAND.fullmatch(seen):
        found = None
    return BY_TURNS if found is None and len(begun) >= MOST_BYTES else found


def is_dns_query(datagram: bytes) -> bool:
    """Tell whether a datagram is a standard query of DNS with one question (RFC 1035, section 4.1.1)."""
    if len(datagram) < 17:
        return False
    flags, questions = int.from_bytes(datagram[2:4], "big"), int.from_bytes(datagram[4:6], "big")
    return not flags & 0xF800 and questions == 1 and datagram[6:10] == b"\0\0\0\0"


def _postgres(seen: bytes) -> Recognised | None:
    """Return what begins with zero: a client of PostgreSQL says a length and a number first."""
    size, code = int.from_bytes(seen[:4], "big"), int.from_bytes(seen[4:8], "big")
    if len(seen) >= 8:
        alone = code in (TLS_WANTED, GSS_WANTED) and size == 8
        named = code == START and 8 < size <= MAX_START_BYTES
        return Recognised(POSTGRES, POSTGRES) if alone or named else BY_TURNS
    if len(seen) >= 4 and not 8 <= size <= MAX_START_BYTES:
        return BY_TURNS
    begins = [one.to_bytes(4, "big")[: len(seen) - 4] for one in (START, TLS_WANTED, GSS_WANTED)]
    return None if len(seen) <= 4 or seen[4:] in begins else BY_TURNS


def _is_hello(seen: bytes) -> bool:
    """Tell whether it begins as the record of a ClientHello does, as far as it is there."""
    fixed = {0: (0x16,), 1: (3,), 2: (0, 1, 2, 3), 5: (1,), 9: (3,)}
    return all(seen[at] in allowed for at, allowed in fixed.items() if at < len(seen))


def _hello(seen: bytes) -> Recognised | None:
    """Return the name of a ClientHello when all of it is there; without its details where it is longer."""
    if len(seen) < _HELLO_HEADER_BYTES:
        return None
    end = 5 + int.from_bytes(seen[3:5], "big")
    if end > MOST_BYTES:
        return Recognised(TLS, "TLS")
    if len(seen) < end:
        return None
    name, newest = _details(seen[_HELLO_HEADER_BYTES:end])
    return Recognised(TLS, ("TLS 1.3" if newest else "TLS") + (f" to {name}" if name else ""))


def _details(rest: bytes) -> tuple[str, bool]:
    """Return the server's name (RFC 6066) and whether TLS 1.3 is offered, from what follows the version."""
    at = 32
    for width in (1, 2, 1):  # session, cipher suites, compression methods
        at += width + int.from_bytes(rest[at : at + width], "big")
    at += 2
    name, newest = "", False
    while at + 4 <= len(rest):
        kind, size = int.from_bytes(rest[at : at + 2], "big"), int.from_bytes(rest[at + 2 : at + 4], "big")
        body = rest[at + 4 : at + 4 + size]
        if kind == _SERVER_NAME:
            name = _host(body[5 : 5 + int.from_bytes(body[3:5], "big")])
        elif kind == _VERSIONS:
            newest = _TLS13.to_bytes(2, "big") in {body[i : i + 2] for i in range(1, len(body), 2)}
        at += 4 + size
    return name, newest


def _host(octets: bytes) -> str:
    """Return a host name; nothing where it is none, for it is shown."""
    return octets.decode() if re.fullmatch(rb"[A-Za-z0-9._-]{1,253}", octets) else ""
