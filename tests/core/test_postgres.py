"""Queries of PostgreSQL and their answers are counted, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.wire.framing import FramingError
from sockscope.core.wire.postgres import TLS_WANTED, PostgresCount
from tests.each import each


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


START = (12).to_bytes(4, "big") + bytes.fromhex("00030000") + b"u\0\0\0"
WANTS_TLS = (8).to_bytes(4, "big") + TLS_WANTED.to_bytes(4, "big")
READY = message(b"Z", b"I")
HELLO = message(b"R", bytes(4)) + message(b"S", b"a\0b\0") + READY
EXTENDED = message(b"P", b"x") + message(b"B") + message(b"E") + message(b"S")


def cut(data: bytes, at: int) -> list[bytes]:
    return [data[:at], data[at:]]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([message(b"Q", b"select 1\0"), EXTENDED]), max_size=4), st.data())
def test_queries_and_answers_are_counted(asked: list[bytes], data: st.DataObject) -> None:
    count = PostgresCount()
    said = START + message(b"p", b"secret\0") + b"".join(asked) + message(b"X")
    answers = HELLO + (message(b"T", b"...") + message(b"C", b"SELECT 1\0") + READY) * len(asked)
    found = [count.requests(part) for part in cut(said, data.draw(st.integers(0, len(said))))]
    told = [count.answers(part) for part in cut(answers, data.draw(st.integers(0, len(answers))))]
    assert sum(found) == sum(told) == len(asked)


def test_a_server_without_tls_goes_on_and_one_with_it_goes_over() -> None:
    plain = PostgresCount()
    assert plain.requests(WANTS_TLS) == plain.answers(b"N") == 0
    assert plain.requests(START) == plain.answers(HELLO) == 0
    assert (plain.requests(message(b"Q")), plain.answers(READY), plain.went_over) == (1, 1, False)
    tls = PostgresCount()
    assert tls.requests(WANTS_TLS) == tls.answers(b"S") == 0
    assert tls.went_over


@each("said", [b"\0\0\0\7" + bytes(4), START + message(b"Q")[:1] + bytes(4), START + b"\0" * 5])
def test_anything_else_is_a_fault(said: bytes) -> None:
    with pytest.raises(FramingError):
        PostgresCount().requests(said)
