"""Every async test here runs on both loops, and must leave no task and no descriptor behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from sockscope.engine.loops import loop_factory


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {name: loop_factory(name) for name in ("uvloop", "asyncio")}


def open_sockets() -> int:
    """Return how many of this process's descriptors are sockets.

    libuv opens /dev/null once for each loop and keeps it, to survive running out of descriptors.
    """
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return count


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
    assert open_sockets() <= before
    assert faults == []
