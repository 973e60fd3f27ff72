import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.results.comparison import (
    COUNTS,
    CPU_PER_REQUEST,
    NAMES,
    Better,
    Comparison,
    FigureChange,
    Side,
    Verdict,
    better,
    compare,
    exceeded,
    format_change_ratio,
    names_of,
    relative_change,
)
from sockscope.core.results.report import FIGURES, report
from sockscope.core.results.thresholds import ChangeThreshold
from sockscope.core.run.snapshot import RunState, Snapshot, Totals
from tests.core.runs import both, role, run

ENVIRONMENT = {"python": "3.11", "cores": 2}


def side(snapshot: Snapshot, name: str = "run 1", **rest: Any) -> Side:
    return Side(name, report(snapshot, ENVIRONMENT), **rest)


def change(comparison: Comparison, figure: str, contestant: str = "") -> FigureChange:
    (found,) = [one for one in comparison.figures[contestant] if one.figure == figure]
    return found


def spread(median: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"median": median, "min": low, "max": high, "rounds": []}


def race(valid: bool = True, **durations: tuple[float, float, float]) -> dict[str, Any]:
    contestants = [{"name": name, "duration_s": spread(*three)} for name, three in durations.items()]
    return {"type": "race", "schema_version": 1, "contestants": contestants, "valid": valid}


# Figures.


def test_figures_side_by_side() -> None:
    found = compare(side(both(seconds=2, requests=1_000)), side(both(seconds=2, requests=1_500)))
    rate = change(found, "rates.requests_per_s")
    assert [rate.a, rate.b, rate.change, rate.change_ratio] == pytest.approx([500, 750, 250, 0.5])
    assert rate.verdict is Verdict.BETTER
    assert change(found, "service_time_s.p99").verdict is Verdict.SAME
    assert change(found, "totals.errors").change_ratio == 0


def test_every_figure_of_a_report_is_compared_once() -> None:
    found = [one.figure for one in compare(side(both()), side(both())).figures[""]]
    wanted = [f"{section}.{name}" for section in FIGURES for name in FIGURES[section]]
    assert sorted(found) == sorted([*wanted, CPU_PER_REQUEST])
    assert set(found) >= COUNTS
    assert set(NAMES.values()) == set(found)


def test_processor_time_per_request() -> None:
    found = change(compare(side(both(requests=1_000)), side(both(requests=2_000))), CPU_PER_REQUEST)
    assert [found.a, found.b] == pytest.approx([0.0005, 0.00025])
    assert found.verdict is Verdict.BETTER
    nothing = side(run(swarm=role("swarm", Totals())))
    assert change(compare(nothing, nothing), CPU_PER_REQUEST).verdict is Verdict.UNKNOWN


def test_processor_time_per_request_is_that_of_all_processes() -> None:
    def apart(server_cpu_s: float | None) -> Side:
        uses = [{"name": "main", "cpu_s": 0.1}, {"name": "server", "cpu_s": server_cpu_s}]
        return Side("run 1", report(both(requests=1_000), {}) | {"processes": uses})

    found = change(compare(apart(1.9), apart(None)), CPU_PER_REQUEST)
    assert found.a == pytest.approx(0.002)
    assert found.b is None


def test_counts_are_compared_per_request() -> None:
    short = run(seconds=1, swarm=role("swarm", Totals(requests=100, responses=90, errors=10, reads=90)))
    long = run(seconds=10, swarm=role("swarm", Totals(requests=1_000, responses=980, errors=20, reads=500)))
    found = compare(side(short), side(long))
    errors = change(found, "totals.errors")
    assert [errors.change, errors.change_ratio] == pytest.approx([10, -0.8])
    assert errors.verdict is Verdict.BETTER
    assert change(found, "totals.reads").change_ratio == pytest.approx(0.5 / 0.9 - 1)
    assert change(found, "totals.requests").change_ratio == pytest.approx(9)
    assert change(found, "totals.requests").verdict is Verdict.DIFFERENT


def test_failures_without_a_request() -> None:
    refused = run(swarm=role("swarm", Totals(connections_refused=5)))
    found = compare(side(both()), side(refused))
    assert change(found, "totals.connections_refused").verdict is Verdict.UNKNOWN
    assert change(found, "totals.errors").verdict is Verdict.SAME


