"""A new knob is one entry, a new server model one entry and one file: each done in a copy of the package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sockscope

PACKAGE = Path(sockscope.__file__).parent
TESTS = Path(__file__).parent
KNOB = """
    jitter_s: float = declared(0.0, "jitter", "jitter", Kind.DURATION,
        "spread of the think time", high=60, smallest_step=0.001,
        role=SWARM, subject=Subject.WORKLOAD, new_sockets=True, knob=Knob(115, "j", compact=True),
        flag=Flag("-j"))  # fmt: skip
    budget: int = declared(0, "budget", "budget", Kind.COUNT,
        "a limit that the server processes share", high=9, zero_word="off",
        role=SERVER, transport="tcp", of_model=True, of_loop=True, subject=Subject.SETUP, divided=True,
        varied=False, knob=Knob(300), flag=Flag(in_race=False))  # fmt: skip
"""
BEFORE_A_FIELD = "    think_time_s: float = declared("
EVERYWHERE = """
from dataclasses import replace
from sockscope.core.config.applicability import idle_fields, without_effect
from sockscope.core.config.division import divided
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning, describe_change
from sockscope.core.results.comparison import Side, compare
from sockscope.faces.tui.panels.knob_layout import KNOBS, SHORT
from sockscope.core.results.run_result import report
from sockscope.lab.contestants import VARIED
from tests.core.runs import both

assert KNOBS[KNOBS.index("think_time") + 1] == "jitter" and KNOBS[-1] == "budget"
assert "jitter" in SHORT and "budget" not in SHORT
assert "jitter" in VARIED and "budget" not in VARIED
tuning = Tuning(budget=5)
assert [divided(tuning, "server", index, 2).budget for index in range(2)] == [3, 2]
assert tuning.needs_new_sockets(replace(tuning, jitter_s=1.0))
assert not tuning.needs_new_sockets(replace(tuning, budget=1))
assert describe_change(tuning, replace(tuning, jitter_s=1.0)) == "jitter 0 \u2192 1 s"
assert [fault.field for fault in replace(tuning, budget=10).field_faults()] == ["budget"]
assert without_effect(Experiment(role="server")).keys() >= {"jitter"}
assert without_effect(Experiment(handler="a:b")).keys() >= {"budget"}
assert "budget" in idle_fields(Experiment(), Tuning(transport="udp"))
assert "budget" in idle_fields(Experiment(), Tuning(server="epoll"))
assert "budget" not in idle_fields(Experiment(), Tuning())
sides = [
    Side(name, report(replace(both(), tuning=Tuning(jitter_s=value)), {}))
    for name, value in (("A", 0.0), ("B", 1.0))
]
assert "the workloads differ (jitter)" in " ".join(compare(*sides).doubts)
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of the package, compiled as far as it is; others may be compiling more just now."""
    shutil.copytree(PACKAGE, tmp_path / "sockscope", ignore=shutil.ignore_patterns("*.pyc.*"))
    return tmp_path


def python(folder: Path, *arguments: str, status: int = 0, **environ: str) -> str:
    """Run Python on the copy in ``folder`` and return what it prints."""
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{TESTS.parent}", "COLUMNS": "200", **environ}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def add(path: Path, before: str, text: str) -> None:
    source = path.read_text()
    assert source.count(before) == 1
    path.write_text(source.replace(before, text + before))


def test_a_knob_is_one_entry(copied: Path) -> None:
    add(copied / "sockscope" / "core" / "config" / "tuning.py", BEFORE_A_FIELD, KNOB.lstrip("\n"))
    python(copied, "-c", EVERYWHERE)
    sockscope = ("-m", "sockscope")
    flag, limit = "-j, --jitter TIME", "--budget N"
    for command, shown in {"run": (True, True), "serve": (False, True), "race": (True, False)}.items():
        told = python(copied, *sockscope, command, "--help")
        assert (flag in told, limit in told) == shown
    told = python(copied, *sockscope, "run", "-j", "5ms", "--print-spec", SOCKSCOPE_BUDGET="3")
    assert 'jitter = "5ms"' in told
    assert "budget = 3" in told
    refused = python(copied, *sockscope, "serve", "--print-spec", "--budget", "10", status=2)
    assert "--budget = 10 must be at most 9" in refused


def test_a_server_model_is_one_entry_and_one_file(copied: Path) -> None:
    package = copied / "sockscope"
    add(
        package / "core" / "config" / "models.py",
        '        ServerModel(\n            "buffered"',
        '        ServerModel("twin", "tcp", "asyncio.twin", "the same again"),\n',
    )
    models = package / "engine" / "servers" / "asyncio"
    shutil.copy(models / "protocol.py", models / "twin.py")
    told = python(
        copied, "-m", "sockscope", "run", "--server", "twin", "-c", "2", "-n", "20", "--json", "--no-history"
    )  # fmt: skip
    report = json.loads(told)
    assert (report["experiment"]["server"], report["totals"]["responses"]) == ("twin", 20)
    assert "twin/uvloop" in python(
        copied, "-c", "from sockscope.lab.contestants import *\n"
        "from sockscope.core.config.experiment import Experiment\n"
        "print([c.name for c in contestants_of(all_entries('tcp'), Experiment())[0]])",
    )  # fmt: skip
