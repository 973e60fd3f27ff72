"""Watches the tasks of a loop while the lens is on: a look at all of them now and then, in parts.

A part takes about a millisecond and a look at most a hundredth of the loop's time, however many tasks there
are: after one that took long the next is later.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
import weakref
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from itertools import islice
from time import perf_counter, thread_time
from types import FrameType
from typing import Any, TypeVar

from sockscope.core.run.tasks import (
    GROWTH_LOOKS,
    OURS,
    OWN,
    AwaitedView,
    Cancelled,
    CancelOutcome,
    Counted,
    TaskGroup,
    TaskState,
    TasksView,
    TaskView,
    growing,
)
from sockscope.core.wire.octets import printable
from sockscope.engine.lens.await_chain import NAME_CHARACTERS, ChainWords, Link, Wait, Words, place_of_code
from sockscope.engine.lens.cancelling import WATCHED_S, cancel
from sockscope.engine.lens.offloads import Offload, Offloads
from sockscope.engine.lens.transports import Transports
from sockscope.engine.own_errors import RaisedTable, is_ours, is_users

LOOKS_S = 0.5
"""How soon after a look the next one begins, if that one took little."""
COST_RATIO = 0.01
"""Share of the loop's time that looks take at most."""
PART_S = 0.001
"""How long a part of a look may keep the loop busy."""
BETWEEN_S = 0.005
"""Time between parts, for what else the loop has to do."""
PART_TASKS = 32
"""Tasks that are looked at between two looks at the clock."""
MOST_TASKS = 200
"""Tasks that are told one by one,"""
MOST_ALIKE = 10
"""before others so many of a coroutine that wait in one place,"""
MOST_GROUPS = 32
"""groups of them,"""
MOST_PRIMITIVES = 16
"""and locks, semaphores and the like,"""
MOST_HOLDERS = 8
"""with so many tasks that hold one."""
MOST_BIRTHS = 200
"""Tasks that are heard of as they are made, from one look to the next; the look finds the others."""
MOST_CREATORS = 12
"""Frames that are looked at for who makes a task."""

USERS, SOCKSCOPES, LIBRARYS = range(3)
_whose: dict[str, int] = {}
"""Whose a file of code is."""

T = TypeVar("T")
Task = asyncio.Task[Any]


class Seen:
    """What is known of one task.

    Times are monotonic. Unless it was ``heard`` of as it was made, ``born_s`` is when it was found.
    """

    __slots__ = ("born_s", "future", "heard", "is_own", "made_at", "number", "waits_since_s")

    def __init__(self, number: int, born_s: float, heard: bool, made_at: Link | None) -> None:
        self.number = number
        self.born_s = born_s
        self.heard = heard
        self.made_at = made_at
        self.is_own = made_at is not None
        self.future: weakref.ref[Any] | None = None
        self.waits_since_s = 0.0


class Awaited:
    """A lock, semaphore, event or queue that tasks of own code wait for."""

    __slots__ = ("holders", "holding", "longest_s", "one", "waited_at", "waiting")

    def __init__(self, one: object, waited_at: str) -> None:
        self.one = one
        self.waited_at = waited_at
        self.waiting = self.holding = 0
        self.longest_s = 0.0
        self.holders: list[str] = []


class Look:
    """One look at all tasks, while it goes on; ``wanted`` are those that the last one has seen waited for."""

    def __init__(self, wanted: set[int]) -> None:
        self.took_s = 0.0
        self.alive = self.own = self.unread = 0
        self.groups: dict[tuple[ChainWords, str, bool], list[Any]] = {}
        self.counts: Counter[str] = Counter()
        self.wanted = wanted
        self.awaited: dict[int, Awaited] = {}
        self.holds: list[tuple[set[int], str]] = []
        # The oldest, own code's first and of these the first few that are alike, as a heap with the one that
        # is to give way at its top.
        self._oldest: list[tuple[bool, bool, float, int, TaskView]] = []

    def keeps(self, is_own: bool, alike: int, born_s: float) -> bool:
        """Tell whether a task, one of so many that are alike, is among those to be told so far."""
        if len(self._oldest) < MOST_TASKS:
            return True
        return (is_own, alike <= MOST_ALIKE, -born_s) > self._oldest[0][:3]

    def keep(self, alike: int, born_s: float, task: TaskView) -> None:
        """Keep it."""
        push = heapq.heappush if len(self._oldest) < MOST_TASKS else heapq.heappushpop
        push(self._oldest, (task.owner == OWN, alike <= MOST_ALIKE, -born_s, -task.number, task))

    def tasks(self) -> tuple[TaskView, ...]:
        """Return those that are told, own code's first, and of these the oldest."""
        found = sorted(self._oldest, key=lambda entry: (entry[0], *entry[2:4]), reverse=True)
        return tuple(entry[4] for entry in found)