def test_a_server_alone_is_compared_per_request_that_it_saw() -> None:
    def server(requests: int, errors: int) -> Side:
        totals = Totals(requests=requests, responses=requests, errors=errors)
        return side(run(experiment=Experiment(role="server"), server=role("server", totals)))

    found = compare(server(100, 1), server(200, 2))
    assert change(found, "server.errors").change_ratio == 0
    assert change(found, CPU_PER_REQUEST).change_ratio == pytest.approx(-0.5)
    assert change(found, "totals.requests").verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
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
    ],
)  # fmt: skip
def test_which_direction_is_better(figure: str, direction: Better) -> None:
    assert better(figure) is direction


@pytest.mark.parametrize(
    ("figure", "a", "b", "verdict"),
    [
        ("rates.requests_per_s", 100, 120, Verdict.BETTER),
        ("rates.requests_per_s", 100, 80, Verdict.WORSE),
        ("rates.requests_per_s", 100, 100.9, Verdict.SAME),
        ("service_time_s.p99", 0.1, 0.2, Verdict.WORSE),
        ("service_time_s.p99", 0.2, 0.1, Verdict.BETTER),
        ("resources.cpu_ratio", 0.2, 0.1, Verdict.DIFFERENT),
        ("totals.errors", 0, 3, Verdict.WORSE),
        ("totals.errors", 3, 0, Verdict.BETTER),
        ("totals.errors", 0, 0, Verdict.SAME),
        ("totals.errors", None, 3, Verdict.UNKNOWN),
        ("service_time_s.p99", 0.1, None, Verdict.UNKNOWN),
    ],
)
def test_verdicts(figure: str, a: float | None, b: float | None, verdict: Verdict) -> None:
    assert FigureChange(figure, a, b, relative_change(a, b)).verdict is verdict


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


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.0, "0 %"), (0.0004, "0 %"), (0.0123, "+1.2 %"), (-0.0123, "−1.2 %"), (1.52, "+152 %"),
        (-0.6, "−60 %"), (12.5, "+1,250 %"), (math.inf, "from 0"), (None, "–"),
    ],
)  # fmt: skip
def test_changes_in_words(ratio: float | None, text: str) -> None:
    assert format_change_ratio(ratio) == text


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
    """A report of an older version lacks the fields that came later."""
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
    port = replace(both(), experiment=Experiment(port=7_007, seed=9, loop="asyncio"))
    assert doubts(side(both()), side(port)) == ""


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"tuning": Tuning(request_bytes=1_000)}, ["what is asked of the server differs (request)"]),
        ({"tuning": Tuning(transport="udp", clients=7)}, ["differs (transport, clients)"]),
        ({"tuning": Tuning(clients=7, permits=7)}, ["differs (clients)", "several settings differ"]),
        ({"tuning": Tuning(permits=7, no_delay=False)}, ["several settings differ"]),
        ({"tuning": Tuning(place="apart")}, ["the roles ran elsewhere (place loop → apart)"]),
        ({"experiment": Experiment(warmup_s=2.0)}, ["leave out another start (warm-up 0 → 2 s)"]),
        ({"state": RunState.FAILED, "error": "the loop died"}, ["run 2 failed: the loop died"]),
        ({"warming_up": True}, ["run 2 ended while it was warming up"]),
        ({"generation": 1}, ["run 2 was tuned once while it went on"]),
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
    before = race(blocking=(10.2, 10.1, 10.3), uvloop=(0.104, 0.10, 0.11), select=(1, 1, 1))
    after = race(uvloop=(0.130, 0.12, 0.14), blocking=(10.25, 10.15, 10.4), pool=(2, 2, 2))
    found = compare(Side("a", before, "race"), Side("b", after, "race"))
    assert list(found.figures) == ["blocking", "uvloop"]
    assert change(found, "duration_s", "blocking").verdict is Verdict.SAME
    slower = change(found, "duration_s", "uvloop")
    assert slower.verdict is Verdict.WORSE
    assert slower.change_ratio == pytest.approx(0.25)
    assert (found.only_a, found.only_b) == (("select",), ("pool",))


