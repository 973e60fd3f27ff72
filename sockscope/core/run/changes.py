"""What each change of the tuning did: the seconds before it against those after it.

Only whole seconds count in which the traffic went on and the screen did nothing out of the ordinary. A change
is followed until its figures have settled, the next one comes or the traffic is paused after a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from sockscope.core.censoring import AtLeast
from sockscope.core.events import Event, EventKind
from sockscope.core.results.batch_means import (
    FLOOR_RATIO,
    PERCENTILE_FLOOR_RATIO,
    Batches,
    Difference,
    difference,
)
from sockscope.core.run.adding import joined
from sockscope.core.run.fared import flatters
from sockscope.core.run.figures import Figures, figures
from sockscope.core.run.snapshot import RunState, Snapshot
from sockscope.core.run.window import window

SECOND_S = 1.0
BEFORE, AFTER = 5, 3
"""Seconds before and after a change that are compared: of equal seconds 1 of 28 pairs does not overlap."""
SETTLE_S = 0.4
"""Left out after a change, while queues of before drain."""
STALE_S = 15.0
"""Seconds that are longer ago tell nothing of the moment before a change."""
GAP_S = 10.0
"""A longer silence between two snapshots is no second; a loop that is held up may be as long without one."""
_OF_ANSWERS = ("p50_s", "p99_s", "max_s", "failed_per_s", "lost_per_s")
_OF_THE_SERVED = ("p50_s", "p99_s", "max_s", "queue_s")
_PERCENTILES = ("p50_s", "p99_s", "response_p50_s", "response_p99_s")
_SLACK_S = 0.1
"""A reader that comes at even times comes a little early or late each time."""


@dataclass(slots=True)
class Change:
    """One tuning while the run went on.

    ``before`` and ``after`` are None where there was no second to take them from, ``seconds_before`` and
    ``seconds_after`` have the figures of each. Once it is ``over``, what follows is no effect of it.
    """

    generation: int
    time_s: float
    text: str
    before: Figures | None
    seconds_before: tuple[Figures, ...] = ()
    after: Figures | None = None
    seconds_after: tuple[Figures, ...] = ()
    over: bool = False

    def is_noise(self, name: str) -> bool:
        """Tell whether chance explains the change of a figure, so that no difference is shown.

        It does where the seconds before and after overlap, or their means do not differ by more than such
        seconds scatter (:mod:`sockscope.core.results.batch_means`). While there are too few seconds of either
        nothing is told to be noise, and requests without an answer where there were none before never are.
        """
        before = _known(self.seconds_before, name)
        after = _known(self.seconds_after, name)
        if min(len(before), len(after)) < AFTER:
            return False
        if any(map(_lacks_answers, self.seconds_after)) and not any(map(_lacks_answers, self.seconds_before)):
            return name not in _OF_ANSWERS and _overlap(before, after)
        apart = self._difference(name)
        return _overlap(before, after) or (apart is not None and apart.covers_none)

    def interval(self, name: str) -> tuple[float, float] | None:
        """Return the least and the most that the relative change of a figure may be (0.1 is +10 %).

        None where too few seconds tell it, or one of them has a bound of it alone.
        """
        apart = self._difference(name)
        return None if apart is None else apart.interval

    def _difference(self, name: str) -> Difference | None:
        before, after = (_batches(seconds, name) for seconds in (self.seconds_before, self.seconds_after))
        if before is None or after is None:
            return None
        floor = PERCENTILE_FLOOR_RATIO if name in _PERCENTILES else FLOOR_RATIO
        return difference(before, after, floor)

    def misleads(self, name: str) -> bool:
        """Tell whether a percentile or the wait changes one way while clients fare the other."""
        if self.before is None or self.after is None or name not in _OF_THE_SERVED:
            return False
        before, after = getattr(self.before, name) or 0.0, getattr(self.after, name) or 0.0
        if after < before:
            return flatters(self.before.fared, self.after.fared)
        return after > before and flatters(self.after.fared, self.before.fared)


class Changes:
    """Absorbs the snapshots of a run, as often as they come; ``all`` are its changes, the newest last."""

    def __init__(self) -> None:
        self.all: deque[Change] = deque(maxlen=100)
        self._seconds: deque[Snapshot] = deque(maxlen=2 * BEFORE)
        self._edge: Snapshot | None = None
        self._last_s = 0.0
        self._settled_s = float("-inf")

    def absorb(self, snapshot: Snapshot, *, disturbed: bool = False) -> None:
        """Take the next snapshot; ``disturbed`` if the screen held up the traffic since the one before."""
        for event in snapshot.events:
            if event.kind is EventKind.TUNING:
                self._begin(event)
        paused, silent_s = snapshot.state is RunState.PAUSED, snapshot.time_s - self._last_s
        self._last_s = snapshot.time_s
        if paused and self.all:
            self.all[-1].over = len(self.all[-1].seconds_after) >= AFTER
        if paused or disturbed or silent_s > GAP_S or self._began_anew(snapshot):
            self._edge = None
        if paused or snapshot.time_s < self._settled_s:
            return
        if self._edge is None:
            self._edge = snapshot
        else:
            self._go_on(self._edge, snapshot)

    def clear(self) -> None:
        """Forget the past, for figures that begin anew."""
        self.all.clear()
        self._seconds.clear()
        self._edge = None

    def _began_anew(self, snapshot: Snapshot) -> bool:
        return self._edge is not None and snapshot.measured_since_s != self._edge.measured_since_s

    def _begin(self, event: Event) -> None:
        recent = [one for one in self._seconds if event.time_s - one.time_s < STALE_S][-BEFORE:]
        before = figures(reduce(joined, recent)) if recent else None
        self.all.append(
            Change(event.generation, event.time_s, event.text, before, tuple(map(figures, recent)))
        )
        self._seconds.clear()
        self._edge = None
        self._settled_s = event.time_s + SETTLE_S

    def _go_on(self, edge: Snapshot, now: Snapshot) -> None:
        change = self.all[-1] if self.all and not self.all[-1].over else None
        whole = now.time_s - edge.time_s >= SECOND_S - _SLACK_S
        if not whole and (change is None or change.seconds_after):
            return
        between = window(edge, now)
        if whole:
            self._seconds.append(between)
            self._edge = now
        if change is None:
            return
        if whole:
            latest = list(self._seconds)[-AFTER:]
            change.after, change.seconds_after = figures(reduce(joined, latest)), tuple(map(figures, latest))
            change.over = self._has_settled()
        else:
            change.after = figures(between)

    def _has_settled(self) -> bool:
        """Tell whether something is answered, and the latest seconds are like those before them."""
        seconds = list(map(figures, self._seconds))
        if len(seconds) < 2 * BEFORE or not any(one.requests_per_s for one in seconds[BEFORE:]):
            return False
        return all(
            _overlap(_known(seconds[:BEFORE], name), _known(seconds[BEFORE:], name))
            for name in ("requests_per_s", "p50_s", "p99_s")
        )


def _batches(seconds: Sequence[Figures], name: str) -> Batches | None:
    """Return a figure second by second; None where they are too few, or not all of them know it."""
    values = _known(seconds, name)
    if len(values) < max(AFTER, len(seconds)) or any(isinstance(value, AtLeast) for value in values):
        return None
    waiting = [one.waiting_ratio for one in seconds]
    known = [share for share in waiting if share is not None]
    return Batches(tuple(values), tuple(known) if len(known) == len(values) else (0.0,) * len(values))


def _lacks_answers(second: Figures) -> bool:
    return bool(second.failed_per_s or second.lost_per_s) or isinstance(second.max_s, AtLeast)


def _known(seconds: Iterable[Figures], name: str) -> list[float]:
    return [value for one in seconds if (value := getattr(one, name)) is not None]


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return bool(one) and bool(other) and min(one) <= max(other) and min(other) <= max(one)
