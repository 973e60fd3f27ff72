import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.results.batch_means import (
    FEWEST,
    MOST,
    Batches,
    batches,
    t_999,
    told_apart,
)
from tests.each import each


@given(st.integers(0, 700))
def test_batches_are_the_seconds_in_order_and_nearly_alike(length: int) -> None:
    made = batches(range(length))
    assert [second for batch in made for second in batch] == list(range(length))
    sizes = {len(batch) for batch in made}
    assert not made or (min(sizes) >= 1 and max(sizes) - min(sizes) <= 1)
    assert len(made) <= MOST
    assert len(made) >= min(FEWEST, length)
    assert length < 2 * FEWEST or min(sizes) >= 2


@each(("freedom", "quantile"), [(1, 636.6), (2, 31.60), (7, 5.408), (12, 4.318), (25, 3.725), (120, 3.373)])
def test_the_quantiles_of_tables(freedom: float, quantile: float) -> None:
    assert t_999(freedom) == pytest.approx(quantile, rel=0.01)


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_more_freedom_asks_for_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert t_999(math.inf) <= t_999(high) <= t_999(low)


def quiet(*values: float) -> Batches:
    return Batches(values, (0.0,) * len(values))


@each(
    ("a", "b", "apart"),
    [
        ((100, 101, 99, 100, 100), (110, 109, 111, 110, 110), True),
        ((100, 120, 80, 110, 90), (110, 90, 130, 115, 105), False),
        ((100, 100, 100), (102, 102, 102), True),
        ((100, 100, 100), (100.9, 100.9, 100.9), False),
        ((0, 0, 0), (0, 0, 0), False),
        ((0, 0, 0), (3, 3.1, 2.9), True),
        ((0, 0, 0, 0, 0), (0, 1, 0, 0, 0), False),
    ],
)
def test_told_apart(a: tuple[float, ...], b: tuple[float, ...], apart: bool) -> None:
    assert told_apart(quiet(*a), quiet(*b)) is apart
    assert told_apart(quiet(*b), quiet(*a)) is apart


WAITING_A, WAITING_B = (0.0, 0.05, 0.1, 0.02, 0.08), (0.25, 0.3, 0.2, 0.28, 0.35)


def slowed(by: float, waiting: tuple[float, ...]) -> Batches:
    """Return what 1,000 per second come to where waiting costs in proportion, and something else ``by``."""
    jitter = (3.0, -2.0, 1.0, -4.0, 2.0)
    return Batches(
        tuple(1_000 * (1 - z) * (1 - by) + j for z, j in zip(waiting, jitter, strict=True)), waiting
    )


def test_what_other_programs_took_is_no_difference() -> None:
    a, b = slowed(0.0, WAITING_A), slowed(0.0, WAITING_B)
    assert a.mean > 1.1 * b.mean
    assert not told_apart(a, b)
    assert told_apart(quiet(*a.values), quiet(*b.values))


def test_other_programs_do_not_hide_a_difference() -> None:
    assert told_apart(slowed(0.0, WAITING_A), slowed(0.1, WAITING_B))
    assert told_apart(slowed(0.1, WAITING_A), slowed(0.0, WAITING_B))


def test_a_quiet_run_and_a_busy_one_do_not_compare() -> None:
    """Waiting hardly varied within either, so nothing tells what it costs."""
    a, b = slowed(0.0, (0.0, 0.001, 0.0, 0.002, 0.001)), slowed(0.2, (0.5, 0.501, 0.5, 0.499, 0.502))
    assert not told_apart(a, b)


def test_failures_where_there_were_none_are_told_however_they_scatter() -> None:
    none, some = Batches((0.0,) * 3, (0.0,) * 3), Batches((0.001, 0.2, 0.03), (0.0,) * 3)
    assert told_apart(none, some, counts=True)
    assert told_apart(some, none, counts=True)
    assert not told_apart(none, some)
    once = Batches((0.0, 0.2, 0.0), (0.0,) * 3)
    assert not told_apart(none, once, counts=True)
    assert not told_apart(none, none, counts=True)
