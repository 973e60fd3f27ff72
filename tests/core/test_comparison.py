import math
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.censoring import Ages, AtLeast, AtMost
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.batch_means import FEWEST
from sockscope.core.results.comparison import (
    Comparison,
    FigureChange,
    Side,
    Verdict,
    compare,
    exceeded,
    format_change_ratio,
    names_of,
    relative_change,
)
from sockscope.core.results.contest import Contest, Lap
from sockscope.core.results.kinds import KINDS
from sockscope.core.results.race_result import race_report
from sockscope.core.results.run_figures import CPU_PER_REQUEST, SECTIONS
from sockscope.core.results.run_result import report
from sockscope.core.results.schema import Better
from sockscope.core.results.standing import Standing
from sockscope.core.results.thresholds import ChangeThreshold
from sockscope.core.run.adding import joined
from sockscope.core.run.snapshot import RunState, Snapshot, Totals
from tests.core.races import batches, contestant, rates
from tests.core.reread import reread
from tests.core.runs import both, child, histogram, resources, role, run
from tests.each import each

ENVIRONMENT = {"python": "3.11", "cores": 2}


def side(snapshot: Snapshot, name: str = "run 1", **rest: Any) -> Side:
    """Return a run whose seconds were all the same."""
    return Side(name, reread(report(snapshot, ENVIRONMENT, [snapshot] * FEWEST)), **rest)


def seconds(*requests: int, waits_s: float = 0.010, clients: int = 0, **failed: int) -> Side:
    """Return a run that made so many requests in each of its seconds."""
    windows = []
    for at, count in enumerate(requests):
        totals = Totals(requests=count, responses=count, **failed)
        times = histogram(*[waits_s + at * 1e-5] * count)
        swarm = role("swarm", totals, service_time=times, clients=clients)
        windows.append(run(seconds=1.0, swarm=swarm))
    return Side("run 1", reread(report(reduce(joined, windows), ENVIRONMENT, windows)))


@each(
    ("few", "why"),
    [
        (seconds(160, 161, 162, waits_s=0.005, clients=40), "fewer answers: the others wait"),
        (seconds(1_930, 1_931, 1_932, waits_s=0.005, clients=40, timeouts=36), "all but 4 wait for timeouts"),
    ],
)
def test_percentiles_of_the_few_that_are_served_are_not_better(few: Side, why: str) -> None:
    usual = seconds(1_900, 1_901, 1_902, clients=40)
    for one, other, who in ((usual, few, "B"), (few, usual, "A")):
        told = compare(one, other)
        assert change(told, "service_time_s.p50").verdict is Verdict.DIFFERENT, why
        assert f"clients of {who} wait longer" in told.doubts[-1]
    quicker = compare(usual, seconds(4_000, 4_001, 4_002, waits_s=0.005, clients=40))
    assert change(quicker, "service_time_s.p50").verdict is Verdict.BETTER
    assert not any("wait longer" in doubt for doubt in quicker.doubts)


def change(comparison: Comparison, figure: str, contestant: str = "") -> FigureChange:
    (found,) = [one for one in comparison.figures[contestant] if one.figure == figure]
    return found


def race(laps: dict[str, tuple[Lap, ...]], name: str = "a", cut_short: bool = False, **tuned: Any) -> Side:
    """Return what is written of a race: of rates, or of batches with ``requests``."""
    requests, baseline = tuned.pop("requests", 0), tuned.pop("baseline", "")
    contest = Contest(
        tuple(contestant(one, **tuned) for one in laps), rounds=9, requests=requests, baseline=baseline
    )
    standing = Standing(contest, laps=laps, finished=True, cut_short=cut_short)
    return Side(name, reread(race_report(standing, ENVIRONMENT)), "race", cut_short)


def batch(name: str = "a", **durations: tuple[float, ...]) -> Side:
    return race({one: batches(*times) for one, times in durations.items()}, name, requests=100)


# Figures.


def test_figures_side_by_side() -> None:
    found = compare(side(both(seconds=2, requests=1_000)), side(both(seconds=2, requests=1_500)))
    rate = change(found, "rates.requests_per_s")
    assert [rate.a, rate.b, rate.change, rate.change_ratio] == pytest.approx([500, 750, 250, 0.5])
    assert rate.verdict is Verdict.BETTER
    assert change(found, "service_time_s.p99").verdict is Verdict.NOT_SHOWN
    assert change(found, "totals.errors").change_ratio == 0


