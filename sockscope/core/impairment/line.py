"""When data leaves a line of a rate, and how long it is on its way."""

from __future__ import annotations

from random import Random

from sockscope.core.impairment.kinds import UNIFORM
from sockscope.core.impairment.link import LinkFaults


class Line:
    """A line that carries so many bytes per second, one after another; several flows may share it.

    A burst does not pass faster than the rate: what has left by any moment lies on a straight line, up to
    the size of one admitted piece.
    """

    def __init__(self, rate_bytes_per_s: float = 0.0) -> None:
        self.rate_bytes_per_s = rate_bytes_per_s
        self._free_at_s = 0.0

    def turn(self, rate_bytes_per_s: float) -> None:
        """Go on with another rate; whatever waits for its turn has had it."""
        if rate_bytes_per_s != self.rate_bytes_per_s:
            self.rate_bytes_per_s = rate_bytes_per_s
            self._free_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Return how long what comes now waits for its turn."""
        return max(0.0, self._free_at_s - now_s) if self.rate_bytes_per_s else 0.0

    def leave_s(self, now_s: float, size_bytes: int) -> float:
        """Return when data that comes now has left, and take its place in the queue."""
        if not self.rate_bytes_per_s:
            return now_s
        self._free_at_s = max(now_s, self._free_at_s) + size_bytes / self.rate_bytes_per_s
        return self._free_at_s


def travel_s(faults: LinkFaults, random: Random) -> float:
    """Return how long a piece of data is on its way, besides its turn at the rate; never negative."""
    if not faults.jitter_s:
        return faults.delay_s
    if faults.jitter_shape == UNIFORM:
        drawn = random.uniform(-faults.jitter_s, faults.jitter_s)
    else:
        drawn = random.gauss(0.0, faults.jitter_s)
    return max(0.0, faults.delay_s + drawn)
