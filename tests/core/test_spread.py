import random
import statistics
from itertools import pairwise
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.censoring import AtLeast
from sockscope.core.results.spread import CONFIDENCE, Spread, confidence, lead, outer_rounds, ranks, ratios
from tests.each import each

figures = st.floats(min_value=0.001, max_value=1e6)
rounds = st.lists(figures, min_size=1, max_size=12)
fields = st.dictionaries(st.text(min_size=1, max_size=3), rounds, min_size=1, max_size=8)


def spreads_of(field: dict[str, list[float]]) -> dict[str, Spread]:
    return {name: Spread.of(values) for name, values in field.items()}


# The spread.


@given(rounds)
def test_median_lies_in_its_interval_and_that_between_the_extremes(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.median == statistics.median(values)
    edges = [spread.min, spread.low, spread.median, spread.high, spread.max]
    assert edges == sorted(edges)  # type: ignore[type-var]
    assert spread.rounds == tuple(values)


def test_a_median_between_a_figure_and_a_bound_is_a_bound() -> None:
    """The upper one of the two in the middle may be anything above, and the median with it."""
    spread = Spread.of([1.0, AtLeast(3.0)])
    assert (spread.median, type(spread.median)) == (2.0, AtLeast)
    assert type(spread.min) is float
    assert type(Spread.of([1.0, 2.0, 3.0, AtLeast(4.0)]).median) is float


def test_rounds_that_are_not_known_are_left_out() -> None:
    spread = Spread.of([3.0, None, 1.0, 2.0])
    assert (spread.median, spread.min, spread.max) == (2.0, 1.0, 3.0)
    assert spread.rounds == (3.0, None, 1.0, 2.0)
    nothing = Spread.of([None, None])
    assert (nothing.median, nothing.low, nothing.high) == (None, None, None)
    assert not nothing.overlaps(nothing)


# How sure it is: the table of order-statistic intervals for the median at 95 %.


@each(
    ("count", "cut", "sure"),
    [(1, 0, 0.0), (2, 0, 0.5), (5, 0, 0.9375), (6, 0, 0.96875), (8, 0, 0.9921875), (9, 1, 0.9609375),
     (12, 2, 0.9614), (20, 5, 0.9586), (100, 39, 0.9648)],
)  # fmt: skip
def test_interval_is_that_of_the_tables(count: int, cut: int, sure: float) -> None:
    assert outer_rounds(count) == cut
    assert confidence(count) == pytest.approx(sure, abs=5e-5)


@given(st.integers(min_value=6, max_value=200))
def test_interval_is_the_narrowest_that_is_sure_enough(count: int) -> None:
    cut = outer_rounds(count)
    assert confidence(count) >= CONFIDENCE
    tighter = 1 - 2 * sum(comb(count, below) for below in range(cut + 2)) / 2**count
    assert tighter < CONFIDENCE


def test_interval_covers_the_median_as_often_as_it_says() -> None:
    source = random.Random(7)
    hits = 0
    for _ in range(2_000):
        spread = Spread.of(source.expovariate(1.0) for _ in range(9))
        assert spread.low is not None
        assert spread.high is not None
        hits += spread.low <= 0.693147 <= spread.high
    assert hits / 2_000 == pytest.approx(confidence(9), abs=0.02)


# Ranks.


@given(fields, st.booleans(), st.randoms(use_true_random=False))
def test_ranks_do_not_depend_on_the_order(
    field: dict[str, list[float]], higher: bool, source: random.Random
) -> None:
    spreads = spreads_of(field)
    names = list(spreads)
    source.shuffle(names)
    shuffled = {name: spreads[name] for name in names}
    assert ranks(shuffled, higher_is_better=higher) == ranks(spreads, higher_is_better=higher)


@given(fields, st.booleans())
def test_a_group_shares_the_rank_of_a_leader_that_does_not_surpass_it(
    field: dict[str, list[float]], higher: bool
) -> None:
    spreads = spreads_of(field)
    found = ranks(spreads, higher_is_better=higher)
    groups: dict[int, list[Spread]] = {}
    for name, rank in found.items():
        assert rank is not None
        groups.setdefault(rank, []).append(spreads[name])
    medians = {rank: [s.median or 0.0 for s in group] for rank, group in groups.items()}
    for rank, group in groups.items():
        best = max(medians[rank]) if higher else min(medians[rank])
        leaders = [spread for spread in group if spread.median == best]
        ahead = 1 if higher else -1
        assert any(all(lead(leader, spread) != ahead for spread in group) for leader in leaders)
        better = [m for other, values in medians.items() if other < rank for m in values]
        assert rank == 1 + len(better)
        assert all(m >= best if higher else m <= best for m in better)


@given(fields, st.booleans())
def test_whom_the_leader_surpasses_leads_the_next_group(field: dict[str, list[float]], higher: bool) -> None:
    spreads = spreads_of(field)
    found = ranks(spreads, higher_is_better=higher)

    def leader_of(rank: int) -> Spread:
        group = [spreads[name] for name, of in found.items() if of == rank]
        sign = -1 if higher else 1
        return min(group, key=lambda s: (sign * (s.median or 0), sign * (s.low or 0), sign * (s.high or 0)))

    leaders = [leader_of(rank) for rank in sorted({rank for rank in found.values() if rank is not None})]
    for better, worse in pairwise(leaders):
        assert lead(better, worse) == (1 if higher else -1)


@given(rounds, st.booleans())
def test_equal_contestants_tie(values: list[float], higher: bool) -> None:
    twins = {"a": Spread.of(values), "b": Spread.of(reversed(values))}
    assert ranks(twins, higher_is_better=higher) == {"a": 1, "b": 1}


def test_ties_and_gaps() -> None:
    field = {
        "first": Spread.of([10.0, 12.0]),
        "as good": Spread.of([9.0, 11.0]),
        "third": Spread.of([5.0, 9.5]),
        "failed": Spread.of([]),
    }
    assert ranks(field, higher_is_better=True) == {"first": 1, "as good": 1, "third": 3, "failed": None}
    assert ranks(field, higher_is_better=False) == {"third": 1, "as good": 1, "first": 3, "failed": None}


def test_a_wide_interval_does_not_overtake_a_better_median() -> None:
    field = {"best": Spread.of([11.0, 13.0]), "firm": Spread.of([9.0, 10.0]), "wild": Spread.of([1.0, 12.0])}
    assert ranks(field, higher_is_better=True) == {"best": 1, "firm": 2, "wild": 2}


def test_rounds_are_compared_in_pairs() -> None:
    """A machine that drifts by more than the two differ does not hide that one is slower in every round."""
    drift = [1.0, 1.4, 0.8, 1.1, 0.7, 1.3]
    fast, slow = (Spread.of([base * each for each in drift]) for base in (1000.0, 950.0))
    assert fast.overlaps(slow)
    assert (lead(fast, slow), lead(slow, fast)) == (1, -1)
    assert ranks({"slow": slow, "fast": fast}, higher_is_better=True) == {"fast": 1, "slow": 2}


def test_few_rounds_tell_only_what_does_not_overlap() -> None:
    fast, slow = Spread.of([1000.0, 1400.0, 800.0]), Spread.of([950.0, 1330.0, 760.0])
    assert lead(fast, slow) == 0
    assert lead(fast, Spread.of([500.0, 700.0, 400.0])) == 1


def test_nothing_answered_is_less_than_something_and_no_less_than_nothing() -> None:
    none, some = Spread.of([0.0] * 6), Spread.of([5.0, 4.0, 6.0, 5.0, 5.0, 5.0])
    assert (lead(some, none), lead(none, none), lead(some, Spread.of([]))) == (1, 0, 0)


def test_a_lower_bound_is_told_apart_only_from_what_is_less() -> None:
    bound, known = Spread.of([AtLeast(0.01)] * 6), Spread.of([0.05] * 6)
    assert (lead(bound, known), lead(known, bound), lead(bound, bound)) == (0, 0, 0)
    assert ranks({"bound": bound, "known": known}, higher_is_better=False) == {"bound": 1, "known": 1}
    assert lead(Spread.of([AtLeast(0.06)] * 6), known) == 1
    few = Spread.of([AtLeast(0.01)] * 3), Spread.of([0.05] * 3)
    assert few[0].overlaps(few[1])
    assert lead(*few) == 0


# Ratios.


def test_a_ratio_keeps_a_lower_bound_and_has_no_upper_one() -> None:
    bound, known = Spread.of([AtLeast(3.0), 3.0]), Spread.of([2.0, 2.0])
    assert ratios(bound, known).rounds == (1.5, 1.5)
    assert ratios(bound, known).at_least
    assert ratios(known, bound).median is None
    assert ratios(bound, bound).rounds == (1.0, 1.0)


def test_ratios_are_taken_within_a_round() -> None:
    drifting, baseline = Spread.of([900.0, 450.0, 400.0]), Spread.of([1000.0, 500.0, 500.0])
    assert ratios(drifting, baseline).rounds == pytest.approx((0.9, 0.9, 0.8))
    assert ratios(baseline, baseline).rounds == (1.0, 1.0, 1.0)


def test_ratios_of_rounds_that_are_not_there() -> None:
    found = ratios(Spread.of([1.0, None, 3.0, 4.0]), Spread.of([2.0, 2.0, 0.0]))
    assert found.rounds == (0.5, None, None)
