"""The times of one run: when it began, what of it does not count, and when it is due to end."""

from __future__ import annotations

import math


class RunClock:
    """Keeps the moments of a run, all of them seconds on ``time.perf_counter``.

    ``duration_s`` is how long its traffic is to go on behind the warm-up, 0 = until it is stopped. Time for
    which the traffic was paused, or the process that makes it was stopped, is no time of the run.
    """

    def __init__(self, duration_s: float, now_s: float) -> None:
        self.started_s = now_s
        """When the last of the roles was told to begin."""
        self.ended_s: float | None = None
        """When it was told to stop; None before."""
        self._duration_s = duration_s or math.inf
        # When the duration began, less all pauses before; inf while that is not known.
        self._began_s = math.inf
        self._paused_s = 0.0
        # Since when it is paused; 0: it is not.
        self._paused_at_s = 0.0

    def begin(self, now_s: float) -> None:
        """The warm-up is over: the duration counts from now on."""
        self._began_s = now_s - self.paused_s(now_s)

    def pause(self, now_s: float) -> None:
        """The traffic pauses."""
        self._paused_at_s = now_s

    def resume(self, now_s: float) -> None:
        """It goes on."""
        self._paused_s += now_s - self._paused_at_s
        self._paused_at_s = 0.0

    def skip(self, stopped_s: float) -> None:
        """The process was stopped for so long, and goes on."""
        self._paused_s += stopped_s

    def paused_s(self, until_s: float) -> float:
        """Return for how long, until a moment that is not before the last pause, nothing counted."""
        at_s = self._paused_at_s
        return self._paused_s + (max(0.0, until_s - at_s) if at_s else 0.0)

    def counted_s(self, now_s: float) -> float:
        """Return how much of the duration has passed."""
        return now_s - self._began_s - self.paused_s(now_s)

    def due_s(self, now_s: float) -> float:
        """Return when the run is over if its traffic goes on from now on; inf where that is not known."""
        return self._began_s + self.paused_s(now_s) + self._duration_s
