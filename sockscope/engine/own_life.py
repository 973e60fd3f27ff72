"""What the user's own code does before its server listens and after that has ended: one task for both."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.engine.loops import break_off
from sockscope.engine.own_code import HOOKS, load_hook
from sockscope.engine.own_errors import place_of_suspended, told
from sockscope.errors import ConfigError

STARTUP_S = 10.0
"""How long what comes before the server may take."""
SHUTDOWN_S = 2.0
"""How long what comes after it may take."""
CANCELLED_S = 0.25
"""How long it may take to end when it is cancelled after that."""


class Lifespan:
    """Runs the ``startup`` and the ``shutdown`` of an experiment around its server.

    Both run in one task, as a context manager with a task group in it must, and in ``context``, so that what
    serves sees the context variables that the startup has set. ``report`` is called with what is raised once
    the server listens, and where nothing is raised with what went wrong instead.
    """

    def __init__(self, experiment: Experiment, report: Callable[[BaseException | str], object]) -> None:
        self.context = copy_context()
        self._names = experiment.startup, experiment.shutdown
        self._startup, self._shutdown = (load_hook(experiment, key) for key in HOOKS)
        self._report = report
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._under_way: Any = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Return when the startup is done; raise ConfigError when it raises or takes too long."""
        if self._startup is None and self._shutdown is None:
            return
        loop = asyncio.get_running_loop()
        task = self._task = loop.create_task(self._live(), context=self.context)
        ready = loop.create_task(self._ready.wait())
        try:
            await asyncio.wait({task, ready}, timeout=STARTUP_S, return_when=asyncio.FIRST_COMPLETED)
            if not self._ready.is_set():
                raise ConfigError.of(
                    "startup", self._names[0], await why_not(task, self._under_way, STARTUP_S)
                )
        except BaseException:
            await end(task, self._under_way)
            raise
        finally:
            ready.cancel()
        task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Let the shutdown run, and return when it is done or has had its time."""
        task, self._task = self._task, None
        if task is None or not self._ready.is_set():
            return
        self._over.set()
        await asyncio.wait({task}, timeout=SHUTDOWN_S)
        if not task.done():
            task.remove_done_callback(self._ended)
            name = self._names[1] or self._names[0]
            self._report(f"{name} {await why_not(task, self._under_way, SHUTDOWN_S)}")
        # What the end of the task has called is to be told before the figures are final.
        await asyncio.sleep(0)

    async def _live(self) -> None:
        made: Any = self._startup() if self._startup is not None else None
        if hasattr(type(made), "__aenter__"):
            self._under_way = getattr(made, "gen", None)
            async with made:
                await self._serving()
        else:
            await self._done(made)
            await self._serving()
        if self._shutdown is not None:
            await self._done(self._shutdown())

    async def _serving(self) -> None:
        self._ready.set()
        await self._over.wait()

    async def _done(self, made: object) -> None:
        if inspect.isawaitable(made):
            self._under_way = made
            await made

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Told of while the server runs, and of its end."""
        if task.cancelled():
            if not self._over.is_set():
                self._report(f"{self._names[0]} was cancelled while the server ran")
        elif (error := task.exception()) is not None:
            self._report(error)


async def why_not(task: asyncio.Task[Any], awaited: Any, within_s: float) -> str:
    """Return in words why a task is not where it should be by now; one that is under way is ended.

    ``awaited`` is what of the user's it waits for.
    """
    if not task.done():
        place = place_of_suspended(awaited)
        await end(task, awaited)
        return f"does not return within {within_s:g} s" + (f": it waits at {place}" if place else "")
    if task.cancelled():
        return "cancels itself"
    error = task.exception()
    return f"raised {told(error)}" if error is not None else "ends at once"


async def end(task: asyncio.Task[Any], awaited: Any) -> None:
    """Cancel a task; break off what it waits for when it goes on in spite of that."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task}, timeout=CANCELLED_S)
    if not task.done():
        with contextlib.suppress(BaseException):  # the user's own code raises what it likes
            break_off(awaited)
