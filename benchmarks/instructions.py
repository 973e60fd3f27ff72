"""Instructions per answer: what the engine, the lens and the relay cost, on a machine however busy.

``python -m benchmarks.instructions`` runs the engine under callgrind (Valgrind), which counts the
instructions of the process, those of the kernel left out. Under it a program is fifty times slower, so time
is that of ``virtual_clock.c``: it goes on with each send, at a stated number of answers a second. ``--tree``
counts another checkout's engine instead. It needs gcc, Valgrind and its headers, and Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.interleave import REPOSITORY, environment_line

HERE = Path(__file__).resolve().parent
LIMIT_S = 1_200.0
ENGINE = ("answers", "answers", "picture", "picture")
LENS = ("off", "on", "off", "on")
FAULTS = ("none", "none", "fault", "none", "none")
SITUATIONS: dict[str, dict[str, Any]] = {
    "tcp": {"knobs": {"clients": 100}, "answers_per_s": 70_000},
    "permits": {"knobs": {"clients": 100, "permits": 50}, "answers_per_s": 25_000},
    "pool": {"knobs": {"clients": 100, "pool": 20}, "answers_per_s": 22_000},
    "open": {
        "knobs": {"clients": 50, "rate": 20_000},
        "answers_per_s": 20_000,
        "windows": ("answers",) * 3,
    },
    "udp": {"knobs": {"clients": 100, "transport": "udp"}, "answers_per_s": 45_000},
    "relayed": {
        "knobs": {"clients": 100},
        "answers_per_s": 25_000,
        "relayed": True,
        "windows": ("answers",) * 3,
    },
    "relayed-udp": {
        "knobs": {"clients": 100, "transport": "udp"},
        "answers_per_s": 18_000,
        "relayed": True,
        "windows": ("answers",) * 3,
    },
    "faults": {"knobs": {"clients": 100}, "answers_per_s": 70_000, "windows": FAULTS},
    "faults-udp": {
        "knobs": {"clients": 100, "transport": "udp"},
        "answers_per_s": 45_000,
        "windows": FAULTS,
        "fault": "delay=100us",
    },
    "lens-asyncio-1": {"loop": "asyncio", "knobs": {"clients": 1}, "answers_per_s": 17_000},
    "lens-asyncio-100": {"loop": "asyncio", "knobs": {"clients": 100}, "answers_per_s": 27_000},
    "lens-uvloop-1": {"knobs": {"clients": 1}, "answers_per_s": 30_000},
    "lens-uvloop-100": {"knobs": {"clients": 100}, "answers_per_s": 40_000},
}
_DUMPED = re.compile(r"^desc: Trigger: Client Request: (\S+)", re.M)
_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.M)


def built_clock(folder: Path) -> Path:
    """Return the compiled clock; ends with a sentence when what that takes is missing."""
    for program in ("gcc", "valgrind"):
        if shutil.which(program) is None:
            raise SystemExit(
                f"{program} is missing: it counts nothing without (apt-get install gcc valgrind)"
            )
    made = folder / "virtual_clock.so"
    compiled = subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-o", made, HERE / "virtual_clock.c"],
        capture_output=True,
        text=True,
    )
    if compiled.returncode:
        raise SystemExit(f"virtual_clock.c does not compile here: {compiled.stderr.strip().splitlines()[0]}")
    return made


def counted(name: str, tree: Path, clock: Path, folder: Path) -> list[tuple[str, float]]:
    """Return each window of a situation with its instructions per answer, or per picture."""
    lens = name.startswith("lens")
    given = {"loop": "uvloop", "seconds": 0.4 if lens else 0.1, "windows": LENS if lens else ENGINE}
    out = folder / name
    command = [
        "valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}",
        sys.executable, str(HERE / "counted.py"), json.dumps({**given, **SITUATIONS[name]}),
    ]  # fmt: skip
    env = {**os.environ, "LD_PRELOAD": str(clock), "PYTHONHASHSEED": "0", "PYTHONPATH": str(tree)}
    try:
        process = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{name} was not over after {LIMIT_S:.0f} s: the machine is too busy") from None
    if process.returncode:
        raise SystemExit(f"{name} failed: {process.stderr.strip()[-2_000:]}")
    answers = json.loads(process.stdout.strip().splitlines()[-1])
    dumps = sorted(folder.glob(f"{name}.*"), key=lambda path: int(path.suffix[1:]))
    texts = [text for path in dumps if (text := path.read_text()) and _DUMPED.search(text)]
    return [(_first(_DUMPED, text), int(_first(_TOTAL, text)) / count)
            for text, count in zip(texts, answers, strict=True)]  # fmt: skip


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    assert found is not None
    return found[1]


def main() -> None:
    """Count, and print a line per situation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=SITUATIONS)
    parser.add_argument("--tree", type=Path, default=REPOSITORY)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clock = built_clock(folder)
        print(environment_line())
        for situation in options.only or SITUATIONS:
            windows = counted(situation, options.tree.resolve(), clock, folder)
            print(
                f"{situation:18}", *(f"{what} {count:,.0f}" for what, count in windows), sep="  ", flush=True
            )


if __name__ == "__main__":
    main()
