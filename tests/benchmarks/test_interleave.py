"""Contestants take turns, ratios are taken round by round, and no slice can hang."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.interleave import (
    SLICE_LIMIT_S,
    SliceError,
    environment_line,
    interleave,
    ratio_report,
    subprocess_slice,
)
from tests.waiting import until


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def python(code: str, limit_s: float = SLICE_LIMIT_S) -> Callable[[], float]:
    return subprocess_slice([sys.executable, "-c", code], limit_s=limit_s)


def test_contestants_take_turns() -> None:
    ran: list[str] = []

    def contestant(name: str) -> Callable[[], float]:
        def run() -> float:
            ran.append(name)
            return float(len(ran))

        return run

    figures = interleave({name: contestant(name) for name in "ABC"}, rounds=2)
    assert "".join(ran) == "ABCABC"
    assert figures == {"A": [1.0, 4.0], "B": [2.0, 5.0], "C": [3.0, 6.0]}


def test_ratios_are_taken_within_a_round() -> None:
    """The machine halves its speed after the first round; the ratio does not see it."""
    out = io.StringIO()
    ratios = ratio_report({"bare": [1000.0, 500.0, 500.0], "ours": [900.0, 450.0, 400.0]}, "bare", out=out)
    ours = ratios["ours"]
    assert ours.per_round == pytest.approx((0.9, 0.9, 0.8))
    assert (ours.median, ours.least, ours.most) == pytest.approx((0.9, 0.8, 0.9))
    assert ours.median_per_s == 450.0
    assert ratios["bare"].per_round == (1.0, 1.0, 1.0)
    assert out.getvalue().splitlines() == [
        "contestant  median/s  x bare   min   max  rounds",
        "bare             500    1.00  1.00  1.00  1.00 1.00 1.00",
        "ours             450    0.90  0.80  0.90  0.90 0.90 0.80",
    ]


def test_rounds_must_match() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        ratio_report({"bare": [1.0, 2.0], "ours": [1.0]}, "bare")


def test_a_slice_is_the_last_line_of_a_process() -> None:
    code = """print("warming up"); print('{"round_trips_per_s": 12.5, "more": 1}')"""
    assert python(code)() == 12.5


def test_a_slice_gets_the_environment_it_states() -> None:
    code = """import json, os; print(json.dumps({"n": os.environ["SLICE_TEST"]}))"""
    run = subprocess_slice([sys.executable, "-c", code], key="n", environment={"SLICE_TEST": "7"})
    assert run() == 7.0


@pytest.mark.parametrize(
    "code", ["", "print('hello')", "print('[]')", "print('{}')", """print('{"x": null}')"""]
)
def test_a_slice_that_prints_no_figure_fails(code: str) -> None:
    with pytest.raises(SliceError, match="printed no JSON object with round_trips_per_s"):
        python(code)()


def test_a_slice_that_fails_says_why() -> None:
    with pytest.raises(SliceError, match=r"ended with 1: (.|\n)*no such luck"):
        python("raise SystemExit('no such luck')")()


async def test_a_slice_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """The grandchild holds the output open; it must go, too."""
    noted = tmp_path / "pid"
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(noted)!r}, "w").write(str(child.pid))
time.sleep(60)
"""
    with pytest.raises(SliceError, match="did not end within 4 s"):
        python(code, limit_s=4.0)()
    child = int(noted.read_text())
    # It was told to die; when it does is the kernel's affair.
    await until(lambda: is_gone(child), what="the grandchild is gone")


def test_the_environment_is_one_line() -> None:
    line = environment_line()
    assert "\n" not in line
    assert "Python" in line
    assert "cores" in line
