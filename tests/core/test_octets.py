from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.wire.octets import format_octets, parse_octets, printable
from tests.each import each

WIRE = st.binary(min_size=1, max_size=40) | st.text(min_size=1, max_size=20).map(str.encode)


@each(
    ("text", "data"),
    [
        ("PING", b"PING"), ("PING\\r\\n", b"PING\r\n"), ("\\t\\0\\\\", b"\t\0\\"), ("\\x00\\xfF", b"\0\xff"),
        ("\\01", b"\x001"), ("\\\\n", b"\\n"), ("é", "é".encode()), (" a ", b" a "), ("\n", b"\n"),
        ("hex:0d0a", b"\r\n"), ("hex: 0D 0a", b"\r\n"), ("\\x68ex:0a", b"hex:0a"), ("@a", b"@a"),
    ],
)  # fmt: skip
def test_text_stands_for_bytes(text: str, data: bytes) -> None:
    assert parse_octets(text) == data


@each(
    ("text", "why"),
    [
        ("", "not even one byte"), ("hex:", "not even one byte"), ("hex:0", "wrong at character 5"),
        ("hex:00 0g", "wrong at character 8"), ("a\\q", "no escape \\q,"), ("a\\", "no escape \\,"),
        ("\\r\\n\\q", "wrong at character 5"),
        ("\\x1", "no escape \\x,"), ("\\xzz", "no escape \\x,"), ("\udcff", "not UTF-8"),
    ],
)  # fmt: skip
def test_what_stands_for_no_bytes_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_octets(text)


@given(WIRE)
def test_what_is_written_is_read_back(data: bytes) -> None:
    written = format_octets(data)
    assert parse_octets(written) == data
    assert written.isascii()
    assert written.isprintable()
    assert not written.startswith("@")
    assert format_octets(parse_octets(written)) == written


def test_text_stays_readable() -> None:
    assert format_octets(b"GET / HTTP/1.1\r\n\r\n") == "GET / HTTP/1.1\\r\\n\\r\\n"
    assert format_octets(b"\x80\0") == "hex:8000"


@given(st.text(max_size=50), st.integers(5, 30))
def test_what_is_printable_is_one_line_of_at_most_so_many_characters(text: str, most: int) -> None:
    shown = printable(text, most)
    assert shown.isprintable()
    assert len(shown) <= most
    if text.isprintable() and len(text) <= most:
        assert shown == text


def test_control_characters_are_told_as_escapes() -> None:
    assert printable("a\x1b[2J\nb\u202e") == "a\\x1b[2J\\nb\\u202e"
