"""``sockscope history`` and ``sockscope diff`` through the installed command, on real runs."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sockscope.core.results.contest import Contest
from sockscope.core.results.race_result import race_report
from sockscope.core.results.standing import Standing
from sockscope.store.history import VERSION, History
from tests.cli.command import COMMAND, finished, next_line, running, sockscope
from tests.core.races import batches, contestant
from tests.e2e.terminal import Terminal
from tests.store.test_history import RACE, REPORT, add

QUICK = ("-n", "200", "-c", "10", "--service-time", "0")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "history.db")


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A history of a run with one client and one with 20, which nobody changes."""
    file = str(tmp_path_factory.mktemp("two") / "history.db")
    for clients in ("1", "20"):
        done = sockscope("run", "-d", "1.2", "-c", clients, "-q", "--history", file)
        assert (done.returncode, done.stderr) == (0, "")
    return file


def told(*arguments: str, code: int = 0) -> str:
    done = sockscope(*arguments)
    assert (done.returncode, done.stderr) == (code, ""), done.stderr
    return done.stdout


def refused(*arguments: str, code: int = 2) -> str:
    """Return the sentence that the command ends with."""
    done = sockscope(*arguments)
    assert (done.returncode, done.stdout) == (code, ""), done
    return done.stderr


def objects(text: str) -> Any:
    return json.loads(text)


# Runs are kept.


@pytest.mark.parametrize("transport", ["--tcp", "--udp"])
def test_a_run_is_kept_with_its_figures(file: str, transport: str) -> None:
    before = told("run", transport, *QUICK, "--history", file)
    assert f"kept as run 1 (sockscope history show 1 --history {file})" in " ".join(before.split())
    stored = History(Path(file)).load(1)
    assert stored.report["totals"]["requests"] == 200
    assert stored.report["environment"]["python"]
    assert sum(one["totals"]["responses"] for one in stored.intervals) == 200
    assert stored.row.transport == transport[2:]
    assert not stored.row.cut_short
    shown = told("history", "show", "last", "--history", file)
    assert shown.startswith(before.rpartition("kept as")[0])


def test_json_of_a_run_is_what_is_kept(file: str) -> None:
    written = objects(told("run", *QUICK, "--json", "--history", file))
    assert History(Path(file)).load(1).report == written
    assert objects(told("history", "show", "1", "--json", "--history", file))["report"] == written


def test_seconds_are_kept_whatever_is_told_on_the_way(file: str) -> None:
    lines = told("run", "-d", "2.2", "-c", "2", "-i", "10s", "--json-stream", "--history", file).splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["interval", "summary"]
    stored = History(Path(file)).load(1)
    assert len(stored.intervals) > 1
    for section, name in (("totals", "requests"), ("service_time_s", "count"), ("server", "bytes_in")):
        assert sum(one[section][name] for one in stored.intervals) == stored.report[section][name]


def test_each_command_that_runs_something_keeps_it(file: str) -> None:
    with running("serve", "--history", file) as server:
        address = next_line(server).strip()
        told("swarm", address, *QUICK[:4], "--history", file)
        server.send_signal(signal.SIGTERM)
        code, _, err = finished(server)
    assert (code, err) == (0, "")
    served, swarm = History(Path(file)).runs()
    assert (swarm.clients, swarm.server, served.clients) == (10, None, None)
    assert not served.cut_short, "a server without a length ends when it is ended"
    assert "server alone" in served.title
    assert "TCP swarm" in swarm.title


def test_a_run_that_was_interrupted_is_cut_short(file: str) -> None:
    with running("run", "-d", "60", "-c", "4", "--json-stream", "-i", "20ms", "--history", file) as child:
        assert next_line(child)
        child.send_signal(signal.SIGINT)
        assert finished(child)[0] == 0
    assert [row.cut_short for row in History(Path(file)).runs()] == [True]
    assert "(cut short)" in told("history", "--history", file)
    assert "cut short     ended before" in told("history", "show", "1", "--history", file)


