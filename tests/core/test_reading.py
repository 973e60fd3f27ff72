import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.results.reading import kind_of
from sockscope.core.results.report import FIGURES, SCHEMA_VERSION, interval, report
from tests.core.runs import both


def summary() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(report(both(), {"python": "3.11", "cores": 2})))
    return found


def race() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "type": "race",
        "contestants": [
            {
                "name": "x",
                "rank": 1,
                "duration_s": {"median": 1.0, "min": 1, "max": None, "interval": [1, 2.0]},
            }
        ],
        "environment": {},
        "workload": {"clients": 100, "server": None},
        "limit": "neither",
    }


def test_what_is_written_is_read() -> None:
    assert kind_of(summary()) == "run"
    assert kind_of(race()) == "race"
    assert kind_of({"schema_version": 1, "type": "sweep"}) == "sweep"


def test_what_a_later_version_adds_is_no_fault() -> None:
    more = summary() | {"mood": {"deep": [1]}}
    more["experiment"]["mood"] = "good"
    more["environment"]["malloc"] = {"arenas": [1]}
    more["totals"]["cats"] = 3
    assert kind_of(more) == "run"


def test_what_an_earlier_version_did_not_write_is_no_fault() -> None:
    less = summary()
    for section in FIGURES:
        less[section].popitem()
    del less["experiment"]["place"], less["environment"], less["last_trouble"], less["admission"]
    assert kind_of(less) == "run"


@pytest.mark.parametrize("value", [None, 7, "text", [], {}, {"type": "doctor"}, {"type": ["run"]}])
def test_something_else(value: object) -> None:
    with pytest.raises(ValueError, match="is not the JSON object of a run or a race"):
        kind_of(value)


def test_an_interval_is_no_result() -> None:
    with pytest.raises(ValueError, match="is not the JSON object"):
        kind_of(interval(both()))


@pytest.mark.parametrize("version", [None, "1", True, 0, 1.5])
def test_without_a_version(version: object) -> None:
    with pytest.raises(ValueError, match="has no schema_version"):
        kind_of(summary() | {"schema_version": version})


def test_of_a_newer_version() -> None:
    newer = SCHEMA_VERSION + 1
    with pytest.raises(ValueError, match=f"was written by a newer SockScope .schema_version {newer}."):
        kind_of({"type": "race", "schema_version": newer})


@pytest.mark.parametrize(
    ("section", "name", "value", "fault"),
    [
        ("totals", "requests", "many", "totals.requests"),
        ("totals", "requests", True, "totals.requests"),
        ("totals", "requests", float("nan"), "totals.requests"),
        ("totals", "requests", float("inf"), "totals.requests"),
        ("totals", "requests", -(10**400), "totals.requests"),
        ("service_time_s", "p99", [1], "service_time_s.p99"),
        ("experiment", "clients", {"n": 1}, "experiment.clients"),
        ("experiment", "role", "judge", "experiment.role is missing"),
        ("experiment", "role", None, "experiment.role is missing"),
        ("environment", "cores", float("nan"), "environment.cores"),
    ],
)
def test_values_of_the_wrong_kind(section: str, name: str, value: object, fault: str) -> None:
    wrong = summary()
    wrong[section][name] = value
    with pytest.raises(ValueError, match=f"is not as SockScope writes it: {fault}$"):
        kind_of(wrong)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("rates", None, "rates is no object"),
        ("rates", [], "rates is no object"),
        ("experiment", [], "experiment is no object"),
        ("address", 5, "address"),
        ("tunings", "twice", "tunings"),
        ("processes", {}, "processes are no list"),
        ("processes", [{"name": "main"}], "a process has no name or no state"),
        ("processes", [{"name": "main", "state": "", "cpu_s": "1"}], "processes.main.cpu_s"),
    ],
)
def test_parts_of_the_wrong_kind(name: str, value: object, fault: str) -> None:
    with pytest.raises(ValueError, match=f"is not as SockScope writes it: {fault}$"):
        kind_of(summary() | {name: value})


def test_a_section_that_is_missing() -> None:
    less = summary()
    del less["totals"]
    with pytest.raises(ValueError, match="totals is missing"):
        kind_of(less)


@pytest.mark.parametrize(
    ("contestants", "fault"),
    [
        (None, "contestants are missing"),
        ([7], "a contestant has no name"),
        ([{"name": 7}], "a contestant has no name"),
        ([{"name": "x", "duration_s": {"median": "long"}}], "x.duration_s.median"),
        ([{"name": "x", "duration_s": {"median": 1, "interval": 5}}], "x.duration_s.interval"),
        ([{"name": "x", "duration_s": {"median": 1, "interval": [5, "6"]}}], "x.duration_s.interval.1"),
    ],
)
def test_races_of_the_wrong_kind(contestants: object, fault: str) -> None:
    with pytest.raises(ValueError, match=f"is not as SockScope writes it: {fault}$"):
        kind_of(race() | {"contestants": contestants})


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(summary()) + sorted(race())), _VALUES, st.booleans())
def test_whatever_stands_there_is_read_or_refused(name: str, value: object, of_race: bool) -> None:
    try:
        kind = kind_of((race() if of_race else summary()) | {name: value})
    except ValueError:
        return
    assert kind in ("run", "race", "sweep")
