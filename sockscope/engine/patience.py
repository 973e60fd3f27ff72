"""How long a run of a number of requests goes on without an answer."""

from __future__ import annotations

import math
from time import perf_counter

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import RoleSnapshot
from sockscope.core.units import format_duration

LOOK_S = 0.25
"""How often somebody looks for answers."""


class Patience:
    """Tells when clients that have requests left have had no answer for too long.

    The bound is ``give_up_s`` beyond the timeout and the think time, in which nothing can be expected. Time
    in which the traffic is paused does not count.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._most_s = experiment.give_up_s if experiment.requests else 0.0
        self._answered = -1
        self._since_s = self._looked_s = perf_counter()
        self._bound_s = self._beyond(experiment.tuning)

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again, which it never is where the patience has no end."""
        return bool(self._most_s) and perf_counter() >= self._looked_s + LOOK_S

    @property
    def until_s(self) -> float:
        """When it ends (``time.perf_counter``) if nothing is answered until then."""
        return self._since_s + self._bound_s

    def skip(self, stopped_s: float) -> None:
        """Nobody could answer while this process was stopped."""
        self._since_s += stopped_s

    def _beyond(self, tuning: Tuning) -> float:
        """Return for how long nothing need be answered."""
        return self._most_s + tuning.request_timeout_s + tuning.think_time_s if self._most_s else math.inf

    def look(self, swarm: RoleSnapshot | None, tuning: Tuning, paused: bool) -> str:
        """Return why the run is to be given up, or nothing."""
        now_s = self._looked_s = perf_counter()
        if swarm is None:
            return ""
        if paused or swarm.totals.responses != self._answered:
            self._answered, self._since_s = swarm.totals.responses, now_s
        self._bound_s = self._beyond(tuning)
        if now_s < self.until_s:
            return ""
        why = f": {swarm.last_trouble}" if swarm.last_trouble else ""
        return f"gave up after {format_duration(self._bound_s)} without an answer (--give-up){why}"
