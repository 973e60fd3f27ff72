"""Cancels a task, and sees whether CancelledError arrives."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from sockscope.core.run.tasks import Cancelled, CancelOutcome
from sockscope.engine.lens.await_chain import ChainWords, Wait
from sockscope.engine.own_errors import told

WATCHED_S = 1.0
"""How long a cancelled task is watched."""


async def cancel(task: asyncio.Task[Any], name: str, within_s: float = WATCHED_S) -> Cancelled:
    """Cancel ``task``, which is called ``name``; return what it has become, ``within_s`` at the latest.

    Whether it handles CancelledError still, or has swallowed it, is told by what its coroutines keep.
    """
    coroutine = task.get_coro()
    before = Wait(coroutine).future
    began_s = perf_counter()
    task.cancel()
    await asyncio.wait({task}, timeout=within_s)
    took_s = perf_counter() - began_s
    if task.done():
        return _ended(task, name, took_s)
    wait = Wait(coroutine)
    outcome = CancelOutcome.SWALLOWED
    if wait.handles_cancellation():
        outcome = CancelOutcome.CLEANING_UP
    elif before is not None and wait.future is before:
        outcome = CancelOutcome.PENDING
    return Cancelled(outcome, name, took_s, ChainWords(wait.links).waits_in)


def _ended(task: asyncio.Task[Any], name: str, took_s: float) -> Cancelled:
    if task.cancelled():
        return Cancelled(CancelOutcome.ENDED, name, took_s)
    # Task.exception() would count as asking for it, and nobody else might.
    error: BaseException | None = getattr(task, "_exception", None)
    if error is not None:
        return Cancelled(CancelOutcome.RAISED, name, took_s, told(error))
    return Cancelled(CancelOutcome.RETURNED, name, took_s)
