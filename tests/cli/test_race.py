"""Races through the installed command: what they write, what they refuse, and how they end."""

import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cli.command import COMMAND, PATIENCE_S, WARM, clean_environment, sockscope
from tests.cli.warm import WarmCommand
from tests.repository import needs_git, repository

SHORT = ("-c", "4", "--rounds", "2", "--slice", "50ms", "--warmup", "20ms", "--place", "loop")
TWO = ("protocol/uvloop", "--vary", "lifetime=run,request")


def test_a_race_to_json() -> None:
    done = sockscope("race", *TWO, *SHORT, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["type"], found["kind"], found["rounds"], found["finished"]) == ("race", "rate", 2, True)
    assert (found["slice_s"], found["warmup_s"]) == (0.05, 0.02)
    assert found["experiment"]["clients"] == 4
    assert found["experiment"]["permits"] == found["experiment"]["service_time_s"] == 0
    assert found["environment"]["python"]
    assert {each["name"] for each in found["contestants"]} == {
        "protocol/uvloop lifetime=run", "protocol/uvloop lifetime=request",
    }  # fmt: skip
    for each in found["contestants"]:
        assert (each["model"], each["loop"], each["client"]) == ("protocol", "uvloop", "selector")
        assert each["rank"] in (1, 2)
        assert each["fault"] is None
        spread = each["requests_per_s"]
        assert len(spread["rounds"]) == 2
        assert 0 < spread["min"] <= spread["median"] <= spread["max"]
        assert each["errors"]["max"] == 0


@needs_git
def test_revisions_of_own_code_race(tmp_path: Path) -> None:
    names = ("mine:handle@HEAD~2", "mine:handle@HEAD")
    here, short = repository(tmp_path), ("-c", "4", "--rounds", "1", "--slice", "50ms", "--warmup", "20ms")
    asked = ("--request", "ping\\n", "--until", "\\n", "--accept", "/second/")
    done = sockscope("race", *names, *short, *asked, "--json", cwd=here)
    assert done.returncode == 1
    told = "HEAD~2 dropped out: importing mine raised ZeroDivisionError at HEAD~2:said.py:1: division by zero"
    assert told in done.stderr
    found = {each["name"]: each for each in json.loads(done.stdout)["contestants"]}
    assert [found[name]["model"] for name in names] == list(names)
    assert [found[name]["rank"] for name in names] == [None, 1]
    assert found[names[0]]["differs"] == {"handler": names[0]}
    unknown = sockscope("race", "mine:handle@nope", "protocol", cwd=here)
    told = "sockscope: contestant = 'mine:handle@nope': git knows no revision nope here\n"
    assert (unknown.returncode, unknown.stderr) == (2, told)


def test_a_batch_to_csv() -> None:
    done = sockscope("race", "protocol/uvloop", *SHORT, "-n", "20", "--lifetime", "request", "--csv")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["round"] for row in rows] == ["1", "2"]
    for row in rows:
        duration_s = float(row["duration_s"])
        assert float(row["connections_per_s"]) == pytest.approx(20 / duration_s)
        assert float(row["requests_per_s"]) == pytest.approx(20 / duration_s)


def test_a_table_and_a_chart(tmp_path: Path) -> None:
    chart, table = tmp_path / "race.svg", tmp_path / "race.md"
    done = sockscope("race", *TWO, *SHORT, "--svg", str(chart), "--markdown", "-o", str(table))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ET.parse(chart).getroot().tag.endswith("svg")
    assert table.read_text(encoding="utf-8").startswith("**SockScope race: 2 servers in turn, 2 rounds")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["race.md", "race.svg"]


def test_races_are_kept_and_compared(tmp_path: Path) -> None:
    file = ("--history", str(tmp_path / "history.db"))
    first = sockscope("race", "protocol/uvloop", *SHORT, *file)
    assert f"kept as race 1 (sockscope history show 1 --history {file[1]})" in " ".join(first.stdout.split())
    sockscope("race", "protocol/uvloop", *SHORT, "--json", *file)
    sockscope("race", "protocol/uvloop", *SHORT, "--no-history")
    listed = json.loads(sockscope("history", "--json", *file).stdout)["runs"]
    assert [(row["id"], row["kind"], row["title"]) for row in listed] == [
        (2, "race", "protocol/uvloop"), (1, "race", "protocol/uvloop"),
    ]  # fmt: skip
    assert "protocol/uvloop" in sockscope("history", "show", "1", *file).stdout
    compared = sockscope("diff", "1", "2", *file)
    assert compared.returncode == 0, compared.stderr
    assert "req/s" in compared.stdout


def test_what_was_asked_goes_before_what_the_preset_says() -> None:
    done = sockscope(
        "race", "protocol", "--preset", "guide", *SHORT, "-n", "8", "--service-time", "1ms", "--json"
    )
    found = json.loads(done.stdout)
    assert (found["preset"], found["kind"], found["requests"], found["rounds"]) == ("guide", "batch", 8, 2)
    assert found["experiment"]["service_time_s"] == 0.001
    assert found["experiment"]["request_timeout_s"] == 60
    assert [each["name"] for each in found["contestants"]] == ["protocol/uvloop"]
    assert "waiting" in found["note"]
    assert [each["contestant"] for each in found["published"]] == ["blocking", "streams/asyncio"]


