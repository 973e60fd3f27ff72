"""When the parts of a run's roles are divided anew: places are lost, and workers come, while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sockscope.errors import SockscopeError


class Redivision:
    """Has what is lost, and who has come, divided anew while a run ``is_live``, until all of it is.

    ``divide(losses, come)`` does it, while nobody else changes the run, who would hold ``applying``; it
    raises SockscopeError where it cannot. Then each worker that has come is tried by itself, and ``refuse``
    hears why one is not used; where the fault is none of theirs, ``fail`` ends the run.
    """

    def __init__(
        self,
        applying: asyncio.Lock,
        is_live: Callable[[], bool],
        divide: Callable[[int, Sequence[str]], Coroutine[Any, Any, None]],
        refuse: Callable[[SockscopeError], object],
        fail: Callable[[BaseException], object],
    ) -> None:
        self._applying = applying
        self._is_live = is_live
        self._divide = divide
        self._refuse = refuse
        self._fail = fail
        self._losses = 0
        self._come: list[str] = []
        self._task: asyncio.Task[None] | None = None

    def lose(self) -> None:
        """A place is lost: let the others have what was there."""
        self._losses += 1
        self.begin()

    def join(self, worker: str) -> None:
        """A worker has come: let it have its part."""
        self._come.append(worker)
        self.begin()

    def begin(self) -> None:
        """Divide what is to be divided, if the run is live by now."""
        if self._is_due and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def end(self) -> None:
        """Divide nothing any more; what is under way is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def _is_due(self) -> bool:
        return self._is_live() and bool(self._losses or self._come)

    async def _run(self) -> None:
        try:
            await self._divide_all()
        except Exception as error:  # noqa: BLE001  # the boundary of the task
            self._fail(error)

    async def _divide_all(self) -> None:
        together: int | None = None
        while self._is_due:
            async with self._applying:
                if not self._is_live():
                    return
                lost, self._losses = self._losses, 0
                come = self._come[:together]
                del self._come[: len(come)]
                try:
                    await self._divide(lost, come)
                except SockscopeError as error:
                    if come:
                        self._losses += lost
                    if len(come) > 1:  # all but one of them may do
                        self._come[:0], together = come, 1
                    elif come:
                        self._refuse(error)
                    elif not self._losses:
                        self._fail(error)
