from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.series import TimeSeries

TIMES = st.lists(st.integers(0, 50), max_size=30).map(sorted)


@given(TIMES, st.integers(0, 50), st.integers(0, 50))
def test_a_window_holds_the_points_inside_it_and_one_before(times: list[int], a: int, b: int) -> None:
    start, end = sorted((a, b))
    series = TimeSeries(100)
    for time in times:
        series.append(time, time * 2)
    found, values = series.window(start, end)
    before = [t for t in times if t < start]
    inside = [t for t in times if start <= t < end]
    assert found[: len(before[-1:]) + len(inside)] == before[-1:] + inside
    assert set(found[len(before[-1:]) + len(inside) :]) <= {end}
    assert (end in found) == (end in times or end in before[-1:])
    assert values == [time * 2 for time in found]


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=30))
def test_gaps_do_not_count_in_the_mean(values: list[float | None]) -> None:
    series = TimeSeries(100)
    for time, value in enumerate(values):
        series.append(time, value)
    known = [value for time, value in enumerate(values) if value is not None and 2 < time <= 20]
    mean = series.mean(2, 20)
    if known:
        assert mean == pytest.approx(math.fsum(known) / len(known), abs=1e-6)
    else:
        assert mean is None
    assert [math.isnan(v) for v in series.values] == [v is None for v in values]


def test_the_oldest_points_fall_out() -> None:
    series = TimeSeries(2)
    for time in range(4):
        series.append(time, time)
    assert series.window(0, 10) == ([2, 3], [2, 3])
    series.clear()
    assert series.window(0, 10) == ([], [])
