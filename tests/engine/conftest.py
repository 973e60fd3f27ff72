"""No async test here leaves a task, a thread or a descriptor; those of :data:`BOTH_LOOPS` run twice."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from sockscope.core.config.models import ServerModel
from sockscope.engine.loops import loop_factory
from tests.waiting import until

BOTH_LOOPS = {
    "test_engine", "test_lens", "test_limiter", "test_server_conformance", "test_server_fuzz",
    "test_server_options", "test_server_work", "test_swarm_udp", "test_task_watch",
}  # fmt: skip
"""What talks to a loop by itself; the rest rests on it."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    names = ("uvloop", "asyncio") if item.path.stem in BOTH_LOOPS else ("uvloop",)
    return {name: loop_factory(name) for name in names}


def open_sockets() -> int:
    """Return how many of this process's descriptors are sockets.

    libuv opens /dev/null once for each loop and keeps it, to survive running out of descriptors.
    """
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return count


def threads_of_ours() -> list[str]:
    """Return the names of the threads that servers and clients have started."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sockscope")]


@pytest.fixture(scope="module", autouse=True)
def children_start_warm(warm_children: None) -> None:
    """How a child is started is what few tests are about: those of allocators and of commands."""


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    before = open_sockets()
    faults: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    yield
    # A socket that a test closed is gone when its loop has had a few turns.
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    # A thread that has done its last act needs a moment to end.
    await until(lambda: not threads_of_ours(), what="every thread ends")
    assert open_sockets() <= before
    assert faults == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out a second loop where it makes no difference, and on it what only combines what it has met."""
    met: dict[tuple[Path, str], set[tuple[str, str]]] = defaultdict(set)
    items[:] = [item for item in items if not _says_it_again(item, met[item.path, item.name.split("[")[0]])]


def _says_it_again(item: pytest.Item, met: set[tuple[str, str]]) -> bool:
    params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    if loop_factory("asyncio") not in params.values():
        return False
    model = params.get("model")
    if isinstance(model, ServerModel) and model.threaded:
        return True  # it has threads of its own, and leaves the loop alone
    values = {(name, repr(value)) for name, value in params.items()}
    if values <= met:
        return True
    met |= values
    return False
