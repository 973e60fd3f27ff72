"""What the screen costs the loop that it shares with the traffic."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, thread_time

WINDOW_S = 2.0
"""The figures are of so long a time."""
_MOST_PIECES = 2_000


@dataclass(frozen=True, slots=True)
class ScreenFigures:
    """The screen's share of a core, pictures per second (each is of what has changed), and the longest time
    that it kept the loop."""

    cpu_ratio: float
    frames_per_s: float
    longest_s: float


class ScreenCost:
    """Adds up the pieces of work that pictures take; how Textual hands messages around is in none."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._pieces: deque[tuple[float, float, float]] = deque(maxlen=_MOST_PIECES)
        self._frames: deque[float] = deque(maxlen=_MOST_PIECES)
        self._is_spending = False

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Count what is done in the block, unless it is part of another one."""
        if self._is_spending:
            yield
            return
        self._is_spending = True
        began_s, began_cpu_s = self._clock(), thread_time()
        try:
            yield
        finally:
            self._is_spending = False
            now_s = self._clock()
            self._pieces.append((now_s, thread_time() - began_cpu_s, now_s - began_s))

    def frame(self) -> None:
        """Count a picture."""
        self._frames.append(self._clock())

    def figures(self) -> ScreenFigures | None:
        """Return the figures of the last two seconds; None when nothing was drawn in them."""
        since_s = self._clock() - WINDOW_S
        pieces = [piece for piece in self._pieces if piece[0] >= since_s]
        frames = sum(at_s >= since_s for at_s in self._frames)
        if not frames:
            return None
        cpu_s, longest_s = sum(cpu for _, cpu, _ in pieces), max((wall for *_, wall in pieces), default=0.0)
        return ScreenFigures(cpu_s / WINDOW_S, frames / WINDOW_S, longest_s)
