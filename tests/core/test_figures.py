from dataclasses import replace

import pytest

from sockscope.core.censoring import Ages, AtLeast
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SWARM
from sockscope.core.run.evidence import shares
from sockscope.core.run.figures import figures, process_figures, stall_s
from sockscope.core.run.snapshot import LimiterStatistics, PartUse, Snapshot, Totals
from sockscope.core.run.window import window
from tests.core.runs import both, changed, child, histogram, resources, role, run
from tests.each import each


def test_rates_are_of_the_window() -> None:
    shown = figures(window(both(2.0, 1_000), both(4.0, 1_500)))
    assert shown.length_s == pytest.approx(2.0)
    assert shown.requests_per_s == pytest.approx(250.0)


@each(("framing", "wire"), [("length", 68), ("newline", 65), ("fixed", 64), ("none", 64)])
def test_bytes_per_second_are_payload_only(framing: str, wire: int) -> None:
    totals = Totals(requests=100, responses=100, bytes_in=120 * wire, response_bytes=100 * wire)
    taken = run(tuning=Tuning(framing=framing), seconds=2.0, swarm=role("swarm", totals))
    assert figures(taken).bytes_per_s == pytest.approx(100 * 64 / 2.0)


def test_a_server_alone_counts_what_it_sent() -> None:
    totals = Totals(requests=10, responses=8, bytes_in=680, bytes_out=8 * 68, response_bytes=8 * 68)
    assert figures(run(seconds=1.0, server=role("server", totals))).bytes_per_s == pytest.approx(8 * 64)


def test_what_is_not_known_is_none() -> None:
    nothing = figures(run(seconds=1.0, swarm=role("swarm", Totals()), used=resources(lag=histogram())))
    assert nothing.p50_s is nothing.p99_s is nothing.lag_p99_s is nothing.wait_s is None
    assert nothing.requests_per_s == 0
    assert figures(run(seconds=0.0, swarm=role("swarm", Totals()))).requests_per_s is None


def test_a_loop_is_late_for_a_share_of_all_the_time_a_pause_without_heartbeat_too() -> None:
    late = resources(lag=histogram(*[0.0] * 100, *[0.05] * 100))
    shares = [process_figures(run(seconds=s, used=late))[0].late_ratio for s in (2.0, 8.0)]
    assert shares == pytest.approx([1 / 2, 1 / 8])


def test_the_part_of_a_process_is_its_own_and_of_the_window() -> None:
    def sharing(seconds: float, answered: int, unanswered: int) -> Snapshot:
        ages = Ages()
        ages.add_exactly(1.0, unanswered)
        part = PartUse(answered, histogram(*[0.01] * answered), ages, histogram())
        used = replace(resources(), since_s=100.0, time_s=100.0 + seconds)
        swarms = child("clients", 7, used, part=part), child("clients 2", 7, used)
        return run(seconds=seconds, swarm=role("swarm", Totals()), children=swarms)

    _, one, other = process_figures(window(sharing(2.0, 100, 50), sharing(4.0, 300, 50)))
    assert one.requests_per_s == pytest.approx(100)
    assert one.p99_s == pytest.approx(0.01, rel=0.01)
    assert (other.requests_per_s, other.p99_s) == (None, None)
    assert isinstance(process_figures(sharing(4.0, 300, 50))[1].p99_s, AtLeast)


def test_what_a_process_used_that_was_lost_before_is_not_told() -> None:
    main = process_figures(run(swarm=role("swarm", Totals())))[0]
    lost = replace(main, name="clients", alive=False, cpu_ratio=None)
    assert shares([main, lost, replace(main, name="server", cpu_ratio=None)]) == "main 25 %, server –"


def test_they_read_well_in_a_script() -> None:
    swarm = role("swarm", Totals(requests=3, responses=3), service_time=histogram(0.005, 0.005, 0.02))
    assert repr(figures(run(swarm=swarm))) == (
        "<2 requests/s, p50 5.00 ms, p99 20.0 ms, max 20.0 ms, in 2.00 s>"
    )
    assert (
        repr(figures(run(swarm=role("swarm", Totals())))) == "<0 requests/s, p50 –, p99 –, max –, in 2.00 s>"
    )


def test_wait_is_the_mean_of_those_that_waited() -> None:
    waited = LimiterStatistics(permits=5, in_flight=5, waiting=3, acquired=100, waited=4, wait_s=0.02)
    taken = both()
    shown = figures(changed(taken, SWARM, limiter=waited))
    assert shown.wait_s == pytest.approx(0.005)


