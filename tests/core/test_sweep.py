"""What a sweep steps through, what its curves tell, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.censoring import AtLeast
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.axis import Axis
from sockscope.core.results.comparison import Side, compare, names_of
from sockscope.core.results.contest import Lap
from sockscope.core.results.design import Design
from sockscope.core.results.kinds import kind_of
from sockscope.core.results.race_thresholds import RaceThreshold
from sockscope.core.results.scaling import Curve, Knee, curves
from sockscope.core.results.search import Search
from sockscope.core.results.standing import Standing
from sockscope.core.results.sweep_result import NAMES, subjects, sweep_report
from sockscope.core.results.thresholds import Threshold
from sockscope.core.results.usl import Law
from sockscope.core.run.evidence import Finding
from sockscope.core.run.kinds import Kind
from sockscope.errors import EXIT_FAILED, EXIT_INVALID, EXIT_OK, ConfigError
from sockscope.faces.rounds import RoundsPlan
from sockscope.faces.sweep import SweepFace
from sockscope.faces.sweep_svg import sweep_svg
from sockscope.faces.sweep_table import remarks_of, sweep_text
from sockscope.lab.find import Find
from sockscope.lab.sweep import Sweep
from tests.core.races import lap
from tests.core.reread import reread
from tests.core.sweeps import SCATTER, design, standing
from tests.each import each

LAW = Law(1_000, 0.05, 0.002)


def of_law(values: Mapping[str, float]) -> float:
    return LAW.per_s(values["clients"])


def saturated(values: Mapping[str, float]) -> float:
    """A server that answers 16,000 a second and each client 1,000."""
    return min(16_000, 1_000 * values["clients"])


def curve_of(standing: Standing, *over: str) -> Curve:
    (found,) = curves(design(*over), standing)
    return found


# What is stepped through.


@each(
    ("text", "values"),
    [
        ("clients=1..64", (1, 2, 4, 8, 16, 32, 64)),
        ("clients=1..1000", (1, 2, 4, 8, 16, 32, 63, 126, 251, 501, 1000)),
        ("clients=1..1k/4", (1, 10, 100, 1000)),
        ("clients=7..7", (7,)),
        ("clients=1..3/10", (1, 2, 3)),
        ("permits=off,10,1", (0, 1, 10)),
        ("service-time=1ms..100ms/3", (0.001, 0.01, 0.1)),
        ("size=64,1K", (64, 1024)),
    ],
)
def test_an_axis_is_read(text: str, values: tuple[float, ...]) -> None:
    assert Axis.parse(text).values == values


@each(
    ("text", "why"),
    [
        ("clients", "is not FIELD=FROM..TO"),
        ("clients=", "is not FIELD=FROM..TO"),
        ("client=1,2", "client is no number that can be turned while a run goes on; did you mean clients?"),
        ("seed=1,2", "seed is no number that can be turned"),
        ("klients=1", "there is no field klients to sweep; did you mean clients?"),
        ("clients=0..10", "begins above 0; list the values instead"),
        ("clients=10..1", "ends below where it begins: 10 is more than 1"),
        ("clients=1..10/1", "has 1 steps; a range has 2 to 256"),
        ("clients=1..10/999", "has 999 steps; a range has 2 to 256"),
        ("clients=1..2M", "the value 2,000,000 must be at most 1,000,000"),
        (f"clients=1..10/{'9' * 5_000}", "is not a number"),
        ("clients=one,2", "the value one is not a number"),
        ("clients=1..", "is not a number"),
    ],
)
def test_an_axis_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Axis.parse(text)
    assert why in str(refused.value)


def test_a_design_has_each_combination_and_tells_its_faults() -> None:
    two = design("clients=1,2", "permits=0,5")
    assert [step.name for step in two.steps] == [
        "clients=1 permits=off", "clients=2 permits=off", "clients=1 permits=5", "clients=2 permits=5",
    ]  # fmt: skip
    assert two.steps[3].tuned(Tuning()).permits == 5
    with pytest.raises(ConfigError, match="names 3 fields; a sweep has 1 or 2"):
        design("clients=1", "permits=1", "depth=1").validated()
    with pytest.raises(ConfigError, match="is swept twice"):
        design("clients=1,2", "clients=3").validated()
    with pytest.raises(ConfigError, match="are more steps than 256"):
        design("clients=1..100/50", "permits=1..100/50").validated()
    with pytest.raises(ConfigError, match="is a moment of a run: a sweep has many"):
        replace(two, experiment=replace(two.experiment, stall_at_s=1.0)).validated()
    over_udp = replace(two, experiment=Experiment(Tuning(transport="udp")), axes=(Axis.parse("pool=1,2"),))
    with pytest.raises(ConfigError, match="has no effect over UDP"):
        over_udp.validated()


# What a curve tells.


def test_the_knee_is_where_throughput_stops_to_rise_and_latency_does_not() -> None:
    knee = curve_of(standing(design(), saturated)).knee
    assert knee is not None
    assert (knee.value, knee.at.low, knee.at.high) == (16, 16, 16)


@each(
    ("rounds", "why"),
    [
        (1, "one whole round says nothing about the spread"),
        (3, "3 whole rounds cannot tell latencies apart; use 4 or more"),
    ],
)
def test_few_rounds_tell_no_knee(rounds: int, why: str) -> None:
    knee = curve_of(standing(design(rounds=rounds), saturated)).knee
    assert knee is not None
    assert knee.value is None
    assert why in knee.why_not


def test_the_verdict_of_a_step_is_that_of_most_rounds() -> None:
    swept = design("clients=1,2")
    whole = standing(swept, saturated)
    told = [Finding(kind, kind.value) for kind in (Kind.SEMAPHORE, Kind.SERVICE_TIME, Kind.SEMAPHORE)]
    laps = tuple(replace(lap(), verdict=one) for one in told)
    (curve,) = curves(swept, replace(whole, laps={**whole.laps, "clients=1": laps}))
    assert [one.verdict for one in curve.steps] == [told[0], None]
    report = sweep_report(swept, replace(whole, laps={"clients=1": laps}), {})
    assert report["steps"][0]["verdict"] == {"kind": Kind.SEMAPHORE, "sentence": Kind.SEMAPHORE}


@each(
    ("per_s", "latency_s", "why"),
    [
        (1_000, None, "throughput still rises at the last step"),
        (0, 0.001, "the latency is not shown to"),
    ],
)
def test_where_there_is_no_knee_it_is_told_why(per_s: float, latency_s: float | None, why: str) -> None:
    def rate(values: Mapping[str, float]) -> float:
        return per_s * values["clients"] if per_s else saturated(values)

    swept = standing(design(), rate, (lambda _: latency_s) if latency_s else None)
    knee = curve_of(swept).knee
    assert isinstance(knee, Knee)
    assert knee.value is None
    assert why in knee.why_not


def test_the_law_of_a_curve_with_its_spread_and_peak() -> None:
    fit = curve_of(standing(design(), of_law)).fit
    assert fit is not None
    assert fit.doubts == ()
    assert fit.law.sigma == pytest.approx(0.05, abs=0.02)
    assert fit.has_peak
    assert fit.peak.median == pytest.approx(LAW.peak, rel=0.05)
    assert fit.kappa.low is not None
    assert fit.kappa.high is not None
    assert 0 < fit.kappa.low <= 0.002 <= fit.kappa.high * 1.1


@each(
    ("over", "more", "doubt"),
    [
        ("clients=1,2,4,8", {}, "4 steps hardly tell three numbers from chance"),
        ("clients=1..128", {"failed": 200}, "requests failed, most at clients=1 (17 %)"),
        ("clients=1..128", {"clients_cpu_ratio": 1.0}, "at all steps the clients had no CPU left"),
        ("clients=1..128", {"others_cpu_ratio": 0.9}, "other programs used up to 90 % of a core"),
        ("clients=1..16", {}, "lies beyond what was measured (up to 16)"),
    ],
)
def test_a_law_that_is_not_to_be_believed_says_why(over: str, more: dict[str, float], doubt: str) -> None:
    fit = curve_of(standing(design(over), of_law, figures=more), over).fit
    assert fit is not None
    assert any(doubt in told for told in fit.doubts), fit.doubts


def test_a_law_of_other_points_is_not_believed() -> None:
    faster = curve_of(standing(design(), lambda values: values["clients"] ** 1.3)).fit
    assert faster is not None
    assert any("is negative, which the law does not know" in doubt for doubt in faster.doubts)
    slower = curve_of(standing(design(), lambda values: Law(1_000, 2.0, 0.0).per_s(values["clients"]))).fit
    assert slower is not None
    assert slower.doubts == (
        "sigma is above 1, which the law does not know: several have less throughput than one",
    )
    jagged = curve_of(standing(design(), lambda values: 1_000 * (1 + int(values["clients"]) % 3))).fit
    assert jagged is not None
    assert any("off it as a rule" in doubt for doubt in jagged.doubts)


def test_a_knee_and_a_law_have_no_meaning_along_every_field() -> None:
    over = "service_time=1ms..100ms"
    curve = curve_of(standing(design(over), lambda values: 1 / values["service_time"]), over)
    assert (curve.knee, curve.fit) == (None, None)


def test_steps_whose_generator_was_late_are_not_valid() -> None:
    swept = design("rate=100,1k,10k", rounds=3)
    whole = standing(swept, lambda values: values["rate"])
    late, kept = (lap(schedule_lateness_p99_s=late_s) for late_s in (0.0031, 0.0001))

    def told(*laps: Lap) -> Standing:
        return replace(whole, laps={**whole.laps, "rate=10,000": laps})

    face = SweepFace(Sweep(swept), {})
    once, mostly = told(late, kept, kept), told(late, late, kept)
    assert [face.exit_code(one, RoundsPlan()) for one in (once, mostly)] == [EXIT_OK, EXIT_INVALID]
    assert face.exit_code(mostly, RoundsPlan(allow_invalid=True)) == EXIT_OK
    said = sweep_text(swept, mostly, {}).replace("\n", " ")
    assert "the generator was late itself at rate=10,000 (p99 up to 3.10 ms)" in said
    steps = sweep_report(swept, mostly, {})["steps"]
    assert [one["generator_late"] for one in steps] == [False, False, True]


def test_what_was_measured_before_the_target_went_is_told_and_the_sweep_has_failed() -> None:
    swept = design("clients=1,2,4", rounds=2)
    whole = standing(swept, saturated)
    part = replace(
        whole, laps={**whole.laps, "clients=4": ()}, failure="clients=4: the server has gone", cut_short=True
    )
    assert SweepFace(Sweep(swept), {}).exit_code(part, RoundsPlan()) == EXIT_FAILED
    assert "the sweep ended there: clients=4: the server has gone" in sweep_text(swept, part, {})


def test_a_sweep_of_which_nothing_was_answered_is_drawn() -> None:
    swept = design("clients=1,2,4", rounds=1)
    none = lap(requests_per_s=0.0, service_time_p50_s=None, response_time_p50_s=None)
    empty = Standing(swept.contest, laps={one.name: (none,) for one in swept.steps})
    assert "clients" in sweep_text(swept, empty, {})
    assert "</svg>" in sweep_svg(swept, empty, {})
    assert SweepFace(Sweep(swept), {}).exit_code(empty, RoundsPlan()) == EXIT_FAILED


# A search.


def search(text: str = "clients=1..1000", condition: str = "response_p99<20ms", rounds: int = 3) -> Search:
    return Search(Axis.parse(text), Threshold.parse(condition, NAMES), rounds)


@given(st.floats(0.5, 2_000), st.integers(1, 5), st.sampled_from(["clients=1..1000", "think_time=1ms..10s"]))
def test_the_highest_value_that_keeps_a_condition_is_found(edge: float, rounds: int, text: str) -> None:
    looked, votes = search(text, rounds=rounds), dict[float, list[bool]]()
    edge = edge if "clients" in text else edge / 200
    most = looked.values_to_come(votes) * rounds
    while (value := looked.next(votes)) is not None:
        votes.setdefault(value, []).append(value <= edge)
    assert sum(map(len, votes.values())) <= most
    kept, broken = looked.bracket(votes)
    low, high = looked.axis.values[0], looked.axis.values[-1]
    assert (kept is None) == (edge < low)
    assert (broken is None) == (edge >= high)
    if kept is not None and broken is not None:
        assert kept <= edge < broken
        assert broken <= kept * 1.051 or ("clients" in text and broken - kept == 1)


@each(
    ("figures", "why"),
    [
        ({"response_time_p99_s": 0.019}, ""),
        ({"response_time_p99_s": 0.02}, "response_time_p99_s is 20.0 ms"),
        ({"response_time_p99_s": AtLeast(0.001)}, "response_time_p99_s is ≥ 1.00 ms"),
        ({"response_time_p99_s": None}, "response_time_p99_s is –"),
        ({"requests_dropped": 3}, "the generator dropped 3 requests"),
        ({"schedule_lateness_p99_s": 0.003}, "the generator was late itself: p99 3.00 ms"),
    ],
)
def test_a_round_keeps_a_condition_only_for_sure(figures: dict[str, float | None], why: str) -> None:
    assert search().why_not(8, lap(**figures)) == why


def test_a_rate_that_is_not_reached_keeps_no_condition() -> None:
    looked = search("rate=10..1M")
    assert looked.why_not(1_000, lap(requests_per_s=930.0)) == ""
    assert looked.why_not(10_000, lap(requests_per_s=9_000.0)) == "only 9,000/s of it were answered"


@each(
    ("condition", "kept"),
    [("p99>20ms", "< or <="), ("p99==20ms", "< or <="), ("requests_per_s<100", "> or >=")],
)
def test_a_bound_from_the_wrong_side_is_refused(condition: str, kept: str) -> None:
    with pytest.raises(ConfigError, match=f"from the wrong side: what is to be kept is {kept} a value"):
        Design.finding(Experiment(), search(condition=condition), slice_s=1.0, warmup_s=0.0).validated()


@each(("late_s", "latency_s", "bound"), [(0.5, 0.001, True), (0.0, 0.05, False), (None, 0.05, False)])
def test_a_search_that_ends_where_its_generator_is_late_is_generator_bound(
    late_s: float | None, latency_s: float, bound: bool
) -> None:
    begun = Design.finding(Experiment(), search("rate=10..1k", rounds=1), slice_s=1.0, warmup_s=0.0)
    swept = begun.trying([10, 11])
    broken = (lap(requests_per_s=11.0, schedule_lateness_p99_s=late_s, response_time_p99_s=latency_s),)
    standing = Standing(swept.contest, laps={"rate=10": (lap(requests_per_s=10.0),), "rate=11": broken})
    (curve,) = curves(swept, standing)
    assert curve.found is not None
    assert (curve.found.value, curve.found.broken, curve.found.generator_bound) == (10, 11, bound)
    assert f"; 11 {'cannot be told' if bound else 'does not'}: " in remarks_of(curve)[0]
    face = SweepFace(Find(swept), {})
    assert face.exit_code(standing, RoundsPlan()) == (EXIT_INVALID if bound else EXIT_OK)
    assert face.exit_code(standing, RoundsPlan(allow_invalid=True)) == EXIT_OK
    # One that is ended on its way has not ended there.
    further = begun.trying([10, 40])
    laps = {"rate=10": standing.laps["rate=10"], "rate=40": broken}
    halfway = Standing(further.contest, laps=laps, cut_short=True)
    assert SweepFace(Find(further), {}).exit_code(halfway, RoundsPlan()) == EXIT_OK


def test_a_search_tells_what_it_has_found_so_far() -> None:
    begun = Design.finding(Experiment(), search(rounds=1), slice_s=1.0, warmup_s=0.0)
    swept = begun.trying([1, 4, 16])
    slow = (lap(response_time_p99_s=0.05),)
    laps = {"clients=1": (lap(),), "clients=4": (lap(),), "clients=16": slow}
    (curve,) = curves(swept, Standing(swept.contest, laps=laps))
    assert curve.found is not None
    told = (curve.found.value, curve.found.broken, curve.found.why_not, curve.found.complete)
    assert told == (4, 16, "response_time_p99_s is 50.0 ms", False)
    report = sweep_report(swept, Standing(swept.contest, laps=laps), {})
    assert kind_of(reread(report)).name == "sweep"
    assert report["curves"][0]["search"]["not_kept_at"] == 16
    assert report["curves"][0]["found"]["median"] == 4
    with pytest.raises(ConfigError, match="must be a range above 0"):
        Design.finding(Experiment(), search("clients=5"), slice_s=1.0, warmup_s=0.0).validated()


# Its JSON.


def test_a_sweep_can_be_read_back_and_compared() -> None:
    swept = design("clients=1..128", "permits=off,5")
    slow, fast = (sweep_report(swept, standing(swept, lambda values: k * of_law(values)), {}) for k in (1, 2))
    kind = kind_of(reread(fast))
    assert kind.name == "sweep"
    assert fast["axes"][1] == {"field": "permits", "values": [0, 5]}
    assert fast["curves"][0]["law"]["believed"] is True
    found = compare(Side("a", reread(slow), "sweep"), Side("b", reread(fast), "sweep"))
    assert (found.only_a, found.only_b, found.doubts) == ((), (), ())
    rates = {one.figure: one.verdict.value for one in found.figures["clients=8 permits=5"]}
    assert rates["requests_per_s"] == "better"
    laws = {one.figure: one.verdict.value for one in found.figures["curve permits=off"]}
    assert (laws["one_requests_per_s"], laws["peak"]) == ("better", "not_shown")
    assert "peak" in names_of(found)


@each(("rounds", "verdict"), [(1, "untold"), (2, "untold"), (4, "better"), (6, "better")])
def test_few_rounds_tell_less(rounds: int, verdict: str) -> None:
    swept = design("clients=1,2", rounds=rounds)
    one, same, other = (
        sweep_report(swept, standing(swept, lambda values: k * of_law(values), scatter=scatter), {})
        for k, scatter in ((1, SCATTER), (1.03, SCATTER), (2, SCATTER))
    )

    def told(b: Mapping[str, object]) -> str:
        found = compare(Side("a", reread(one), "sweep"), Side("b", reread(b), "sweep"))
        return next(
            change.verdict.value for change in found.figures["clients=2"] if change.figure == "requests_per_s"
        )

    assert told(other) == verdict
    assert told(same) in ("not_shown", "untold")


def test_a_sweep_that_was_cut_short_has_what_was_measured() -> None:
    swept = design()
    whole = standing(swept, saturated)
    part = replace(whole, laps={name: laps[:1] for name, laps in whole.laps.items() if name != "clients=128"})
    report = sweep_report(swept, replace(part, cut_short=True), {})
    assert kind_of(reread(report)).name == "sweep"
    assert report["finished"] is False
    assert report["steps"][-1]["requests_per_s"]["median"] is None
    assert report["curves"][0]["most_requests_per_s"]["median"] == 16_000


def test_conditions_on_steps_and_curves() -> None:
    swept = design()
    told = [*subjects(curves(swept, standing(swept, saturated)))]
    names = [name for name, _ in told]

    def missed(text: str) -> list[str]:
        return RaceThreshold.parse(text, names, NAMES).missed(told)

    assert missed("knee<32") == ["knee<32 holds: knee of curve is 16"]
    assert missed("clients=8.requests_per_s>7000") == [
        "requests_per_s>7000 holds: requests_per_s of clients=8 is 8,000"
    ]
    assert len(missed("requests_per_s<8500")) == 4
    assert missed("peak<10") == ["peak<10 cannot be judged: curve has no peak"]
