"""Compare contestants on a machine that does other things: short slices in turn, and ratios round by round.

A shared machine drifts by a factor of two within minutes. Slices that lie next to each other in time see
nearly the same machine, so the ratio within a round holds where the figures do not, and the median over the
rounds drops the odd slice.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

REPOSITORY = Path(__file__).resolve().parent.parent
SLICE_LIMIT_S = 60.0
STDERR_SHOWN = 2_000


class SliceError(RuntimeError):
    """A slice ended without a figure: it failed, took too long, or printed something else."""


@dataclass(frozen=True)
class Ratio:
    """One contestant against the baseline; `per_round` are its ratios, in the order of the rounds."""

    name: str
    median_per_s: float
    per_round: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.per_round)

    @property
    def least(self) -> float:
        return min(self.per_round)

    @property
    def most(self) -> float:
        return max(self.per_round)


def interleave(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run A B C A B C ..., and return the figures of each contestant, one a round."""
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            figures[name].append(contestant())
    return figures


def ratio_report(
    figures: Mapping[str, Sequence[float]], baseline: str, *, out: TextIO | None = None
) -> dict[str, Ratio]:
    """Print the ratios to `baseline`, round by round, to `out` or standard output, and return them."""
    base = figures[baseline]
    ratios = {
        name: Ratio(name, statistics.median(rates), tuple(a / b for a, b in zip(rates, base, strict=True)))
        for name, rates in figures.items()
    }
    print(ratio_table(ratios.values(), baseline), file=out or sys.stdout, flush=True)
    return ratios


def ratio_table(ratios: Iterable[Ratio], baseline: str) -> str:
    """The ratios as aligned text: the median rate, the ratio's median, least and most, and each round's."""
    head = ("contestant", "median/s", f"x {baseline}", "min", "max", "rounds")
    rows: list[tuple[str, ...]] = [head]
    for ratio in ratios:
        rounds = " ".join(f"{each:.2f}" for each in ratio.per_round)
        spread = (f"{each:.2f}" for each in (ratio.median, ratio.least, ratio.most))
        rows.append((ratio.name, f"{ratio.median_per_s:,.0f}", *spread, rounds))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_aligned(row, widths) for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers, rounds = row
    right = (cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True))
    return "  ".join((name.ljust(widths[0]), *right, rounds))


def subprocess_slice(
    argv: Sequence[str],
    *,
    key: str = "round_trips_per_s",
    limit_s: float = SLICE_LIMIT_S,
    environment: Mapping[str, str] | None = None,
) -> Callable[[], float]:
    """A contestant that runs `argv` and takes `key` from the JSON object on its last line of output.

    It runs in the repository's root, in a process group of its own, killed as a whole after `limit_s`.
    `environment` is added to the present one; it is the place to state what malloc should do.
    """

    def run() -> float:
        process = subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                output, complaints = process.communicate(timeout=limit_s)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise SliceError(f"{_shown(argv)} did not end within {limit_s:g} s") from None
                raise
        if process.returncode != 0:
            tail = complaints.strip()[-STDERR_SHOWN:]
            raise SliceError(f"{_shown(argv)} ended with {process.returncode}: {tail}")
        return _figure(output, key, argv)

    return run


def _figure(output: str, key: str, argv: Sequence[str]) -> float:
    try:
        return float(json.loads(output.strip().splitlines()[-1])[key])
    except (IndexError, KeyError, TypeError, ValueError):
        raise SliceError(f"{_shown(argv)} printed no JSON object with {key} on its last line") from None


def _shown(argv: Sequence[str]) -> str:
    return " ".join(argv)


def environment_line() -> str:
    """Where the figures were taken: Python, uvloop, kernel, cores, processor."""
    try:
        uvloop = f"uvloop {importlib.metadata.version('uvloop')}"
    except importlib.metadata.PackageNotFoundError:
        uvloop = "no uvloop"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    kernel = f"{platform.system()} {platform.release()}"
    return " | ".join((python, uvloop, kernel, f"{os.cpu_count()} cores", _processor()))


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
