"""The dashboard runs on uvloop, as it does by default."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.css.model import RuleSet
from textual.message_pump import MessagePump
from textual.pilot import Pilot

from sockscope.engine.loops import loop_factory

TURNS = 25
MOST_ROUNDS = 40
"""After so many times of so many turns a widget that has messages left will always have some."""


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
    needs two for each widget between them. Then it sends every widget a message and waits for all of them to
    come back, which costs ten times what the key does: it looks whether any has a message left instead.
    """

    async def turns(min_sleep: float = 0.0, max_sleep: float = 0.0) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def none_is_left(pilot: Pilot[Any]) -> bool:
        for _ in range(MOST_ROUNDS):
            await turns()
            nodes = (pilot.app, *pilot.app.screen.walk_children(with_self=True))
            if not any(map(_has_messages, nodes)):
                break
        return True

    monkeypatch.setattr("textual.app.wait_for_idle", turns)
    monkeypatch.setattr("textual.pilot.wait_for_idle", turns)
    monkeypatch.setattr(Pilot, "_wait_for_screen", none_is_left)


def _has_messages(pump: MessagePump) -> bool:
    return bool(pump._next_callbacks) or not pump._message_queue.empty()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_ANIMATIONS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is exported is written into the current directory, which must not be the repository."""
    monkeypatch.chdir(tmp_path)
