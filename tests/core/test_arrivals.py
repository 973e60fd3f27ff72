import itertools
import math
from random import Random
from statistics import fmean, pstdev

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.arrivals import WHOLE_SCHEDULE, Poisson, Schedule, Turn, Uniform

RATES = st.integers(1, 1_000_000)
MOMENTS = st.floats(1, 1e6)


def all_until(schedule: Schedule, end_s: float) -> list[float]:
    found = schedule.take(end_s, 10**9)
    assert schedule.next_s > end_s
    assert schedule.take(end_s, 10**9) == []
    return found


@given(RATES, MOMENTS, st.integers(2, 5))
def test_the_turns_of_several_processes_make_one_grid(rate: int, begin_s: float, of: int) -> None:
    end_s = begin_s + 100 / rate
    whole = all_until(Uniform(rate, WHOLE_SCHEDULE, begin_s), end_s)
    parts = [all_until(Uniform(rate, Turn(index, of), begin_s), end_s) for index in range(of)]
    together = sorted(moment for part in parts for moment in part)
    assert abs(len(whole) - 100) <= 1
    assert abs(len(together) - len(whole)) <= 2  # at the edges a rounding decides
    assert all(math.isclose(b - a, 1 / rate, abs_tol=1e-9) for a, b in itertools.pairwise(together))


@given(RATES, MOMENTS, st.integers(1, 20))
def test_what_is_due_is_taken_in_order_and_never_early(rate: int, begin_s: float, most: int) -> None:
    for schedule in (
        Uniform(rate, WHOLE_SCHEDULE, begin_s),
        Poisson(rate, WHOLE_SCHEDULE, begin_s, Random(1)),
    ):
        now_s = begin_s + 50 / rate
        found: list[float] = []
        while some := schedule.take(now_s, most):
            assert len(some) <= most
            found += some
        assert found == sorted(found)
        assert all(begin_s < moment <= now_s for moment in found)
        assert schedule.next_s > now_s


def test_poisson_arrivals_are_exponential_and_those_of_the_seed() -> None:
    moments = all_until(Poisson(1_000, WHOLE_SCHEDULE, 0.0, Random(7)), 20.0)
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    # Twenty thousand of them: five standard errors.
    assert abs(fmean(gaps) * 1_000 - 1) < 0.035
    assert abs(pstdev(gaps) / fmean(gaps) - 1) < 0.035
    assert all_until(Poisson(1_000, WHOLE_SCHEDULE, 0.0, Random(7)), 20.0) == moments
    halves = [all_until(Poisson(1_000, Turn(n, 2), 0.0, Random(n)), 20.0) for n in range(2)]
    assert abs(sum(map(len, halves)) / 20_000 - 1) < 0.035
