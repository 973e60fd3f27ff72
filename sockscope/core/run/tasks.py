"""The tasks of one event loop, as the lens sees them: how many live, where they wait, and which grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from sockscope.core.run.raised import Raised
from sockscope.core.units import format_duration

OURS = "SockScope or a library"
OWN = "own code"
"""Whose a task is: own code's where that waits in it or has made it."""
GROWTH_LOOKS = 21
"""Whether tasks grow in number is told by so many looks,"""
GROWTH_S = 5.0
"""which cover so many seconds at least."""
GROWTH_TASKS = 10
"""Fewer tasks more are no growth."""
MOST_SENTENCES = 3


class TaskState(Enum):
    """What a task does that does not run at the moment of the look; none does."""

    WAITING = "waiting"
    READY = "ready"
    """What it waited for is there: it runs in the next turn of the loop."""
    NEW = "not begun"
    CANCELLING = "cancelling"
    """It was cancelled and has not ended."""


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task.

    ``number`` is its own in its process as long as the lens is on. Its age is at least ``age_s`` where
    ``age_known`` is false: it was found by a look, and not heard of as it was made. It has waited where it
    does for ``waits_s`` at least: since the look that first saw it there. ``chain`` is where it waits, the
    outermost coroutine first, each as ``name file:line``; ``waits_for`` is what the innermost waits for.
    ``made_at`` is the code that has made it, empty where that is not known.
    """

    number: int
    name: str
    coroutine: str
    owner: str
    state: TaskState
    age_s: float
    age_known: bool
    waits_s: float
    waits_in: str
    waits_for: str
    chain: tuple[str, ...]
    made_at: str

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        return f"{self.name} ({self.coroutine})"


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Tasks of one coroutine that wait in one place; ``oldest_s`` is the age of the oldest."""

    coroutine: str
    owner: str
    waits_in: str
    waits_for: str
    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Growth:
    """A coroutine of which there are more and more tasks."""

    coroutine: str
    count: int
    per_s: float

    @property
    def sentence(self) -> str:
        """The same in words."""
        rate = f"{self.per_s:,.0f}" if self.per_s >= 10 else f"{self.per_s:.1f}"
        return f"tasks alive grow by {rate} per second: {self.coroutine} ({self.count:,} now)"


@dataclass(frozen=True, slots=True)
class AwaitedView:
    """A lock, semaphore, event or queue of asyncio's that tasks wait for.

    ``state`` is its own word for it (``locked``). ``holders`` are the tasks that hold it by ``async with``;
    those that took it by ``acquire()`` alone cannot be told. ``longest_s`` is at least how long one waits.
    """

    kind: str
    state: str
    waited_at: str
    waiting: int
    longest_s: float
    holders: tuple[str, ...]
    holding: int


@dataclass(frozen=True, slots=True)
class CallView:
    """A call that was handed to the default executor, and for how long it has waited or run."""

    name: str
    since_s: float
    running: bool


@dataclass(frozen=True, slots=True)
class ExecutorView:
    """The default executor since the lens is on: ``asyncio.to_thread``, ``run_in_executor(None, ...)``, and
    on asyncio's own loop ``getaddrinfo``.

    ``queued`` calls wait for a thread, ``running`` have one; ``threads`` have run any so far. ``calls`` are
    those that have waited or run longest.
    """

    queued: int = 0
    running: int = 0
    threads: int = 0
    calls: tuple[CallView, ...] = ()


