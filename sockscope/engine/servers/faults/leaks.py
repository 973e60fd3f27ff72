"""What a server keeps although nobody needs it any more: tasks and descriptors."""

from __future__ import annotations

import asyncio
import os

from sockscope.engine.servers.accept_gate import spare_descriptors
from sockscope.engine.servers.faults.counts import Counts
from sockscope.engine.servers.faults.ticking import PerSecond

MOST_TASKS = 50_000
"""Tasks that a process keeps at the most: about 1.5 kB each."""
AT_ONCE = 500
"""Tasks that are ended, and descriptors that are closed, in one turn of the loop."""


class TaskLeak:
    """Starts tasks that never end."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._tasks: set[asyncio.Task[None]] = set()
        self.rate = PerSecond(self._leak)

    @property
    def held(self) -> int:
        """How many there are now."""
        return len(self._tasks)

    def _leak(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        count = min(count, MOST_TASKS - len(self._tasks))
        for _ in range(count):
            task = loop.create_task(leaked_task(), name="leaked")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._counts.add("tasks_leaked", count)

    async def end(self) -> None:
        """End all of them."""
        while self._tasks:
            part = list(self._tasks)[:AT_ONCE]
            for task in part:
                task.cancel()
            await asyncio.wait(part)


async def leaked_task() -> None:
    """Wait for what never comes."""
    await asyncio.get_running_loop().create_future()


class DescriptorLeak:
    """Opens descriptors and closes none; the last ones are left alone, as by peers."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._descriptors: list[int] = []
        self.rate = PerSecond(self._leak)

    @property
    def held(self) -> int:
        """How many there are now."""
        return len(self._descriptors)

    def _leak(self, count: int) -> None:
        first_spared = spare_descriptors().start
        opened = 0
        for _ in range(count):
            try:
                descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # the whole system has none left
                break
            if descriptor >= first_spared:
                os.close(descriptor)
                break
            self._descriptors.append(descriptor)
            opened += 1
        self._counts.add("descriptors_leaked", opened)

    async def end(self) -> None:
        """Close all of them."""
        while self._descriptors:
            for descriptor in self._descriptors[-AT_ONCE:]:
                os.close(descriptor)
            del self._descriptors[-AT_ONCE:]
            await asyncio.sleep(0)
