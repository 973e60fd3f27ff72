"""When a relay read each request and had passed its answer back, of the exchanges that are captured."""

from __future__ import annotations

from collections import deque

from sockscope.core.run.snapshot import Passing
from sockscope.engine.captures import CAPTURES


class Edges:
    """Those of the last exchanges, in the order in which these are captured."""

    def __init__(self) -> None:
        # Flat, as the journal of a recorder is.
        self._times: deque[float] = deque(maxlen=2 * CAPTURES)
        self._count = 0

    def add(self, read_s: float, passed_back_s: float) -> None:
        """Keep those of the next exchange; 0 = not known."""
        self._times.extend((read_s, passed_back_s))
        self._count += 1

    def of(self, number: int) -> Passing | None:
        """Return those of an exchange, counted from 0; None when they have been overwritten."""
        at = len(self._times) - 2 * (self._count - number)
        return Passing(self._times[at], self._times[at + 1]) if 0 <= at < len(self._times) else None
