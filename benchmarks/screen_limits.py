"""How often the header names the screen as the limit, where it is: a dashboard on a pseudo-terminal.

``python -m benchmarks.screen_limits --rounds 10`` starts ``sockscope`` in a wide terminal, so many rounds of
each situation, and reads what its header says:

- *screen*: the terminal takes a few kilobytes a second, so pictures are left out;
- *screen CPU*: the dashboard shares a core with another program, and drawing takes half of what it gets.

Nothing but the header's own words counts. It ends with exit code 1 when a round has not said them in time.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import multiprocessing
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.interleave import environment_line

PATIENCE_S = 60.0
"""A round that has not shown its limit by then has failed."""
LEAVE_S = 20.0
_ESCAPE = re.compile(rb"\x1b\[[0-9;?<>=]*[A-Za-z]")
_LIMIT = re.compile(rb" limit  ([ -~]{20,160})")
_KEPT_BYTES = 1 << 18
"""Of what was written last, enough for a whole picture."""


class Situation(NamedTuple):
    """A terminal, who else wants its core, and what the header has to say."""

    columns: int
    rows: int
    bytes_per_s: int
    """What the terminal takes; 0: everything."""
    hogs: int
    says: bytes


SITUATIONS = {
    "screen": Situation(200, 60, 20_000, 0, b"the terminal was too slow for"),
    "screen_cpu": Situation(400, 120, 0, 1, b"of the core that it shares with the run"),
}


def _use_up(core: int) -> None:
    os.sched_setaffinity(0, {core})
    until_s = time.monotonic() + PATIENCE_S + LEAVE_S
    while time.monotonic() < until_s:
        pass


@contextmanager
def _hogs(count: int, core: int) -> Iterator[None]:
    """So many processes that want the core, until the block ends."""
    processes = [multiprocessing.Process(target=_use_up, args=(core,), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _read(master: int, situation: Situation) -> bytes:
    """Take from the terminal what it takes in a hundredth of a second, or whatever is there."""
    if situation.bytes_per_s:
        time.sleep(0.01)
    ready, _, _ = select.select([master], [], [], 0.1)
    if not ready:
        return b""
    with contextlib.suppress(OSError):  # the program has ended
        return os.read(master, situation.bytes_per_s // 100 or 1 << 16)
    return b""


def shown_after_s(situation: Situation) -> float:
    """Return after how many seconds the header said what it has to; inf when it did not."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", situation.rows, situation.columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "sockscope", "--no-history", "--clients", "50"]
    if situation.hogs:
        command = ["taskset", "-c", str(core), *command]
    with _hogs(situation.hogs, core):
        child = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        began_s, shown_s, written = time.monotonic(), float("inf"), bytearray()
        said: list[bytes] = []
        while (now_s := time.monotonic()) < began_s + PATIENCE_S and child.poll() is None:
            written += _read(master, situation)
            text = _ESCAPE.sub(b"", bytes(written))
            said = _LIMIT.findall(text) or said
            if situation.says in text:
                shown_s = now_s - began_s
                break
            del written[:-_KEPT_BYTES]
    if shown_s == float("inf") and said:
        print(f"last: {said[-1].decode().strip()}", flush=True)
    os.write(master, b"q")
    until_s = time.monotonic() + LEAVE_S
    while child.poll() is None and time.monotonic() < until_s:
        _read(master, situation._replace(bytes_per_s=0))
    child.kill()
    child.wait()
    os.close(master)
    os.close(slave)
    return shown_s


def main() -> int:
    """Provoke each of them, in turn, and print how often it was named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(environment_line())
    found: dict[str, list[float]] = {name: [] for name in SITUATIONS}
    for _ in range(rounds):
        for name, situation in SITUATIONS.items():
            found[name].append(shown_after_s(situation))
    missed = 0
    for name, times_s in found.items():
        shown = [at_s for at_s in times_s if at_s < float("inf")]
        missed += len(times_s) - len(shown)
        last = f", after {max(shown):.1f} s at the latest" if shown else ""
        print(f"{name:12} named in {len(shown)} of {len(times_s)} rounds{last}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
