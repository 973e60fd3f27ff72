"""Runs in child processes through the installed command: what they write, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.command import (
    COMMAND,
    clean_environment,
    figures,
    finished,
    next_complaint,
    next_line,
    running,
    sockscope,
)

QUICK = ("-n", "200", "-c", "10", "--service-time", "0")
FOREVER = ("-d", "0", "-c", "4", "--service-time", "1ms", "--json-stream", "-i", "20ms")


def pids_of(written: dict[str, Any]) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in written["processes"]}


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--place", "loop"), ["main"]),
        (("--place", "child"), ["main", "server and clients"]),
        (("--place", "server"), ["main", "server"]),
        (("--swarm-processes", "2"), ["main", "server", "clients", "clients 2"]),
    ],
    ids=lambda value: "".join(value) if isinstance(value, tuple) else None,
)
def test_json_names_the_processes(flags: tuple[str, ...], names: list[str]) -> None:
    found = figures("run", *QUICK, *flags)
    assert found["totals"]["responses"] == found["server"]["responses"] == 200
    assert found["clients"]["in_flight"] == 0
    assert list(pids_of(found)) == names
    for process in found["processes"]:
        assert process["alive"]
        assert process["rss_bytes"] > 1_000_000
        assert process["environment"]["allocator"] == "calm"
        assert process["duration_s"] > 0


def test_intervals_of_several_processes_add_up_to_the_run() -> None:
    done = sockscope(
        "run",
        "--place",
        "apart",
        "-d",
        "300ms",
        "-c",
        "5",
        "--json-stream",
        "-i",
        "100ms",
        "--service-time",
        "1ms",
    )
    assert (done.returncode, done.stderr) == (0, "")
    *intervals, summary = map(json.loads, done.stdout.splitlines())
    for section in ("totals", "server"):
        assert sum(i[section]["requests"] for i in intervals) == summary[section]["requests"] > 0
    assert sum(i["duration_s"] for i in intervals) == pytest.approx(summary["duration_s"])
    assert all(process["cpu_ratio"] is not None for i in intervals for process in i["processes"])


def test_csv_has_the_same_columns_in_every_place() -> None:
    heads = {
        sockscope("run", *QUICK, "--csv", "--place", place).stdout.split("\n")[0]
        for place in ("loop", "apart")
    }
    assert len(heads) == 1
    assert "processes" not in heads.pop().split(",")


def test_the_summary_names_the_processes() -> None:
    text = sockscope("run", *QUICK, "--place", "apart").stdout
    labels = [line[:14].strip() for line in text.splitlines()]
    assert {"process", "server", "clients"} <= set(labels)
    assert "server saw" not in labels


def test_a_port_in_use_is_one_sentence_from_a_child_too() -> None:
    with running("serve") as server:
        port = next_line(server).strip().rpartition(":")[2]
        done = sockscope("run", "-p", port, "--place", "apart")
    assert done.returncode == 1
    assert done.stderr == (
        f"sockscope: cannot listen on 127.0.0.1:{port}: the port is in use; "
        "choose another with --port, or 0 to let the kernel choose\n"
    )


def test_an_allocator_for_children_is_refused_without_one() -> None:
    done = sockscope("run", "--allocator", "tuned")
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs a process of its own" in done.stderr


def test_ctrl_c_in_the_terminal_stops_parent_and_children_in_order() -> None:
    """A terminal signals the whole foreground group; the children must leave it to their parent."""
    with subprocess.Popen(
        [COMMAND, "run", "--place", "apart", *FOREVER],
        env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as command:  # fmt: skip
        try:
            pids = pids_of(json.loads(next_line(command)))
            os.killpg(command.pid, signal.SIGINT)
            code, out, err = finished(command)
        finally:
            command.kill()
    assert (code, err) == (0, "sockscope: stopping; press Ctrl+C again to quit at once\n")
    summary = json.loads(out.splitlines()[-1])
    assert summary["type"] == "summary"
    assert (summary["state"], summary["error"], summary["totals"]["errors"]) == ("stopped", None, 0)
    assert not any(map(psutil.pid_exists, pids.values()))


def test_a_second_interrupt_leaves_no_child() -> None:
    never = ("--service-time", "60s", "--timeout", "90s")
    with running("run", "--place", "apart", *FOREVER, *never) as child:
        while not (told := json.loads(next_line(child)))["clients"]["in_flight"]:
            pass
        child.send_signal(signal.SIGINT)
        assert "stopping" in next_complaint(child)
        child.send_signal(signal.SIGINT)
        code, _, err = finished(child)
    assert (code, err) == (130, "")
    for pid in pids_of(told).values():
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(10)  # raises when it is still there


def test_a_run_whose_clients_are_killed_has_failed() -> None:
    with running("run", "--place", "apart", *FOREVER) as child:
        pid = pids_of(json.loads(next_line(child)))["clients"]
        os.kill(pid, signal.SIGKILL)
        code, out, err = finished(child)
    assert code == 1
    assert f"the run failed: clients process {pid} was killed (SIGKILL)" in err
    summary = json.loads(out.splitlines()[-1])
    assert summary["state"] == "failed"
    assert summary["totals"]["requests"] > 0


@pytest.mark.parametrize(
    ("place", "name", "number", "told"),
    [
        ("server", "server", signal.SIGKILL, "was killed (SIGKILL)"),
        ("child", "server and clients", signal.SIGSTOP, "of the 1.00 s asked for were measured"),
    ],
)
def test_a_run_that_did_not_get_what_it_was_asked_for_fails(
    place: str, name: str, number: signal.Signals, told: str
) -> None:
    with running("run", "--place", place, *FOREVER, "-d", "1") as child:
        pid = pids_of(json.loads(next_line(child)))[name]
        os.kill(pid, number)
        code, out, err = finished(child)
    assert code == 1
    assert "the run fell short: " in err
    assert told in err
    assert f"{name} process {pid}" in json.loads(out.splitlines()[-1])["error"]


def test_a_child_loads_no_screen_and_no_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import sockscope.engine.placement.worker"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "sockscope" in loaded
    assert not loaded & {"textual", "rich", "click", "sqlite3", "platformdirs", "multiprocessing"}
