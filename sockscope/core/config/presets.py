"""How servers that people have are spoken to: each protocol a few values of fields, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sockscope.core.config.fields import Value

PRESETS: Mapping[str, Mapping[str, Value]] = {
    "http": {
        "request": r"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "answer": "http",
        "accept": r"/^HTTP.1\.[01] [23]/",
    },
    "redis": {"request": r"PING\r\n", "answer": "resp", "reject": "/^-/"},
    "memcached": {
        "request": r"get sockscope\r\n",
        "until_line": "/^(END|ERROR|CLIENT_ERROR .*|SERVER_ERROR .*)$/",
        "reject": "/^(ERROR|CLIENT_ERROR|SERVER_ERROR)/",
    },
    "smtp": {
        "greeting": r"\r\n",
        "preamble": r"EHLO localhost\r\n",
        "request": r"NOOP\r\n",
        "until_line": r"/^\d{3}( |$)/",
        "accept": "/^2/",
    },
    # A query for the address of localhost (RFC 1035, section 4); an answer says no error, or no such name.
    "dns": {
        "transport": "udp",
        "request": "hex:000001000001000000000000096c6f63616c686f73740000010001",
        "id_field": "0:2",
        "accept": r"/^[\x00-\xff]{2}[\x80-\xff][\x00\x03\x10\x13\x20\x23\x30\x33\x80\x83\xa0\xa3]/",
    },
    # CONNECT with a clean session and no client identifier, then PINGREQ (MQTT 3.1.1, sections 3.1 and 3.12).
    "mqtt": {
        "preamble": "hex:100c00044d5154540402003c0000",
        "request": "hex:c000",
        "length_field": "1:varint",
        "accept": r"/^\xd0/",
    },
    # A masked ping of nine bytes, whose mask is zero (RFC 6455, sections 4.1, 5.2 and 5.5.2).
    "websocket": {
        "preamble": r"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        r"Sec-WebSocket-Key: c29ja3Njb3BlIHNvY2tzYw==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "preamble_until": r"\r\n\r\n",
        "request": "hex:898900000000736f636b73636f7065",
        "answer": "websocket",
        "accept": r"/^\x8a/",
        "unasked": "count",
    },
}
"""Values by field key, as a TOML file would have them; by the name of the protocol."""
_ASKED = {"request", "preamble"}
"""What clients of a protocol may say otherwise."""


def protocol_of(value: Callable[[str], object]) -> str:
    """Return the protocol that clients speak as its preset says, whatever they ask; empty: none of these.

    ``value`` returns what a field is, by its key.
    """
    return next(
        (
            name
            for name, meant in PRESETS.items()
            if all(value(key) == raw for key, raw in meant.items() if key not in _ASKED)
        ),
        "",
    )
