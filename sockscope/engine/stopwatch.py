"""The time that many have spent in a state together, those who are in it included."""

from __future__ import annotations


class Stopwatch:
    """Adds up intervals that overlap; to read it takes no longer the more of them are under way."""

    __slots__ = ("_ended_s", "_since_s", "running")

    def __init__(self) -> None:
        self.running = 0
        self._ended_s = 0.0
        # The sum of the moments at which those began that are under way.
        self._since_s = 0.0

    def begin(self, now_s: float) -> None:
        """An interval begins."""
        self.running += 1
        self._since_s += now_s

    def end(self, since_s: float, now_s: float) -> None:
        """The interval ends that began at ``since_s``."""
        self.running -= 1
        self._since_s -= since_s
        self._ended_s += now_s - since_s

    def add(self, seconds: float) -> None:
        """Add an interval that is over already."""
        self._ended_s += seconds

    def total_s(self, now_s: float) -> float:
        """Return the seconds of all intervals together."""
        return self._ended_s + self.running * now_s - self._since_s if self.running else self._ended_s
