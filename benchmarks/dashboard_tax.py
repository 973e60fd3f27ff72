"""What the dashboard costs, and how fast it answers, on a real pty of 120 columns and 40 rows.

``python -m benchmarks.dashboard_tax`` measures, each in a process of its own that draws to a pty which is
read all the time:

- throughput: the engine under the dashboard against the same engine headless, saturated by 100 clients,
  in turn; the figure is the median of the ratios per round;
- key to paint: from writing a key into the pty until the bytes with the new picture have been read. With the
  default experiment a key that changes the permits. With 100 to 9,000 clients that saturate the loop a key
  that turns the timeout, which takes the same way through the engine and leaves the load as it is; and one
  that only moves the cursor;
- loop lag under the dashboard with as many saturating clients;
- CPU of the dashboard alone: one client that asks once a second;
- the start of the installed command until its first panels are painted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import math
import os
import pty
import random
import re
import resource
import select
import signal
import statistics
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from types import TracebackType
from typing import Self

from benchmarks.interleave import (
    REPOSITORY,
    STDERR_SHOWN,
    SliceError,
    environment_line,
    interleave,
    ratio_report,
    subprocess_slice,
)
from benchmarks.ramp import Figures, column, figures_of, in_turn, table
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import RunState
from sockscope.engine.engine import Engine
from sockscope.engine.limits import raise_descriptor_limit
from sockscope.engine.loops import calm_collector, loop_factory
from sockscope.faces.tui.panels.knob_layout import KNOBS
from sockscope.faces.tui.terminal import TerminalEnding

COLUMNS, ROWS = 120, 40
DASHBOARD = (str(Path(sys.executable).with_name("sockscope")), "--no-history")
WARMUP_S = 3.0
"""The first seconds are cheaper: the graphs are not yet full of curves."""
START_LIMIT_S = 20.0
ANSWER_LIMIT_S = 10.0
SPARE_S = 30.0
PAUSES_S = (0.15, 0.55)
"""Keys come irregularly, or they would keep step with the ticks of the screen."""

CROWDS = (100, 1_000, 4_000, 9_000)
TIMEOUT_S = 20.0
"""No request times out, however long so many of them take."""
SATURATED = Tuning(clients=100, permits=0, service_time_s=0.0, request_timeout_s=TIMEOUT_S)
QUIET = Tuning(clients=1, think_time_s=1.0)
LOADS = {
    "saturated": SATURATED,
    "saturated_child": replace(SATURATED, place="child"),
    "saturated_apart": replace(SATURATED, place="apart"),
    "quiet": QUIET,
    **{f"crowd {clients}": replace(SATURATED, clients=clients) for clients in CROWDS},
}

_ESCAPES = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_].*?\x1b\\|[ -/]*[0-Z\\^-~])", re.S
)
_TO_CONTROLLING_TERMINAL = (
    "import fcntl, os, sys, termios; "
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the pty hang up on the process when its owner dies; costs 10 ms of the start."""
_DOWN, _UP, _RIGHT, _LEFT = b"\x1b[B", b"\x1b[A", b"\x1b[C", b"\x1b[D"
_TO_THE_TIMEOUT = (b"1", *(_DOWN,) * (KNOBS.index("timeout") - KNOBS.index("clients")))
"""Into the list of knobs, and from the clients down to the timeout."""


