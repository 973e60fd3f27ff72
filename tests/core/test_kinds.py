import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from sockscope.core.results.comparison import Side, compare, names_of
from sockscope.core.results.kinds import KINDS, check_intervals, kind_of, parse_json
from sockscope.core.results.run_figures import SECTIONS
from sockscope.core.results.run_result import interval
from sockscope.core.results.schema import (
    ENVIRONMENT,
    SCHEMA_VERSION,
    Better,
    Estimate,
    Figure,
    Report,
    ResultField,
    ResultKind,
    experiment_shape,
    head,
    shapes,
    short_names,
    written,
)
from sockscope.core.results.shape import NAME, NUMBER, list_of, record
from sockscope.store.history import History
from tests.core.reread import damaged, races, reread, runs
from tests.core.runs import both
from tests.each import each

RUNS, RACES = runs(), races()


def a_run() -> dict[str, Any]:
    return reread(RUNS[1])


def a_race() -> dict[str, Any]:
    return reread(RACES[0])


def refused(value: object) -> str:
    with pytest.raises(ValueError, match=r"is|has|was") as caught:
        kind_of(value)
    return str(caught.value)


def fault(value: object) -> str:
    said = refused(value)
    assert said.startswith("is not as SockScope writes it: ")
    return said.partition(": ")[2]


# What is written is read.


def test_every_result_that_is_written_is_read() -> None:
    assert [kind_of(one).name for one in RUNS] == ["run"] * len(RUNS)
    assert [kind_of(one).name for one in RACES] == ["race"] * len(RACES)


def test_intervals_belong_to_runs() -> None:
    intervals = [reread(interval(both(seconds=1))), reread(interval(both(seconds=2)))]
    check_intervals(KINDS["run"], intervals)
    check_intervals(KINDS["race"], [])
    with pytest.raises(ValueError, match="has intervals, which a race has not"):
        check_intervals(KINDS["race"], intervals)
    intervals[1]["service_time_s"]["p99"] = "long"
    with pytest.raises(ValueError, match=r"intervals\.1\.service_time_s\.p99 is not a number"):
        check_intervals(KINDS["run"], intervals)
    wrong: object
    for wrong in (None, {}, [7], [{"type": "interval"}], [RUNS[0]]):
        with pytest.raises(ValueError, match="intervals"):
            check_intervals(KINDS["run"], wrong)


def test_what_a_later_version_adds_is_no_fault() -> None:
    run, race = a_run(), a_race()
    run["mood"] = race["mood"] = race["contestants"][0]["mood"] = {"deep": [1]}
    run["experiment"]["mood"] = race["experiment"]["mood"] = "good"
    run["environment"]["malloc"] = {"arenas": [1]}
    run["totals"]["cats"] = 3
    assert (kind_of(run).name, kind_of(race).name) == ("run", "race")


def test_single_values_and_figures_may_have_come_later() -> None:
    run, race = a_run(), a_race()
    for section in SECTIONS:
        run[section].popitem()
    del run["experiment"]["place"], run["last_trouble"], run["tunings"], run["kernel_tcp"]
    del race["contestants"][0]["errors"], race["experiment"]["place"], race["valid"]
    assert (kind_of(run).name, kind_of(race).name) == ("run", "race")


LATER = {
    "datagrams_to_server", "datagrams_to_clients", "injected", "jitter_s", "kernel_tcp", "relay_delay_s",
    "relay_down", "relay_up", "response_time_s", "schedule_lateness_s", "server_tcp", "tcp",
    "tls_handshake_s",
}  # fmt: skip
"""Sections that older results do not have."""

# What is something else.


@each("value", [None, 7, "text", [], {}, {"type": "doctor"}, {"type": ["run"]}])
def test_something_else(value: object) -> None:
    assert refused(value) == "is not the JSON object of a run, a race or a sweep"


