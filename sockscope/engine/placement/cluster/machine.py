"""What two ends must have in common, and by which they tell whether they share a clock."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from math import inf
from time import perf_counter

from sockscope import __version__
from sockscope.engine.host_limits import kernel_name


def versions() -> str:
    """Return the versions that decide what a role does, in words."""
    try:
        uvloop = version("uvloop")
    except PackageNotFoundError:
        uvloop = "none"
    return f"SockScope {__version__}, Python {platform.python_version()}, uvloop {uvloop}"


def clock_name() -> str:
    """Return what two processes have alike only if their monotonic clocks are one; empty where not known.

    Linux counts from the boot of the machine, in each namespace of times (time_namespaces(7)) from its own.
    """
    if kernel := kernel_name():
        with contextlib.suppress(OSError):
            return f"{kernel} {os.readlink('/proc/self/ns/time')}"
    return ""


async def clock_offset(
    their_time_s: Callable[[], Awaitable[float]], times: int, within_s: float = inf
) -> tuple[float, float]:
    """Return what to add to a time of theirs to get ours, and how far that may be off at most, in seconds.

    Their answer was given at some moment between our question and its arrival: the fastest of several
    ``times`` bounds that best (Cristian, Probabilistic clock synchronization, 1989). After ``within_s`` no
    more are asked for: one that answers slowly has an offset, too, if a less certain one.
    """
    best, began_s = (0.0, inf), perf_counter()
    for turn in range(times):
        if turn and perf_counter() - began_s > within_s:
            break
        asked_s = perf_counter()
        theirs_s = await their_time_s()
        error_s = (perf_counter() - asked_s) / 2
        if error_s < best[1]:
            best = asked_s + error_s - theirs_s, error_s
    return best