def test_a_condition_that_is_missed() -> None:
    done = sockscope(
        "race", "protocol/uvloop", *SHORT, "-q", "--fail-if", "protocol/uvloop.requests_per_s<1M",
        "--fail-if", "errors>0",
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith(
        "sockscope: --fail-if requests_per_s<1M holds: requests_per_s of protocol/uvloop is "
    )
    assert len(done.stderr.splitlines()) == 1


def test_a_race_in_which_nothing_is_answered_has_failed() -> None:
    never = ("--service-time", "60s", "--timeout", "100ms")
    done = sockscope("race", "protocol", "threaded", *never, "--rounds", "1", "--slice", "200ms", "-q")
    assert done.returncode == 1
    assert "=1" not in done.stdout
    assert done.stderr.splitlines() == [
        "sockscope: protocol/uvloop has no rank: no request was answered",
        "sockscope: threaded has no rank: no request was answered",
        "sockscope: the race failed: no contestant could be ranked",
    ]


def test_the_presets_are_told() -> None:
    done = sockscope("race", "--list-presets")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()][:3] == ["guide", "echo", "connections"]


def test_the_workload_can_be_printed() -> None:
    done = sockscope("race", "--preset", "guide", "--print-spec")
    assert done.returncode == 0
    assert "service_time = " in done.stdout
    assert 'place = "apart"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "what should be raced?"),
        (("protocl",), "did you mean protocol"),
        (("protocol", "protocol"), "takes part twice"),
        (("protocol", "--preset", "nonsense"), "is none of guide"),
        (("protocol", "--vary", "permit=1"), "did you mean permits"),
        (("protocol", "--rounds", "0"), "must be 1 to 1,000"),
        (("protocol", "--rounds", "x"), "not a number"),
        (("protocol", "--slice", "1us"), "must be at least"),
        (("protocol", "--baseline", "nobody"), "does not take part"),
        (("protocol", "--json", "--csv"), "cannot be combined"),
        (("datagram",), "does not serve TCP"),
        (("protocol", "streams", "--bind", "unix:@it"), "is one Unix socket, and each contestant listens at"),
        (("protocol", "--clients", "0"), "must be at least 1"),
        (("protocol", "--fail-if", "nobody/x.cpu>1"), "before a dot may stand one of protocol/uvloop"),
        (("protocol", "--svg", "/nowhere/race.svg"), "--svg = '/nowhere/race.svg' cannot be written"),
    ],
)
def test_what_cannot_be_raced_is_refused_in_a_sentence(arguments: tuple[str, ...], why: str) -> None:
    done = sockscope("race", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_variable_that_means_nothing_to_own_code_is_told_by_its_name() -> None:
    done = sockscope("race", "mine:handle", env={"SOCKSCOPE_SERVICE_TIME": "6ms"})
    assert done.returncode == 2
    assert "SOCKSCOPE_SERVICE_TIME = 0.006 has no effect: mine:handle serves, not a model" in done.stderr


# On a terminal.


@contextmanager
def race_on_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[str], str]]]:
    """Run a race whose stderr is a terminal; yield it, and what reads there until some text has come."""
    mine, childs = pty.openpty()
    child = WarmCommand(
        WARM, [COMMAND, "race", *arguments], env=clean_environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=childs, text=True,
    )  # fmt: skip
    os.close(childs)

    def read_until(text: str) -> str:
        shown = ""
        while text not in shown:
            ready, _, _ = select.select([mine], [], [], PATIENCE_S)
            assert ready, f"{text!r} did not come: {shown!r}"
            shown += os.read(mine, 65_536).decode()
        return shown

    try:
        yield child, read_until
    finally:
        child.kill()
        child.communicate(timeout=PATIENCE_S)
        os.close(mine)


LONG = (*TWO, *SHORT, "--service-time", "2ms", "--rounds", "1000", "--json")


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_race_prints_what_it_has(signal_number: signal.Signals) -> None:
    with race_on_terminal(*LONG) as (child, read_until):
        shown = read_until("round 2 of 1000")
        assert re.search(r"\[ *\]  starting  00:0\d:\d\d left", shown)
        child.send_signal(signal_number)
        if signal_number is signal.SIGINT:
            read_until(
                "ending the race with what has been measured so far; press Ctrl+C again to quit at once"
            )
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0
    found = json.loads(out)
    assert found["finished"] is False
    counts = [len(each["requests_per_s"]["rounds"]) for each in found["contestants"]]
    assert 1 <= min(counts) <= max(counts) < 1_000


def test_the_second_interrupt_leaves_at_once() -> None:
    # Requests that are never answered keep the end waiting for its grace time.
    never = ("--service-time", "60s", "--timeout", "90s", "--slice", "60s")
    with race_on_terminal(*LONG, *never) as (child, read_until):
        for _ in range(3):  # until the clients have asked
            read_until("round 1 of 1000")
        child.send_signal(signal.SIGINT)
        read_until("ending the race")
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, out) == (130, "")


def test_a_race_that_one_drops_out_of_has_failed() -> None:
    calm = ("--service-time", "2ms", "--rounds", "6", "--slice", "200ms")
    with race_on_terminal(*TWO, *SHORT, "--place", "server", *calm) as (child, read):
        read("round 1 of 6")
        servers = [one.pid for one in psutil.Process(child.pid).children() if one.name() == "server"]
        os.kill(servers[0], signal.SIGKILL)
        read(f"dropped out: server process {servers[0]} was killed (SIGKILL)")
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 1
    assert "lifetime=" in out
