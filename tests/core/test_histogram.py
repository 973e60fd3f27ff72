from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.histogram import RELATIVE_ERROR, Histogram, bucket_of, lower_edge_s, upper_edge_s

# A bucket is found in single precision, which rounds by one part in 2**24.
ROUNDING = 2**-23
DURATIONS = st.one_of(st.just(0.0), st.floats(1e-9, 1e6))
SAMPLES = st.lists(DURATIONS, max_size=200)
RATIOS = st.lists(st.floats(0, 1), min_size=1, max_size=6).map(sorted)


def filled(durations: list[float]) -> Histogram:
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    return histogram


@given(SAMPLES.filter(bool), RATIOS)
def test_percentiles_are_never_below_the_exact_one_and_at_most_a_bucket_above(
    durations: list[float], ratios: list[float]
) -> None:
    exact = sorted(durations)
    for ratio, found in zip(ratios, filled(durations).percentiles(ratios), strict=True):
        true = exact[max(0, math.ceil(ratio * len(exact) - 1e-9) - 1)]
        assert found is not None
        assert true * (1 - ROUNDING) <= found <= true * (1 + RELATIVE_ERROR) * (1 + ROUNDING)


@given(SAMPLES.filter(bool))
def test_max_and_mean_are_within_a_bucket(durations: list[float]) -> None:
    histogram = filled(durations)
    assert histogram.max_s is not None
    assert histogram.mean_s is not None
    largest, mean = max(durations), math.fsum(durations) / len(durations)
    assert largest * (1 - ROUNDING) <= histogram.max_s <= largest * (1 + RELATIVE_ERROR) * (1 + ROUNDING)
    assert abs(histogram.mean_s - mean) <= mean * RELATIVE_ERROR


@given(SAMPLES)
def test_add_all_is_adding_one_by_one(durations: list[float]) -> None:
    at_once = Histogram()
    at_once.add_all(iter(durations))
    assert at_once == filled(durations)
    assert at_once.total == len(durations)


@given(SAMPLES, SAMPLES)
def test_merging_is_adding_and_the_difference_takes_it_back(left: list[float], right: list[float]) -> None:
    merged = filled(left) + filled(right)
    assert merged == filled(left + right)
    assert Histogram.together([filled(right), filled(left), filled(left)]) == merged + filled(left)
    assert merged - filled(left) == filled(right)
    assert sum(count for _, count in merged.occupied()) == len(left) + len(right)


@given(SAMPLES)
def test_a_copy_is_independent(durations: list[float]) -> None:
    histogram = filled(durations)
    copy = histogram.copy()
    histogram.add(1.0)
    assert copy == filled(durations)
    assert copy != histogram


@given(st.floats(1e-9, 1e6))
def test_a_bucket_holds_what_falls_into_it(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert lower_edge_s(bucket) * (1 - ROUNDING) <= seconds <= upper_edge_s(bucket)
    assert upper_edge_s(bucket) <= lower_edge_s(bucket) * (1 + RELATIVE_ERROR)


def test_an_empty_histogram_knows_nothing() -> None:
    empty = Histogram()
    assert empty.percentiles([0.5, 0.99]) == [None, None]
    assert (empty.percentile(1.0), empty.max_s, empty.mean_s, empty.total) == (None, None, None, 0)


def test_what_is_not_positive_counts_as_zero() -> None:
    histogram = filled([-0.5, -0.0, 0.0])
    assert histogram.occupied() == [(0.0, 3)]
    assert histogram.percentile(0.99) == 0.0