def test_a_run_without_end_is_not_cut_short(file: str) -> None:
    with running("run", "-d", "0", "-c", "4", "--json-stream", "-i", "20ms", "--history", file) as child:
        assert next_line(child)
        child.send_signal(signal.SIGINT)
        assert finished(child)[0] == 0
    assert [row.cut_short for row in History(Path(file)).runs()] == [False]


def test_a_killed_run_leaves_the_finished_ones(file: str) -> None:
    told("run", *QUICK, "--history", file)
    with running("run", "-d", "0", "-c", "4", "--json-stream", "-i", "20ms", "--history", file) as child:
        assert next_line(child)
        child.kill()
        finished(child)
    assert len(objects(told("history", "--json", "--history", file))["runs"]) == 1
    assert "kept as       run 2" in told("run", *QUICK, "--history", file)


def test_a_failed_run_is_kept_too(file: str) -> None:
    done = sockscope(
        "run", "-c", "1", "-n", "1", "--service-time", "5s", "--timeout", "50ms", "--history", file
    )
    assert done.returncode == 1
    assert "no request was answered" in done.stderr
    assert [row.failed for row in History(Path(file)).runs()] == [1]


def test_the_environment_names_the_file_and_a_flag_goes_before_it(tmp_path: Path) -> None:
    named, typed = tmp_path / "named.db", tmp_path / "typed.db"
    env = {"SOCKSCOPE_HISTORY": str(named)}
    assert sockscope("run", *QUICK, env=env).returncode == 0
    assert sockscope("run", *QUICK, "--history", str(typed), env=env).returncode == 0
    assert sockscope("run", *QUICK, "--no-history", env=env).stdout.count("kept as") == 0
    assert (len(History(named).runs()), len(History(typed).runs())) == (1, 1)
    listed = sockscope("history", "--json", env=env)
    assert len(objects(listed.stdout)["runs"]) == 1


