"""When the requests of an open loop are due: a schedule, whatever their answers do.

Moments are seconds on a monotonic clock. Several processes share a schedule without knowing of each other: a
uniform one is a grid that begins at 0, of which each takes the points of its turn; independent Poisson
processes add up to one (superposition, Ross, *Introduction to Probability Models*, section 5.3).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Turn:
    """Which of the due requests are one's own: number ``index`` of every ``of``."""

    index: int = 0
    of: int = 1


WHOLE_SCHEDULE = Turn()


class Schedule(ABC):
    """The moments at which requests are due, one after the other; ``next_s`` is the first that is left."""

    next_s: float

    @abstractmethod
    def take(self, now_s: float, most: int) -> list[float]:
        """Return the moments up to ``now_s`` that are left, the earliest first, and at most so many."""


class Uniform(Schedule):
    """``rate`` moments a second, all the same interval apart, from ``now_s`` on."""

    def __init__(self, rate: float, turn: Turn, now_s: float) -> None:
        self._interval_s = turn.of / rate
        self._phase = turn.index / turn.of
        self._number = self._after(now_s)
        self.next_s = (self._number + self._phase) * self._interval_s

    def take(self, now_s: float, most: int) -> list[float]:
        """Return the moments up to ``now_s`` that are left, the earliest first, and at most so many."""
        next_s = self.next_s
        if now_s < next_s:
            return []
        interval_s, phase, first = self._interval_s, self._phase, self._number
        after_next_s = (first + 1 + phase) * interval_s
        if now_s < after_next_s:  # as a rule there is one
            self._number, self.next_s = first + 1, after_next_s
            return [next_s]
        self._number = first + min(max(self._after(now_s) - first, 1), most)
        self.next_s = (self._number + phase) * interval_s
        return [(number + phase) * interval_s for number in range(first, self._number)]

    def _after(self, now_s: float) -> int:
        """Return the number of the first moment after ``now_s``, as the moments themselves are rounded."""
        number = math.floor(now_s / self._interval_s - self._phase) + 1
        if (number + self._phase) * self._interval_s <= now_s:
            return number + 1
        return number - 1 if (number - 1 + self._phase) * self._interval_s > now_s else number


class Poisson(Schedule):
    """``rate`` moments a second on average, each independent of those before, from ``now_s`` on."""

    def __init__(self, rate: float, turn: Turn, now_s: float, random: Random) -> None:
        self._draw: Callable[[float], float] = random.expovariate
        self._rate = rate / turn.of
        self.next_s = now_s + self._draw(self._rate)

    def take(self, now_s: float, most: int) -> list[float]:
        """Return the moments up to ``now_s`` that are left, the earliest first, and at most so many."""
        found: list[float] = []
        due_s, draw, rate = self.next_s, self._draw, self._rate
        while due_s <= now_s and len(found) < most:
            found.append(due_s)
            due_s += draw(rate)
        self.next_s = due_s
        return found