def test_every_figure_of_a_report_is_compared_once() -> None:
    found = [one.figure for one in compare(side(both()), side(both())).figures[""]]
    wanted = [f"{section}.{figure.name}" for section in SECTIONS for figure in SECTIONS[section]]
    assert sorted(found) == sorted([*wanted, CPU_PER_REQUEST])
    assert set(KINDS["run"].names.values()) == set(found)


def test_processor_time_per_request() -> None:
    found = change(compare(side(both(requests=1_000)), side(both(requests=2_000))), CPU_PER_REQUEST)
    assert [found.a, found.b] == pytest.approx([0.0005, 0.00025])
    assert found.verdict is Verdict.BETTER
    nothing = side(run(swarm=role("swarm", Totals())))
    assert change(compare(nothing, nothing), CPU_PER_REQUEST).verdict is Verdict.UNKNOWN


def test_processor_time_per_request_is_that_of_all_processes() -> None:
    apart = both(requests=1_000, children=(child("server", 101, resources(cpu_s=1.5)),))
    untold = side(apart)
    untold.report["processes"][1]["cpu_s"] = None
    found = change(compare(side(apart), untold), CPU_PER_REQUEST)
    assert found.a == pytest.approx(0.002)
    assert found.b is None


def test_counts_are_compared_per_request() -> None:
    short = run(seconds=1, swarm=role("swarm", Totals(requests=100, responses=90, errors=10, reads=90)))
    long = run(seconds=10, swarm=role("swarm", Totals(requests=1_000, responses=980, errors=20, reads=500)))
    found = compare(side(short), side(long))
    errors = change(found, "totals.errors")
    assert [errors.change, errors.change_ratio] == pytest.approx([10, -0.8])
    assert change(found, "totals.reads").change_ratio == pytest.approx(0.5 / 0.9 - 1)
    assert change(found, "totals.requests").change_ratio == pytest.approx(9)
    assert change(found, "totals.requests").verdict is Verdict.DIFFERENT


def test_failures_without_a_request() -> None:
    refused = run(swarm=role("swarm", Totals(connections_refused=5)))
    found = compare(side(both()), side(refused))
    assert change(found, "totals.connections_refused").verdict is Verdict.UNKNOWN
    assert change(found, "totals.errors").verdict is Verdict.NOT_SHOWN


def test_a_server_alone_is_compared_per_request_that_it_saw() -> None:
    def server(requests: int, errors: int) -> Side:
        totals = Totals(requests=requests, responses=requests, errors=errors)
        return side(run(experiment=Experiment(role="server"), server=role("server", totals)))

    found = compare(server(100, 1), server(200, 2))
    assert change(found, "server.errors").change_ratio == 0
    assert change(found, CPU_PER_REQUEST).change_ratio == pytest.approx(-0.5)
    assert change(found, "totals.requests").verdict is Verdict.UNKNOWN


@each(
    ("figure", "grows"),
    [
        ("totals.reads", True), ("totals.errors", True), ("server.bytes_in", True), ("limiter.wait_s", True),
        ("resources.cpu_s", True), ("resources.involuntary_switches", True), ("kernel_udp.in_errors", True),
        ("totals.requests", False), ("service_time_s.count", False), ("limiter.permits", False),
        ("pool.waiting", False), ("clients.in_flight", False), ("server.connections_open", False),
        ("server.skew_s", False), ("resources.rss_bytes", False), ("rates.requests_per_s", False),
    ],
)  # fmt: skip
def test_which_figures_grow_with_the_requests(figure: str, grows: bool) -> None:
    assert KINDS["run"].figures[figure].per_request is grows


@each(
    ("figure", "direction"),
    [
        ("rates.requests_per_s", Better.HIGHER), ("rates.bytes_per_s", Better.HIGHER),
        ("service_time_s.p50", Better.LOWER), ("service_time_s.mean", Better.LOWER),
        ("service_time_s.count", Better.NEITHER), ("totals.requests", Better.NEITHER),
        ("totals.timeouts", Better.LOWER), ("server.errors", Better.LOWER),
        ("totals.datagrams_lost", Better.LOWER), ("resources.cpu_ratio", Better.NEITHER),
        ("resources.rss_bytes", Better.LOWER), ("resources.loop_lag_p99_s", Better.LOWER),
        ("limiter.permits", Better.NEITHER), ("kernel_udp.rcvbuf_errors", Better.LOWER),
        ("duration_s", Better.LOWER), ("connections_per_s", Better.HIGHER),
        ("service_time_p99_s", Better.LOWER), ("cpu_s_per_request", Better.LOWER),
        ("ratio", Better.HIGHER), ("errors", Better.LOWER), ("threads", Better.NEITHER),
    ],
)  # fmt: skip
def test_which_direction_is_better(figure: str, direction: Better) -> None:
    kind = KINDS["run" if "." in figure else "race"]
    assert kind.figures[figure].better is direction


