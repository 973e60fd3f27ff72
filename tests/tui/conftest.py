"""The dashboard runs on uvloop, as it does by default."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from textual.css.model import RuleSet

from sockscope.engine.loops import loop_factory


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": loop_factory("uvloop")}


@pytest.fixture(scope="session", autouse=True)
def rules_are_hashed_in_c() -> Iterator[None]:
    """By identity as well; a fifth of what it takes to put up a dashboard is spent on it in Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RuleSet, "__hash__", object.__hash__)
        yield


@pytest.fixture(autouse=True)
def hasty_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pilot waits after each key until the process is idle, but one that serves itself never is.

    It waits for some turns of the loop instead: a key passes from the widget in focus up to the app, and
    needs two for each widget between them.
    """

    async def turns(min_sleep: float = 0.0, max_sleep: float = 0.0) -> None:
        for _ in range(25):
            await asyncio.sleep(0)

    monkeypatch.setattr("textual.app.wait_for_idle", turns)
    monkeypatch.setattr("textual.pilot.wait_for_idle", turns)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_ANIMATIONS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is exported is written into the current directory, which must not be the repository."""
    monkeypatch.chdir(tmp_path)