def test_without_any_name_it_is_in_the_users_data_directory(tmp_path: Path) -> None:
    env = {"SOCKSCOPE_HISTORY": "", "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    assert sockscope("run", *QUICK, env=env).returncode == 0
    (kept,) = tmp_path.rglob("history.db")
    assert "sockscope" in kept.parts
    assert len(History(kept).runs()) == 1


def test_what_runs_nothing_keeps_nothing(file: str) -> None:
    told("run", "--print-spec", "--history", file)
    assert sockscope("run", "--bind", "192.0.2.1", "-d", "1", "--history", file).returncode == 1
    assert not os.path.exists(file)


def test_flags_that_exclude_each_other_or_are_empty(file: str) -> None:
    assert "cannot be combined" in refused("run", *QUICK, "--history", file, "--no-history")
    assert "--history = '' is empty" in refused("run", *QUICK, "--history", "")
    assert "--history belongs after the command" in refused("--history", file, "run", *QUICK)
    assert not os.path.exists(file)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_run_that_cannot_be_kept_ends_like_any_other(tmp_path: Path, form: list[str]) -> None:
    done = sockscope("run", *QUICK, *form, "--history", str(tmp_path))
    assert done.returncode == 0
    assert "200" in done.stdout
    assert "kept as" not in done.stdout
    assert done.stderr == (
        f"sockscope: this run was not saved to the history: {tmp_path} is not a file; "
        "choose another history with --history\n"
    )


def test_a_newer_history_is_left_alone_by_every_command(file: str) -> None:
    told("run", *QUICK, "--history", file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = Path(file).read_bytes()
    for arguments in (["history"], ["history", "show", "1"], ["history", "delete", "1", "--yes"],
                      ["history", "delete", "--all", "--yes"], ["diff", "1", "last"]):  # fmt: skip
        said = refused(*arguments, "--history", file, code=1)
        assert "was written by a newer SockScope" in said
        assert said.count("\n") == 1
    done = sockscope("run", *QUICK, "--history", file)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "200 answered" in done.stdout
    assert Path(file).read_bytes() == before


# The list.


def test_the_list_is_a_table_with_the_newest_first(two_runs: str) -> None:
    head, *rows = told("history", "--history", two_runs).splitlines()
    assert head.split() == ["id", "began", "kind", "req/s", "p99", "failed", "lasted", "what"]
    assert [row.split()[0] for row in rows] == ["2", "1"]
    assert len({row.index("TCP protocol, uvloop, ") for row in rows}) == 1
    ends = [[match.end() for match in re.finditer(r"\S+", line)][:1] for line in (head, *rows)]
    assert ends == [[2], [2], [2]]
    assert rows[0].endswith("20 clients, 50 permits, 64 B, 5 ms")


def test_thousands_are_separated(file: str) -> None:
    fast = json.loads(json.dumps(REPORT))
    fast["rates"]["requests_per_s"], fast["totals"]["timeouts"] = 81_234.5, 1_234
    add(History(Path(file)), report=fast)
    assert "  81,234  " in told("history", "--history", file)
    assert "  1,234  " in told("history", "--history", file)


def test_kinds_and_numbers(file: str) -> None:
    history = History(Path(file))
    for number in range(25):
        add(history, f"run {number}")
    add(history, "guide", report=RACE)
    shown = told("history", "--history", file).splitlines()
    assert len(shown) == 22
    assert shown[-1] == "... and older ones: -n 200"
    assert len(told("history", "-n", "3", "--history", file).splitlines()) == 5
    assert len(told("history", "-n", "100", "--history", file).splitlines()) == 27
    (race,) = told("history", "--kind", "race", "--history", file).splitlines()[1:]
    assert race.endswith("guide")
    assert "Invalid value for '--kind'" in refused("history", "--kind", "survey", "--history", file)
    assert len(objects(told("history", "--json", "--history", file))["runs"]) == 26
    (newest,) = objects(told("history", "--json", "-n", "1", "--history", file))["runs"]
    assert (newest["id"], newest["kind"], newest["title"]) == (26, "race", "guide")


def test_an_empty_history(file: str) -> None:
    assert told("history", "--history", file) == f"no run is kept in {file}\n"
    found = objects(told("history", "--json", "--history", file))
    assert found == {"schema_version": 2, "type": "history", "runs": []}
    assert not os.path.exists(file)


# One run.


def test_show_a_race(file: str) -> None:
    add(History(Path(file)), "guide", report=RACE)
    shown = told("history", "show", "last", "--history", file)
    assert shown.startswith("SockScope: race guide\n")
    assert re.search(r"^ +2  blocking +10\.2 s ", shown, re.MULTILINE)
    assert objects(told("history", "show", "1", "--json", "--history", file))["report"] == RACE


def test_text_of_somebody_else_does_not_reach_the_terminal_raw(file: str) -> None:
    hostile = json.loads(json.dumps(REPORT))
    hostile["last_trouble"] = "\x1b]0;owned\x07"
    add(History(Path(file)), "\x1b[2Jtitle\n", report=hostile)
    for arguments in (["history"], ["history", "show", "1"], ["diff", "1", "1"]):
        shown = told(*arguments, "--history", file)
        assert "\x1b" not in shown
        assert "\x07" not in shown
    assert told("history", "--history", file).endswith(" \\x1b[2Jtitle\\n\n")
    add(History(Path(file)), report=RACE)
    theirs = Path(file).with_name("\x1b]0;x\x07.json")
    theirs.write_text(json.dumps(hostile))
    for arguments in (
        ["diff", "2", str(theirs)],
        ["diff", "\x1b[1m", "1"],
        ["\x1b[1m"],
        ["run", "--\x1b[1m"],
    ):
        where = ["--history", file] if arguments[0] == "diff" else []
        said = refused(*arguments, *where)
        assert "\x1b" not in said
        assert "\\x1b" in said


@pytest.mark.parametrize("name", ["7", "last-9", "0", "first", "-1", "9" * 40])
def test_unknown_runs_are_errors(two_runs: str, name: str) -> None:
    before = Path(two_runs).read_bytes()
    for command in (["history", "show"], ["history", "delete", "--yes"], ["diff", "1"]):
        said = refused(*command, "--history", two_runs, "--", name)
        assert said.startswith((f"sockscope: {name}: ", f"sockscope: {name} is "))
        assert said.count("\n") == 1
    assert Path(two_runs).read_bytes() == before


def test_flags_before_a_subcommand_are_not_lost(two_runs: str) -> None:
    assert told("history", "--history", two_runs, "show", "1").startswith("SockScope: TCP")
    assert "--json belongs after the command: show --json" in refused("history", "--json", "show", "1")


# Deleting.


def test_delete_needs_yes_where_nobody_can_be_asked(file: str) -> None:
    for _ in range(3):
        add(History(Path(file)))
    assert "to delete 2 runs, add --yes" in refused("history", "delete", "1", "last", "--history", file)
    assert "to delete every run, add --yes" in refused("history", "delete", "--all", "--history", file)
    assert told("history", "delete", "1", "last", "--yes", "--history", file) == "2 runs were deleted\n"
    assert [row.id for row in History(Path(file)).runs()] == [2]
    assert told("history", "delete", "--all", "-y", "--history", file) == "1 run was deleted\n"
    assert History(Path(file)).runs() == []


def test_delete_all_of_a_kind(file: str) -> None:
    add(History(Path(file)))
    add(History(Path(file)), report=RACE)
    assert told("history", "delete", "--all", "--kind", "race", "-y", "--history", file).startswith("1 run")
    assert [row.kind for row in History(Path(file)).runs()] == ["run"]


@pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["1", "--kind", "run"]])
def test_delete_wants_to_know_what(file: str, arguments: list[str]) -> None:
    add(History(Path(file)))
    assert "name the runs" in refused("history", "delete", *arguments, "--yes", "--history", file)
    assert len(History(Path(file)).runs()) == 1


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1), ("", 1)])
def test_delete_asks_on_a_terminal(file: str, answer: str, left: int) -> None:
    add(History(Path(file)))
    with Terminal(COMMAND, "history", "delete", "1", "--history", file) as terminal:
        terminal.sees("Delete run 1 from", "[y/N]")
        terminal.send(answer + "\r")
        assert terminal.ended() == 0
        assert ("nothing was deleted" in terminal.text) == bool(left)
    assert len(History(Path(file)).runs()) == left