class Terminal:
    """A process with a pty as its terminal; everything it writes is read, and at the end it is gone."""

    def __init__(self, argv: Sequence[str], *, limit_s: float, inherited: Sequence[int] = ()) -> None:
        self._deadline = monotonic() + limit_s
        self._argv = argv
        self._tail = b""
        self._master, slave = pty.openpty()
        try:
            termios.tcsetwinsize(slave, (ROWS, COLUMNS))
            fcntl.fcntl(self._master, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            self.started_s = perf_counter()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _TO_CONTROLLING_TERMINAL, *argv],
                cwd=REPOSITORY,
                env=_terminal_environment(),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                pass_fds=tuple(inherited),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)

    def press(self, keys: bytes) -> None:
        """Write keys as if they were typed."""
        os.write(self._master, keys)

    def chunks(self, seconds: float) -> Iterator[bytes]:
        """Yield what comes within so many seconds, or until the process has closed its terminal."""
        end = monotonic() + seconds
        while (now := monotonic()) < end:
            if now > self._deadline:
                raise SliceError(f"{self._shown} took too long; the last it wrote was: {self.tail!r}")
            ready, _, _ = select.select([self._master], [], [], min(end, self._deadline) - now)
            if not ready:
                continue
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # EIO: nobody has the other side open
                return
            if not data:
                return
            self._tail = (self._tail + data)[-4 * STDERR_SHOWN :]
            yield data

    def drain(self, seconds: float) -> None:
        """Read, and forget it."""
        for _ in self.chunks(seconds):
            pass

    def until(self, *wanted: re.Pattern[str], seconds: float) -> list[float]:
        """Read until each pattern was painted; return when, on ``perf_counter``."""
        seen = b""
        times: dict[re.Pattern[str], float] = {}
        for data in self.chunks(seconds):
            now = perf_counter()
            seen += data
            text = painted(seen)
            for pattern in wanted:
                if pattern not in times and pattern.search(text):
                    times[pattern] = now
            if len(times) == len(wanted):
                return [times[pattern] for pattern in wanted]
        missing = ", ".join(repr(pattern.pattern) for pattern in wanted if pattern not in times)
        raise SliceError(f"{self._shown} did not paint {missing}; the last it wrote was: {self.tail!r}")

    def end(self) -> None:
        """Read until the process has ended; raise when it ended badly."""
        self.drain(max(0.0, self._deadline - monotonic()))
        try:
            code = self._process.wait(timeout=ANSWER_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise SliceError(f"{self._shown} closed its terminal, but does not end") from None
        if code:
            raise SliceError(f"{self._shown} ended with {code}: {self.tail}")

    @property
    def tail(self) -> str:
        """The end of what it wrote, without escape sequences."""
        return painted(self._tail)[-STDERR_SHOWN:]

    @property
    def _shown(self) -> str:
        return " ".join(self._argv)


def painted(data: bytes) -> str:
    """What ``data`` writes onto a terminal, in the order of writing, without escape sequences."""
    return _ESCAPES.sub(b"", data).decode(errors="replace")


def _terminal_environment() -> dict[str, str]:
    dropped = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith(("SOCKSCOPE_", "TEXTUAL"))
    }
    return {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor"}


# Throughput and CPU: measured inside, between two moments.


def dashboard_slice(load: str, seconds: float, warmup_s: float = WARMUP_S) -> Figures:
    """Run the dashboard over a load on a pty and return what it measured of itself."""
    receiver, sender = os.pipe()
    try:
        argv = [
            sys.executable, "-m", "benchmarks.dashboard_tax", "--child", load, "--result", str(sender),
            "--seconds", str(seconds), "--warmup", str(warmup_s),
        ]  # fmt: skip
        with Terminal(argv, limit_s=seconds + warmup_s + SPARE_S, inherited=[sender]) as terminal:
            os.close(sender)
            sender = -1
            terminal.end()
        with open(receiver, encoding="utf-8", closefd=False) as result:
            return figures_of(result.read())
    finally:
        os.close(receiver)
        if sender >= 0:
            os.close(sender)


async def _child(load: str, seconds: float, warmup_s: float) -> Figures:
    from sockscope.faces.tui.terminal import adapt_textual

    adapt_textual()
    with TerminalEnding() as ending:
        return await _measured(load, seconds, warmup_s, ending)


async def _measured(load: str, seconds: float, warmup_s: float, ending: TerminalEnding) -> Figures:
    from sockscope.faces.tui.app import SockscopeApp
    from sockscope.faces.tui.session import Session

    engine = Engine(Experiment(tuning=LOADS[load]))
    app = SockscopeApp(Session(engine), on_started=calm_collector, ending=ending)

    async def measure() -> Figures:
        async with asyncio.timeout(START_LIMIT_S):
            while engine.state is not RunState.RUNNING or not _all_connected(engine):
                await asyncio.sleep(0.05)
        await asyncio.sleep(warmup_s)
        before, cpu, begin = engine.snapshot(), _cpu_s(), perf_counter()
        await asyncio.sleep(seconds)
        after, cpu_s, elapsed = engine.snapshot(), _cpu_s() - cpu, perf_counter() - begin
        app.leave()
        lag = after.resources.loop_lag - before.resources.loop_lag
        return {
            "round_trips_per_s": (after.main.totals.responses - before.main.totals.responses) / elapsed,
            "cpu_ratio": cpu_s / elapsed,
            "lag_p99_s": lag.percentile(0.99) or 0.0,
            "errors": after.main.totals.errors + after.main.totals.timeouts,
        }

    measuring = asyncio.create_task(measure())
    code = await app.run_async()
    if code or app.start_error is not None:
        measuring.cancel()
        raise SystemExit(f"the dashboard ended with {code}: {app.start_error or engine.error}")
    return await measuring


def _all_connected(engine: Engine) -> bool:
    return engine.snapshot().main.connections_open == engine.tuning.connections


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


# Keys.


def _knob(label: str, value: str) -> re.Pattern[str]:
    return re.compile(rf"{label}\s+◂\s+{value} ▸")


class Waits:
    """Times from a key to its picture."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.seconds: list[float] = []

    def press(self, terminal: Terminal, keys: Sequence[tuple[bytes, re.Pattern[str]]], presses: int) -> None:
        """Press the keys alternately, at irregular times."""
        for number in range(presses):
            terminal.drain(self._random.uniform(*PAUSES_S))
            key, wanted = keys[number % len(keys)]
            begin = perf_counter()
            terminal.press(key)
            (end,) = terminal.until(wanted, seconds=ANSWER_LIMIT_S)
            self.seconds.append(end - begin)

    def figures(self, name: str) -> Figures:
        """Name and number of each wait, as figures of a slice."""
        return {f"{name}_{number}": wait for number, wait in enumerate(self.seconds)}


def _keys_limit_s(presses: int, warmup_s: float) -> float:
    return presses * (PAUSES_S[1] + 0.5) + warmup_s + SPARE_S


def default_keys(presses: int, warmup_s: float = WARMUP_S, seed: int = 1) -> Figures:
    """Change the permits of the default experiment."""
    keys = [(b"}", _knob("permits", "100")), (b"{", _knob("permits", "50"))]
    permits = Waits(seed)
    with Terminal([*DASHBOARD], limit_s=_keys_limit_s(presses, warmup_s)) as terminal:
        terminal.until(re.compile("RUNNING"), seconds=START_LIMIT_S)
        terminal.drain(warmup_s)
        permits.press(terminal, keys, presses)
        _quit(terminal)
    return permits.figures("permits")


def crowd_keys(clients: int, presses: int, warmup_s: float = WARMUP_S, seed: int = 1) -> Figures:
    """Turn the timeout, and then only move the cursor, while clients saturate the loop."""
    flags = (
        "--clients", str(clients), "--permits", "0", "--service-time", "0",
        "--timeout", f"{TIMEOUT_S:g}s",
    )  # fmt: skip
    turns = [(_RIGHT, _knob("timeout", "50 s")), (_LEFT, _knob("timeout", "20 s"))]
    below = FIELDS[KNOBS[KNOBS.index("timeout") + 1]].spec.label
    moves = [(_DOWN, re.compile(f"▸{below}")), (_UP, re.compile("▸timeout"))]
    turned, moved = Waits(seed), Waits(seed)
    with Terminal([*DASHBOARD, *flags], limit_s=_keys_limit_s(2 * presses, warmup_s)) as terminal:
        terminal.until(re.compile("RUNNING"), seconds=START_LIMIT_S)
        for key in _TO_THE_TIMEOUT:
            terminal.press(key)
            terminal.drain(0.1)
        terminal.drain(warmup_s)
        turned.press(terminal, turns, presses)
        moved.press(terminal, moves, presses)
        _quit(terminal)
    return turned.figures("timeout") | moved.figures("cursor")


def _quit(terminal: Terminal) -> None:
    terminal.press(b"q")
    terminal.end()


# The start.


def start_slice() -> Figures:
    """Return when the installed command painted its panels, and when their first figures."""
    with Terminal([*DASHBOARD], limit_s=START_LIMIT_S + SPARE_S) as terminal:
        panels, figures = terminal.until(
            re.compile("Throughput"), re.compile("RUNNING"), seconds=START_LIMIT_S
        )
        started_s = terminal.started_s
        terminal.drain(0.2)
        _quit(terminal)
    return {"panels_s": panels - started_s, "figures_s": figures - started_s}


# The report.


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def keys_report(found: Mapping[str, Sequence[Figures]]) -> str:
    """The waits of all rounds together, by kind of key."""
    rows = [("key to paint", "presses", "p50 ms", "p99 ms", "max ms", "target p99")]
    kinds = [("default: permits", "default", "permits_", 40)]
    for clients in CROWDS:
        for key in ("timeout", "cursor"):
            kinds.append((f"{clients:,} saturating: {key}", f"crowd {clients}", f"{key}_", 40))
    for title, name, prefix, target in kinds:
        waits = [wait for figures in found[name] for key, wait in figures.items() if key.startswith(prefix)]
        shown = (percentile(waits, 0.5), percentile(waits, 0.99), max(waits))
        rows.append((title, f"{len(waits):,}", *(f"{each * 1_000:.1f}" for each in shown), f"{target}"))  # type: ignore[arg-type]
    return table(rows)


def lag_report(found: Mapping[str, Sequence[Figures]]) -> str:
    """The lag of the loop that carries the screen and so many clients."""
    rows = [("loop lag under the dashboard", "p99 ms", "worst p99", "requests/s", "target p99")]
    for clients in CROWDS:
        rounds = found[f"crowd {clients}"]
        lags = [lag * 1e3 for lag in column(rounds, "lag_p99_s")]
        rate = statistics.median(column(rounds, "round_trips_per_s"))
        rows.append(
            (
                f"{clients:,} saturating",
                f"{statistics.median(lags):.1f}",
                f"{max(lags):.1f}",
                f"{rate:,.0f}",
                "5",
            )
        )
    return table(rows)


def alone_report(found: Mapping[str, Sequence[Figures]]) -> str:
    """CPU and start."""
    rows = [("alone", "median", "worst", "target")]
    kinds = (
        ("CPU, % of a core", "quiet", "cpu_ratio", 100, 15.0),
        ("start to first paint, s", "start", "panels_s", 1, 1.5),
        ("start to first figures, s", "start", "figures_s", 1, None),
    )
    for title, name, key, factor, target in kinds:
        values = [value * factor for value in column(found[name], key)]
        shown = "" if target is None else f"{target:g}"
        rows.append((title, f"{statistics.median(values):.2f}", f"{max(values):.2f}", shown))
    return table(rows)


def throughput(seconds: float, rounds: int, warmup_s: float) -> None:
    """Take the engine under the dashboard and headless in turn, and print the ratios."""
    engine = [
        sys.executable,
        "-m",
        "benchmarks.engine_tax",
        "--slice",
        "engine-tcp",
        "--seconds",
        str(seconds),
    ]
    slices: dict[str, Callable[[], float]] = {
        "headless": subprocess_slice(engine),
        "dashboard": lambda: dashboard_slice("saturated", seconds, warmup_s)["round_trips_per_s"],
    }
    ratio_report(interleave(slices, rounds), "headless")


def main() -> None:
    """Run everything, or be the child of a slice."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard_tax", description=__doc__)
    parser.add_argument("--child", choices=sorted(LOADS), help=argparse.SUPPRESS)
    parser.add_argument("--result", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=3.0, help="timed part of a slice")
    parser.add_argument("--warmup", type=float, default=WARMUP_S, help="seconds of dashboard before it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--presses", type=int, default=60, help="of each key, in each of up to 3 rounds")
    options = parser.parse_args()
    if options.child:
        raise_descriptor_limit()
        with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
            figures = runner.run(_child(options.child, options.seconds, options.warmup))
        with open(options.result, "w", encoding="utf-8") as result:
            json.dump(figures, result)
        return
    print(environment_line())
    print(f"{COLUMNS}x{ROWS}, {options.rounds} rounds of {options.seconds:g} s\n", flush=True)
    throughput(options.seconds, options.rounds, options.warmup)
    keys: dict[str, Callable[[], Figures]] = {
        "default": lambda: default_keys(options.presses, options.warmup)
    }
    lags: dict[str, Callable[[], Figures]] = {}
    for clients in CROWDS:
        load = f"crowd {clients}"
        keys[load] = partial(crowd_keys, clients, options.presses, options.warmup)
        lags[load] = partial(dashboard_slice, load, options.seconds, options.warmup)
    print(f"\n{lag_report(in_turn(lags, options.rounds))}", flush=True)
    print(f"\n{keys_report(in_turn(keys, min(options.rounds, 3)))}", flush=True)
    alone = {
        "quiet": lambda: dashboard_slice("quiet", options.seconds, options.warmup),
        "start": start_slice,
    }
    print(f"\n{alone_report(in_turn(alone, options.rounds))}")


if __name__ == "__main__":
    main()