@each(
    ("figure", "a", "b", "verdict"),
    [
        ("rates.requests_per_s", 100, 120, Verdict.BETTER),
        ("rates.requests_per_s", 100, 80, Verdict.WORSE),
        ("rates.requests_per_s", 100, 100.9, Verdict.NOT_SHOWN),
        ("service_time_s.p99", 0.1, 0.2, Verdict.WORSE),
        ("service_time_s.p99", 0.2, 0.1, Verdict.BETTER),
        ("resources.cpu_ratio", 0.2, 0.1, Verdict.DIFFERENT),
        ("totals.errors", 0, 3, Verdict.WORSE),
        ("totals.errors", 3, 0, Verdict.BETTER),
        ("totals.errors", 0, 0, Verdict.NOT_SHOWN),
        ("totals.errors", None, 3, Verdict.UNKNOWN),
        ("service_time_s.p99", 0.1, None, Verdict.UNKNOWN),
    ],
)
def test_verdicts(figure: str, a: float | None, b: float | None, verdict: Verdict) -> None:
    direction = KINDS["run"].figures[figure].better
    assert FigureChange(figure, a, b, relative_change(a, b), direction).verdict is verdict


# What chance explains.

NOISY = (1_000, 1_100, 900, 1_050, 980)


def test_what_chance_explains_is_no_difference() -> None:
    found = compare(seconds(*NOISY), seconds(1_100, 1_000, 1_080, 900, 1_010))
    assert change(found, "rates.requests_per_s").change_ratio == pytest.approx(0.012, abs=0.001)
    assert change(found, "rates.requests_per_s").verdict is Verdict.NOT_SHOWN
    claimed = [one for one in found.figures[""] if one.verdict in (Verdict.BETTER, Verdict.WORSE)]
    assert claimed == []
    assert found.doubts == ()