def test_on_a_terminal_lines_are_cut_to_its_width(file: str) -> None:
    add(History(Path(file)), "title " * 40)
    with Terminal(COMMAND, "history", "--history", file, size=(80, 24)) as terminal:
        assert terminal.ended() == 0
        lines = [line.rstrip() for line in terminal.screen.display if line.strip()]
    assert len(lines) == 2
    assert lines[1].endswith("…")


# Comparing.


def rows_of(text: str) -> dict[str, str]:
    """Return the lines of the tables by their first words."""
    return {re.split(r" {2,}", line)[0]: line for line in text.splitlines() if "  " in line}


def test_two_runs_side_by_side(two_runs: str) -> None:
    text = told("diff", "last-1", "last", "--history", two_runs)
    rows = rows_of(text)
    assert rows["A"].startswith("A  run 1  TCP protocol, uvloop, 1 client, ")
    assert re.fullmatch(r"clients +1 +20", rows["clients"])
    assert re.search(r"\+[\d,]+ +\+[\d,]+ %  cannot tell$", rows["requests/s"])
    assert re.fullmatch(r"failed +0 +0 +0 +0 %  no difference shown", rows["failed"])
    assert re.search(r"% {2}per request\b", rows["reads"])
    assert "per request" not in rows["requests"]
    assert "! the workloads differ (clients): that alone changes the" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_run_and_itself(two_runs: str) -> None:
    text = told("diff", "1", "1", "--history", two_runs)
    assert "Experiment and environment are the same.\n" in text
    assert "better" not in text
    assert "worse" not in text
    assert "without batches that tell" in text


