"""What a client speaks is told from its first bytes, however these are cut, and only without a doubt."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.wire.recognise import (
    BYTES,
    HTTP,
    MOST_BYTES,
    POSTGRES,
    RESP,
    TLS,
    TURNS,
    is_dns_query,
    recognise,
)
from tests.each import each

KNOWN = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP),
    (b"OPTIONS * HTTP/1.0\n\n", HTTP),
    (b"*1\r\n$4\r\nPING\r\n", RESP),
    (b"PING\r\n", TURNS),
    (b"*0\r\n", TURNS),
    (b"GET /\r\n", TURNS),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", POSTGRES),
    (b"\x00\x00\x00\x29\x00\x03\x00\x00user\x00", POSTGRES),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2d", TURNS),
    (b"\x00\x00\x00\x05hello", TURNS),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BYTES),
    (b"PRI * HTTP/2.0\r\n\r\nSN", TURNS),
    (b"A" * 30, TURNS),
]


def hello(name: str | None) -> bytes:
    """Return the first bytes of a client of TLS that asks for a name."""
    context, sent = ssl.create_default_context(), ssl.MemoryBIO()
    context.check_hostname = False
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


@each(("begun", "form"), KNOWN)
def test_first_bytes_tell_the_form(begun: bytes, form: str) -> None:
    found = recognise(begun)
    assert found is not None
    assert found.form == form


@each(("name", "shown"), [("example.org", "TLS 1.3 to example.org"), (None, "TLS 1.3")])
def test_a_client_of_tls_is_named(name: str | None, shown: str) -> None:
    found = recognise(hello(name))
    assert found is not None
    assert (found.form, found.name) == (TLS, shown)


beginnings = st.one_of(
    st.binary(max_size=64),
    st.sampled_from([begun for begun, _ in KNOWN]),
    st.builds(lambda part, rest: hello("a.b")[:part] + rest, st.integers(0, 600), st.binary(max_size=40)),
    st.builds(
        lambda begun, part, rest: begun[:part] + rest,
        st.sampled_from([begun for begun, _ in KNOWN]),
        st.integers(0, 30),
        st.binary(max_size=20),
    ),
)


@given(beginnings)
def test_more_bytes_never_change_the_answer(begun: bytes) -> None:
    found = [recognise(begun[:size]) for size in range(len(begun) + 1)]
    told = [one for one in found if one is not None]
    assert len(set(told)) <= 1
    assert found[len(found) - len(told) :] == told


@given(st.binary(max_size=8))
def test_enough_bytes_always_have_an_answer(begun: bytes) -> None:
    assert recognise(begun + b"A" * MOST_BYTES) is not None
    assert recognise(b"GET /" + b"a" * MOST_BYTES) is not None


def test_a_query_of_dns_is_one_question() -> None:
    query = bytes.fromhex("1234 0100 0001 0000 0000 0000 0161 00 0001 0001")
    assert is_dns_query(query)
    assert not is_dns_query(query[:12])
    assert not is_dns_query(query[:2] + b"\x81\x80" + query[4:])
