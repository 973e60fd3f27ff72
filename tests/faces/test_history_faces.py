"""Results that come back as text and JSON: whole ones, and those that are damaged and still accepted."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.censoring import Ages, AtLeast
from sockscope.core.results.comparison import Side, compare
from sockscope.core.results.kinds import KINDS, kind_of
from sockscope.core.results.race_result import race_report
from sockscope.core.results.run_reading import evidence_told
from sockscope.core.results.run_result import interval, report
from sockscope.core.run.snapshot import Totals
from sockscope.errors import HistoryError
from sockscope.faces.history import (
    VIEWS,
    comparison_json,
    comparison_text,
    list_json,
    list_text,
    read_object,
    stored_json,
    stored_text,
)
from sockscope.faces.race_table import race_text
from sockscope.faces.summary import report_text
from sockscope.store.history import History, RunRow, StoredRun
from tests.core.races import rates, two_servers
from tests.core.reread import ENVIRONMENT, damaged, races, reread, runs, sweeps
from tests.core.runs import both, role, run
from tests.each import each

RUNS, RACES = runs(), races()
SWEEPS = sweeps()


def stored(report: dict[str, Any], intervals: list[dict[str, Any]] | None = None) -> StoredRun:
    kind = kind_of(report)
    columns = dict.fromkeys(("server", "client", "clients", "requests_per_s", "p99_s", "failed"))
    began_at = datetime(2026, 5, 4, tzinfo=UTC)
    row = RunRow(1, kind.name, began_at, "a title", False, **{**columns, **kind.columns(report)})
    return StoredRun(row, report, intervals or [])


def side(report: dict[str, Any], name: str) -> Side:
    return Side(name, report, kind_of(report).name)


def test_each_kind_has_a_view() -> None:
    assert VIEWS.keys() == KINDS.keys()


@each("report", RUNS)
def test_a_run_reads_as_it_did_when_it_ended(report: dict[str, Any]) -> None:
    text = stored_text(stored(report, [reread(interval(both(seconds=1)))]))
    assert text.startswith(report_text(report))
    assert "intervals     1 of up to 1.00 s" in text
    assert "environment   sockscope 0.1.0, python 3.11, cores 2" in text
    assert all(told in text for told in evidence_told(report))


def test_a_change_from_a_bound_is_told_as_one() -> None:
    lost = role("swarm", Totals(requests=9, timeouts=9), unanswered=Ages({1.0: 9}))
    sides = [side(reread(report(each, {})), "x") for each in (run(swarm=lost), both())]
    (line,) = [line for line in comparison_text(compare(*sides)).splitlines() if line.startswith("p50")]
    assert re.split(" {2,}", line)[1:] == ["≥ 1.00 s", "10.0 ms", "≤ −990 ms", "≤ −99 %", "cannot tell"]
    found = json.loads(comparison_json(compare(*sides), []))["figures"]["service_time_s.p50"]
    assert (found["at_least"], found["at_most"]) == (["a"], ["change", "change_ratio"])
    same = compare(sides[0], sides[0])
    assert " 0 ms " not in comparison_text(same)
    assert "limit" not in comparison_text(same)
    assert re.search(r"^limit +timeouts +service time$", comparison_text(compare(*sides)), re.MULTILINE)
    older = replace(sides[0], report={k: v for k, v in sides[0].report.items() if k != "verdict"})
    older.report["limit"]["name"] = "CPU"
    assert "limit         CPU: 100 % of the requests time out" in report_text(older.report)
    assert re.search(r"^limit +CPU +service time$", comparison_text(compare(older, sides[1])), re.MULTILINE)
    row = replace(stored(RUNS[0]).row, p99_s=AtLeast(1.0))
    assert "≥ 1.00 s" in list_text([row])
    assert json.loads(list_json([row]))["runs"][0]["at_least"] == ["p99_s"]


def test_a_race_reads_like_the_table_that_it_left() -> None:
    lines = stored_text(stored(RACES[0])).splitlines()
    assert lines[0] == "SockScope: race a title"
    assert lines[2].split() == ["rank", "name", "req/s", "p50", "p99", "CPU", "CPU/req", "RSS", "failed"]
    assert lines[3].split()[:4] == ["1", "fast", "2,000", "1.00"]
    assert lines[4].split()[:4] == ["2", "slow", "1,000", "1.00"]
    assert "2,000" in race_text(two_servers(), ENVIRONMENT)
    laps = {"slow": rates(1_000, 900), "fast": rates(2_000, 1_800, failed=49)}
    failing = stored_text(stored(race_report(two_servers(laps=laps), ENVIRONMENT))).splitlines()
    assert [line.split()[-1] for line in failing[3:5]] == ["98", "0"], "those of all rounds"


def test_the_time_of_a_batch_is_told_and_that_of_a_slice_is_not() -> None:
    assert "rank  name        time" in stored_text(stored(RACES[1]))
    assert "time" not in stored_text(stored(RACES[0])).partition("began")[0]


def test_what_did_not_come_to_a_figure_is_told_as_not_known() -> None:
    lines = stored_text(stored(RACES[2])).splitlines()
    assert lines[4].split() == ["–", "fast", *"–––––––"]


@each("report", RUNS + RACES)
def test_everything_written_is_read_back(report: dict[str, Any]) -> None:
    line = json.dumps(report)
    assert read_object(json.dumps(report, indent=2).encode()) == (report, False)
    assert read_object(f"{json.dumps(interval(both()))}\n{line}\n".encode()) == (report, False)
    assert read_object(stored_json(stored(report)).encode()) == (report, False)


_CELLS = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=8),
    st.sampled_from(["0001-01-01T00:00:00+00:00", "2026-01-01T00:00:00-23:59", "survey", "\x1b[2J", "a\nb"]),
)
_COLUMNS = ["began_at", "title", "cut_short", "server", "clients", "duration_s", "p99_s", "failed"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(_COLUMNS), _CELLS, min_size=1), damaged(RUNS + RACES))
def test_whatever_is_in_a_file_is_shown_or_refused(cells: dict[str, object], report: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "history.db")
        history.add(RUNS[0], title="a run", began_at=datetime(2026, 5, 4, tzinfo=UTC))
        with closing(sqlite3.connect(history.path)) as connection, connection:
            connection.execute("UPDATE runs SET report = ?", (json.dumps(report),))
            for column, cell in cells.items():
                with suppress(sqlite3.IntegrityError):  # a column that must not be empty
                    connection.execute(f"UPDATE runs SET {column} = ?", (cell,))
        with suppress(HistoryError):
            rows = history.runs()
            assert len(list_text(rows).splitlines()) == 2
            assert json.loads(list_json(rows))["runs"]
        with suppress(HistoryError):
            run = history.load(1)
            assert stored_text(run).startswith("SockScope: ")
            assert json.loads(stored_json(run))["id"] == 1


@given(damaged(RUNS + RACES + SWEEPS))
def test_what_is_accepted_can_be_shown(report: dict[str, Any]) -> None:
    try:
        kind = kind_of(report)
    except ValueError:
        return
    whole = side({"run": RUNS, "race": RACES, "sweep": SWEEPS}[kind.name][0], "whole")
    assert stored_text(stored(report))
    assert json.loads(stored_json(stored(report)))["report"] == report
    for pair in ((side(report, "damaged"), whole), (whole, side(report, "damaged"))):
        found = compare(*pair)
        assert comparison_text(found).startswith("A  ")
        assert json.loads(comparison_json(found, []))["kind"] == kind.name
