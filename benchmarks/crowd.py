"""What many clients cost: throughput and loop lag over the number of saturating clients, on one loop.

``python -m benchmarks.crowd --before REVISION`` runs, in turn and for each number of clients N, this tree's
``sockscope run``, the same command of another revision (checked out into a temporary folder), a bare uvloop
pair and a pure C epoll pair. Figures are the median of the ratios per round: to the same contestant at the
smallest N, and between contestants at the same N. The engine measures when all clients are connected.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.baselines import native
from benchmarks.interleave import REPOSITORY, SLICE_LIMIT_S, SliceError, environment_line, subprocess_slice
from benchmarks.ramp import table

CLIENTS = (100, 1_000, 4_000, 9_000)
HERE, BEFORE, BARE, C = "here", "before", "bare uvloop", "C epoll"
TIMEOUT = "60s"
"""No request times out, however long N of them take."""
WARMUP_S = 0.5
CONNECTS_PER_S = 2_500
"""Connections that the slowest contestant makes in a second; the warm-up is as long as that takes."""


@dataclass(frozen=True)
class Slice:
    """One contestant with N clients for a moment: requests per second, and the engine's loop lag."""

    rate_per_s: float
    lag_p99_ms: float | None = None


def engine_slice(tree: Path, clients: int, seconds: float, transport: str) -> Slice:
    """Run ``sockscope run`` of a checkout; raise SliceError when it failed or clients are missing."""
    warmup_s = WARMUP_S + clients / CONNECTS_PER_S
    argv = [
        sys.executable, "-m", "sockscope", "run", "--quiet", "--no-history", "--json",
        "--clients", str(clients), "--permits", "0", "--service-time", "0", "--timeout", TIMEOUT,
        "--warmup", f"{warmup_s:.2f}s", "--duration", f"{seconds:.2f}s", f"--{transport}",
    ]  # fmt: skip
    done = subprocess.run(
        argv, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=SLICE_LIMIT_S + warmup_s + seconds, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SliceError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr[-500:]}")
    report = json.loads(done.stdout)
    if report["clients"]["connections_open"] != clients or report["totals"]["errors"]:
        raise SliceError(f"{clients:,} clients: {report['clients']}, {report['totals']['errors']} errors")
    return Slice(report["rates"]["requests_per_s"], report["resources"]["loop_lag_p99_s"] * 1e3)


def _baseline(name: str, clients: int, seconds: float) -> Callable[[], float]:
    words = ["--connections", str(clients), "--seconds", str(seconds), "--warmup", str(WARMUP_S)]
    command = [sys.executable, "-m", "benchmarks.baselines", "--slice", name, *words]
    return subprocess_slice(command, limit_s=SLICE_LIMIT_S + seconds)


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Yield a folder with another revision of this repository; it is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(REPOSITORY), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def contestants(
    before: Path | None, clients: int, seconds: float, transport: str
) -> dict[str, Callable[[], Slice]]:
    """Return what is run in turn with so many clients, by name."""
    found: dict[str, Callable[[], Slice]] = {
        HERE: lambda: engine_slice(REPOSITORY, clients, seconds, transport)
    }
    if before is not None:
        found[BEFORE] = lambda: engine_slice(before, clients, seconds, transport)
    bare = _baseline(f"uvloop_{transport}", clients, seconds)
    found[BARE] = lambda: Slice(bare())
    if native.build() is not None:
        pure = _baseline(f"c_{transport}", clients, seconds)
        found[C] = lambda: Slice(pure())
    return found


def measure(
    before: Path | None, sizes: Sequence[int], seconds: float, rounds: int, transport: str
) -> dict[tuple[str, int], list[Slice]]:
    """Run every contestant with every number of clients, round by round."""
    by_size = {clients: contestants(before, clients, seconds, transport) for clients in sizes}
    found: dict[tuple[str, int], list[Slice]] = {}
    for number in range(rounds):
        for clients, slices in by_size.items():
            for name, run in slices.items():
                try:
                    found.setdefault((name, clients), []).append(run())
                except SliceError as error:
                    print(f"round {number + 1}, {name}, {clients:,} clients: {error}", file=sys.stderr)
    return found


def ratio(found: dict[tuple[str, int], list[Slice]], one: tuple[str, int], other: tuple[str, int]) -> str:
    """Return the median and the extremes of a ratio per round; a dash when one of the two never ran."""
    pairs = zip(found.get(one, []), found.get(other, []), strict=False)
    ratios = [a.rate_per_s / b.rate_per_s for a, b in pairs]
    if not ratios:
        return "-"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"


def report(found: dict[tuple[str, int], list[Slice]], sizes: Sequence[int]) -> str:
    """Return the table: a row for each contestant and number of clients."""
    others = (BEFORE, BARE, C)
    head = ("clients", "contestant", "requests/s", f"x N = {sizes[0]:,}", *(f"x {name}" for name in others))
    rows: list[Sequence[str]] = [(*head, "lag p99 ms")]
    for clients in sizes:
        for name in (HERE, *others):
            slices = found.get((name, clients), [])
            if slices:
                rate = statistics.median(one.rate_per_s for one in slices)
                key = (name, clients)
                ratios = [ratio(found, key, (other, clients)) if other != name else "1" for other in others]
                alone = ratio(found, key, (name, sizes[0]))
                rows.append((f"{clients:,}", name, f"{rate:,.0f}", alone, *ratios, _lag(slices)))
    return table(rows)


def _lag(slices: Sequence[Slice]) -> str:
    lags = [one.lag_p99_ms for one in slices if one.lag_p99_ms is not None]
    return f"{statistics.median(lags):.1f} (worst {max(lags):.1f})" if lags else "-"


def main() -> None:
    """Run the comparison and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", metavar="REVISION", help="another revision of this repository to compare")
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(environment_line())
    with contextlib.ExitStack() as stack:
        before = stack.enter_context(checkout(options.before)) if options.before else None
        found = measure(before, options.clients, options.seconds, options.rounds, options.transport)
    print(report(found, options.clients))


if __name__ == "__main__":
    main()