def test_the_comparison_as_json(two_runs: str) -> None:
    found = objects(told("diff", "1", "2", "--json", "--history", two_runs))
    assert (found["schema_version"], found["type"], found["kind"]) == (2, "comparison", "run")
    assert found["a"]["name"] == "run 1"
    assert found["experiment"] == {"clients": {"a": 1, "b": 20}}
    rate = found["figures"]["rates.requests_per_s"]
    assert rate["change"] == pytest.approx(rate["b"] - rate["a"])
    assert rate["change_ratio"] == pytest.approx(rate["b"] / rate["a"] - 1)
    assert (rate["better"], rate["verdict"]) == ("higher", "untold")
    assert found["figures"]["totals.errors"]["change_ratio"] == 0
    assert found["contestants"] == found["missed"] == []
    assert found["doubts"]


def test_conditions_decide_the_exit_code(two_runs: str) -> None:
    held = ("--fail-if", "requests_per_s<-5%", "--fail-if", "errors>0%", "--history", two_runs)
    told("diff", "1", "2", *held)
    done = sockscope("diff", "2", "1", *held)
    assert done.returncode == 3
    assert re.fullmatch(
        r"sockscope: --fail-if requests_per_s<-5% holds: rates\.requests_per_s changed by −[\d.]+ %\n",
        done.stderr,
    )
    done = sockscope("diff", "2", "1", "--json", *held)
    assert done.returncode == 3
    assert len(objects(done.stdout)["missed"]) == 1


def test_every_wrong_condition_is_told(two_runs: str) -> None:
    said = refused("diff", "1", "2", "--fail-if", "p98>1%", "--fail-if", "p99>1ms", "--history", two_runs)
    assert "2 things are wrong:" in said
    assert "there is no figure p98; did you mean p9" in said
    assert "the value 1ms is not a change in per cent" in said


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file = tmp_path / "run.json"
    told("run", *QUICK, "--json", "-o", str(file), "--no-history")
    return file


def test_files_that_runs_wrote(written: Path, two_runs: str) -> None:
    text = told("diff", str(written), "1", "--history", two_runs)
    assert rows_of(text)["A"].startswith(f"A  {written}  TCP protocol, uvloop, 10 clients")
    assert objects(told("diff", str(written), str(written), "--json"))["experiment"] == {}