def test_the_wait_of_all_requests_is_a_lower_bound_while_nothing_is_sent() -> None:
    queue = LimiterStatistics(permits=5, in_flight=5, waiting=3, wait_s=6.0)
    swarm = role("swarm", Totals(requests=20), limiter=queue, pool=LimiterStatistics(wait_s=2.0))
    assert figures(run(seconds=2.0, swarm=swarm)).queue_s == pytest.approx(0.4)
    assert figures(run(seconds=2.0, swarm=swarm, tuning=Tuning(rate=10))).queue_s is None, (
        "requests are queued"
    )
    pipelined = Tuning(depth=5)
    told = figures(run(seconds=2.0, swarm=swarm, tuning=pipelined)).queue_s
    assert told == pytest.approx(2.0), "each of the five has waited for the permit of the five"
    stuck = figures(run(seconds=2.0, swarm=role("swarm", Totals(), limiter=queue))).queue_s
    assert isinstance(stuck, AtLeast)
    assert stuck == 2.0


def test_a_stall_is_longer_than_ten_medians() -> None:
    def stalled(gap_s: float, **more: object) -> float | None:
        answers = {"service_time": histogram(*[0.01] * 99), "gaps": histogram(0.001, gap_s)}
        return figures(run(seconds=2.0, swarm=role("swarm", Totals(), **answers, **more))).stall_s

    assert stalled(0.09) == 0
    assert stalled(0.5) == pytest.approx(0.5, rel=0.01)
    assert stalled(0.001, in_flight=3, last_answer_s=101.5) == pytest.approx(0.5)
    assert stalled(0.001, in_flight=0, last_answer_s=101.5) == 0
    asked_late = {"in_flight": 1, "last_answer_s": 100.5, "awaited_since_s": 101.95}
    assert stalled(0.001, **asked_late) == 0, "until then everybody thought, or the traffic was paused"


def test_a_stall_may_fill_the_window() -> None:
    def stalled(requests: int, service_time_s: float = 0.01, **more: object) -> float | None:
        swarm = role("swarm", Totals(requests=requests), **{"in_flight": 3, "last_answer_s": 90.0} | more)
        window = run(seconds=2.0, swarm=swarm)
        return stall_s(replace(window, tuning=replace(window.tuning, service_time_s=service_time_s)))

    assert stalled(2) == 2.0
    assert stalled(3) is None, "all of them may have been sent just now"
    assert stalled(2, last_answer_s=0.0) is None
    assert stalled(2, service_time_s=0.3) is None, "such answers take so long"


def test_what_is_awaited_counts_as_its_age_in_the_tick_in_which_a_stall_begins() -> None:
    quick = histogram(*[0.005] * 60)
    in_flight, queued = histogram(0.09, 0.08), histogram(*[at / 1_000 for at in range(1, 80)])
    swarm = role(
        "swarm", Totals(requests=62, requests_due=141), service_time=quick, response_time=quick,
        in_flight=2, queued=79, awaited=in_flight, response_awaited=in_flight + queued,
    )  # fmt: skip
    shown = figures(run(seconds=0.2, swarm=swarm, tuning=Tuning(rate=500)))
    assert shown.p50_s == pytest.approx(0.005, rel=1 / 128)
    assert isinstance(shown.p99_s, AtLeast)
    assert shown.p99_s == pytest.approx(0.09, rel=1 / 128)
    assert isinstance(shown.response_p50_s, AtLeast)
    assert shown.response_p50_s == pytest.approx(0.011, rel=1 / 64)
    assert shown.response_p99_s == pytest.approx(0.08, rel=1 / 64)


def test_failures_are_told_per_second() -> None:
    swarm = role("swarm", Totals(timeouts=4, errors=2, datagrams_lost=3))
    shown = figures(run(seconds=2.0, swarm=swarm))
    assert (shown.failed_per_s, shown.lost_per_s) == (3.0, 1.5)


def test_percentiles_and_cpu() -> None:
    quick, slow = [0.001] * 98, [0.1, 0.2]
    taken = run(seconds=2.0, swarm=role("swarm", Totals(), service_time=histogram(*quick, *slow)))
    shown = figures(taken)
    assert shown.p50_s == pytest.approx(0.001, rel=1 / 128)
    assert shown.p99_s == pytest.approx(0.1, rel=1 / 128)
    assert shown.max_s == pytest.approx(0.2, rel=1 / 128)
    assert shown.cpu_ratio == pytest.approx(0.25)
