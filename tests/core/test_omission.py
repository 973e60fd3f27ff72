from dataclasses import replace

import pytest

from sockscope.core.censoring import Ages, AtLeast, percentiles
from sockscope.core.histogram import Histogram
from sockscope.core.roles import SWARM
from sockscope.core.run.omission import omission
from sockscope.core.run.snapshot import Snapshot, Totals
from tests.core.runs import both
from tests.each import each


def run(
    answered: dict[float, int], seconds: float, clients: int, given_up: dict[float, int] | None = None
) -> Snapshot:
    """Return a run of a closed loop in which so many requests took so long."""
    histogram, ages = Histogram(), Ages(given_up)
    for latency_s, count in answered.items():
        histogram.add_all([latency_s] * count)
    snapshot = both(seconds, 0)
    swarm = replace(
        snapshot.main,
        clients=clients,
        totals=Totals(responses=histogram.total, timeouts=ages.total),
        response_time=histogram,
        response_unanswered=ages,
    )
    return replace(snapshot, roles={**snapshot.roles, SWARM: swarm})


def test_a_stall_of_100_s_in_200_s_is_half_of_what_an_open_loop_sees() -> None:
    """The example by which coordinated omission became known: 100 requests/s of 1 ms, then nothing."""
    found = omission(run({0.001: 10_000, 100.0: 1}, 200.0, clients=1), 100.0)
    assert found is not None
    assert found.interval_s == 0.01
    assert found.omitted == pytest.approx(9_999, rel=0.01)
    p50, p75, p99, most = percentiles(*found.estimated, (0.49, 0.75, 0.99, 1.0))
    assert p50 == pytest.approx(0.001, rel=0.01)
    assert p75 == pytest.approx(50.0, rel=0.02)
    assert p99 == pytest.approx(98.0, rel=0.02)
    assert most == percentiles(*found.measured, (1.0,))[0]


@each("interval_s", [0.000_01, 0.003, 0.07, 0.3])
def test_each_interval_of_a_wait_is_a_request_that_was_not_made(interval_s: float) -> None:
    answered = {interval_s / 2: 1_000, 1.0: 3}
    found = omission(run(answered, 100.0, clients=4), 4 / interval_s)
    assert found is not None
    assert found.interval_s == pytest.approx(interval_s)
    one_s = found.measured[0].max_s
    assert one_s is not None
    expected = Histogram()
    step = 1
    while one_s - step * found.interval_s >= found.interval_s * (1 - 1e-9):
        expected.add_all([one_s - step * found.interval_s] * 3)
        step += 1
    assert found.omitted == pytest.approx(expected.total, abs=3)
    assert found.estimated[0].mean_s == pytest.approx((found.measured[0] + expected).mean_s or 0.0, rel=0.01)


def test_what_got_no_answer_stays_a_lower_bound() -> None:
    found = omission(run({0.001: 1_000}, 10.0, clients=1, given_up={1.0: 10}), 100.0)
    assert found is not None
    assert found.estimated[1].total == pytest.approx(10 * 100, rel=0.02)
    [p99] = percentiles(*found.estimated, (0.99,))
    assert isinstance(p99, AtLeast)
    assert p99 <= 1.0


def test_nothing_is_left_out_by_an_open_loop_or_before_an_answer() -> None:
    closed = run({0.001: 10}, 1.0, clients=1)
    assert omission(closed, 10.0) is not None
    assert omission(replace(closed, tuning=replace(closed.tuning, rate=100)), 10.0) is None
    assert omission(run({}, 1.0, clients=1), 0.0) is None
