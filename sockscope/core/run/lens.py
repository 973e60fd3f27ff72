"""What a lens on an event loop has seen: how busy the loop was, and who held it up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sockscope.core import units
from sockscope.core.run.adding import Cumulative, Current, Happened
from sockscope.core.run.tasks import TasksView

MOST_HOLDS = 64
"""Holds that a process keeps, the last ones; those before are counted only."""

KINDS = {
    "call": "one callback waits in a call that blocks the thread",
    "computing": "one callback computes",
    "step": "one callback keeps the interpreter (the GIL) in a single step, in this call or just before it",
    "callbacks": "many callbacks, one after the other",
    "collection": "the garbage collector goes through all objects",
    "interpreter": "another thread has the interpreter (the GIL)",
    "core": "other programs have the cores",
    "unseen": "what it was is not known",
}
"""What can hold up a loop, by the word for it, and what that means."""
FELT_RATIO = 0.1
"""From this share of a hold on, the wait for a core is worth a word."""
OF_ONE_CALLBACK = ("call", "computing", "step")
"""The kinds that block a loop."""


HELD_UP_S = 0.01
"""Whom a hold cost less than this it has not held up."""
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Hold:
    """A time in which a loop did not get to its next turn, and what it did instead.

    ``begin_s`` is monotonic. ``kind`` is one word of :data:`KINDS`. ``call`` is what was called
    (``time.sleep``) at ``line`` of ``file``; empty and 0 where that is not known. The loop was looked at
    ``looks`` times meanwhile, and ``alike`` of these saw one and the same callback. For ``core_wait_s`` of it
    the loop's thread waited for a core. ``requests`` are those whose service fell into it, None until they
    are counted.
    """

    begin_s: float
    duration_s: float
    kind: str
    call: str = ""
    file: str = ""
    line: int = 0
    looks: int = 0
    alike: int = 0
    core_wait_s: float = 0.0
    requests: int | None = None

    @property
    def end_s(self) -> float:
        """When the loop went on."""
        return self.begin_s + self.duration_s

    @property
    def mostly_waited(self) -> bool:
        """Whether the loop's thread waited for a core most of the time, whatever it was at."""
        return 0 < HALF * self.duration_s <= self.core_wait_s

    def held_up(self, sent_s: float, answered_s: float) -> bool:
        """Tell whether a request waited for its end, for most of the time until its answer.

        ``answered_s`` is 0 of a request that was never answered: it waited if it was sent meanwhile.
        """
        end_s = self.end_s
        if not answered_s:
            return self.begin_s <= sent_s < end_s
        if sent_s >= end_s or answered_s < end_s - HELD_UP_S:
            return False
        waited_s = min(answered_s, end_s) - max(sent_s, self.begin_s)
        return waited_s >= max(HELD_UP_S, HALF * (answered_s - sent_s))


@dataclass(frozen=True, eq=False)
class LensView:
    """What the lens of one process has seen so far; all but ``is_on`` and ``busy_by`` is cumulative.

    It looked for ``looked_s``. ``busy_s`` is the time in which the loop ran callbacks and did not wait for
    something to do: where ``busy_by`` is ``select``, that outside of the selector, and where it is ``CPU``
    the CPU time of the loop's thread and the time of holds in which it did not compute. ``turns`` are those
    of the loop, and ``callbacks`` what it ran for sockets that were ready or because of ``call_soon``; both
    None where a loop does not tell them.
    ``held`` and ``held_s`` count all holds, of which ``holds`` are the last. ``tasks`` are those of the last
    look at them.
    """

    is_on: Current[bool]
    busy_by: Current[str]
    looked_s: Cumulative[float]
    busy_s: Cumulative[float]
    turns: Cumulative[int | None]
    callbacks: Cumulative[int | None]
    collections: Cumulative[int] = 0
    collecting_s: Cumulative[float] = 0.0
    held: Cumulative[int] = 0
    held_s: Cumulative[float] = 0.0
    holds: Happened[tuple[Hold, ...]] = ()
    tasks: Current[TasksView | None] = None

    @property
    def busy_ratio(self) -> float | None:
        """Share of the time in which the loop was busy; None when the lens has not looked."""
        return self._per_s(self.busy_s)

    @property
    def turns_per_s(self) -> float | None:
        """Turns of the loop per second."""
        return self._per_s(self.turns)

    @property
    def callbacks_per_s(self) -> float | None:
        """Callbacks per second."""
        return self._per_s(self.callbacks)

    def _per_s(self, count: float | None) -> float | None:
        return count / self.looked_s if count is not None and self.looked_s > 0 else None


def call_at(hold: Hold) -> str:
    """Return what held up the loop, to stand behind "by": ``time.sleep at mine.py:12``, or what is known."""
    if not hold.call:
        return _NAMELESS[hold.kind]
    where = f"{hold.call} at {hold.file}:{hold.line}" if hold.file else hold.call
    before, after = _AROUND.get(hold.kind, ("", ""))
    return f"{before}{where}{after}{_OF_ITS_WAIT if hold.mostly_waited else ''}"


_OF_ITS_WAIT = ", which waited for a core most of the time"
_NAMELESS = {
    **dict.fromkeys(OF_ONE_CALLBACK, "one callback"),
    "callbacks": "many callbacks",
    "collection": "the garbage collector",
    "interpreter": "another thread that has the interpreter",
    "core": "other programs that have the cores",
    "unseen": "something that was not seen",
}
_AROUND = {
    "callbacks": ("many callbacks, such as ", ""),
    "step": ("what is at or just before ", ""),
    "interpreter": ("", ", which has the interpreter"),
}


def kind_told(hold: Hold) -> str:
    """Return in words what held up the loop, and how that is known."""
    told = KINDS[hold.kind]
    if hold.alike and hold.kind in (*OF_ONE_CALLBACK, "callbacks"):
        told += f" ({hold.alike} of {units.counted(hold.looks, 'look')} saw the same one)"
    if hold.core_wait_s >= FELT_RATIO * hold.duration_s:
        told += f"; it waited {units.format_duration(hold.core_wait_s)} of that for a core"
    return told


def held_up_by(holds: Iterable[Hold], sent_s: float, answered_s: float) -> Hold | None:
    """Return the hold that a request waited for, the longest of several; None when there is none."""
    found = (hold for hold in holds if hold.held_up(sent_s, answered_s))
    return max(found, key=lambda hold: hold.duration_s, default=None)


@dataclass(frozen=True, slots=True)
class Cause:
    """What has held up a loop most: one of its holds, and how often and how long such a one did."""

    hold: Hold
    count: int
    total_s: float


def main_cause(holds: Iterable[Hold]) -> Cause | None:
    """Return what held up a loop for the longest time together; None without holds."""
    alike: dict[tuple[str, str, str, int], list[Hold]] = {}
    for hold in holds:
        alike.setdefault((hold.kind, hold.call, hold.file, hold.line), []).append(hold)
    causes = [Cause(max(same, key=_length), len(same), sum(map(_length, same))) for same in alike.values()]
    return max(causes, key=lambda cause: cause.total_s, default=None)


def _length(hold: Hold) -> float:
    return hold.duration_s