class TaskWatch:
    """Knows the tasks of the running loop from :meth:`begin` to :meth:`end`.

    Loops that are not ours tell nothing when they make a task: ages are then at least those since the first
    look, and nothing is known of the default executor, nor of transports.
    """

    def __init__(self) -> None:
        self._loop: Any = asyncio.get_running_loop()
        self._tells = hasattr(self._loop, "watch_with")
        self._seen: dict[weakref.ref[Task], Seen] = {}
        self._numbers = 0
        self._births_left = MOST_BIRTHS
        self._words = Words()
        self._offloads = Offloads()
        self._transports = Transports(_maker)
        self._raised = RaisedTable()
        self._timer: asyncio.TimerHandle | None = None
        self._began_s = 0.0
        self._counted: deque[Counted] = deque(maxlen=GROWTH_LOOKS)
        self._wanted: set[int] = set()
        self._view = TasksView(perf_counter())
        self._has_raised = False

    @property
    def view(self) -> TasksView:
        """The outcome of the last look, with the exceptions until now."""
        if self._has_raised:
            self._has_raised = False
            self._view = replace(self._view, unretrieved=self._raised.rows())
        return self._view

    def begin(self) -> None:
        """Take note of the tasks there are, and hear of those to come."""
        self._began_s = perf_counter()
        for task in asyncio.all_tasks(self._loop):
            self._take(task, self._began_s, heard=False)
        if self._tells:
            self._loop.watch_with(self)
        self._timer = self._loop.call_later(0.05, self._look)

    def end(self) -> None:
        """Forget all of them, and leave the loop as it was."""
        if self._timer is not None:
            self._timer.cancel()
        if self._tells:
            self._loop.watch_with(None)
        self._seen.clear()

    # What the loop tells.

    def on_task(self, task: Task) -> None:
        """A task was made, by whoever calls."""
        self._take(task, perf_counter(), _maker(sys._getframe(2)), heard=True)
        self._births_left -= 1
        if self._births_left <= 0:
            self._loop.hear_tasks(False)

    def _take(self, task: Task, born_s: float, made_at: Link | None = None, *, heard: bool) -> None:
        self._numbers += 1
        self._seen[weakref.ref(task, self._forget)] = Seen(self._numbers, born_s, heard, made_at)

    def _forget(self, ref: weakref.ref[Task]) -> None:
        self._seen.pop(ref, None)

    def on_offload(self, call: Callable[..., Any]) -> Offload:
        """A call goes to the default executor: return what is to be called instead."""
        return self._offloads.wrapped(call)

    def on_exception(self, context: dict[str, Any]) -> None:
        """The loop has heard of an exception: count it if it is one that nobody has asked for."""
        error = context.get("exception")
        if isinstance(error, BaseException) and "never retrieved" in str(context.get("message", "")):
            self._raised.add(error)
            self._has_raised = True

    def on_offloaded(self, call: Offload, future: asyncio.Future[Any] | None) -> None:
        """That was handed over."""
        self._offloads.submitted(call, future)

    def on_connecting(self, makes: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """A call makes a transport: return what is to be awaited in its place."""
        return self._transports.hearing(makes)

    # Control.

    async def cancel(self, number: int, within_s: float = WATCHED_S) -> Cancelled:
        """Cancel the task of this number if it is own code's; return what became of it."""
        found = ((ref(), seen) for ref, seen in self._seen.items() if seen.number == number)
        task, seen = next(found, (None, None))
        if task is None or seen is None or task.done():
            return Cancelled(CancelOutcome.GONE, f"task {number}")
        words = self._words.of(Wait(task.get_coro()))
        name = f"{_name_of(task)} ({words.coroutine})"
        if not (seen.is_own or words.own):
            return Cancelled(CancelOutcome.REFUSED, name)
        return await cancel(task, name, within_s)

    # Looks.

    def _look(self) -> None:
        look, cost_s = Look(self._wanted), thread_time()
        if not self._tells or self._births_left <= 0:
            for task in asyncio.all_tasks(self._loop):
                if weakref.ref(task) not in self._seen:
                    self._take(task, perf_counter(), heard=False)
            look.took_s = thread_time() - cost_s
            if self._tells:
                self._loop.hear_tasks(True)
        self._births_left = MOST_BIRTHS
        self._go_on(look, iter(list(self._seen.items())))

    def _go_on(self, look: Look, left: Iterator[tuple[weakref.ref[Task], Seen]]) -> None:
        """Look at tasks for about :data:`PART_S`; the rest comes later."""
        began_s, cost_s = perf_counter(), thread_time()
        part: list[tuple[weakref.ref[Task], Seen]] | None = None
        while part != [] and (now_s := perf_counter()) - began_s < PART_S:
            part = list(islice(left, PART_TASKS))
            for ref, seen in part:
                try:
                    if (task := ref()) is not None and not task.done():
                        self._look_at(look, seen, task, now_s)
                except Exception:  # noqa: BLE001  # own code may have tasks and coroutines of its own making
                    look.unread += 1
        if not part:
            self._conclude(look)
        look.took_s += thread_time() - cost_s
        if part:
            self._timer = self._loop.call_later(BETWEEN_S, self._go_on, look, left)
            return
        self._view = replace(self._view, look_s=look.took_s)
        self._timer = self._loop.call_later(max(LOOKS_S, look.took_s / COST_RATIO), self._look)

    def _look_at(self, look: Look, seen: Seen, task: Task, now_s: float) -> None:
        wait = Wait(task.get_coro())
        words = self._words.of(wait)
        seen.is_own = is_own = seen.is_own or bool(words.own)
        look.alive += 1
        look.own += is_own
        look.counts[words.coroutine] += 1
        _note_wait(seen, wait.future, now_s)
        awaited = _awaited_in(look, seen, wait, words, now_s) if is_own else None
        kind = _kind_of(wait.future, awaited)
        born_s = seen.born_s
        group = look.groups.setdefault((words, kind, is_own), [0, born_s])
        group[0] += 1
        group[1] = min(group[1], born_s)
        if look.keeps(is_own, group[0], born_s):
            look.keep(group[0], born_s, _view_of(seen, task, wait, words, kind, now_s))
        if look.wanted and words.own:
            _note_holds(look, wait, words, awaited, _name_of(task))

    def _conclude(self, look: Look) -> None:
        now_s = perf_counter()
        self._wanted = set(look.awaited)
        for held, name in look.holds:
            for awaited in (look.awaited[key] for key in held if key in look.awaited):
                awaited.holding += 1
                if len(awaited.holders) < MOST_HOLDERS:
                    awaited.holders.append(name)
        self._counted.append((now_s, look.counts))
        largest = sorted(look.groups.items(), key=lambda item: (not item[0][2], -item[1][0]))
        self._view = TasksView(
            time_s=now_s,
            alive=look.alive,
            own=look.own,
            unread=look.unread,
            groups=tuple(
                TaskGroup(words.coroutine, _owner(own), words.waits_in, kind, count, now_s - born_s)
                for (words, kind, own), (count, born_s) in largest[:MOST_GROUPS]
            ),
            groups_beyond=max(0, len(largest) - MOST_GROUPS),
            tasks=look.tasks(),
            growing=growing(tuple(self._counted)),
            awaited=tuple(map(_awaited_view, look.awaited.values())),
            unretrieved=self._raised.rows(),
            unclosed=self._transports.unclosed(),
            executor=self._offloads.view() if self._tells else None,
        )


def _owner(is_own: bool) -> str:
    return OWN if is_own else OURS


def _note_wait(seen: Seen, future: Any, now_s: float) -> None:
    """Note since when it waits: the future is the same one as at the last look, or another."""
    if future is None or seen.future is None or seen.future() is not future:
        seen.waits_since_s = now_s
        try:
            seen.future = weakref.ref(future) if future is not None else None
        except TypeError:  # of a class of the user's that has no room for it
            seen.future = None


def _awaited_in(look: Look, seen: Seen, wait: Wait, words: ChainWords, now_s: float) -> Awaited | None:
    """Count it among those that wait for a lock, a semaphore, an event or a queue, if it does."""
    if words.primitive_at is None:
        return None
    one = wait.primitive(words.primitive_at)
    awaited = look.awaited.get(id(one))
    if awaited is None:
        if len(look.awaited) >= MOST_PRIMITIVES:
            return None
        awaited = look.awaited[id(one)] = Awaited(one, words.waits_in)
    awaited.waiting += 1
    awaited.longest_s = max(awaited.longest_s, now_s - seen.waits_since_s)
    return awaited


def _note_holds(look: Look, wait: Wait, words: ChainWords, awaited: Awaited | None, name: str) -> None:
    held = wait.holds(words.own)
    if awaited is not None and id(awaited.one) in held:
        held.remove(id(awaited.one))  # it waits to enter that
    if wanted := look.wanted.intersection(held):
        look.holds.append((wanted, name))


def _kind_of(future: Any, awaited: Awaited | None) -> str:
    """Return what sort of thing a task waits for."""
    if awaited is not None:
        return printable(type(awaited.one).__name__, NAME_CHARACTERS)
    if future is None:
        return ""
    return "task" if isinstance(future, asyncio.Task) else "future"


def _awaited_view(awaited: Awaited) -> AwaitedView:
    one = awaited.one
    if isinstance(one, asyncio.Queue):
        most = f" of {one.maxsize:,}" if one.maxsize else ""
        state = f"{asyncio.Queue.qsize(one):,}{most} in it"
    elif isinstance(one, asyncio.Lock):
        state = "locked" if asyncio.Lock.locked(one) else "unlocked"
    elif isinstance(one, asyncio.Semaphore):
        state = "locked" if asyncio.Semaphore.locked(one) else "unlocked"
    elif isinstance(one, asyncio.Event):
        state = "set" if asyncio.Event.is_set(one) else "not set"
    else:
        state = ""
    return AwaitedView(
        kind=printable(type(one).__name__, NAME_CHARACTERS),
        state=state,
        waited_at=awaited.waited_at,
        waiting=awaited.waiting,
        longest_s=awaited.longest_s,
        holders=tuple(awaited.holders),
        holding=awaited.holding,
    )


def _view_of(seen: Seen, task: Task, wait: Wait, words: ChainWords, kind: str, now_s: float) -> TaskView:
    future = wait.future
    return TaskView(
        number=seen.number,
        name=_name_of(task),
        coroutine=words.coroutine,
        owner=_owner(seen.is_own),
        state=_state_of(task, wait),
        age_s=now_s - seen.born_s,
        age_known=seen.heard,
        waits_s=now_s - seen.waits_since_s,
        waits_in=words.waits_in,
        waits_for=f"task {_name_of(future)}" if isinstance(future, asyncio.Task) else kind,
        chain=words.chain,
        made_at=place_of_code(*seen.made_at) if seen.made_at is not None else "",
    )


def _state_of(task: Task, wait: Wait) -> TaskState:
    if task.cancelling():
        return TaskState.CANCELLING
    if wait.future is not None and not wait.future.done():
        return TaskState.WAITING
    return TaskState.READY if wait.is_begun else TaskState.NEW


def _name_of(task: Task) -> str:
    return printable(task.get_name(), NAME_CHARACTERS)


def _maker(frame: FrameType | None) -> Link | None:
    """Return where in the user's code a task was made; None where the user's has not made it.

    That is so when the innermost frame that is not a library's is ours.
    """
    for _ in range(MOST_CREATORS):
        if frame is None:
            break
        code = frame.f_code
        if (whose := _whose.get(code.co_filename)) is None:
            path = code.co_filename
            whose = _whose[path] = USERS if is_users(path) else SOCKSCOPES if is_ours(path) else LIBRARYS
        if whose == USERS:
            return code, frame.f_lineno
        if whose == SOCKSCOPES:
            break
        frame = frame.f_back
    return None
