"""The universal scalability law: what is fitted to points that follow it, and to points that do not."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.results.usl import Law, explained, fitted, shortfall
from tests.each import each

LAWS = st.builds(Law, st.floats(1e-2, 1e6), st.floats(0, 0.9), st.one_of(st.just(0.0), st.floats(1e-6, 1e-2)))
STEPS = st.lists(st.integers(2, 1_000), min_size=3, max_size=12, unique=True).map(lambda rest: [1, *rest])


@given(LAWS, STEPS)
def test_points_of_a_law_give_that_law(law: Law, steps: list[int]) -> None:
    found = fitted([(n, law.per_s(n)) for n in steps])
    assert found is not None
    for n in steps:
        assert found.per_s(n) == pytest.approx(law.per_s(n), rel=1e-6)


@settings(max_examples=40)
@given(LAWS, STEPS, st.integers())
def test_no_law_nearby_is_nearer(law: Law, steps: list[int], seed: int) -> None:
    dice = Random(seed)
    points = [(n, law.per_s(n) * math.exp(dice.gauss(0, 0.05))) for n in steps]
    found = fitted(points)
    assert found is not None
    for _ in range(10):
        other = Law(
            found.one_per_s * dice.uniform(0.9, 1.1),
            found.sigma + dice.gauss(0, 0.01),
            found.kappa + dice.gauss(0, 0.0001),
        )
        if all(other.divisor(n) > 0 for n in steps):
            assert shortfall(found, points) <= shortfall(other, points) * (1 + 1e-9)


def test_the_numbers_and_the_peak_are_known_under_noise() -> None:
    law, dice = Law(1_000, 0.05, 0.0002), Random(7)
    assert law.peak == pytest.approx(math.sqrt(0.95 / 0.0002))
    points = [(2**k, law.per_s(2**k) * dice.gauss(1, 0.01)) for k in range(10) for _ in range(6)]
    found = fitted(points)
    assert found is not None
    assert found.one_per_s == pytest.approx(1_000, rel=0.03)
    assert found.sigma == pytest.approx(0.05, rel=0.1)
    assert found.peak == pytest.approx(law.peak, rel=0.05)
    assert explained(found, points) == pytest.approx(1, abs=0.01)
    assert shortfall(found, points) == pytest.approx(0.01, rel=0.3)


@each(
    "points",
    [[], [(1, 10.0)], [(1, 10.0), (2, 19.0)], [(1, 10.0), (1, 11.0), (2, 20.0)],
     [(0, 1.0), (1, 2.0), (2, 3.0)], [(1, 10.0), (2, 0.0), (4, 30.0)]],
)  # fmt: skip
def test_some_points_determine_no_law(points: list[tuple[float, float]]) -> None:
    assert fitted(points) is None


def test_laws_without_a_peak() -> None:
    assert Law(10, 0.1, 0.0).peak is None
    assert Law(10, 0.1, -0.001).peak is None
    assert Law(10, 1.2, 0.001).peak is None
    assert Law(10, 0.1, 2.0).peak is None  # less than one
