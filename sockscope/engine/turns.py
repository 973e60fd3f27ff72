"""Work on thousands of connections in parts, so that no turn of the loop is long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 256
"""Connections that are worked on in one turn: a fraction of a millisecond."""


async def in_turns(items: Iterable[T], call: Callable[[T], object], at_once: int = AT_ONCE) -> None:
    """Call ``call`` with each of the items that are there now, ``at_once`` of them in one turn of the loop.

    The first turn is this one. What was there at the beginning may be gone when its turn comes.
    """
    left = iter(list(items))
    while part := list(islice(left, at_once)):
        for item in part:
            call(item)
        if len(part) == at_once:
            await asyncio.sleep(0)
