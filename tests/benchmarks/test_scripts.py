"""Each script's slices run, end, and print figures that make sense; how fast they were is not asked here."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import uvloop

from benchmarks import (
    crowd,
    dashboard_tax,
    impairments,
    memory,
    ramp,
    relay_tax,
    scenarios,
    screen_limits,
    udp_causes,
)
from benchmarks.dashboard_tax import Terminal, painted, percentile
from benchmarks.interleave import REPOSITORY, SliceError

LIMIT_S = 60.0


def figures(module: str, *words: object) -> dict[str, float]:
    found = ramp.slice_of(module, *words, limit_s=LIMIT_S)()
    assert all(math.isfinite(value) for value in found.values())
    return found


def run(module: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def printed(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> str:
    """What a script prints of slices whose figures all are 1."""
    ones: dict[str, float] = defaultdict(lambda: 1.0)
    monkeypatch.setattr(module, "slice_of", lambda *_, **__: lambda: ones)
    monkeypatch.setattr(sys, "argv", ["script", *words])
    module.main()
    return capsys.readouterr().out


# What they share.


def test_a_slice_returns_its_last_line() -> None:
    assert ramp.figures_of('warming up\n{"a": 1, "b": 2.5}\n') == {"a": 1.0, "b": 2.5}


@pytest.mark.parametrize("output", ["", "hello", "[]", "1", '{"a": null}', '{"a": "b"}'])
def test_a_slice_without_figures_fails(output: str) -> None:
    with pytest.raises(SliceError, match="no figures"):
        ramp.figures_of(output)


def test_a_slice_that_fails_says_why() -> None:
    with pytest.raises(SliceError, match="invalid choice: 'nonsense'"):
        ramp.slice_of("benchmarks.ramp", "--slice", "nonsense", limit_s=LIMIT_S)()


def test_a_slice_that_takes_too_long_is_killed() -> None:
    children = set(psutil.Process().children())
    slow = ramp.slice_of(
        "benchmarks.ramp", "--slice", "default", "--clients", 1, "--seconds", 60, limit_s=0.3
    )
    with pytest.raises(SliceError, match=r"did not end within 0\.3 s"):
        slow()
    assert set(psutil.Process().children()) <= children


def test_slices_take_turns() -> None:
    ran: list[str] = []

    def one(name: str) -> Callable[[], dict[str, float]]:
        def measure() -> dict[str, float]:
            ran.append(name)
            return {"n": float(len(ran))}

        return measure

    found = ramp.in_turn({"a": one("a"), "b": one("b")}, 2)
    assert "".join(ran) == "abab"
    assert found == {"a": [{"n": 1.0}, {"n": 3.0}], "b": [{"n": 2.0}, {"n": 4.0}]}


def test_tables_are_aligned() -> None:
    assert ramp.table([("what", "n"), ("a", "1,000")]) == "what      n\na     1,000"


# ramp


@pytest.mark.parametrize("reader", [False, True])
@pytest.mark.parametrize("shape", sorted(ramp.SHAPES))
def test_ramp_opens_twice_as_many(shape: str, reader: bool) -> None:
    patient = replace(ramp.SHAPES[shape], request_timeout_s=60.0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(ramp.ramp(patient, 20, 0.1, reader=reader))
    assert found["errors"] == 0
    assert 0 < found["applied_s"] <= found["ramp_s"]
    assert found["first_s"] >= 0
    assert found["worst_lag_s"] >= 0


def test_a_slice_of_the_ramp() -> None:
    words = ("--slice", "default+reader", "--clients", 10, "--seconds", 0.05)
    assert figures("benchmarks.ramp", *words)["ramp_s"] > 0


def test_ramp_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(ramp, monkeypatch, capsys, "--rounds", "1").splitlines()
    assert "Python" in lines[0]
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "saturated", "saturated + reader", "default", "default + reader",
    ]  # fmt: skip
    assert len({len(line) for line in lines[1:]}) == 1


# memory


def test_memory_of_pairs() -> None:
    found = figures("benchmarks.memory", "--slice", "pairs", "--connections", 200, "--seconds", 0.05)
    assert 0 < found["before_mib"] <= found["after_mib"]
    assert found["kib_per_pair"] == pytest.approx((found["after_mib"] - found["before_mib"]) * 1_024 / 200)


def test_memory_over_time() -> None:
    found = figures("benchmarks.memory", "--slice", "soak", "--minutes", 0.01, "--warmup", 0.05)
    assert found["samples"] >= 2
    assert found["responses_per_s"] > 0
    assert found["first_mib"] <= found["most_mib"]


def test_slope_is_that_of_least_squares() -> None:
    assert memory.slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2.0)
    assert memory.slope([0, 1, 2], [0, 3, 0]) == pytest.approx(0.0)
    assert memory.slope([], []) == memory.slope([1], [9]) == memory.slope([1, 1], [1, 9]) == 0.0


def test_memory_prints_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(memory, monkeypatch, capsys, "--minutes", "0.01")
    assert "Python" in output.splitlines()[0]
    assert "KiB a pair" in output
    assert re.search(r"^0\.01 minutes +[+-]\d", output, re.M)


# dashboard_tax


def test_the_dashboard_measures_itself() -> None:
    found = dashboard_tax.dashboard_slice("saturated_apart", 0.5, 0.2)
    assert found["errors"] == 0
    assert found["cpu_ratio"] > 0
    assert found["round_trips_per_s"] > 0


def test_keys_of_the_default_experiment() -> None:
    waits = dashboard_tax.default_keys(2, 0.2)
    assert set(waits) == {"permits_0", "permits_1"}
    assert all(0 < wait < LIMIT_S for wait in waits.values())


def test_keys_in_a_crowd() -> None:
    waits = dashboard_tax.crowd_keys(20, 2, 0.2)
    assert set(waits) == {"timeout_0", "timeout_1", "cursor_0", "cursor_1"}
    assert all(0 < wait < LIMIT_S for wait in waits.values())


def test_the_start_of_the_command() -> None:
    found = dashboard_tax.start_slice()
    assert 0 < found["panels_s"] < LIMIT_S
    assert 0 < found["figures_s"] < LIMIT_S


def test_the_reports_of_the_dashboard() -> None:
    crowds = {f"crowd {clients}": [{"timeout_0": 0.1, "cursor_0": 0.2}] for clients in dashboard_tax.CROWDS}
    keys = dashboard_tax.keys_report(
        {"default": [{"permits_0": 0.01, "permits_1": 0.03}], **crowds}
    ).splitlines()
    assert keys[1].split() == ["default:", "permits", "2", "10.0", "30.0", "30.0", "40"]
    assert keys[-1].split() == ["9,000", "saturating:", "cursor", "1", "200.0", "200.0", "200.0", "40"]
    assert len({len(line) for line in keys}) == 1
    lags = dashboard_tax.lag_report(
        {load: [{"lag_p99_s": 0.004, "round_trips_per_s": 50_000.0}] for load in crowds}
    ).splitlines()
    assert lags[-1].split() == ["9,000", "saturating", "4.0", "4.0", "50,000", "5"]
    alone = dashboard_tax.alone_report(
        {"quiet": [{"cpu_ratio": 0.1}], "start": [{"panels_s": 1.0, "figures_s": 1.5}]}
    ).splitlines()
    assert alone[1].split()[-3:] == ["10.00", "10.00", "15"]


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 1), (0.5, 2), (0.75, 3), (0.99, 4), (1.0, 4)])
def test_a_percentile_is_one_of_the_values(share: float, wanted: float) -> None:
    assert percentile([3, 1, 4, 2], share) == wanted


def test_painted_text_has_no_escapes() -> None:
    data = (
        "\x1b[?25l\x1b[3;7H\x1b[1;38;2;1;2;3mpermits   \x1b[0m◂ \x1b]0;title\x07 50\x1b[0m ▸\x1b[K".encode()
    )
    assert painted(data) == "permits   ◂  50 ▸"
    assert dashboard_tax._knob("permits", "50").search(painted(data))
    assert not dashboard_tax._knob("permits", "5").search(painted(data))


def terminal(code: str, limit_s: float = LIMIT_S) -> Terminal:
    return Terminal([sys.executable, "-c", code], limit_s=limit_s)


def test_a_terminal_has_the_size_and_takes_keys() -> None:
    code = """
