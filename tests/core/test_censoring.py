from __future__ import annotations

import json
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.censoring import Ages, AtLeast, exceeds, mean, percentiles
from sockscope.core.histogram import RELATIVE_ERROR, Histogram
from sockscope.core.units import format_change, format_duration
from tests.each import each

RATIOS = (0.5, 0.9, 0.99, 1.0)


def answered(*durations_s: float) -> Histogram:
    histogram = Histogram()
    histogram.add_all(durations_s)
    return histogram


def given_up(**of_timeout: int) -> Ages:
    """Return ages: ``_300ms=2`` are two requests that timed out after 300 ms."""
    return Ages({float(name.strip("_ms")) / 1000: count for name, count in of_timeout.items()})


def test_without_a_failure_percentiles_are_those_of_the_answers() -> None:
    histogram = answered(0.001, 0.002, 0.003)
    assert percentiles(histogram, Ages(), RATIOS) == histogram.percentiles(RATIOS)
    assert mean(histogram, Ages()) == histogram.mean_s
    assert percentiles(Histogram(), Ages(), RATIOS) == [None] * 4


def test_a_percentile_among_the_unanswered_is_at_least_their_age() -> None:
    found = percentiles(answered(*[0.001] * 90), given_up(_300ms=10), RATIOS)
    assert [format_duration(value) for value in found] == ["1.01 ms", "1.01 ms", "≥ 300 ms", "≥ 300 ms"]


def test_without_an_answer_every_percentile_is_a_bound() -> None:
    found = percentiles(Histogram(), given_up(_300ms=3, _2000ms=1), RATIOS)
    assert [format_duration(value) for value in found] == ["≥ 300 ms", "≥ 2.00 s", "≥ 2.00 s", "≥ 2.00 s"]


def test_a_request_that_failed_quickly_is_no_quick_answer() -> None:
    ages = Ages()
    for _ in range(60):
        ages.add(0.0001)
    p50 = percentiles(answered(*[0.02] * 40), ages, (0.5,))[0]
    assert isinstance(p50, AtLeast)
    assert p50 == pytest.approx(0.02, rel=RELATIVE_ERROR)
    assert mean(answered(*[0.02] * 40), ages) == pytest.approx(0.02, rel=RELATIVE_ERROR)


@given(
    st.lists(st.floats(1e-6, 100), max_size=50),
    st.lists(st.floats(1e-6, 100), max_size=50),
)
def test_failures_never_make_a_percentile_smaller(durations: list[float], ages_s: list[float]) -> None:
    ages = Ages()
    for age_s in ages_s:
        ages.add(age_s)
    before = answered(*durations).percentiles(RATIOS)
    after = percentiles(answered(*durations), ages, RATIOS)
    values = [value for value in after if value is not None]
    for less, more in pairwise(values):
        assert more >= less * (1 - RELATIVE_ERROR)
    for was, now in zip(before, after, strict=True):
        assert was is None or now is None or now >= was * (1 - RELATIVE_ERROR)


@given(
    st.lists(st.floats(1e-6, 100), max_size=20),
    st.lists(st.floats(1e-6, 100), max_size=5),
    st.lists(st.tuples(st.floats(1e-6, 100), st.floats(0, 100)), min_size=1, max_size=20),
)
def test_what_is_awaited_bounds_what_it_will_have_taken(
    durations: list[float], ages_s: list[float], awaited: list[tuple[float, float]]
) -> None:
    ages = Ages(awaited=answered(*[age_s for age_s, _ in awaited]))
    for age_s in ages_s:
        ages.add(age_s)
    given_up = [max(age_s, *durations) if durations else age_s for age_s in ages_s]
    in_the_end = sorted([*durations, *given_up, *[age_s + more_s for age_s, more_s in awaited]])
    of_ended = Ages(ages.counts)
    before, after = (
        percentiles(answered(*durations), of_ended, RATIOS),
        percentiles(answered(*durations), ages, RATIOS),
    )
    for ratio, was, now in zip(RATIOS, before, after, strict=True):
        assert now is not None
        if now != was:
            count = ceil(ratio * len(in_the_end) - 1e-9)
            assert isinstance(now, AtLeast) == (count > len(durations))
            assert was is None or now > was, "it never makes a figure smaller"
            assert now <= in_the_end[ceil(ratio * len(in_the_end) - 1e-9) - 1] * (1 + 1e-6)
    of_all = mean(answered(*durations), ages)
    assert of_all is not None
    assert of_all >= (mean(answered(*durations), of_ended) or 0.0)


def test_what_was_asked_just_now_changes_nothing() -> None:
    just_now = Ages(awaited=answered(*[0.001] * 8))
    assert percentiles(answered(*[0.02] * 4), just_now, RATIOS) == answered(*[0.02] * 4).percentiles(RATIOS)
    assert not isinstance(mean(answered(*[0.02] * 4), just_now), AtLeast)


def test_ages_of_two_windows_add_up_and_subtract() -> None:
    first, second = given_up(_300ms=2), given_up(_300ms=1, _500ms=4)
    assert (first + second).total == 7
    assert first + second - first == second


def test_a_bound_stays_one_in_another_unit() -> None:
    assert isinstance(AtLeast(0.3) * 1_000, AtLeast)
    assert json.dumps([AtLeast(0.25)]) == "[0.25]"


def test_nothing_is_certainly_more_than_a_bound() -> None:
    assert exceeds(2.0, 1.0)
    assert exceeds(AtLeast(2.0), 1.0)
    assert not exceeds(2.0, AtLeast(1.0))


@each(
    ("before", "after", "text"),
    [
        (0.02, AtLeast(1.0), "≥ ×50"),
        (0.8, AtLeast(1.0), "≥ +25 %"),
        (0.8, AtLeast(0.1), "–"),
        (AtLeast(1.0), AtLeast(2.0), "–"),
        (AtLeast(1.0), 0.5, "≤ -50 %"),
        (AtLeast(1.0), 2.0, "–"),
    ],
)
def test_a_change_to_or_from_a_bound(before: float, after: float, text: str) -> None:
    assert format_change(before, after) == text
