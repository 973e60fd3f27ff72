"""How long a run of a number of requests goes on without an answer."""

from __future__ import annotations

from time import perf_counter

from sockscope.core.config.experiment import Experiment, Tuning
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

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again, which it never is where the patience has no end."""
        return bool(self._most_s) and perf_counter() >= self._looked_s + LOOK_S

    def skip(self, stopped_s: float) -> None:
        """Nobody could answer while this process was stopped."""
        self._since_s += stopped_s

    def look(self, swarm: RoleSnapshot | None, tuning: Tuning, paused: bool) -> str:
        """Return why the run is to be given up, or nothing."""
        now_s = self._looked_s = perf_counter()
        if swarm is None:
            return ""
        if paused or swarm.totals.responses != self._answered:
            self._answered, self._since_s = swarm.totals.responses, now_s
        most_s = self._most_s + tuning.request_timeout_s + tuning.think_time_s
        if now_s < self._since_s + most_s:
            return ""
        why = f": {swarm.last_trouble}" if swarm.last_trouble else ""
        return f"given up after {format_duration(most_s)} without an answer (--give-up){why}"