def test_what_chance_does_not_explain_is_told() -> None:
    found = compare(seconds(*NOISY), seconds(*[each // 2 for each in NOISY], waits_s=0.030))
    assert change(found, "rates.requests_per_s").verdict is Verdict.WORSE
    assert change(found, "service_time_s.p99").verdict is Verdict.WORSE
    assert change(compare(found.b, found.a), "rates.requests_per_s").verdict is Verdict.BETTER


def test_percentiles_may_scatter_more_from_run_to_run_than_means() -> None:
    found = compare(seconds(*[1_000] * 6, waits_s=0.2000), seconds(*[1_000] * 6, waits_s=0.2032))
    assert change(found, "service_time_s.p99").change_ratio == pytest.approx(0.015, abs=0.005)
    assert change(found, "service_time_s.p99").verdict is Verdict.NOT_SHOWN
    assert change(found, "service_time_s.mean").verdict is Verdict.WORSE


def test_counts_per_request_are_told_apart_by_their_shares() -> None:
    found = compare(seconds(*NOISY, errors=1), seconds(*NOISY, errors=50))
    assert change(found, "totals.errors").verdict is Verdict.WORSE
    longer = compare(seconds(*NOISY, errors=10), seconds(*NOISY, *NOISY, errors=10))
    assert change(longer, "totals.errors").verdict is Verdict.NOT_SHOWN


def test_what_other_programs_took_is_taken_out() -> None:
    """Of a core that others take in part, as much is left for requests."""

    def beside(*waits_s: float) -> Side:
        windows = []
        for wait_s in waits_s:
            swarm = role(
                "swarm", Totals(requests=round(1_000 * (1 - wait_s)), responses=round(1_000 * (1 - wait_s)))
            )
            used = replace(resources(cpu_s=1 - wait_s), core_wait_s=wait_s)
            windows.append(run(seconds=1.0, swarm=swarm, used=used))
        return Side("run 1", reread(report(reduce(joined, windows), ENVIRONMENT, windows)))

    found = compare(beside(0.02, 0.10, 0.05, 0.01, 0.08), beside(0.30, 0.25, 0.35, 0.28, 0.33))
    rate = change(found, "rates.requests_per_s")
    assert rate.change_ratio == pytest.approx(-0.26, abs=0.01)
    assert rate.verdict is Verdict.NOT_SHOWN
    assert found.doubts == (
        "other programs took more of the machine from B: of the processor time it wanted A waited for 5 %, "
        "B for 30 %",
    )


def test_a_short_run_tells_nothing_from_chance() -> None:
    found = compare(seconds(1_000, 1_000), seconds(*NOISY))
    assert change(found, "rates.requests_per_s").verdict is Verdict.NOT_SHOWN
    assert change(compare(seconds(10, 10), found.b), "rates.requests_per_s").verdict is Verdict.UNTOLD
    assert any("without batches" in doubt for doubt in found.doubts)


def test_a_change_within_chance_meets_no_condition() -> None:
    noisy = compare(seconds(1_000, 2_000, 500, 1_500, 800), seconds(900, 500, 1_900, 1_000, 600))
    assert change(noisy, "rates.requests_per_s").change_ratio == pytest.approx(-0.155, abs=0.01)
    assert exceeded(ChangeThreshold.parse("requests_per_s<-5%"), noisy) == []
    clear = compare(seconds(*NOISY), seconds(*[each // 2 for each in NOISY]))
    assert exceeded(ChangeThreshold.parse("requests_per_s<-5%"), clear) != []


SIZES = st.just(0.0) | st.floats(1e-12, 1e12)


@given(SIZES, SIZES)
def test_relative_changes(a: float, b: float) -> None:
    ratio = relative_change(a, b)
    assert ratio is not None
    if a == b:
        assert ratio == 0
    elif a == 0:
        assert ratio == math.inf
    else:
        assert ratio >= -1
        assert (ratio >= 0) == (b >= a)
        assert a * (1 + ratio) == pytest.approx(b, rel=1e-6, abs=a * 1e-9)


@each(
    ("ratio", "text"),
    [
        (AtLeast(0.5), "≥ +50 %"), (AtMost(-0.5), "≤ −50 %"),
        (0.0, "0 %"), (0.0004, "0 %"), (0.0123, "+1.2 %"), (-0.0123, "−1.2 %"), (1.52, "+152 %"),
        (-0.6, "−60 %"), (12.5, "+1,250 %"), (math.inf, "from 0"), (None, "–"),
    ],
)  # fmt: skip
def test_changes_in_words(ratio: float | None, text: str) -> None:
    assert format_change_ratio(ratio) == text


@each(
    ("a", "b", "difference", "ratio"),
    [
        (0.5, AtLeast(1.0), AtLeast(0.5), AtLeast(1.0)),
        (AtLeast(1.0), 0.25, AtMost(-0.75), AtMost(-0.75)),
        (AtLeast(1.0), AtLeast(1.0), None, None),
        (AtLeast(1.0), 2.0, None, None),
        (0.0, AtLeast(1.0), AtLeast(1.0), math.inf),
    ],
)
def test_changes_to_and_from_bounds(
    a: float, b: float, difference: float | None, ratio: float | None
) -> None:
    found = FigureChange("service_time_s.p99", a, b, relative_change(a, b), Better.LOWER)
    assert (found.change, type(found.change)) == (difference, type(difference))
    assert (found.change_ratio, type(found.change_ratio)) == (ratio, type(ratio))


# What ran.


def test_what_changed_in_the_experiment_and_environment() -> None:
    a = Side("a", report(both(), {"python": "3.11", "cores": 2, "uvloop": None}))
    b = Side(
        "b", report(replace(both(), tuning=Tuning(permits=0)), {"python": "3.12", "cores": 2, "os": "L"})
    )
    found = compare(a, b)
    assert [(one.name, one.a, one.b) for one in found.experiment] == [("permits", 50, 0)]
    assert [str(one) for one in found.experiment] == ["permits 50 → off"]
    assert [(one.name, one.a, one.b) for one in found.environment] == [
        ("python", "3.11", "3.12"),
        ("os", None, "L"),
    ]


def test_fields_that_one_side_does_not_know_do_not_differ() -> None:
    """A field may come without a new version of the schema."""
    older = side(both())
    del older.report["experiment"]["place"]
    assert compare(older, side(both())).experiment == ()
    assert compare(side(both()), older).doubts == ()


# Doubts.


def doubts(a: Side, b: Side) -> str:
    return "\n".join(compare(a, b).doubts)


def test_like_runs_raise_no_doubts() -> None:
    assert doubts(side(both(requests=100)), side(both(requests=900))) == ""
    loop = replace(both(), experiment=Experiment(loop="asyncio"))
    assert doubts(side(both()), side(loop)) == "", "one thing that differs is what is looked at"
    was, now = (replace(both(), experiment=Experiment(handler=name)) for name in ("a:b@HEAD~1", "a:b"))
    assert doubts(side(was), side(now)) == "", "that is what two revisions are compared for"
    port = replace(both(), experiment=Experiment(port=7_007, seed=9, loop="asyncio"))
    assert doubts(side(both()), side(port)) == ""


@each(
    ("other", "words"),
    [
        ({"tuning": Tuning(request_bytes=1_000)}, ["the workloads differ (request)"]),
        ({"tuning": Tuning(transport="udp", clients=7)}, ["differ (transport, clients)"]),
        ({"tuning": Tuning(clients=7, permits=7)}, ["differ (clients)", "several settings differ"]),
        ({"tuning": Tuning(permits=7, no_delay=False)}, ["several settings differ"]),
        ({"tuning": Tuning(place="apart")}, ["the roles ran elsewhere (place loop → apart)"]),
        ({"experiment": Experiment(warmup_s=2.0)}, ["leave out different warm-ups (warm-up 0 → 2 s)"]),
        ({"state": RunState.FAILED, "error": "the loop died"}, ["run 2 failed: the loop died"]),
        ({"warming_up": True}, ["run 2 ended while it was warming up"]),
        ({"generation": 1}, ["run 2 was tuned once while it ran"]),
        ({"generation": 1_234}, ["run 2 was tuned 1,234 times"]),
    ],
)
def test_doubts(other: dict[str, Any], words: list[str]) -> None:
    found = compare(side(both()), side(replace(both(), **other), "run 2")).doubts
    assert len(found) == len(words)
    assert all(word in doubt for word, doubt in zip(words, found, strict=True)), found


def test_doubts_about_lengths_roles_ends_and_places() -> None:
    assert "run 1 measured only 500 ms" in doubts(side(both(seconds=0.5)), side(both()))
    assert "A lasted 2.00 s and B 10.0 s" in doubts(side(both()), side(both(seconds=10)))
    assert "run 1 was cut short" in doubts(side(both(), cut_short=True), side(both(), "run 2"))
    alone = run(experiment=Experiment(role="server"), server=role("server", Totals(requests=1, responses=1)))
    assert "other roles ran (both → server)" in doubts(side(both()), side(alone))
    elsewhere = Side("file", report(both(), {**ENVIRONMENT, "cores": 64}))
    assert "ran elsewhere or on other versions (cores 2 → 64)" in doubts(side(both()), elsewhere)


# Races.


def test_races_are_compared_by_contestant() -> None:
    before = batch(blocking=(10.2, 10.1, 10.3), uvloop=(0.104, 0.10, 0.11), select=(1,))
    after = batch(uvloop=(0.208, 0.20, 0.22), blocking=(10.25, 10.15, 10.4), pool=(2,))
    found = compare(before, after)
    assert list(found.figures) == ["uvloop", "blocking"], "the best comes first, as in A"
    assert change(found, "duration_s", "blocking").verdict is Verdict.NOT_SHOWN
    slower = change(found, "duration_s", "uvloop")
    assert slower.verdict is Verdict.WORSE
    assert slower.change_ratio == pytest.approx(1.0)
    assert (found.only_a, found.only_b) == (("select",), ("pool",))


def test_every_figure_of_a_race_is_compared() -> None:
    found = compare(batch(x=(1.0,)), batch(x=(1.0,)))
    assert [one.figure for one in found.figures["x"]] == list(KINDS["race"].figures)
    assert set(KINDS["race"].names.values()) == set(KINDS["race"].figures)
    unlike = {one.figure: one.verdict for one in found.figures["x"] if one.verdict is not Verdict.NOT_SHOWN}
    assert unlike == {"schedule_lateness_p99_s": Verdict.UNKNOWN}, "the loop is closed"


def test_what_all_contestants_had_in_common_is_compared() -> None:
    laps = {"x": rates(100.0), "y": rates(200.0)}
    found = compare(race(laps, clients=10), race(laps, clients=20))
    assert [(one.name, one.a, one.b) for one in found.experiment] == [("clients", 10, 20)]
    assert [str(one) for one in found.experiment] == ["clients 10 → 20"]
    assert found.doubts == ("the workloads differ (clients): that alone changes the figures",)


def test_fields_in_which_contestants_differ_are_told_by_their_names() -> None:
    contest = Contest((contestant("x", permits=1), contestant("y", permits=9)))
    standing = Standing(contest, laps={"x": rates(1.0), "y": rates(1.0)})
    varied = Side("a", reread(race_report(standing, ENVIRONMENT)), "race")
    assert compare(varied, race({"x": rates(1.0)}, permits=5)).experiment == ()


def test_medians_whose_intervals_overlap_are_the_same() -> None:
    found = compare(batch(x=(0.8, 1.0, 1.3)), batch(x=(1.0, 1.2, 1.4)))
    assert change(found, "duration_s", "x").verdict is Verdict.NOT_SHOWN
    assert change(found, "duration_s", "x").change_ratio == pytest.approx(0.2)


def test_the_interval_of_a_median_goes_before_its_extremes() -> None:
    """Of nine rounds the least and the most are outside of the interval."""
    before, after = batch(x=(1.0,) * 8 + (9.0,)), batch(x=(0.5,) + (2.0,) * 8)
    (spread,) = [one["duration_s"] for one in before.report["contestants"]]
    assert (spread["low"], spread["high"], spread["max"]) == (1.0, 1.0, 9.0)
    found = change(compare(before, after), "duration_s", "x")
    assert (found.a, found.b, found.verdict) == (1.0, 2.0, Verdict.WORSE)
    assert change(compare(after, before), "duration_s", "x").verdict is Verdict.BETTER


def test_ratios_to_the_baseline_are_compared() -> None:
    before = race({"x": rates(*[100.0] * 9), "y": rates(*[200.0] * 9)})
    after = race({"x": rates(*[50.0] * 9), "y": rates(*[200.0] * 9)})
    found = change(compare(before, after), "ratio", "y")
    assert (found.a, found.b, found.change_ratio, found.verdict) == (2.0, 4.0, 1.0, Verdict.BETTER)


def test_the_length_of_a_slice_is_no_result() -> None:
    rate, timed = race({"x": rates(100.0)}), batch(x=(1.0,))
    figures = [one.figure for one in compare(rate, rate).figures["x"]]
    assert figures == [name for name in KINDS["race"].figures if name != "duration_s"]
    for pair in ((rate, timed), (timed, rate)):
        assert [one.figure for one in compare(*pair).figures["x"]] == figures
    assert compare(rate, rate).doubts == ()
    assert "other kinds of race (rate → batch)" in doubts(rate, timed)


def test_what_a_contestant_did_not_come_to() -> None:
    found = compare(batch(x=(1.0,)), batch(x=()))
    assert change(found, "duration_s", "x").verdict is Verdict.UNKNOWN


def test_a_figure_that_one_side_does_not_have_is_left_out() -> None:
    older = batch(x=(1.0,))
    del older.report["contestants"][0]["errors"]
    for pair in ((older, batch(x=(1.0,))), (batch(x=(1.0,)), older)):
        assert "errors" not in [one.figure for one in compare(*pair).figures["x"]]


def test_doubts_about_races() -> None:
    waiting = {"x": rates(1.0, cpu_ratio=0.1, clients_cpu_ratio=1.0)}
    found = compare(race(waiting, "race 1"), race({"x": rates(1.0)}, "race 2", cut_short=True))
    assert found.doubts == (
        "in race 1 the clients were the limit of most: it does not compare servers",
        "race 2 was cut short",
    )
    laps = {"x": rates(1.0), "y": rates(2.0)}
    found = compare(race(laps, baseline="x"), race(laps, baseline="y"))
    assert found.doubts == ("other baselines (x → y): ratios are of different contestants",)


@each(
    ("a", "b", "why"),
    [
        ("run", "race", "a run and a race have no figures in common"),
        ("race", "run", "a race and a run have no figures in common"),
    ],
)
def test_what_cannot_be_compared(a: str, b: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compare(side(both(), kind=a), side(both(), kind=b))


# Conditions.


def test_conditions_on_changes() -> None:
    found = compare(side(both(requests=1_000)), side(both(requests=900)))

    def told(text: str) -> list[str]:
        return exceeded(ChangeThreshold.parse(text, names_of(found)), found)

    assert told("requests_per_s<-5%") == ["requests_per_s<-5% holds: rates.requests_per_s changed by −10 %"]
    assert told("requests_per_s<-15%") == []
    assert told("p99>10%") == []
    assert told("cpu_s_per_request>+10%") == [
        "cpu_s_per_request>+10% holds: resources.cpu_s_per_request changed by +11 %"
    ]
    assert told("loop_lag_p99>1%") == [
        "loop_lag_p99>1% cannot be judged: the change of resources.loop_lag_p99_s is not known"
    ]


def test_a_change_to_a_bound_may_be_more_than_a_limit() -> None:
    """Of what is at least half as slow again nobody knows that it is not twice as slow."""
    slow, lost = Totals(requests=10, responses=10), Totals(requests=10, timeouts=10)
    before = side(run(swarm=role("swarm", slow, service_time=histogram(*[0.65] * 10))))
    after = side(run(swarm=role("swarm", lost, unanswered=Ages({1.0: 10}))))
    found = compare(before, after)

    def told(text: str) -> list[str]:
        return exceeded(ChangeThreshold.parse(text), found)

    assert told("p99>+50%") == ["p99>+50% holds: service_time_s.p99 changed by ≥ +53 %"]
    assert told("p99>+100%") == ["p99>+100% may hold: service_time_s.p99 changed by ≥ +53 %"]
    assert told("p99<-5%") == []
    assert exceeded(ChangeThreshold.parse("p99<-50%"), compare(after, before)) == [
        "p99<-50% may hold: service_time_s.p99 changed by ≤ −35 %"
    ]


def test_a_percentile_that_falls_among_failures_differs_as_surely_as_they_do() -> None:
    def scattered(*slow_s: float, timeouts: int = 0) -> Side:
        windows = []
        for longest_s in slow_s:
            totals = Totals(requests=100 + timeouts, responses=100, timeouts=timeouts)
            times = histogram(*[0.005] * 90, *[longest_s] * 10)
            swarm = role("swarm", totals, service_time=times, unanswered=Ages({0.04: timeouts}))
            windows.append(run(seconds=1.0, swarm=swarm))
        return Side("run 1", reread(report(reduce(joined, windows), ENVIRONMENT, windows)))

    usual, same = scattered(0.01, 0.03, 0.02), scattered(0.03, 0.01, 0.015)
    failing = scattered(0.02, 0.03, 0.01, timeouts=5)
    assert change(compare(usual, same), "service_time_s.p99").verdict is Verdict.NOT_SHOWN
    assert change(compare(usual, failing), "service_time_s.p99").verdict is Verdict.WORSE
    assert change(compare(failing, usual), "service_time_s.p99").verdict is Verdict.BETTER
    assert change(compare(usual, failing), "service_time_s.p50").verdict is Verdict.NOT_SHOWN


def test_from_nothing_to_something_is_more_than_any_limit() -> None:
    good, bad = Totals(requests=9, responses=9), Totals(requests=9, responses=8, errors=1)
    found = compare(side(run(swarm=role("swarm", good))), side(run(swarm=role("swarm", bad))))
    threshold = ChangeThreshold.parse("errors>1000000%")
    assert exceeded(threshold, found) == ["errors>1000000% holds: totals.errors rose from 0"]
    assert exceeded(threshold, compare(found.b, found.a)) == []


def test_conditions_on_races_hold_for_any_contestant() -> None:
    found = compare(batch(x=(1.0,), y=(1.0,)), batch(x=(1.0,), y=(2.0,)))
    names = names_of(found)
    assert exceeded(ChangeThreshold.parse("duration>50%", names), found) == [
        "duration>50% holds: duration_s of y changed by +100 %"
    ]
    assert exceeded(ChangeThreshold.parse("p99>50%", names), found) == []
    with pytest.raises(ValueError, match="there is no figure p90"):
        ChangeThreshold.parse("p90>50%", names)


def test_conditions_name_only_what_is_compared() -> None:
    rate = race({"x": rates(1.0)})
    with pytest.raises(ValueError, match="there is no figure duration"):
        ChangeThreshold.parse("duration>50%", names_of(compare(rate, rate)))
