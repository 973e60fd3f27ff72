"""Bytes to rows and back."""

from hypothesis import given
from hypothesis import strategies as st

from sockscope.faces.tui.widgets.hexrows import (
    HexLayout,
    TokenKind,
    differences,
    digits_for,
    form_for,
    hex_row,
    parse,
    row_count,
)

forms = st.builds(HexLayout, st.sampled_from([16, 8, 4, 2, 1]), st.integers(4, 8), st.booleans())
offsets = st.frozensets(st.integers(0, 300))


@given(st.binary(max_size=300), forms, offsets, offsets)
def test_the_hex_reads_back_as_the_data(
    data: bytes, form: HexLayout, boundaries: frozenset[int], different: frozenset[int]
) -> None:
    rows = [
        hex_row(data, row, form, boundaries=boundaries, different=different)
        for row in range(row_count(len(data), form.per_row))
    ]
    assert parse(rows) == data
    marks = [token for row in rows for token in row if token.kind is TokenKind.BOUNDARY]
    assert len(marks) == len([offset for offset in boundaries if offset < len(data)])


@given(st.binary(min_size=1, max_size=300), forms, offsets)
def test_rows_are_aligned_and_printable(data: bytes, form: HexLayout, boundaries: frozenset[int]) -> None:
    starts = set()
    for row in range(row_count(len(data), form.per_row)):
        text = "".join(token.text for token in hex_row(data, row, form, boundaries=boundaries))
        assert text.isprintable()
        assert len(text) <= form.width
        bare = "".join(token.text for token in hex_row(data, row, form))
        assert text.replace("│", " ", 1)[: form.digits + 2] == bare[: form.digits + 2]
        assert int(text[: form.digits], 16) == row * form.per_row
        if form.with_text:
            starts.add(form.digits + 1 + form.hex_width + 2)
            count = min(form.per_row, len(data) - row * form.per_row)
            assert len(text) == form.digits + 1 + form.hex_width + 2 + count
    assert len(starts) <= 1


@given(st.integers(0, 200), st.integers(4, 8))
def test_the_form_fits(width: int, digits: int) -> None:
    form = form_for(width, digits)
    assert form is None or form.width <= width
    assert form is not None or width < digits + 4


def test_forms_by_example() -> None:
    row = "".join(
        token.text for token in hex_row(b"GET / HTTP/1.1\r\n", 0, HexLayout(16, 4, True), boundaries=(10,))
    )
    assert row == "0000  47 45 54 20 2f 20 48 54  54 50│2f 31 2e 31 0d 0a  GET / HTTP/1.1··"
    assert len(row) == HexLayout(16, 4, True).width
    assert form_for(72, 4) == HexLayout(16, 4, True)
    assert form_for(71, 4) == HexLayout(8, 4, True)
    assert form_for(30, 4) == HexLayout(8, 4, False)
    assert form_for(20, 4) == HexLayout(4, 4, False)
    assert form_for(40, 4, at_least=16) is None
    assert (digits_for(0), digits_for(65536), digits_for(65537)) == (4, 4, 5)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_complete_strings_differ_where_they_do(one: bytes, other: bytes) -> None:
    found = differences(one, len(one), other, len(other))
    longest = max(len(one), len(other))
    assert found == {
        offset for offset in range(longest) if one[offset : offset + 1] != other[offset : offset + 1]
    }


def test_what_was_cut_off_is_not_called_different() -> None:
    assert differences(b"abcdef", 6, b"abc", 100) == frozenset()
    assert differences(b"abcdef", 6, b"abc", 5) == {5}
