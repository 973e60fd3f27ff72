import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.results.batch_means import (
    BATCHES,
    MOST,
    StandardError,
    batches,
    standard_error,
    t_99,
    told_apart,
)


@given(st.integers(0, 700))
def test_batches_are_the_seconds_in_order_and_nearly_alike(length: int) -> None:
    made = batches(range(length))
    assert [second for batch in made for second in batch] == list(range(length))
    sizes = {len(batch) for batch in made}
    assert not made or (min(sizes) >= 1 and max(sizes) - min(sizes) <= 1)
    assert len(made) == min(length, max(BATCHES, min(MOST, length // 10)))


def test_the_standard_error_of_a_mean_and_of_a_maximum() -> None:
    values = [3.0, 5.0, 4.0, 8.0]
    deviation = statistics.stdev(values)
    assert standard_error(values) == StandardError(deviation / 2, 4)
    assert standard_error([*values, None], of_maximum=True) == StandardError(deviation, 4)
    assert standard_error([1.0, None, 2.0]) is None


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 63.66), (2, 9.925), (7, 3.499), (12, 3.055), (25, 2.787), (120, 2.617)]
)
def test_the_quantiles_of_tables(freedom: float, quantile: float) -> None:
    assert t_99(freedom) == pytest.approx(quantile, rel=0.01)


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_more_freedom_asks_for_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert t_99(math.inf) <= t_99(high) <= t_99(low)


@pytest.mark.parametrize(
    ("a", "b", "errors", "apart"),
    [
        (100.0, 110.0, (1.0, 1.0), True),
        (100.0, 110.0, (5.0, 5.0), False),
        (100.0, 110.0, (0.0, 1.0), True),
        (100.0, 102.0, (0.0, 0.0), True),
        (100.0, 100.9, (0.0, 0.0), False),
        (0.0, 0.0, (0.0, 0.0), False),
        (0.0, 3.0, (0.0, 0.1), True),
    ],
)
def test_told_apart(a: float, b: float, errors: tuple[float, float], apart: bool) -> None:
    first, second = (StandardError(value, 5) for value in errors)
    assert told_apart(a, first, b, second) is apart
    assert told_apart(b, second, a, first) is apart
