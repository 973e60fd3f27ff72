"""How often a race, or a diff of two runs, claims a difference between one and the same server and itself.

``python -m benchmarks.equal_pairs`` runs 20 races of two equal contestants and compares 20 pairs of equal
runs, in turn, in about 6.5 minutes, and ends with 1 when more than 1 of the 20 of either claims a difference:
a race that ranks one contestant before the other, or a diff that calls a figure of B better or worse. A
machine that changes between the two runs of a pair (another program begins to compute) makes a difference
that is there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.interleave import environment_line
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.contest import Contest, Contestant
from sockscope.core.results.standing import rows
from sockscope.engine.loops import loop_factory
from sockscope.lab.race import Race

PAIRS = 20
MOST_CLAIMS = 1
CLIENTS = 20
ROUNDS, SLICE_S, WARMUP_S = 6, 0.4, 0.2
RUN_S = 4
SPARE_S = 30.0
"""How much longer than it is to last anything may take."""
CLAIMS = ("better", "worse")


async def _race() -> str:
    """Return what a race of two equal contestants claims; empty: nothing."""
    experiment = Experiment(Tuning(clients=CLIENTS, permits=0, service_time_s=0.0, place="apart"))
    contest = Contest(
        (Contestant("A", experiment), Contestant("B", experiment)),
        rounds=ROUNDS, slice_s=SLICE_S, warmup_s=WARMUP_S,
    )  # fmt: skip
    async with asyncio.timeout(2 * ROUNDS * (SLICE_S + WARMUP_S) + SPARE_S):
        standing = await Race(contest).result()
    if standing.faults:
        raise SystemExit("; ".join(f"{name}: {why}" for name, why in standing.faults.items()))
    first, second = rows(standing)
    if first.rank == second.rank:
        return ""
    ahead = first.ratio.median if first.name != "A" else 1 / (second.ratio.median or 1.0)
    return f"{first.name} is {ahead or 0.0:.3f} times as fast"


def _sockscope(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sockscope", *arguments],
        env={**os.environ, "SOCKSCOPE_HISTORY": str(folder / "history.db")},
        capture_output=True, text=True, timeout=RUN_S + SPARE_S,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"sockscope {' '.join(arguments)} failed: {done.stderr.strip()[-2_000:]}")
    return done.stdout


def _diff(folder: Path) -> str:
    """Return what a diff of two equal runs claims; empty: nothing."""
    for name in ("a.json", "b.json"):
        run = ("run", "--clients", str(CLIENTS), "--permits", "0", "--service-time", "0", "--place", "apart")
        (folder / name).write_text(_sockscope(folder, *run, "--duration", f"{RUN_S}s", "--json"))
    told = json.loads(_sockscope(folder, "diff", "--json", str(folder / "a.json"), str(folder / "b.json")))
    figures = [{"figure": name, **figure} for name, figure in told["figures"].items()]
    claims = [figure for figure in figures if figure["verdict"] in CLAIMS]
    return ", ".join(f"{one['figure']} {one['verdict']} ({one['change_ratio']:+.1%})" for one in claims)


def main() -> int:
    """Run all pairs, and print those that claim a difference."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equal_pairs", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    pairs = parser.parse_args().pairs
    claims = {"race": 0, "diff": 0}
    print(environment_line(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        for number in range(1, pairs + 1):
            with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
                found = {"race": runner.run(_race()), "diff": _diff(Path(name))}
            for kind, claim in found.items():
                claims[kind] += bool(claim)
                print(f"{kind} {number}: {claim or 'no difference shown'}", flush=True)
    for kind, count in claims.items():
        print(f"{kind}: {count} of {pairs} claim a difference (at most {MOST_CLAIMS} of {PAIRS})")
    return int(any(count * PAIRS > MOST_CLAIMS * pairs for count in claims.values()))


if __name__ == "__main__":
    sys.exit(main())
