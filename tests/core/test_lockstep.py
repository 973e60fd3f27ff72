"""What of a turn was several messages is told by both sides, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.wire.framing import encode
from sockscope.core.wire.lockstep import LENGTHS, LINES, Spoken, exchanges_in

FEW = settings(max_examples=60)


def spoken(*parts: bytes) -> Spoken:
    found = Spoken()
    for part in parts:
        found.add(part)
    return found


lines = st.lists(st.text("abc {}:1é", min_size=1, max_size=6).map(lambda s: s.encode() + b"\n"), min_size=1)
prefixed = st.lists(st.binary(min_size=1, max_size=9).map(lambda data: encode("length", data)), min_size=1)


@FEW
@given(st.one_of(lines, prefixed, st.lists(st.binary(max_size=12))), st.data())
def test_the_cut_does_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    ends = [0, *cuts, len(whole)]
    cut = spoken(*(whole[a:b] for a, b in itertools.pairwise(ends)))
    bytewise = spoken(*(whole[i : i + 1] for i in range(len(whole))))
    assert (cut.lines, cut.lengths) == (bytewise.lines, bytewise.lengths)
    assert (cut.lines, cut.lengths) == (spoken(whole).lines, spoken(whole).lengths)


@FEW
@given(lines, prefixed)
def test_whole_messages_are_counted(some_lines: list[bytes], messages: list[bytes]) -> None:
    assert spoken(*some_lines).lines == len(some_lines)
    assert spoken(*messages).lengths == len(messages)
    assert spoken(*messages, b"\0").lengths == 0


@pytest.mark.parametrize(
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
    assert exchanges_in(spoken(asked), spoken(answered)) == found