def test_what_nothing_writes_is_no_result() -> None:
    for type_name in ("run", "survey", "interval"):
        assert refused(a_run() | {"type": type_name}) == "is not the JSON object of a run, a race or a sweep"
    assert refused(reread(interval(both()))) == "is not the JSON object of a run, a race or a sweep"


@each("version", [None, "1", True, 0, 1.5])
def test_without_a_version(version: object) -> None:
    assert refused(a_run() | {"schema_version": version}) == "has no schema_version"


def test_of_a_newer_version() -> None:
    newer = SCHEMA_VERSION + 1
    said = refused({"type": "race", "schema_version": newer})
    assert said == f"was written by a newer SockScope (schema_version {newer})"


@each("text", ["", "{", "[1", "nul", "[" * 100_000, b"\xff", '{"a": 1}{'])
def test_what_is_not_json(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        parse_json(text)


@each(
    ("section", "name", "value", "found"),
    [
        ("totals", "requests", "many", "totals.requests is not a number"),
        ("totals", "requests", True, "totals.requests is not a number"),
        ("totals", "requests", float("nan"), "totals.requests is out of range"),
        ("totals", "requests", -(10**400), "totals.requests is out of range"),
        ("totals", "cats", "three", "totals.cats is not a number"),
        ("service_time_s", "p99", [1], "service_time_s.p99 is not a number"),
        ("experiment", "clients", "many", "experiment.clients is not a number"),
        ("experiment", "clients", {"n": 1}, "experiment.clients is not a number"),
        ("experiment", "no_delay", 1, "experiment.no_delay is neither true nor false"),
        ("experiment", "transport", 7, "experiment.transport is not text"),
        ("experiment", "mood", [], "experiment.mood is not a single value"),
        ("experiment", "role", "judge", "experiment.role is none of both, server, swarm, relay"),
        ("experiment", "role", None, "experiment.role is none of both, server, swarm, relay"),
        ("environment", "cores", float("nan"), "environment.cores is out of range"),
        ("captures", "recorded", "all", "captures.recorded is not a number"),
        ("socket_options", "swarm", {}, "socket_options.swarm is not a list"),
        ("socket_options", "server", [{"name": 1}], "socket_options.server.0.name is not text"),
    ],
)
def test_values_of_the_wrong_kind(section: str, name: str, value: object, found: str) -> None:
    wrong = a_run()
    wrong[section][name] = value
    assert fault(wrong) == found


@each(
    ("name", "value", "found"),
    [
        ("rates", None, "rates is not an object"),
        ("rates", [], "rates is not an object"),
        ("experiment", [], "experiment is not an object"),
        ("address", 5, "address is not text"),
        ("tunings", "twice", "tunings is not a number"),
        ("warming_up", 1, "warming_up is neither true nor false"),
        ("processes", {}, "processes is not a list"),
        ("processes", [{"name": "main"}], "processes.0.roles is missing"),
        ("later", float("inf"), "later is out of range"),
    ],
)
def test_parts_of_the_wrong_kind(name: str, value: object, found: str) -> None:
    assert fault(a_run() | {name: value}) == found


def test_a_process_of_the_wrong_kind() -> None:
    wrong = a_run()
    wrong["processes"][1]["cpu_s"] = "1"
    assert fault(wrong) == "processes.1.cpu_s is not a number"


@each(
    "name",
    [
        *sorted(SECTIONS.keys() - LATER),
        "experiment",
        "environment",
        "processes",
        "captures",
    ],
)
def test_a_part_of_a_run_that_is_missing(name: str) -> None:
    less = a_run()
    del less[name]
    assert fault(less) == f"{name} is missing"


@each("name", ["kind", "experiment", "environment", "contestants", "left_out", "published"])
def test_a_part_of_a_race_that_is_missing(name: str) -> None:
    less = a_race()
    del less[name]
    assert fault(less) == f"{name} is missing"


@each(
    ("name", "value", "found"),
    [
        ("name", 7, "name is not text"),
        ("name", None, "name is not text"),
        ("rank", "first", "rank is not a number"),
        ("differs", None, "differs is not an object"),
        ("differs", {"permits": "some"}, "differs.permits is not a number"),
        ("ratio", 2.0, "ratio is not an object"),
        ("duration_s", {"median": 1}, "duration_s.rounds is missing"),
        ("duration_s", {"median": "long", "rounds": []}, "duration_s.median is not a number"),
        ("duration_s", {"low": [1], "rounds": []}, "duration_s.low is not a number"),
        ("duration_s", {"rounds": [1, "2"]}, "duration_s.rounds.1 is not a number"),
    ],
)
def test_contestants_of_the_wrong_kind(name: str, value: object, found: str) -> None:
    wrong = a_race()
    wrong["contestants"][1][name] = value
    assert fault(wrong) == f"contestants.1.{found}"


@each("contestants", [None, 7, {}])
def test_contestants_that_are_no_list(contestants: object) -> None:
    assert fault(a_race() | {"contestants": contestants}) == "contestants is not a list"


def test_a_contestant_is_there_once() -> None:
    twice = a_race()
    twice["contestants"] *= 2
    assert fault(twice) == "contestants has fast twice"


# Whatever stands there.


@given(damaged(RUNS + RACES))
def test_damage_is_refused_in_words_or_harmless(value: dict[str, Any]) -> None:
    try:
        kind = kind_of(value)
    except ValueError:
        return
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert kind.columns(value).keys() <= {
        "transport", "server", "client", "clients", "duration_s", "requests_per_s", "p99_s", "failed",
    }  # fmt: skip
    other = Side("original", RUNS[0] if kind.name == "run" else RACES[0], kind.name)
    for pair in ((Side("damaged", value, kind.name), other), (other, Side("damaged", value, kind.name))):
        assert all(isinstance(doubt, str) for doubt in compare(*pair).doubts)


# Another kind.


def of_point(report: Report) -> dict[str, dict[str, Estimate]]:
    return {one["name"]: {"requests_per_s": Estimate(one["rate"], one["rate"])} for one in report["points"]}


def point(rate: float) -> dict[str, Any]:
    return {"name": f"{rate}", "rate": rate}


POINTS = list_of(record({"name": NAME, "rate": NUMBER}))
FIELDS: tuple[ResultField[list[float]], ...] = (
    *head("survey"),
    ResultField("experiment", experiment_shape(), lambda rates: {"clients": 7}),
    ResultField("environment", ENVIRONMENT, lambda rates: {}),
    ResultField("points", POINTS, lambda rates: [*map(point, rates)]),
)
SURVEY = ResultKind(
    name="survey",
    type="survey",
    shape=record(shapes(FIELDS)),
    interval=None,
    figures={"requests_per_s": Figure("requests_per_s", Better.HIGHER)},
    names=short_names(["requests_per_s"]),
    columns=lambda report: {"clients": report["experiment"]["clients"]},
    estimates=of_point,
    doubts=lambda name, report: iter(()),
    pair_doubts=lambda a, b: iter(()),
)


def test_another_kind_is_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = written(FIELDS, [10.0, 20.0])
    assert refused(result) == "is not the JSON object of a run, a race or a sweep"
    monkeypatch.setitem(KINDS, "survey", SURVEY)
    assert kind_of(reread(result)) is SURVEY
    assert fault({**result, "points": [{"rate": 1}]}) == "points.0.name is missing"
    history = History(tmp_path / "history.db")
    number = history.add(result, title="two points", began_at=datetime(2026, 5, 4, tzinfo=UTC))
    stored = history.load(number)
    assert (stored.report, stored.row.kind, stored.row.clients) == (result, "survey", 7)
    assert [row.id for row in history.runs(kind="survey")] == [number]
    other = Side("b", written(FIELDS, [20.0, 30.0]), "survey")
    found = compare(Side("a", stored.report, stored.row.kind), other)
    assert (list(found.figures), found.only_a, found.only_b) == (["20.0"], ("10.0",), ("30.0",))
    assert names_of(found)["requests_per_s"] == "requests_per_s"
