"""From what was seen of a loop that was held up to what held it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sockscope.core.run.lens import Hold
from sockscope.engine.lens.clocks import Stand
from sockscope.engine.lens.stack import Spot, at
from sockscope.engine.lens.watchdog import Look

HALF = 0.5
"""What explains so much of a hold is its cause."""
SAME_RATIO = 0.7
"""From this share of the time that was looked at on, one and the same callback is what held up the loop."""
MUCH_RATIO = 0.25
"""Who computed for this share of a hold has a part in it, however busy the machine is."""
LITTLE_S = 0.02
"""What computes for so short a time would have held up nobody with a core of its own."""
SWITCHES_PER_S = 100
"""Who waits for the interpreter wakes up every 5 ms to ask for it (``sys.getswitchinterval``)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a time in which a loop was held up: from the heartbeat before to the one after.

    ``collecting_s`` is how long the garbage collector worked in it, and ``generation`` that of its longest
    collection.
    """

    before: Stand
    after: Stand
    due_s: float
    looks: Sequence[Look]
    collecting_s: float
    generation: int

    @property
    def begin_s(self) -> float:
        """When the loop began with what held it up, as far as it tells: between two heartbeats."""
        told_s = self.looks[0].begun_s if self.looks else self.due_s
        return min(max(told_s, self.before.time_s), self.due_s)

    @property
    def duration_s(self) -> float:
        """How long that took."""
        return self.after.time_s - self.begin_s

    @property
    def computed_s(self) -> float:
        """How long the loop's thread computed."""
        return self.after.thread_s - self.before.thread_s

    @property
    def core_wait_s(self) -> float:
        """How long it waited for a core."""
        return self.after.core_wait_s - self.before.core_wait_s

    @property
    def others_s(self) -> float:
        """How long other threads of the process computed."""
        return max(self.after.process_s - self.before.process_s - self.computed_s, 0.0)


def judge(seen: Evidence) -> Hold:
    """Return what held up the loop."""
    kind = _kind(seen)
    where, alike = _where(seen.looks)
    call, file, line = at(where) if where is not None else ("", "", 0)
    if kind == "collection":
        call, file, line = f"garbage collection of generation {seen.generation}", "", 0
    elif kind == "interpreter":
        call, file, line = _thread(seen)
    elif kind in ("core", "unseen"):
        call, file, line = "", "", 0
    return Hold(
        begin_s=seen.begin_s,
        duration_s=seen.duration_s,
        kind=kind,
        call=call,
        file=file,
        line=line,
        looks=len(seen.looks),
        alike=alike,
        core_wait_s=min(seen.core_wait_s, seen.duration_s),
    )


def _kind(seen: Evidence) -> str:
    length_s, looks = seen.duration_s, seen.looks
    others_computed = seen.others_s >= MUCH_RATIO * length_s and seen.others_s > seen.computed_s
    if others_computed and _lacks_interpreter(seen):
        return "interpreter"
    wanted_s = seen.computed_s + seen.core_wait_s
    if wanted_s >= HALF * length_s and seen.computed_s < min(LITTLE_S, MUCH_RATIO * wanted_s):
        return "core"
    if seen.collecting_s >= HALF * length_s:
        return "core" if _lacks_core(seen) else "collection"
    if not _sees(looks):
        return "core" if seen.core_wait_s >= HALF * length_s else "unseen"
    if wanted_s >= HALF * length_s:
        # The watchdog waits for a core, too, where the loop's thread does.
        if max(look.late_s for look in looks) - seen.core_wait_s >= HALF * length_s:
            return "step"
        return "computing" if _is_one(looks) else "callbacks"
    return "call" if _is_one(looks) else "callbacks"


def _lacks_core(seen: Evidence) -> bool:
    """Tell whether the loop's thread waited for a core most of the time, and the process computed little."""
    computed_s = seen.computed_s + seen.others_s
    return seen.core_wait_s >= HALF * seen.duration_s and computed_s < MUCH_RATIO * seen.duration_s


def _lacks_interpreter(seen: Evidence) -> bool:
    """Tell whether the loop's thread, or the watchdog, asked for the interpreter most of the time."""
    late_s = sum(look.late_s for look in seen.looks)
    switches = seen.after.switches - seen.before.switches
    return (
        not _sees(seen.looks)
        or late_s >= HALF * seen.duration_s
        or switches >= SWITCHES_PER_S * seen.duration_s
    )


def _sees(looks: Sequence[Look]) -> bool:
    """Tell whether any callback was seen."""
    return any(look.callback is not None for look in looks)


def _times(looks: Sequence[Look]) -> list[float]:
    """Return the time that each look stands for: half of that to its neighbours, which grows."""
    at = [look.time_s for look in looks]
    if not at or at[0] == at[-1]:
        return [1.0] * len(at)
    return [(after - before) / 2 for before, after in zip([at[0], *at], [*at[1:], at[-1]], strict=False)]


def _longest(looks: Sequence[Look]) -> tuple[int | None, float]:
    """Return the callback that was at work for longest, and the share of the time for which it was."""
    times, lasted = _times(looks), dict[int, float]()
    for look, time_s in zip(looks, times, strict=True):
        if look.callback is not None:
            lasted[id(look.callback)] = lasted.get(id(look.callback), 0.0) + time_s
    longest = max(lasted, key=lasted.__getitem__, default=None)
    return longest, lasted[longest] / sum(times) if longest is not None else 0.0


def _is_one(looks: Sequence[Look]) -> bool:
    """Tell whether one and the same callback was at work nearly always."""
    return _longest(looks)[1] >= SAME_RATIO


def _where(looks: Sequence[Look]) -> tuple[Spot | None, int]:
    """Return where most of the time went, and how often the callback was seen that was at work for longest.

    Where one callback holds up the loop, that is in it; among many, it is what most of them are at.
    """
    longest, share = _longest(looks)
    if longest is None:
        return None, 0
    places = dict[Spot, float]()
    for look, time_s in zip(looks, _times(looks), strict=True):
        if look.where is not None and (share < SAME_RATIO or id(look.callback) == longest):
            places[look.where] = places.get(look.where, 0.0) + time_s
    alike = sum(id(look.callback) == longest for look in looks)
    return max(places, key=places.__getitem__, default=None), alike


def _thread(seen: Evidence) -> tuple[str, str, int]:
    """Return which other thread has computed for much of the time, and where it is; nothing if none is sure.

    A single look tells it only where there is no other.
    """
    first, last = (seen.looks[0].others, seen.looks[-1].others) if seen.looks else ((), ())
    before = {busy.native_id: busy.computed_s for busy in first}
    used = [(busy.computed_s - before.get(busy.native_id, 0.0), busy) for busy in last]
    much = [one for one in used if one[0] >= MUCH_RATIO * seen.duration_s]
    sure = max(much, key=lambda one: one[0])[1] if len(seen.looks) > 1 and much else None
    if sure is None and len(seen.looks) == len(last) == 1:
        sure = last[0]
    if sure is None:
        return "", "", 0
    call, file, line = at(sure.where)
    return f"thread {sure.name} in {call}", file, line
