"""The guide's experiment, checked against the kernel: `python -m benchmarks.race_guide`.

100 clients connect at once, ask once and close, with 100 ms of service time; blocking, asyncio and uvloop in
turn. Prints the times, the ratio of blocking to each of the others, and how many connections the race made by
its own account and by the kernel's: PassiveOpens of `/proc/net/snmp`, of the whole network namespace, so that
nothing else may connect meanwhile (`unshare -n` gives it one of its own). It takes about 12 s a round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import replace

from benchmarks.interleave import environment_line
from sockscope.core.results.contest import Contest
from sockscope.core.results.standing import Standing, baseline_of, rows
from sockscope.engine.loops import loop_factory
from sockscope.lab.lane import WARMUP_REQUESTS
from sockscope.lab.presets import PRESETS, contest_of, workload_of
from sockscope.lab.race import Race

SPARE_S = 60.0
ROUND_LIMIT_S = 60.0
TARGET_RATIO = 80.0


def passive_opens() -> int | None:
    """Connections that listeners of this network namespace have accepted; None where that is not told."""
    try:
        with open("/proc/net/snmp", encoding="ascii") as file:
            names, values = (line.split() for line in file if line.startswith("Tcp:"))
    except (OSError, ValueError):
        return None
    return int(dict(zip(names, values, strict=True))["PassiveOpens"])


def connections_of(contest: Contest) -> int:
    """Connections that the race makes: one of each contestant to begin with, and in every round a batch and
    the small one before it."""
    small = min(WARMUP_REQUESTS, contest.requests)
    return len(contest.contestants) * (1 + contest.rounds * (small + contest.requests))


async def measure(contest: Contest) -> Standing:
    """Run the race to its end, in bounded time."""
    async with asyncio.timeout(SPARE_S + contest.rounds * ROUND_LIMIT_S):
        return await Race(contest).result()


def report(standing: Standing) -> str:
    """The times, and how many times as fast as the baseline each contestant was."""
    lines = []
    for row in rows(standing):
        spread = row.figures["duration_s"]
        if spread.median is None or row.ratio.median is None:
            lines.append(f"{row.name:18}  {row.fault or 'no figure'}")
            continue
        lines.append(
            f"{row.name:18}  {spread.median:8.4f} s ({spread.min:.4f} to {spread.max:.4f})  "
            f"{row.ratio.median:6.1f} times as fast as {baseline_of(standing)}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run it, print it, and fail when the kernel counted something else."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race_guide", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=100, help="connections of a batch")
    parser.add_argument("--json", action="store_true", help="print one JSON object, too")
    options = parser.parse_args()
    preset = PRESETS["guide"]
    workload = replace(workload_of(preset), requests=options.requests)
    contest = contest_of(workload, preset, rounds=options.rounds)
    print(environment_line(), flush=True)
    before = passive_opens()
    with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
        standing = runner.run(measure(contest))
    after = passive_opens()
    print(report(standing))
    for name, why in contest.left_out:
        print(f"{name} does not take part: {why}")
    wanted = connections_of(contest)
    counted = after - before if after is not None and before is not None else None
    print(f"connections: {wanted:,} made, PassiveOpens {'unknown' if counted is None else f'{counted:,}'}")
    if options.json:
        best = rows(standing)[0]
        figures = {"connections": wanted, "passive_opens": counted, "times_as_fast": best.ratio.median}
        print(json.dumps(figures))
    if standing.faults:
        raise SystemExit("; ".join(f"{name}: {why}" for name, why in standing.faults.items()))
    if counted is not None and counted != wanted:
        raise SystemExit(f"the kernel counted {counted - wanted:+,} connections")


if __name__ == "__main__":
    main()
