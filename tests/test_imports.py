"""Who may import whom: the contracts of pyproject.toml, and what is really loaded at run time."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sockscope.core

ROOT = Path(__file__).parents[1]


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after ``statement``, beyond its own."""
    script = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return {name.split(".")[0] for name in done.stdout.split()} | set(done.stdout.split())


def test_the_engine_loads_no_screen_and_no_command_line() -> None:
    loaded = loaded_by("import sockscope.engine.engine")
    assert "uvloop" in loaded
    assert not loaded & {"textual", "rich", "click", "sockscope.faces", "sockscope.cli"}


def test_the_public_names_load_no_screen() -> None:
    loaded = loaded_by("from sockscope import Engine, Experiment, Tuning")
    assert not loaded & {"textual", "rich", "click"}


def test_the_store_knows_only_core() -> None:
    loaded = loaded_by("import sockscope.store.history")
    assert "sqlite3" in loaded
    assert not loaded & {"asyncio", "textual", "rich", "click", "uvloop", "psutil"}
    assert not loaded & {"sockscope.engine", "sockscope.faces", "sockscope.cli", "sockscope.lab"}


@pytest.mark.parametrize(
    "module", sorted(info.name for info in pkgutil.iter_modules(sockscope.core.__path__, "sockscope.core."))
)
def test_core_loads_nothing_that_does_io(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    # importlib.resources and the like may load threading or time; asyncio and sockets none of them does.
    forbidden = {
        "asyncio",
        "socket",
        "selectors",
        "subprocess",
        "textual",
        "rich",
        "click",
        "psutil",
        "uvloop",
    }
    assert not loaded & (forbidden | {"sockscope.engine", "sockscope.faces", "sockscope.cli"})


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
