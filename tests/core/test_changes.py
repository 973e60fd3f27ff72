import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from sockscope.core.censoring import AtLeast
from sockscope.core.events import Event, EventKind
from sockscope.core.run.changes import AFTER, BEFORE, SETTLE_S, Change, Changes
from sockscope.core.run.fared import Fared
from sockscope.core.run.figures import Figures
from sockscope.core.run.snapshot import RunState, Snapshot
from tests.core.runs import both
from tests.each import each

TICK_S = 0.2


class Run:
    """A run whose rate is ``rate(second)``, looked at five times a second; ``changes`` absorbs it."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.elapsed_s = 0.0
        self.answered = 0.0

    def go_on(
        self, seconds: float, rate: Callable[[float], float] | float, *, disturbed: bool = False
    ) -> Snapshot:
        """Let so many seconds pass, and return the last snapshot."""
        for _ in range(round(seconds / TICK_S)):
            self.elapsed_s += TICK_S
            self.answered += TICK_S * (rate(self.elapsed_s) if callable(rate) else rate)
            self.changes.absorb(self.now(), disturbed=disturbed)
        return self.now()

    def now(self) -> Snapshot:
        return both(self.elapsed_s, round(self.answered))

    def turn(self, text: str = "permits 50 → 100") -> Change:
        """Turn a knob now."""
        event = Event(100.0 + self.elapsed_s, EventKind.TUNING, "run", text=text, generation=1)
        self.changes.absorb(replace(self.now(), events=(event,)))
        return self.changes.all[-1]


def rates(change: Change) -> tuple[float, float]:
    """Return the requests per second before and after."""
    assert change.before is not None
    assert change.after is not None
    assert change.before.requests_per_s is not None
    assert change.after.requests_per_s is not None
    return change.before.requests_per_s, change.after.requests_per_s


def jitter(base: float, by: float) -> Callable[[float], float]:
    """Return a rate that is now higher and now lower, second by second."""
    return lambda at_s: base + by * (1 if int(at_s) % 2 else -1)


def test_a_change_is_told_before_and_after() -> None:
    run = Run()
    run.go_on(6.0, 1_000)
    change = run.turn()
    assert (change.text, change.after) == ("permits 50 → 100", None)
    run.go_on(SETTLE_S + 2 * TICK_S, 3_000)
    assert rates(change) == pytest.approx((1_000, 3_000), rel=0.01)
    run.go_on(AFTER + 1.0, 3_000)
    assert rates(change) == pytest.approx((1_000, 3_000), rel=0.01)
    assert (len(change.seconds_before), len(change.seconds_after)) == (BEFORE, AFTER)
    assert not change.is_noise("requests_per_s")


def test_it_goes_on_until_the_figures_have_settled() -> None:
    run = Run()
    run.go_on(6.0, 1_000)
    change = run.turn()
    run.go_on(8.0, 0)
    assert rates(change) == pytest.approx((1_000, 0))
    run.go_on(16.0, 120)
    assert rates(change) == pytest.approx((1_000, 120), rel=0.01)
    run.go_on(10.0, 9_000)
    assert rates(change) == pytest.approx((1_000, 120), rel=0.01)


def test_nothing_answered_is_never_settled() -> None:
    run = Run()
    run.go_on(6.0, 1_000)
    change = run.turn()
    run.go_on(60.0, 0)
    assert not change.over


def test_what_the_seconds_before_range_over_is_noise() -> None:
    run = Run()
    run.go_on(6.0, jitter(1_000, 100))
    change = run.turn()
    run.go_on(5.0, jitter(1_050, 100))
    assert change.is_noise("requests_per_s")
    run.turn()
    run.go_on(5.0, jitter(2_000, 100))
    assert not run.changes.all[-1].is_noise("requests_per_s")


def test_a_change_within_what_such_seconds_scatter_by_shows_no_difference() -> None:
    def change_to(rate: float, by: float) -> Change:
        seconds = tuple(second(1_000 + one * by, 0.01) for one in (1, -1, 0, 1, -1))
        later = tuple(second(rate + one * by, 0.01) for one in (1, -1, 0))
        return Change(1, 0.0, "", seconds[0], seconds, later[0], later)

    assert not change_to(1_500, 20).is_noise("requests_per_s")
    low, high = change_to(1_500, 20).interval("requests_per_s") or (0.0, 0.0)
    assert 0.2 < low < 0.5 < high < 0.8
    # Apart, but by no more than eight such seconds may be.
    assert change_to(1_050, 20).is_noise("requests_per_s")
    assert change_to(1_010, 0).is_noise("requests_per_s"), "as far apart as rates are from run to run"
    assert not change_to(1_050, 0).is_noise("requests_per_s")
    assert change_to(1_500, 20).interval("queue_s") is None


def second(rate: float, p50_s: float, *, failed: float = 0.0, lost: float = 0.0) -> Figures:
    """Return the figures of a second of 40 clients who lost this share of it."""
    none = dict.fromkeys(("bytes_per_s", "cpu_ratio", "lag_p50_s", "lag_p99_s", "lag_max_s"))
    rest = {"wait_s": None, "opened_per_s": 0.0, "failed_per_s": failed, "fared": Fared(40 / rate, lost)}
    longest = AtLeast(1.0) if failed else p50_s
    return Figures(1.0, rate, p50_s=p50_s, p99_s=longest, max_s=longest, **none, **rest)  # type: ignore[arg-type]


def change_of(before: Figures, after: Figures, rest: Figures | None = None) -> Change:
    """Return a change whose other seconds were quiet."""
    quiet = rest or second(2_000, 0.01)
    return Change(1, 0.0, "", before, (before, *[quiet] * 4), after, (*[quiet] * 2, after))


def test_requests_that_fail_where_none_did_are_no_noise() -> None:
    quiet, failing = second(2_000, 0.01), second(2_000, 0.01, failed=20)
    for name in ("failed_per_s", "p99_s"):
        assert not change_of(quiet, failing).is_noise(name)
        assert change_of(failing, failing).is_noise(name)
        assert change_of(failing, quiet).is_noise(name), "they may come back"
    assert change_of(quiet, failing).is_noise("requests_per_s")


@each(
    ("after", "misleads"),
    [
        (second(160, 0.005), True),
        (second(2_100, 0.005, failed=36, lost=0.9), True),
        (second(4_000, 0.005), False),
        (second(2_000, 0.02, failed=36, lost=0.9), False),
    ],
)
def test_percentiles_of_the_few_that_are_served_are_no_gain_nor_a_loss_on_the_way_back(
    after: Figures, misleads: bool
) -> None:
    before = second(2_000, 0.01)
    assert change_of(before, after).misleads("p50_s") is misleads
    assert change_of(after, before).misleads("p50_s") is misleads
    assert not change_of(before, after).misleads("requests_per_s")


def test_nobody_waits_where_nobody_is_served() -> None:
    """Clients that back off after each timeout wait for no permit."""
    before, after = second(2_000, 0.01), replace(second(1, 0.002), fared=Fared(math.inf, 0.001))
    change = change_of(replace(before, queue_s=0.01), replace(after, queue_s=0.0))
    assert change.misleads("queue_s")


def test_what_the_screen_disturbed_is_left_out() -> None:
    run = Run()
    run.go_on(4.0, 1_000)
    run.go_on(2.0, 100, disturbed=True)
    run.go_on(1.2, 1_000)
    change = run.turn()
    run.go_on(SETTLE_S + 1.2, 2_000)
    run.go_on(2.0, 100, disturbed=True)
    run.go_on(3.2, 2_000)
    assert rates(change) == pytest.approx((1_000, 2_000), rel=0.01)


def test_what_is_long_ago_is_no_before() -> None:
    run = Run()
    run.go_on(4.0, 1_000)
    run.go_on(20.0, 100, disturbed=True)
    assert run.turn().before is None


@each(("until_s", "after"), [(4.0, 3_000), (1.0, 500)])
def test_a_pause_is_no_effect_of_the_change_before_it(until_s: float, after: float) -> None:
    """What follows the pause is the change's where there was hardly anything before it."""
    run = Run()
    run.go_on(4.0, 1_000)
    change = run.turn()
    run.go_on(until_s, 3_000)
    for _ in range(10):
        run.elapsed_s += TICK_S
        run.changes.absorb(replace(run.now(), state=RunState.PAUSED))
    run.go_on(5.0, 500)
    assert rates(change) == pytest.approx((1_000, after), rel=0.01)


def test_two_changes_in_a_row_do_not_mix() -> None:
    run = Run()
    run.go_on(4.0, 1_000)
    first = run.turn()
    run.go_on(2.0, 3_000)
    second = run.turn("clients 100 → 50")
    run.go_on(2.0, 6_000)
    assert rates(first) == pytest.approx((1_000, 3_000), rel=0.01)
    assert rates(second) == pytest.approx((3_000, 6_000), rel=0.01)


def test_figures_that_begin_anew_are_not_compared_with_those_before() -> None:
    run = Run()
    run.go_on(0.8, 1_000)
    run.elapsed_s += TICK_S
    run.changes.absorb(replace(run.now(), measured_since_s=100.0 + run.elapsed_s))
    assert run.turn().before is None


def test_the_changes_are_bounded_and_can_be_forgotten() -> None:
    run = Run()
    for _ in range(150):
        run.turn()
    assert len(run.changes.all) == 100
    run.changes.clear()
    assert not run.changes.all
