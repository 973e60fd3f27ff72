"""Who may import whom: the contracts of pyproject.toml, and what is really loaded at run time."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import sockscope.core
from tests.loading import loaded_by_each

ROOT = Path(__file__).parents[1]


CORE = sorted(info.name for info in pkgutil.iter_modules(sockscope.core.__path__, "sockscope.core."))
FACES = {"textual", "rich", "click", "sockscope.faces", "sockscope.cli"}
IO = {"asyncio", "socket", "selectors", "subprocess", "psutil", "uvloop", "sockscope.engine"}
"""What does input and output; importlib.resources and the like may load threading or time."""


def test_what_is_loaded_at_run_time() -> None:
    engine, public, store, *cores = loaded_by_each(
        "import sockscope.engine.engine",
        "from sockscope import Engine, Experiment, Tuning",
        "import sockscope.store.history",
        *(f"import {module}" for module in CORE),
    )
    assert "uvloop" in engine
    assert not engine & (FACES | {"dask", "distributed"})
    assert "sockscope.engine.engine" in public
    assert not public & FACES
    assert "sqlite3" in store
    assert not store & (FACES | {"asyncio", "uvloop", "psutil", "sockscope.engine", "sockscope.lab"})
    for module, loaded in zip(CORE, cores, strict=True):
        assert module in loaded
        assert not loaded & (FACES | IO), module


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
