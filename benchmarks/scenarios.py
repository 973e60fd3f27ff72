"""How often the verdict is right: each provoked situation, several times, by the command.

``python -m benchmarks.scenarios --rounds 10`` runs every scenario of ``tests/scenarios`` in turn and prints,
for each, how often the verdict on the run was the one that is expected, and what it was otherwise. It ends
with exit code 1 when fewer than 99 % of them were right. A busy machine is no excuse: where others take the
cores from a run that wants them, that is what the verdict has to say.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable

from benchmarks.interleave import environment_line
from tests.scenarios.scenario import WARMUP_S, Scenario, commanded, scenarios

LEAST_RATIO = 0.99


def wrong(scenario: Scenario, seconds: float, warmup_s: float) -> str:
    """Run a scenario; return what was said instead of what is expected, and nothing if it was that."""
    try:
        said = commanded(scenario, seconds, warmup_s)
    except (RuntimeError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if scenario.holds(said) else f"{said.kind}: {said.sentence}"


def provoke(chosen: Iterable[Scenario], rounds: int, seconds: float, warmup_s: float) -> dict[str, list[str]]:
    """Run each scenario so many times, in turn; return what was wrong with each run, nothing if right."""
    found: dict[str, list[str]] = {}
    for number in range(rounds):
        for scenario in chosen:
            fault = wrong(scenario, seconds, warmup_s)
            found.setdefault(scenario.name, []).append(fault)
            if fault:
                print(f"round {number + 1}, {scenario.name}: {fault}", flush=True)
        faults = [fault for runs in found.values() for fault in runs]
        print(f"after round {number + 1}: {faults.count('')} of {len(faults)} right", flush=True)
    return found


def main() -> int:
    """Provoke what is asked for, and print how often the verdict was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios; all of them by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warmup", type=float, default=WARMUP_S)
    options = parser.parse_args()
    print(environment_line())
    asked = [one for one in scenarios() if not options.names or one.name in options.names]
    for one in asked:
        if one.lacks:
            print(f"{one.name}: left out, this machine lacks {one.lacks}")
    found = provoke([one for one in asked if not one.lacks], options.rounds, options.seconds, options.warmup)
    for name, faults in found.items():
        print(f"{name:30} {faults.count(''):3} right {len(faults) - faults.count(''):3} wrong")
    runs = [fault for faults in found.values() for fault in faults]
    print(f"{runs.count('')} of {len(runs)} right")
    return 0 if runs.count("") >= LEAST_RATIO * len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