def test_what_all_contestants_had_in_common_is_compared() -> None:
    before, after = race(x=(1, 1, 1)), race(x=(1, 1, 1))
    before["workload"], after["workload"] = {"clients": 10, "server": None}, {"clients": 20, "server": None}
    found = compare(Side("a", before, "race"), Side("b", after, "race"))
    assert [str(one) for one in found.experiment] == ["clients 10 → 20"]
    assert found.doubts == ("what is asked of the server differs (clients): that alone changes the figures",)


def test_medians_whose_intervals_overlap_are_the_same() -> None:
    found = compare(Side("a", race(x=(1.0, 0.8, 1.3)), "race"), Side("b", race(x=(1.2, 1.0, 1.4)), "race"))
    assert change(found, "duration_s", "x").verdict is Verdict.SAME
    assert change(found, "duration_s", "x").change_ratio == pytest.approx(0.2)


def test_the_interval_of_a_median_goes_before_its_extremes() -> None:
    def with_interval(median: float, low: float, high: float) -> dict[str, Any]:
        found = race(x=(median, 0.1, 9.0))
        found["contestants"][0]["duration_s"]["interval"] = [low, high]
        return found

    found = compare(
        Side("a", with_interval(1, 0.9, 1.1), "race"), Side("b", with_interval(2, 1.9, 2.1), "race")
    )
    assert change(found, "duration_s", "x").verdict is Verdict.WORSE


def test_the_length_of_a_slice_is_no_result() -> None:
    rate = race(x=(1, 1, 1)) | {"kind": "rate"}
    rate["contestants"][0]["requests_per_s"] = spread(100)
    found = compare(Side("a", rate, "race"), Side("b", rate, "race"))
    assert [one.figure for one in found.figures["x"]] == ["requests_per_s"]
    assert found.doubts == ()
    batch = race(x=(1, 1, 1)) | {"kind": "batch"}
    assert "other kinds of race (rate → batch)" in doubts(Side("a", rate, "race"), Side("b", batch, "race"))


def test_what_a_contestant_did_not_come_to() -> None:
    unknown = race(x=(1, 1, 1))
    unknown["contestants"][0]["duration_s"] = spread(None)
    found = compare(Side("a", race(x=(1, 1, 1)), "race"), Side("b", unknown, "race"))
    assert change(found, "duration_s", "x").verdict is Verdict.UNKNOWN


def test_doubts_about_races() -> None:
    found = compare(
        Side("race 1", race(False, x=(1, 1, 1)), "race"),
        Side("race 2", race(x=(1, 1, 1)), "race", cut_short=True),
    )
    assert found.doubts == (
        "in race 1 the clients were the limit of most: it does not compare servers",
        "race 2 was cut short",
    )


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ("run", "race", "a run and a race have no figures in common"),
        ("sweep", "sweep", "a sweep has no figures"),
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

    assert told("requests_per_s<-5%") == ["requests_per_s<-5%: rates.requests_per_s changed by −10 %"]
    assert told("requests_per_s<-15%") == []
    assert told("p99>10%") == []
    assert told("cpu_s_per_request>+10%") == [
        "cpu_s_per_request>+10%: resources.cpu_s_per_request changed by +11 %"
    ]
    assert told("loop_lag_p99>1%") == ["loop_lag_p99>1%: the change of resources.loop_lag_p99_s is not known"]


def test_from_nothing_to_something_is_more_than_any_limit() -> None:
    good, bad = Totals(requests=9, responses=9), Totals(requests=9, responses=8, errors=1)
    found = compare(side(run(swarm=role("swarm", good))), side(run(swarm=role("swarm", bad))))
    threshold = ChangeThreshold.parse("errors>1000000%")
    assert exceeded(threshold, found) == ["errors>1000000%: totals.errors rose from 0"]
    assert exceeded(threshold, compare(found.b, found.a)) == []


def test_conditions_on_races_hold_for_any_contestant() -> None:
    before, after = race(x=(1, 1, 1), y=(1, 1, 1)), race(x=(1, 1, 1), y=(2, 2, 2))
    found = compare(Side("a", before, "race"), Side("b", after, "race"))
    names = names_of(found)
    assert exceeded(ChangeThreshold.parse("duration>50%", names), found) == [
        "duration>50%: duration_s of y changed by +100 %"
    ]
    with pytest.raises(ValueError, match="there is no figure p99"):
        ChangeThreshold.parse("p99>50%", names)
