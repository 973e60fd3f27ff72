"""Own code as it was in a revision of git: found, written out for a run, and removed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sockscope.engine import own_revisions
from sockscope.engine.own_code import look_for
from sockscope.engine.own_revisions import check_out, files_of, remove
from sockscope.errors import ConfigError
from tests.engine.runs import exchanges_of, experiment, running, swarm_of
from tests.repository import git, needs_git, repository
from tests.waiting import until

pytestmark = needs_git
ASKED: dict[str, Any] = {"request": "ping\\n", "until": "\\n"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a repository as the current directory, and one of its own for what is written out."""
    sub = repository(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(sub)
    monkeypatch.setattr(sys, "path", list(sys.path))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield sub
    assert list(temporary.iterdir()) == []
    for name in ("mine", "said"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("at", "place", "line"),
    [
        ("@HEAD~1", "loop", b"first\n"),
        ("@HEAD", "server", b"second\n"),
        ("@feature/first", "loop", b"first\n"),
        ("", "loop", b"third\n"),
    ],
)
async def test_it_serves_as_it_was(at: str, place: str, line: bytes, here: Path) -> None:
    before = git(here, "status", "--porcelain")
    async with running(handler=f"mine:handle{at}", place=place, **ASKED) as engine:
        await until(lambda: exchanges_of(engine), what="an answer")
        capture = await engine.capture(exchanges_of(engine)[-1].record_id)
        assert capture is not None
        assert capture.response is not None
        assert capture.response.data == line
        if at:
            assert await engine.reload() == ""
    assert swarm_of(engine).totals.failed == 0
    assert git(here, "status", "--porcelain") == before
    assert not any("temporary" in entry for entry in sys.path)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("mine:handle@nope", "git knows no revision nope here"),
        ("mine:handle@HEAD~9", "git knows no revision HEAD~9 here"),
        ("new:handle@HEAD", "there is no new.py in HEAD of "),
        ("mine.part:handle@HEAD", "there is no mine/part.py in HEAD of "),
        ("mine:handle@HEAD:sub/mine.py", "git knows no revision HEAD:sub/mine.py here"),
    ],
)
def test_what_is_not_there_is_told(reference: str, why: str, here: Path) -> None:
    for look in (look_for, lambda chosen: check_out("handler", chosen.handler)):
        with pytest.raises(ConfigError) as caught:
            look(experiment(handler=reference))
        assert why in caught.value.faults[0].why


def test_where_there_is_no_git_that_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = experiment(handler="mine:handle@HEAD")
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "")
        with pytest.raises(ConfigError, match="needs git for the revision HEAD, and there is none here"):
            look_for(chosen)
    monkeypatch.chdir(here.parent.parent)
    with pytest.raises(ConfigError, match="is in no repository of git"):
        look_for(chosen)


async def test_it_may_lie_where_python_looks_for_modules(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.chdir(here.parent)
    async with running(handler="mine:handle", **ASKED):
        pass
    async with running(handler="mine:handle@HEAD~1", accept="/first/", **ASKED) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 10, what="answers of then")
    assert swarm_of(engine).totals.failed == 0


def test_all_files_beside_it_are_written_out_and_removed(here: Path) -> None:
    directory = check_out("handler", "mine:handle@HEAD")
    assert sorted(path.name for path in Path(files_of(directory)).iterdir()) == ["mine.py", "said.py"]
    remove(directory)


def test_a_directory_that_is_too_large_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_revisions, "MAX_FILES_BYTES", 100)
    with pytest.raises(ConfigError, match=r"is in a directory of 1\d\d B; at most 100 B are written out"):
        check_out("handler", "mine:handle@HEAD")
