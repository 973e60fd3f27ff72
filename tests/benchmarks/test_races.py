"""The scripts about races and placement run, end, and print figures that make sense."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import pytest

from benchmarks import placement, race_guide
from benchmarks.interleave import REPOSITORY
from benchmarks.ramp import slice_of
from sockscope.core.results.contest import Contest
from sockscope.core.results.standing import Standing
from tests.core.races import batches, contestant

LIMIT_S = 90.0


def run(module: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("place", placement.PLACES[-1:])
def test_a_slice_in_each_place(place: str) -> None:
    found = slice_of("benchmarks.placement", "--slice", place, "--seconds", 0.1, limit_s=LIMIT_S)()
    assert set(found) == {"round_trips_per_s"}
    assert math.isfinite(found["round_trips_per_s"])
    assert found["round_trips_per_s"] > 0


def test_the_start_of_a_child() -> None:
    found = slice_of("benchmarks.placement", "--slice", "start", limit_s=LIMIT_S)()
    assert 0 < found["start_s"] < LIMIT_S


def test_starts_are_reported() -> None:
    lines = placement.starts_report([{"start_s": 0.2}, {"start_s": 0.4}, {"start_s": 0.1}]).splitlines()
    assert lines[1].split() == ["3", "200", "400", "300"]
    assert len({len(line) for line in lines}) == 1


def test_the_script_is_bounded_by_its_options() -> None:
    done = run("benchmarks.placement", "--help")
    assert {"--rounds", "--seconds", "--warmup"} <= set(re.findall(r"--[a-z]+", done.stdout))


def test_the_guide_counts_its_connections() -> None:
    """Other tests connect at the same time, so the kernel may count more than the race makes."""
    done = run("benchmarks.race_guide", "--rounds", 1, "--requests", 5, "--json")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    found = json.loads(line)
    assert found["connections"] > 0
    assert found["passive_opens"] is None or found["passive_opens"] >= found["connections"]
    assert found["times_as_fast"] > 0


def test_connections_of_a_race() -> None:
    two = Contest((contestant("a"), contestant("b")), rounds=3, requests=100)
    assert race_guide.connections_of(two) == 2 * (1 + 3 * (10 + 100))


def test_the_report_of_the_guide() -> None:
    contest = Contest((contestant("slow"), contestant("fast"), contestant("gone")), rounds=2, requests=100)
    laps = {"slow": batches(10.0, 10.2), "fast": batches(0.1, 0.102), "gone": ()}
    lines = race_guide.report(Standing(contest, laps=laps, faults={"gone": "no such luck"})).splitlines()
    assert "100.0 times as fast as slow" in lines[0]
    assert lines[0].startswith("fast")
    assert lines[2].split() == ["gone", "no", "such", "luck"]
