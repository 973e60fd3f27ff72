"""The pure C baseline: compiled on demand, run in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import platformdirs

from benchmarks.baselines import BaselineError

SOURCE = Path(__file__).with_name("echo_pair.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O2", "-std=c11")
COMPILE_LIMIT_S = 60.0
SPARE_S = 30.0
"""What a run may take beyond its seconds, to connect and to end."""


def build(directory: Path | None = None) -> Path | None:
    """Compile `echo_pair.c` and return the program, or None where it cannot be had: no compiler, or no epoll.

    It is kept in `directory` (by default the user's cache), under a name that changes with source, compiler
    and flags; one that is there already is not compiled again.
    """
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if sys.platform != "linux" or compiler is None:
        return None
    directory = directory or platformdirs.user_cache_path("sockscope") / "baselines"
    directory.mkdir(parents=True, exist_ok=True)
    recipe = repr((SOURCE.read_bytes(), compiler, FLAGS, platform.machine()))
    program = directory / f"echo_pair-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    if not program.exists():
        _compile(compiler, program)
    return program


def _compile(compiler: str, program: Path) -> None:
    """Compile beside the target and move into place, so that nobody runs half a program."""
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        fresh = Path(scratch) / program.name
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(fresh)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S, check=False)
        if done.returncode != 0:
            raise BaselineError(f"{compiler} failed: {done.stderr.strip()}")
        os.replace(fresh, program)


def run_pair(
    transport: Literal["tcp", "udp"],
    connections: int,
    size: int,
    seconds: float,
    *,
    program: Path | None = None,
) -> float:
    """Round trips per second of both ends in one C process, on one epoll loop in one thread.

    Without `program` it is built first. Connecting is not timed, and nothing needs warming up.
    """
    program = _program(program)
    return _round_trips_per_s([str(program), transport, str(connections), str(size), str(seconds)], seconds)


def run_apart(
    transport: Literal["tcp", "udp"],
    connections: int,
    size: int,
    seconds: float,
    *,
    program: Path | None = None,
) -> float:
    """Round trips per second of a C server and C clients, each in a process of its own."""
    program = _program(program)
    serve = [str(program), "server", transport, str(seconds + SPARE_S)]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = json.loads(server.stdout.readline())["port"]
            swarm = [str(program), "swarm", str(port), transport, str(connections), str(size), str(seconds)]
            return _round_trips_per_s(swarm, seconds)
        except (ValueError, KeyError):
            raise BaselineError("echo_pair server told no port") from None
        finally:
            server.kill()


def _program(program: Path | None) -> Path:
    found = program or build()
    if found is None:
        raise BaselineError("there is no C compiler here, or no epoll")
    return found


def _round_trips_per_s(command: list[str], seconds: float) -> float:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + SPARE_S, check=False)
    except subprocess.TimeoutExpired:
        raise BaselineError(f"echo_pair did not end within {seconds + SPARE_S:g} s") from None
    if done.returncode != 0:
        raise BaselineError(done.stderr.strip() or f"echo_pair ended with {done.returncode}")
    return float(json.loads(done.stdout)["round_trips_per_s"])
