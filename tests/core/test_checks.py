from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.censoring import AtLeast, AtMost
from sockscope.core.results.checks import Check
from sockscope.core.results.run_figures import NAMES
from tests.each import each


def judged(text: str, here: Mapping[str, float | None], **steps: Mapping[str, float | None]) -> bool:
    check = Check.parse(text, None, steps)
    return check.judged({"": here.get, **{name: figures.get for name, figures in steps.items()}}).holds


@each(
    ("text", "holds"),
    [
        ("a > 5", True),
        ("a > 10", False),
        ("a >= 10", True),
        ("a == 10", True),
        ("a < 2 * step.before.a", False),
        ("a <= 2 * step.before.a", True),
        ("a - step.before.a * 2 == 0", True),
        ("(a - step.before.a) * 2 == 10", True),
        ("a / step.before.a == 2", True),
        ("1 - 2 - 3 == 0 - 4", True),
        ("12 / 3 / 2 == 2", True),
        ("t < 20ms", True),
        ("t < 2ms", False),
        ("share == 80%", True),
        ("size == 64KiB", True),
        ("count == 10k", True),
        ("count == 10_000", True),
    ],
)
def test_a_check_compares_sums_of_figures_and_numbers(text: str, holds: bool) -> None:
    here = {"a": 10.0, "t": 0.01, "share": 0.8, "size": 65536.0, "count": 10_000.0}
    assert judged(text, here, before={"a": 5.0}) is holds


@each(
    ("text", "why"),
    [
        ("p99", "has no comparison"),
        ("", "lacks a figure or a number at its end"),
        ("p99 >", "lacks a figure or a number at its end"),
        ("> 5", "lacks a figure or a number before >"),
        ("p99 > 5 > 3", "goes on after the comparison, with >"),
        ("(p99 > 5", r"lacks a \)"),
        ("p99 > 5 apples", "has a number that is none: 5 apples"),
        ("p98 > 5", "names p98, which is no figure; did you mean p9"),
        ("p99 > step.gone.p99", "names gone, which is no earlier step; there is before"),
        ("p99 > step.before", "names nothing, which is no figure"),
        ("p99 > {5}", r"is no comparison of figures from \{5\} on"),
        ("1" + "+1" * 99 + " > 0", "has more than 100 parts"),
    ],
)
def test_what_is_no_check_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Check.parse(text, NAMES, ("before",))


def test_names_are_those_of_fail_if() -> None:
    check = Check.parse("p99 > 5 * step.before.service_time_s.p99", NAMES, ("before",))
    assert [(name.step, name.figure) for name in check.names] == [
        ("", "service_time_s.p99"),
        ("before", "service_time_s.p99"),
    ]


def test_what_is_not_known_meets_no_check() -> None:
    assert not judged("a > 5", {"a": None})
    assert not judged("a <= 5", {"a": None})
    assert not judged("a > 0", {})


def test_a_division_by_what_may_be_nothing_tells_nothing() -> None:
    assert not judged("a / b >= 0", {"a": 1.0, "b": 0.0})
    assert not judged("a / b < 1", {"a": 1.0, "b": AtMost(5)})
    assert judged("a / b > 1", {"a": 10.0, "b": 5.0})


def test_a_bound_holds_only_for_certain() -> None:
    assert judged("a > 4", {"a": AtLeast(5.0)})
    assert not judged("a < 6", {"a": AtLeast(5.0)})
    assert not judged("a == 5", {"a": AtLeast(5.0)})
    assert judged("2 * a + 1 > 10", {"a": AtLeast(5.0)})
    assert not judged("a > b", {"a": AtLeast(5.0), "b": AtLeast(4.0)})
    assert judged("b - a < 0", {"a": AtLeast(5.0), "b": 4.0})


def test_the_sentence_has_the_figures_with_their_units() -> None:
    check = Check.parse("p99 > 5 * step.before.p99", NAMES, ("before",))
    figures: dict[str, Callable[[str], float | None]]
    figures = {"": {"service_time_s.p99": AtLeast(1.0)}.get, "before": {"service_time_s.p99": 0.5}.get}
    assert check.judged(figures).sentence == (
        "p99 > 5 * step.before.p99 does not hold: p99 is ≥ 1.00 s, step.before.p99 is 500 ms"
    )


NUMBERS = st.floats(0.001, 1e6)
BOUNDED = st.builds(lambda value, kind: kind(value), NUMBERS, st.sampled_from([float, AtLeast, AtMost]))


@settings(max_examples=50)
@given(BOUNDED, BOUNDED, st.sampled_from(["a * b", "a + b", "a - b", "a / b"]), NUMBERS)
def test_what_holds_for_bounds_holds_for_whatever_is_within(
    a: float, b: float, term: str, limit: float
) -> None:
    def within(value: float) -> list[float]:
        low = value / 3 if isinstance(value, AtMost) else value
        return [low, float(value), value * 3 if isinstance(value, AtLeast) else float(value)]

    if judged(f"{term} > {limit}", {"a": a, "b": b}):
        for x in within(a):
            for y in within(b):
                values = {"a * b": x * y, "a + b": x + y, "a - b": x - y, "a / b": x / y}
                assert values[term] > limit or math.isclose(values[term], limit)


def test_a_check_is_told_with_its_figures_in_it() -> None:
    check = Check.parse("response_p50 > 6 * step.alone.response_p50", NAMES, ["alone"])
    figure = NAMES["response_p50"]
    done = check.judged({"": {figure: 0.281}.get, "alone": {figure: 0.0118}.get})
    assert done.brief == "response_p50 281 ms > 6 * alone 11.8 ms"
