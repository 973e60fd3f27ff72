"""Running the command as a child process, and reading what it says."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.warm import COMMAND as COMMAND
from tests.cli.warm import WarmCommand, WarmInterpreter

PATIENCE_S = 90
"""A child that takes longer hangs."""
WARM = WarmInterpreter()


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what would change an experiment; the history is still that of the tests."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("SOCKSCOPE_") or key == "SOCKSCOPE_HISTORY"
    }
    return {**kept, **more}


def sockscope(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, **streams: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, without a terminal and without a start of Python of its own.

    ``streams`` are those of ``subprocess`` that are not as usual: nothing to read, pipes to write to.
    """
    argv = [COMMAND, *arguments]
    with running(*arguments, env=env, cwd=cwd, **streams) as child:
        return subprocess.CompletedProcess(argv, *finished(child))


def installed(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as it is installed, from its very start to its end, without a terminal."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=clean_environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def figures(*arguments: str, cwd: Path | None = None) -> dict[str, Any]:
    """Run the command with ``--json`` and return its object; the run must succeed quietly."""
    done = sockscope(*arguments, "--json", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def running(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, **streams: Any
) -> Iterator[subprocess.Popen[str]]:
    """Start the command, but for a start of Python; whatever the test does, it is gone afterwards."""
    child = WarmCommand(
        WARM,
        [COMMAND, *arguments],
        cwd=cwd,
        env=clean_environment(**(env or {})),
        text=True,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate(timeout=PATIENCE_S)


def finished(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the child; return its exit code and the rest of what it wrote."""
    out, err = child.communicate(timeout=PATIENCE_S)
    return child.returncode, out or "", err or ""


def next_line(child: subprocess.Popen[str]) -> str:
    """Return the next line on the child's stdout."""
    assert child.stdout is not None
    return child.stdout.readline()


def next_complaint(child: subprocess.Popen[str]) -> str:
    """Return the next line on the child's stderr."""
    assert child.stderr is not None
    return child.stderr.readline()
