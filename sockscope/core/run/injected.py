"""What faults in the server have done that are made on purpose, and what they hold at the moment."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sockscope.core import units
from sockscope.core.run.adding import Cumulative, Gauge


@dataclass(frozen=True, slots=True)
class Injected:
    """The faults of :mod:`sockscope.core.impairment.server` in figures.

    ``blocks`` is how often the loop, or the thread that serves, was held up, for ``blocked_s`` together, and
    ``burnt_s`` the CPU time that requests were made to take. ``raised`` requests ended in an exception,
    ``handlers_cancelled`` handlers were cancelled, and ``cancellations_swallowed`` counts those that went on
    nevertheless, of which ``handlers_deaf`` run still. ``tasks_leaked`` and ``descriptors_leaked`` count
    those that were made to stay, ``tasks_held`` and ``descriptors_held`` those that are there now.
    ``executor_sleepers`` are calls in the default executor that sleep, or wait there to do so.
    ``executor_queued`` are those of others that wait behind them, or have waited and been given up since.
    ``undrained_bytes`` is what connections that are not drained have in their write buffers.
    """

    blocks: Cumulative[int] = 0
    blocked_s: Cumulative[float] = 0.0
    burnt_s: Cumulative[float] = 0.0
    raised: Cumulative[int] = 0
    handlers_cancelled: Cumulative[int] = 0
    cancellations_swallowed: Cumulative[int] = 0
    handlers_deaf: Gauge[int] = 0
    tasks_leaked: Cumulative[int] = 0
    tasks_held: Gauge[int] = 0
    descriptors_leaked: Cumulative[int] = 0
    descriptors_held: Gauge[int] = 0
    executor_sleepers: Gauge[int] = 0
    executor_queued: Gauge[int] = 0
    undrained_bytes: Gauge[int] = 0

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))


NOTHING_INJECTED = Injected()


def told(injected: Injected) -> str:
    """Return in words what was done on purpose: ``blocked 3 times (300 ms), 12 requests raised``."""
    parts = []
    if injected.blocks:
        held = units.format_duration(injected.blocked_s)
        parts.append(f"blocked {units.counted(injected.blocks, 'time')} ({held})")
    if injected.burnt_s:
        parts.append(f"{units.format_duration(injected.burnt_s)} of CPU burnt")
    if injected.raised:
        parts.append(f"{units.counted(injected.raised, 'request')} raised")
    if injected.handlers_cancelled:
        parts.append(f"{units.counted(injected.handlers_cancelled, 'handler')} cancelled")
    if injected.cancellations_swallowed:
        parts.append(f"{units.counted(injected.cancellations_swallowed, 'cancellation')} swallowed")
    if injected.tasks_leaked:
        parts.append(f"{units.counted(injected.tasks_leaked, 'task')} leaked")
    if injected.descriptors_leaked:
        parts.append(f"{units.counted(injected.descriptors_leaked, 'descriptor')} leaked")
    if injected.executor_sleepers:
        parts.append(f"{units.counted(injected.executor_sleepers, 'sleeper')} in the executor")
    if injected.executor_queued:
        parts.append(f"{units.counted(injected.executor_queued, 'call')} waiting behind them")
    if injected.undrained_bytes:
        parts.append(f"{units.format_bytes(injected.undrained_bytes)} not drained")
    return ", ".join(parts)
