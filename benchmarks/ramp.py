"""How fast a thousand more clients come onto a loop that a thousand clients keep busy.

``python -m benchmarks.ramp`` starts the engine with 1,000 clients, waits until they are busy, applies twice
as many and takes the time until the connections are open at both ends. ``saturated`` has no permits and no
service time, ``default`` has those of the default experiment; ``+ reader`` takes a snapshot four times
a second, as a dashboard does. The loop's lag is how much later than due a timer of 2 ms ran meanwhile. Each
slice is a process of its own; figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

from benchmarks.interleave import REPOSITORY, STDERR_SHOWN, SliceError, environment_line
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import Cursors
from sockscope.engine.engine import Engine
from sockscope.engine.limits import open_descriptors
from sockscope.engine.loops import loop_factory

CLIENTS = 1_000
POLL_S = 0.002
READER_S = 0.25
RAMP_LIMIT_S = 45.0
SPARE_S = 30.0
"""What a slice may take beyond its own limits, to start and to close."""
TARGET_S = 0.5

Figures = dict[str, float]
SATURATED = Tuning(permits=0, service_time_s=0.0)
SHAPES = {"saturated": SATURATED, "default": Tuning()}
SLICES = [name + suffix for name in SHAPES for suffix in ("", "+reader")]


# For every script that takes more than one figure from a slice.


def slice_of(module: str, *words: object, limit_s: float) -> Callable[[], Figures]:
    """A slice ``python -m module words`` that returns the JSON object on its last line.

    It is killed, with what it started, after ``limit_s``.
    """
    argv = [sys.executable, "-m", module, *map(str, words)]

    def run() -> Figures:
        with subprocess.Popen(
            argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                output, complaints = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                raise SliceError(f"{' '.join(argv)} did not end within {limit_s:g} s") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode != 0:
            tail = complaints.strip()[-STDERR_SHOWN:]
            raise SliceError(f"{' '.join(argv)} ended with {process.returncode}: {tail}")
        return figures_of(output)

    return run


def figures_of(output: str) -> Figures:
    """The JSON object of numbers on the last line of ``output``."""
    try:
        found = json.loads(output.strip().splitlines()[-1])
        return {str(name): float(value) for name, value in found.items()}
    except (IndexError, AttributeError, TypeError, ValueError):
        raise SliceError(f"no figures, but {output.strip()[-STDERR_SHOWN:]!r}") from None


def in_turn(slices: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """Run A B C A B C ..., and return what each slice measured, one entry a round."""
    found: dict[str, list[Figures]] = {name: [] for name in slices}
    for _ in range(rounds):
        for name, run in slices.items():
            found[name].append(run())
    return found


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join((row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))))
        for row in rows
    )


def column(rounds: Sequence[Figures], name: str) -> list[float]:
    """One figure of every round."""
    return [figures[name] for figures in rounds]


# The ramp.


async def ramp(tuning: Tuning, clients: int, seconds: float, *, reader: bool) -> Figures:
    """Begin with ``clients``, let them run for ``seconds``, double them, and time that."""
    tuning = replace(tuning, clients=clients)
    spare = open_descriptors() or 0
    async with Engine(Experiment(tuning=tuning)) as engine, asyncio.timeout(2 * RAMP_LIMIT_S):
        first_s, _ = await _until_open(engine, clients, spare)
        with _reading(engine if reader else None):
            await asyncio.sleep(seconds)
            spare = (open_descriptors() or 0) - 2 * clients
            begin, before = perf_counter(), engine.snapshot()
            await engine.apply(replace(tuning, clients=2 * clients))
            applied_s = perf_counter() - begin
            ramp_s, lag_s = await _until_open(engine, 2 * clients, spare)
            after = engine.snapshot()
        errors = after.main.totals.errors + after.main.totals.timeouts + after.main.totals.connections_failed
        answers = after.main.totals.responses - before.main.totals.responses
    return {
        "first_s": first_s,
        "applied_s": applied_s,
        "ramp_s": applied_s + ramp_s,
        "worst_lag_s": max(lag_s, applied_s),
        "responses_per_s": answers / (applied_s + ramp_s),
        "errors": errors,
    }


async def _until_open(engine: Engine, connections: int, spare: int) -> tuple[float, float]:
    """Return how long it took until so many connections are open at both ends, and the worst lag."""
    begin = last = perf_counter()
    worst = 0.0
    while not _are_open(engine, connections, spare):
        await asyncio.sleep(POLL_S)
        now = perf_counter()
        worst, last = max(worst, now - last - POLL_S), now
        if now - begin > RAMP_LIMIT_S:
            raise SystemExit(f"{connections:,} connections were not open within {RAMP_LIMIT_S:g} s")
    return perf_counter() - begin, worst


def _are_open(engine: Engine, connections: int, spare: int) -> bool:
    # A snapshot of thousands of connections costs milliseconds. There cannot be more connections than
    # descriptors for them, so those are counted first.
    descriptors = open_descriptors()
    if descriptors is not None and descriptors < spare + 2 * connections:
        return False
    snapshot = engine.snapshot()
    ends = [role.connections_open for role in (snapshot.server, snapshot.swarm) if role is not None]
    return len(ends) == 2 and min(ends) >= connections


@contextmanager
def _reading(engine: Engine | None) -> Iterator[None]:
    """Take a snapshot every quarter of a second meanwhile."""
    if engine is None:
        yield
        return
    reader = asyncio.create_task(_read(engine))
    try:
        yield
    finally:
        reader.cancel()


async def _read(engine: Engine) -> None:
    cursors = Cursors()
    while True:
        await asyncio.sleep(READER_S)
        cursors = replace(cursors, events=engine.snapshot(cursors).events_cursor)


def report(found: Mapping[str, Sequence[Figures]], clients: int) -> str:
    """The table."""
    more = f"{clients:,}"
    rows = [
        (
            "slice",
            f"first {more} s",
            f"{more} more s",
            "worst s",
            "target s",
            "worst lag ms",
            "answers/s",
            "errors",
        )
    ]
    for name, rounds in found.items():
        rows.append(
            (
                name.replace("+", " + "),
                f"{statistics.median(column(rounds, 'first_s')):.2f}",
                f"{statistics.median(column(rounds, 'ramp_s')):.2f}",
                f"{max(column(rounds, 'ramp_s')):.2f}",
                f"{TARGET_S:.2f}",
                f"{max(column(rounds, 'worst_lag_s')) * 1_000:,.0f}",
                f"{statistics.median(column(rounds, 'responses_per_s')):,.0f}",
                f"{sum(column(rounds, 'errors')):,.0f}",
            )
        )  # fmt: skip
    return table(rows)


def main() -> None:
    """Run the slices in turn, or one of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ramp", description=__doc__)
    parser.add_argument("--slice", choices=SLICES, help="run this one here and print JSON")
    parser.add_argument(
        "--clients", type=int, default=CLIENTS, help="clients at first, and how many more come"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="traffic before the ramp")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.slice:
        shape, _, reader = options.slice.partition("+")
        with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
            figures = runner.run(ramp(SHAPES[shape], options.clients, options.seconds, reader=bool(reader)))
        print(json.dumps(figures))
        return
    print(environment_line())
    limit_s = 2 * RAMP_LIMIT_S + options.seconds + SPARE_S
    words = ("--clients", options.clients, "--seconds", options.seconds)
    slices = {name: slice_of("benchmarks.ramp", "--slice", name, *words, limit_s=limit_s) for name in SLICES}
    print(report(in_turn(slices, options.rounds), options.clients))


if __name__ == "__main__":
    main()
