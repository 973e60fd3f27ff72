"""What is imported by a statement, in an interpreter that has begun with nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.cli.command import PATIENCE_S, clean_environment

_FORK_FOR_EACH = """
import json, os, sys
before = set(sys.modules)
first, *statements = sys.argv[1:]
exec(first)
for statement in statements:
    told, tell = os.pipe()
    if (child := os.fork()) == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        try:
            exec(statement)
        except SystemExit:
            pass
        finally:
            with open(tell, "w") as file:
                json.dump(sorted(set(sys.modules) - before), file)
            os._exit(0)
    os.close(tell)
    with open(told) as file:
        print(file.read())
    os.waitpid(child, 0)
"""


def loaded_by_each(*statements: str, first: str = "") -> list[set[str]]:
    """Return the modules that an interpreter has after each statement, beyond its own.

    Each is run in a fork of one interpreter, which has run ``first``.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", _FORK_FOR_EACH, first, *statements],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return [set(json.loads(line)) for line in done.stdout.splitlines()]
