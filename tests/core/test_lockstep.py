"""What of a turn was several messages is told by both sides."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.wire.framing import decoder_for, encode
from sockscope.core.wire.lockstep import LENGTHS, LINES, exchanges_in, lengths_in, lines_in
from tests.each import each

FEW = settings(max_examples=60)
lines = st.lists(st.text("abc {}:1é", min_size=1, max_size=6).map(lambda s: s.encode() + b"\n"), min_size=1)
prefixed = st.lists(st.binary(min_size=1, max_size=9).map(lambda data: encode("length", data)), min_size=1)


@FEW
@given(lines, prefixed)
def test_whole_messages_are_counted(some_lines: list[bytes], messages: list[bytes]) -> None:
    assert lines_in(b"".join(some_lines)) == len(some_lines)
    assert lengths_in(b"".join(messages)) == len(messages)
    assert lengths_in(b"".join(messages) + b"\0") == lines_in(b"".join(some_lines)[:-1]) == 0


@FEW
@given(st.one_of(st.binary(max_size=40), prefixed.map(b"".join), lines.map(b"".join)))
def test_what_is_claimed_the_decoder_cuts_without_a_rest(data: bytes) -> None:
    for framing, count in (("newline", lines_in(data)), ("length", lengths_in(data))):
        if count:
            decoder = decoder_for(framing, 0)
            assert (len(decoder.feed(data)), decoder.pending_bytes) == (count, 0)


@each(
    ("asked", "answered", "found"),
    [
        (b"a\nb\n", b"1\n2\n", (2, LINES)),
        (b"set k 0 0 5\r\nhello\r\n", b"STORED\r\n", (1, "")),
        (b"get k\r\n", b"VALUE k 0 5\r\nhello\r\nEND\r\n", (1, "")),
        (b"GET /\r\n\r\n", b"200\r\n\r\n", (1, "")),
        (b"a\nb", b"1\n2\n", (1, "")),
        (b"a\0\n\n", b"1\n2\n", (1, "")),
        (b"\0\0\0\1a" * 3, b"\0\0\0\2ab" * 3, (3, LENGTHS)),
        (b"\0\0\0\0" * 3, b"\0\0\0\0" * 3, (1, "")),
        (b"", b"", (1, "")),
    ],
)
def test_a_turn_is_several_exchanges_where_both_sides_say_so(
    asked: bytes, answered: bytes, found: tuple[int, str]
) -> None:
    assert exchanges_in(asked, answered) == found