@dataclass(frozen=True, slots=True)
class Unclosed:
    """Transports of own code, made at one place, that are open although the task that made them has ended."""

    made_at: str
    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class TasksView:
    """The tasks of one loop, at ``time_s`` (monotonic), the end of the last look at all of them.

    ``alive`` counts all, ``own`` those of own code. ``unread`` ones are in neither: they are of classes of
    own code that raise when they are looked at. ``groups`` are the largest, own code's first; ``tasks`` the
    oldest, own code's first: where there are too many, some of each coroutine in each place before others.
    ``unretrieved`` are exceptions of tasks and futures that nobody has asked for, by place, since the lens is
    on. ``look_s`` is the CPU time of the look, in parts of about a millisecond.
    """

    time_s: float
    alive: int = 0
    own: int = 0
    unread: int = 0
    groups: tuple[TaskGroup, ...] = ()
    groups_beyond: int = 0
    tasks: tuple[TaskView, ...] = ()
    growing: tuple[Growth, ...] = ()
    awaited: tuple[AwaitedView, ...] = ()
    unretrieved: tuple[Raised, ...] = ()
    unclosed: tuple[Unclosed, ...] = ()
    executor: ExecutorView | None = None
    look_s: float = 0.0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is worth a sentence: groups that grow, the fastest first."""
        return tuple(growth.sentence for growth in self.growing[:MOST_SENTENCES])


Counted = tuple[float, Mapping[str, int]]
"""A moment, and how many tasks of each coroutine there were."""


def growing(looks: Sequence[Counted]) -> tuple[Growth, ...]:
    """Return the coroutines whose tasks become more and more, the fastest first.

    Of the looks in three parts, one after the other, each later part has a higher minimum, and that of the
    last is above all there was in the first: tasks that come and go do not do so, nor does a single step.
    """
    recent = looks[-GROWTH_LOOKS:]
    third = len(recent) // 3
    if third < 2 or (seconds := recent[-1][0] - recent[0][0]) < GROWTH_S:
        return ()
    found: list[Growth] = []
    for coroutine, count in recent[-1][1].items():
        counts = [look.get(coroutine, 0) for _, look in recent]
        old, middle, new = counts[:third], counts[third:-third], counts[-third:]
        rises = min(old) < min(middle) < min(new) and min(new) > max(old)
        if rises and count - counts[0] >= GROWTH_TASKS:
            found.append(Growth(coroutine, count, (count - counts[0]) / seconds))
    return tuple(sorted(found, key=lambda growth: -growth.per_s))


class CancelOutcome(Enum):
    """What became of a task that was cancelled."""

    GONE = "gone"
    """There was no such task any more."""
    OFF = "off"
    """The lens is off, so that nobody knows the task."""
    REFUSED = "refused"
    """It is not own code's."""
    ENDED = "ended"
    """CancelledError arrived and ended it."""
    RETURNED = "returned"
    """It swallowed CancelledError and returned."""
    RAISED = "raised"
    """It raised something else."""
    CLEANING_UP = "cleaning up"
    """CancelledError arrived, and is being handled still."""
    SWALLOWED = "swallowed"
    """CancelledError arrived, and it goes on in spite of that."""
    PENDING = "pending"
    """CancelledError has not arrived: what it waits for does not let go."""


_NO_FAULTS = {CancelOutcome.GONE, CancelOutcome.OFF, CancelOutcome.REFUSED, CancelOutcome.ENDED}


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of a task that was cancelled: after ``seconds``, or still, and where it waits then."""

    outcome: CancelOutcome
    task: str
    seconds: float = 0.0
    where: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the task did not end as it should."""
        return self.outcome not in _NO_FAULTS

    @property
    def sentence(self) -> str:
        """The same in words."""
        took, where = format_duration(self.seconds), f" at {self.where}" if self.where else ""
        became = {
            CancelOutcome.GONE: "had ended already",
            CancelOutcome.OFF: "is not cancelled: the lens is off",
            CancelOutcome.REFUSED: f"is not cancelled: it is of {OURS}, not of {OWN}",
            CancelOutcome.ENDED: f"ended: CancelledError arrived after {took}",
            CancelOutcome.RETURNED: f"swallowed CancelledError and returned after {took}",
            CancelOutcome.RAISED: f"answered CancelledError with {self.where} after {took}",
            CancelOutcome.CLEANING_UP: f"got CancelledError and cleans up still after {took}{where}",
            CancelOutcome.SWALLOWED: f"swallowed CancelledError: it is alive after {took}{where}",
            CancelOutcome.PENDING: f"has not got CancelledError after {took}: it is held{where}",
        }
        return f"{self.task} {became[self.outcome]}"
