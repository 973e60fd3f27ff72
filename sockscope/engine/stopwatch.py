"""The time that many have spent in a state together, those who are in it included; and time that can be
paused."""

from __future__ import annotations


class PausedTime:
    """Seconds on ``time.perf_counter``, less those for which it was paused."""

    __slots__ = ("_paused_at_s", "_skipped_s")

    def __init__(self) -> None:
        self._paused_at_s = self._skipped_s = 0.0

    def at(self, now_s: float) -> float:
        """Return what it is at this moment."""
        return (self._paused_at_s or now_s) - self._skipped_s

    def pause(self, now_s: float) -> None:
        """Stand still from now on."""
        self._paused_at_s = self._paused_at_s or now_s

    def resume(self, now_s: float) -> None:
        """Go on; without effect unless it is paused."""
        if self._paused_at_s:
            self._skipped_s += now_s - self._paused_at_s
            self._paused_at_s = 0.0

    def skip(self, seconds: float) -> None:
        """Leave out so much of the time that has just passed."""
        if not self._paused_at_s:
            self._skipped_s += seconds


class Stopwatch(PausedTime):
    """Adds up intervals that overlap; reading it takes the same time however many are under way.

    Moments are seconds on ``time.perf_counter``. Time for which it is paused counts for no interval.
    """

    __slots__ = ("_ended_s", "_since_s", "running")

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self._ended_s = 0.0
        # The sum of the moments at which those began that are under way.
        self._since_s = 0.0

    def begin(self, now_s: float) -> float:
        """An interval begins; return what :meth:`end` is to be given: ``now_s``, less all pauses so far."""
        # Written out what :meth:`at` returns, here and in `end`: that costs more to call than all the rest.
        since_s = (self._paused_at_s or now_s) - self._skipped_s
        self.running += 1
        self._since_s += since_s
        return since_s

    def end(self, since_s: float, now_s: float) -> float:
        """The interval ends for which :meth:`begin` returned ``since_s``; return how long it was."""
        length_s = (self._paused_at_s or now_s) - self._skipped_s - since_s
        if length_s < 0:  # it began before a stop of the process was known, which was skipped since
            length_s = 0.0
        self.running -= 1
        self._since_s -= since_s
        self._ended_s += length_s
        return length_s

    def add(self, seconds: float) -> None:
        """Add an interval that is over already."""
        self._ended_s += seconds

    def total_s(self, now_s: float) -> float:
        """Return the seconds of all intervals together."""
        if not self.running:
            return self._ended_s
        return self._ended_s + self.running * self.at(now_s) - self._since_s