import os, tty
print(os.get_terminal_size())
tty.setraw(0)
print(os.read(0, 9), os.tcgetpgrp(0) == os.getpid())
"""
    with terminal(code) as pty:
        pty.until(re.compile(r"columns=120, lines=40"), seconds=LIMIT_S)
        pty.drain(0.2)
        pty.press(b"}")
        pty.until(re.compile(r"b'}' True"), seconds=LIMIT_S)
        pty.end()


def test_a_terminal_tells_how_it_ended() -> None:
    with terminal("raise SystemExit('no such luck')") as pty, pytest.raises(SliceError, match="no such luck"):
        pty.end()


def test_a_terminal_that_never_paints_is_told() -> None:
    with (
        terminal("import time; print('busy'); time.sleep(60)") as pty,
        pytest.raises(SliceError, match=r"did not paint 'done'(.|\n)*busy"),
    ):
        pty.until(re.compile("done"), seconds=1.0)


def test_a_terminal_has_a_limit_and_leaves_nothing_behind() -> None:
    descriptors = psutil.Process().num_fds()
    with terminal("import time; print('busy', flush=True); time.sleep(60)", limit_s=0.5) as pty:
        child = psutil.Process(pty._process.pid)
        with pytest.raises(SliceError, match="took too long"):
            pty.drain(LIMIT_S)
    assert not child.is_running()
    assert psutil.Process().num_fds() == descriptors


def test_whoever_owns_the_terminal_takes_its_process_along() -> None:
    """Killed in mid-slice, a script leaves no dashboard behind: its pty hangs up."""
    code = f"""