def test_streams_and_stored_objects_are_read_too(tmp_path: Path, two_runs: str) -> None:
    stream, stored = tmp_path / "stream.json", tmp_path / "stored.json"
    told("run", *QUICK, "--json-stream", "-i", "10ms", "-o", str(stream), "--no-history")
    stored.write_text(told("history", "show", "1", "--json", "--history", two_runs))
    found = objects(told("diff", str(stream), str(stored), "--json"))
    assert found["figures"]["totals.requests"]["a"] == 200
    assert found["experiment"]["clients"] == {"a": 10, "b": 1}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"a,b\n1,2\n", "is not JSON"),
        (b"[1]", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "is not the JSON object of a run, a race or a sweep"),
        (b'{"type": "stored"}', "is not the JSON object of a run, a race or a sweep"),
        (b'{"type": "summary", "schema_version": 99}', "was written by a newer SockScope"),
        (b'{"type": "summary", "schema_version": 1}', "is not as SockScope writes it"),
        (b'{"type": "survey", "schema_version": 1}', "is not the JSON object of a run, a race or a sweep"),
        (b'{"type": "race", "schema_version": 1}', "is not as SockScope writes it: kind is missing"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    said = refused("diff", str(file), str(file))
    assert why in said
    assert "Traceback" not in said


def test_what_is_neither_a_file_nor_a_run(tmp_path: Path, file: str) -> None:
    missing = str(tmp_path / "none.json")
    assert f"{missing} is neither a file nor a run of the history" in refused(
        "diff", missing, missing, "--history", file
    )


def test_a_run_and_a_race_cannot_be_compared(file: str) -> None:
    add(History(Path(file)))
    add(History(Path(file)), report=RACE)
    said = refused("diff", "1", "2", "--history", file)
    assert "run 1 and run 2 cannot be compared: a run and a race have no figures in common" in said


def test_two_kept_races(file: str) -> None:
    for laps in (
        {"blocking": batches(*[10.2] * 9)},
        {"blocking": batches(*[20.4] * 9), "pool": batches(1.0)},
    ):
        contest = Contest(tuple(map(contestant, laps)), rounds=9, requests=100)
        report = race_report(Standing(contest, laps=laps, finished=True), {})
        add(History(Path(file)), "guide", report=report)
    text = told("diff", "1", "2", "--history", file)
    assert re.search(r"^time +10\.2 s +20\.4 s +\+10\.2 s +\+100 %  worse$", text, re.MULTILINE)
    assert "only in B: pool\n" in text
    assert sockscope("diff", "1", "2", "--fail-if", "duration>50%", "--history", file).returncode == 3
    found = objects(told("diff", "1", "2", "--json", "--history", file))
    assert found["contestants"][0]["figures"]["duration_s"]["verdict"] == "worse"
    assert found["only_b"] == ["pool"]


def test_two_races_that_were_run(tmp_path: Path, file: str) -> None:
    written = []
    for name, clients, size in (("a", "2", "64"), ("b", "3", "128")):
        written.append(str(tmp_path / f"{name}.json"))
        told("race", "protocol/uvloop", "threaded", "-c", clients, "--size", size,
             "--rounds", "2", "--slice", "50ms", "--warmup", "20ms", "--place", "loop",
             "--json", "-q", "-o", written[-1], "--history", file)  # fmt: skip
    rows = rows_of(told("diff", *written))
    assert re.fullmatch(r"clients +2 +3", rows["clients"])
    assert re.fullmatch(r"request +64 B +128 B", rows["request"])
    found = objects(told("diff", *written, "--json"))
    assert found["experiment"] == {"clients": {"a": 2, "b": 3}, "request_bytes": {"a": 64, "b": 128}}
    assert "the workloads differ (clients, request)" in found["doubts"][0]
    a, b = ({one["name"]: one for one in objects(Path(path).read_text())["contestants"]} for path in written)
    compared = {one["name"]: one["figures"] for one in found["contestants"]}
    assert compared.keys() == a.keys() == b.keys() == {"protocol/uvloop", "threaded"}
    for who, figures in compared.items():
        for name in ("requests_per_s", "service_time_p50_s", "ratio"):
            before, after, figure = a[who][name], b[who][name], figures[name]
            assert (figure["a"], figure["b"]) == (before["median"], after["median"])
            overlap = before["low"] <= after["high"] and after["low"] <= before["high"]
            assert (figure["verdict"] == "not_shown") == (overlap or abs(figure["change_ratio"]) < 0.01)
    assert objects(told("diff", "1", "2", "--json", "--history", file))["contestants"] == found["contestants"]


# What is documented.


def documented(heading: str) -> list[list[str]]:
    """Return the names in each table below a heading of the page."""
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    section = re.split(r"^# ", page.split(f"\n# `{heading}`\n")[1], flags=re.MULTILINE)[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    return [re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE) for table in tables]


def test_the_page_names_the_fields_that_are_written(two_runs: str) -> None:
    listed = objects(told("history", "--json", "--history", two_runs))
    assert list(listed) == ["schema_version", "type", "runs"]
    assert documented("history --json") == [list(listed["runs"][0])]
    assert documented("history show --json") == [
        list(objects(told("history", "show", "1", "--json", "--history", two_runs)))
    ]
    compared = objects(told("diff", "1", "2", "--json", "--history", two_runs))
    assert documented("diff --json") == [list(compared), list(compared["figures"]["totals.errors"])]
