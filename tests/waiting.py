"""How tests wait: for a condition, never for a length of time, and never for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

POLL_S = 0.001
"""The first pause; each is a quarter longer than the one before, for looking costs more than waiting."""
LONGEST_POLL_S = 0.01


async def until(predicate: Callable[[], object], timeout_s: float = 60.0, what: str = "") -> None:
    """Return as soon as ``predicate`` holds; fail the test when it does not within ``timeout_s``."""
    try:
        async with asyncio.timeout(timeout_s):
            pause_s = POLL_S
            while not predicate():
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.25, LONGEST_POLL_S)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s} s in vain: {what or predicate.__name__}") from None