import sys
from benchmarks.dashboard_tax import Terminal
child = (
    "import os, signal, time; signal.signal(signal.SIGHUP, signal.SIG_DFL);"  # ignored under nohup
    "print(os.getpid(), flush=True); time.sleep({LIMIT_S})"
)
with Terminal([sys.executable, "-c", child], limit_s=60) as pty:
    print(next(pty.chunks(30)).decode(), flush=True)
    pty.drain(30)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        child = psutil.Process(int(owner.stdout.readline()))
        os.kill(owner.pid, signal.SIGKILL)
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_the_dashboard_script_is_bounded_by_its_options() -> None:
    output = run("benchmarks.dashboard_tax", "--help")
    assert {"--rounds", "--seconds", "--presses"} <= set(re.findall(r"--[a-z]+", output))


# Crowd.


def test_another_revision_leaves_nothing_behind() -> None:
    before = worktrees()
    with crowd.checkout("HEAD") as tree:
        assert (tree / "sockscope" / "__main__.py").is_file()
        assert len(worktrees()) == len(before) + 1
    assert worktrees() == before
    assert not tree.exists()


def test_it_is_the_other_revision_that_runs(tmp_path: Path) -> None:
    package = tmp_path / "sockscope"
    package.mkdir()
    (package / "__init__.py").touch()
    found = {
        "clients": {"connections_open": 5}, "totals": {"errors": 0}, "rates": {"requests_per_s": 12.0},
        "resources": {"loop_lag_p99_s": 0.001},
    }  # fmt: skip
    (package / "__main__.py").write_text(f"import json; print(json.dumps({found}))")
    assert crowd.engine_slice(tmp_path, 5, 0.1, "tcp") == crowd.Slice(12.0, 1.0)


