"""Sweeps through the installed command: what they write, what they refuse, and that they are kept."""

import csv
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.cli.command import sockscope

SHORT = ("--rounds", "2", "-d", "50ms", "--warmup", "10ms", "--place", "loop")


def test_a_sweep_is_written_kept_shown_and_compared(tmp_path: Path) -> None:
    file, chart = ("--history", str(tmp_path / "h.db")), tmp_path / "sweep.svg"
    over = ("sweep", "--over", "clients=1,2,4", *SHORT, *file)
    done = sockscope(*over, "--svg", str(chart))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("SockScope sweep: clients 1 … 4 in 3 steps, 2 rounds, slices of 50.0 ms")
    assert f"kept as sweep 1 (sockscope history show 1 --history {file[1]})" in " ".join(done.stdout.split())
    assert "law: X(N) = λN" in done.stdout
    assert ET.parse(chart).getroot().tag.endswith("svg")
    found = json.loads(sockscope("history", "show", "1", "--json", *file).stdout)["report"]
    assert (found["type"], found["slice_s"], found["finished"]) == ("sweep", 0.05, True)
    assert [step["values"] for step in found["steps"]] == [{"clients": n} for n in (1, 2, 4)]
    assert all(step["requests_per_s"]["min"] > 0 for step in found["steps"])
    assert found["curves"][0]["law"]["believed"] is False
    listed = json.loads(sockscope("history", "--json", *file).stdout)["runs"]
    assert [(row["kind"], row["title"]) for row in listed] == [("sweep", "clients 1 … 4")]
    shown = sockscope("history", "show", "1", *file).stdout
    assert "clients=4" in shown
    assert "4 steps hardly" not in shown
    assert "3 steps hardly tell three numbers from chance" in " ".join(shown.split())
    compared = sockscope("diff", "1", "last", *file)
    assert compared.returncode == 0, compared.stderr
    assert "clients=2\nfigure" in compared.stdout


def test_a_condition_that_is_missed_and_csv() -> None:
    over = ("sweep", "--over", "permits=1,2", *SHORT, "--csv", "-q", "--no-history")
    done = sockscope(*over, "--fail-if", "permits=2.requests_per_s>0", "--fail-if", "failed>0")
    assert done.returncode == 3
    assert done.stderr.startswith(
        "sockscope: --fail-if requests_per_s>0 holds: requests_per_s of permits=2 is"
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["permits"], row["round"]) for row in rows] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "1"),
        ("2", "2"),
    ]


def test_what_cannot_be_swept_is_refused() -> None:
    done = sockscope("sweep", "--over", "client=1", "--over", "clients=9..1", "--rounds", "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1:] == [
        "  --over = 'client=1': client is no number that can be turned while a run goes on; "
        "did you mean clients?",
        "  --over = 'clients=9..1' ends below where it begins: 9 is more than 1",
        "  --rounds = 'none' is not a number (for example 250 or 10k)",
    ]
