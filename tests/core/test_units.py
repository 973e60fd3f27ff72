from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core import units
from tests.each import each

DURATIONS = st.floats(0, 31_536_000).map(lambda seconds: round(seconds, 12))


@given(st.integers(0, 1 << 62))
def test_counts_and_sizes_are_read_to_the_last_digit(value: int) -> None:
    for text in (str(value), f"{value:,}", f" {value} ", f"{value:_}"):
        assert units.parse_count(text) == value
        assert units.parse_bytes(text) == value


@given(st.integers(0, 9_999_999))
def test_decimals_before_a_suffix_are_exact(millionths: int) -> None:
    text = f"{millionths // 1_000_000}.{millionths % 1_000_000:06d}"
    assert units.parse_count(f"{text}M") == millionths


@given(st.integers(0, 1 << 40) | st.integers(0, 1 << 20).map(lambda n: n << 10))
def test_an_exact_size_is_read_back(value: int) -> None:
    assert units.parse_bytes(units.exact_bytes(value)) == value


@given(DURATIONS | st.integers(0, 100_000).map(lambda ms: ms / 1000))
def test_an_exact_duration_is_read_back(seconds: float) -> None:
    assert units.parse_duration(units.exact_duration(seconds)) == seconds


@each(
    ("text", "value"),
    [
        ("10k", 10_000),
        ("10K", 10_000),
        ("1.001k", 1_001),
        ("1.5M", 1_500_000),
        (".5k", 500),
        ("1,000", 1_000),
    ],
)
def test_counts(text: str, value: int) -> None:
    assert units.parse_count(text) == value


@each(
    ("text", "value"),
    [("64", 64), ("64B", 64), ("64k", 64_000), ("64kB", 64_000), ("64K", 65_536), ("64KiB", 65_536),
     ("1M", 1 << 20), ("1MB", 1_000_000), ("1.5G", 3 << 29), ("1,024 B", 1_024)],
)  # fmt: skip
def test_sizes(text: str, value: int) -> None:
    assert units.parse_bytes(text) == value


@each(
    ("text", "value"),
    [("250ms", 0.25), ("1m30s", 90), ("1h", 3600), ("5", 5), ("0.5", 0.5), ("5 s", 5), ("2 min", 120),
     ("1m 30s", 90), ("100us", 1e-4), ("100µs", 1e-4), ("5ns", 5e-9), ("1,000ms", 1)],
)  # fmt: skip
def test_durations(text: str, value: float) -> None:
    assert units.parse_duration(text) == value


@each("parse", [units.parse_count, units.parse_bytes, units.parse_duration])
@each(
    "text",
    ["", " ", "-1", "- 1", "abc", "1x", "k", "1.2.3", "1..2", ".", "1 2", "1,5", "1,50s", ",5", "_1", "nan",
     "inf", "1e400", "0x10", "1k k", "9" * 5000, "٣s"],
)  # fmt: skip
def test_what_is_no_number_is_refused_in_words_with_an_example(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match="for example"):
        parse(text)


@each("text", ["5e-324", "1e-13", "1e-400", "0.0000000000001s", "0h 0.0001ns"])
def test_a_duration_that_would_become_zero_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"too short .*for example"):
        units.parse_duration(text)


@each("text", ["0", "0.000", "0ms", "0h 0s", "0e5"])
def test_zero_is_a_duration(text: str) -> None:
    assert units.parse_duration(text) == 0


@given(st.text(max_size=12))
def test_any_text_gives_a_value_in_range_or_a_sentence(text: str) -> None:
    for parse in (units.parse_count, units.parse_bytes, units.parse_duration):
        try:
            value = parse(text)
        except ValueError as error:
            assert "for example" in str(error)  # noqa: PT017
        else:
            assert math.isfinite(value)
            assert value >= 0


@given(st.floats(0, 1e15))
def test_figures_for_people_have_three_digits_and_a_unit(value: float) -> None:
    for shown in (units.format_bytes(value), units.format_duration(value)):
        number = shown.split(" ")[0]
        assert len(number.replace(".", "").replace(",", "")) <= 4 or ":" in number
    assert units.parse_count(units.format_count(value)) == round(value)


@each(
    ("shown", "expected"),
    [(units.format_bytes(999), "999 B"), (units.format_bytes(999.6), "1.00 kB"),
     (units.format_bytes(647e3), "647 kB"),
     (units.format_duration(0.0103), "10.3 ms"), (units.format_duration(0.9996), "1.00 s"),
     (units.format_duration(120), "00:02:00"), (units.format_duration(0), "0 ms"),
     (units.format_age(4.2), "4.2 s"), (units.format_age(102), "1:42"), (units.format_age(7384), "2:03:04"),
     (units.format_cores(1.66, 2), "1.7/2"), (units.format_cores(None, 2), "–/2"),
     (units.format_cores(99.6, 128), "100/128"), (units.format_ratio(0.62), "62 %"),
     (units.format_change(50, 100), "+100 %"),
     (units.format_change(2, 104), "×52"),
     (units.format_elapsed(102), "00:01:42")],
)  # fmt: skip
def test_figures(shown: str, expected: str) -> None:
    assert shown == expected


def test_what_is_not_known_is_a_dash() -> None:
    for formatted in (units.format_count, units.format_bytes, units.format_duration, units.format_ratio):
        assert formatted(None) == formatted(math.nan) == formatted(math.inf) == units.DASH
    assert units.format_change(0, 5) == units.format_change(None, 5) == units.DASH