def test_a_crowd_is_compared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(crowd, "checkout", lambda _: contextlib.nullcontext(REPOSITORY))
    monkeypatch.setattr(crowd, "WARMUP_S", 0.1)
    words = ("--before", "HEAD", "--clients", "5", "--seconds", "0.2", "--rounds", "1")
    monkeypatch.setattr(sys, "argv", ["crowd", *words])
    crowd.main()
    printed = capsys.readouterr()
    rows = [line.split()[:2] for line in printed.out.splitlines()[2:]]
    for contestant in ("here", "before", "bare"):
        assert ["5", contestant] in rows
    assert printed.err == ""


def test_crowds_are_compared_with_the_smallest_and_with_each_other() -> None:
    rates = {("here", 5): 100.0, ("here", 10): 50.0, ("before", 10): 40.0}
    found = {who: [crowd.Slice(rate, 4.0)] for who, rate in rates.items()}
    rows = [re.split(r" {2,}", line.strip()) for line in crowd.report(found, (5, 10)).splitlines()]
    assert rows[0][:5] == ["clients", "contestant", "requests/s", "x N = 5", "x before"]
    assert rows[1][:5] == ["5", "here", "100", "1.00 (1.00 - 1.00)", "-"]
    assert rows[2][:5] == ["10", "here", "50", "0.50 (0.50 - 0.50)", "1.25 (1.25 - 1.25)"]
    assert rows[3][:5] == ["10", "before", "40", "-", "1"]


# Scenarios.


def test_scenarios_are_provoked_by_the_command_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("semaphore", "--rounds", "1", "--seconds", "0.3", "--warmup", "0.1")
    monkeypatch.setattr(sys, "argv", ["scenarios", *words])
    assert scenarios.main() == 0
    lines = capsys.readouterr().out.splitlines()
    said = f"{'semaphore':30}   1 right   0 wrong"
    assert lines[1:] == ["after round 1: 1 of 1 right", said, "1 of 1 right"]


def worktrees() -> list[str]:
    command = ["git", "worktree", "list", "--porcelain"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.startswith("worktree ")]


def test_the_causes_of_lost_datagrams_add_up_to_those_of_the_kernel() -> None:
    tools = all(map(shutil.which, ("unshare", "ip", "tc")))
    enter = [*udp_causes.UNSHARE, "true"]
    if not tools or subprocess.run(enter, capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces for us, or no ip(8) and tc(8)")
    assert "1 of 1 add up" in run("benchmarks.udp_causes", "--rounds", 1)


# The relay.


@pytest.mark.parametrize("apart", [False, True])
async def test_two_swarms_ask_in_turn_and_one_of_them_through_a_relay(apart: bool) -> None:
    found = await relay_tax.compared(2, "tcp", seconds=0.2, rounds=2, apart=apart)
    assert [len(one) for one in (found.direct_per_s, found.shares, found.added_us)] == [2, 2, 2]
    # Neither of them stood still all the time, however busy the machine is.
    assert max(found.direct_per_s) > 0
    assert max(found.shares) > 0
    assert not apart or all(cpu_us > 0 for cpu_us in found.each_us("relayed"))


async def test_what_a_fault_has_done_is_compared_with_what_arrived() -> None:
    to_the_datagram, share = await impairments.counted(0.1, "duplicate", 0.5)
    assert to_the_datagram.holds
    assert to_the_datagram.found > 0
    assert (share.wanted, share.holds) == (0.5, abs(share.found - 0.5) <= share.tolerance)
    assert str(to_the_datagram).endswith("ok")


def test_what_the_header_says_is_found_on_a_terminal_or_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = screen_limits.Situation(80, 24, 0, 0, b"RUNNING")
    monkeypatch.setattr(screen_limits, "SITUATIONS", {"seen": seen})
    monkeypatch.setattr(sys, "argv", ["screen_limits", "--rounds", "1"])
    assert screen_limits.main() == 0
    assert "named in 1 of 1 rounds, after" in capsys.readouterr().out
    monkeypatch.setattr(screen_limits, "PATIENCE_S", 0.0)
    assert screen_limits.main() == 1
    assert "named in 0 of 1 rounds\n" in capsys.readouterr().out
