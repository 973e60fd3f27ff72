"""Round numbers, and what grows at once and shrinks late."""

from itertools import pairwise
from math import inf, log10, nan

from hypothesis import given
from hypothesis import strategies as st

from sockscope.faces.tui.widgets.ticks import (
    Held,
    Reach,
    age,
    age_exact,
    round_steps,
    round_top,
    si,
    time_ticks,
    value_ticks,
)

PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "µ": 1e-6, "n": 1e-9}
positive = st.floats(1e-8, 1e17)


@given(st.floats(1e-8, 9e18) | st.floats(0.0005, 0.1))
def test_si_is_short_and_close(value: float) -> None:
    text = si(value)
    assert len(text) <= 5
    prefix = text[-1] if not text[-1].isdigit() else ""
    assert abs(float(text.removesuffix(prefix)) * PREFIXES[prefix] - value) <= value * 0.06


@given(positive | st.floats(0.0005, 0.1), positive | st.floats(0.0005, 0.1))
def test_si_keeps_the_order(one: float, other: float) -> None:
    def read(text: str) -> float:
        prefix = text[-1] if not text[-1].isdigit() else ""
        return float(text.removesuffix(prefix)) * PREFIXES[prefix]

    low, high = sorted((one, other))
    assert read(si(low)) <= read(si(high)) * (1 + 1e-9)


def test_si_by_example() -> None:
    expected = {
        0.0: "0",
        9.914: "9.9",
        9.96: "10",
        950: "950",
        999.6: "1k",
        1000: "1k",
        9914: "9.9k",
        9960: "10k",
        1.2e6: "1.2M",
        -1500: "-1.5k",
        0.25: "0.25",
        0.5: "0.5",
        0.005: "0.005",
        0.0005: "500µ",
        inf: "∞",
        -inf: "-∞",
        nan: "–",
    }
    assert {value: si(value) for value in expected if value == value} == {
        value: text for value, text in expected.items() if value == value
    }
    assert si(nan) == "–"
    assert si(1e300).startswith("1e")
    assert si(5e-324) == "~0"


@given(st.floats(1e-8, 1e290))
def test_a_round_top_is_near_and_not_below(value: float) -> None:
    top = round_top(value)
    assert value * (1 - 1e-9) <= top <= value * 2
    digits = top / 10 ** round(log10(top) - 0.5 + 1e-9)
    assert min(abs(digits - round_one) for round_one in (0.1, 1, 1.5, 2, 3, 4, 5, 6, 8, 10)) < 1e-6


def test_a_top_for_nothing() -> None:
    assert round_top(0.0) == round_top(-5.0) == round_top(nan) == 1.0


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 12))
def test_steps_are_few_even_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    steps = round_steps(low, high, most)
    assert 1 <= len(steps) <= most
    room = max(span, abs(low), abs(high)) * 1e-6
    assert all(low - room <= step <= high + room for step in steps)
    gaps = [after - before for before, after in pairwise(steps)]
    assert all(abs(gap - gaps[0]) <= room for gap in gaps)


@given(st.floats(1e-6, 1e12), st.integers(1, 10))
def test_labels_never_read_the_same(value: float, most: int) -> None:
    ticks = value_ticks(0.0, round_top(value), most, lambda number: f"{number:.0f}")
    assert len({tick.label for tick in ticks}) == len(ticks) <= most


def test_ticks_by_example() -> None:
    assert [tick.label for tick in value_ticks(0, 10_000, 6, si)] == ["0", "2k", "4k", "6k", "8k", "10k"]
    assert [tick.label for tick in value_ticks(0, 10_000, 3, si)] == ["0", "5k", "10k"]
    assert [tick.label for tick in value_ticks(0, 1.5, 4, si)] == ["0", "0.5", "1", "1.5"]
    assert [tick.label for tick in value_ticks(-10, 10, 3, si)] == ["-10", "0", "10"]


@given(st.floats(0.1, 1e6), st.integers(0, 300))
def test_time_labels_have_room(window: float, width: int) -> None:
    ticks = time_ticks(window, width)
    assert not ticks if width < 3 else ticks[-1].label == "now"
    assert all(0 <= tick.value <= window * (1 + 1e-6) for tick in ticks)
    assert sum(len(tick.label) + 1 for tick in ticks) <= max(width, 4)


def test_ages() -> None:
    assert [age(seconds) for seconds in (0, 0.5, 15, 90, 60, 120, 150, 3600, 5400)] == [
        *("now", "-0.5s", "-15s", "-90s", "-1m", "-2m", "-2m30s", "-1h", "-1h30m")
    ]
    assert [age_exact(seconds) for seconds in (12.4, 0, -3, 1234.56)] == [
        "-12.4s",
        "0.0s",
        "+3.0s",
        "-1,234.6s",
    ]
    assert [tick.label for tick in time_ticks(30, 36)] == ["-30s", "-20s", "-10s", "now"]
    assert [tick.label for tick in time_ticks(600, 30)] == ["-10m", "-5m", "now"]


def test_an_axis_grows_at_once_and_shrinks_late() -> None:
    reach = Reach(round_top)
    assert reach.update(80, 0.0) == 80
    assert reach.update(81, 0.1) == 100
    assert reach.update(46, 50.0) == 100, "46 % is not little"
    assert reach.update(20, 51.0) == 100
    assert reach.update(20, 53.9) == 100
    assert reach.update(50, 53.95) == 100, "one large value starts the wait again"
    assert reach.update(20, 54.0) == 100
    assert reach.update(20, 57.0) == 20


def test_an_axis_does_not_wait_for_a_clock_that_went_back() -> None:
    reach = Reach(round_top)
    reach.update(100, 1000.0)
    reach.update(10, 1001.0)
    assert reach.update(10, 2.0) == 100
    assert reach.update(10, 5.0) == 10


def test_a_held_width() -> None:
    held = Held(0, 10.0)
    assert [
        held.update(*step) for step in ((4, 0.0), (3, 1.0), (2, 5.0), (3, 10.9), (2, 11.0), (5, 11.1))
    ] == [*(4, 4, 4, 4, 3, 5)]
