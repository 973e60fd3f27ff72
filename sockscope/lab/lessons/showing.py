"""Lessons that are shown to a room: which one is next, how long that takes, and when it goes on by itself.

It reads no clock: moments come from its caller, in seconds on any clock that only goes forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sockscope.lab.lessons.lesson import Lesson, Step
from sockscope.lab.lessons.telling import Phase, Telling

WORDS_PER_S = 3.2
"""How fast a room reads what is told."""
LEAST_PAUSE_S, MOST_PAUSE_S = 4.0, 30.0
"""Bounds of the pause before it goes on by itself."""
LOOK_S = 2.0
"""What a look at the figures takes, beside the reading."""


class Showing:
    """Shows lessons one after the other.

    With ``auto`` each step is carried out, and followed by the next one, when there was time to read what is
    told; one that should have shown its effect and has not ends that. Where it ``hands_over`` (a demo) it
    goes on all the same, and any key ends the showing. ``planned_s`` is how long it is to take; unless it is
    said, as long as it takes by itself.
    """

    def __init__(
        self,
        lessons: Sequence[Lesson],
        *,
        auto: bool = False,
        hands_over: bool = False,
        planned_s: float = 0.0,
    ) -> None:
        self.lessons = tuple(lessons)
        self.auto = auto
        self.hands_over = hands_over
        self.planned_s = planned_s or sum(map(_takes_s, self.lessons))
        self.index = 0
        self._began_s: float | None = None
        self._at: object = None
        self._since_s = 0.0

    def telling(self) -> Telling:
        """Return the lesson whose turn it is, from its beginning."""
        return Telling(self.lessons[self.index], self)

    @property
    def has_more(self) -> bool:
        """Whether another lesson follows."""
        return self.index < len(self.lessons) - 1

    def go(self, by: int) -> bool:
        """Go to the next lesson, or the one before; False where there is none."""
        index = self.index + by
        if not 0 <= index < len(self.lessons):
            return False
        self.index = index
        return True

    def elapsed_s(self, now_s: float) -> float:
        """Return how long it has been shown; it begins when that is asked first."""
        if self._began_s is None:
            self._began_s = now_s
        return now_s - self._began_s

    def turn_auto(self) -> None:
        """Go on by oneself from now on, or no more."""
        self.auto = not self.auto
        self._at = None

    def wait_again(self) -> None:
        """Begin the pause once more: somebody has done something."""
        self._at = None

    def goes_on_in_s(self, telling: Telling, now_s: float) -> float | None:
        """Return in how many seconds it goes on by itself, 0 when it is time to; None where it does not."""
        at = (telling.lesson.name, telling.index, telling.phase)
        if at != self._at:
            self._at, self._since_s = at, now_s
        if not self.auto or telling.phase is Phase.DOING or self.is_held(telling):
            return None
        if telling.phase is Phase.SEEN and telling.is_last and not (self.has_more or self.hands_over):
            return None
        return max(0.0, self._since_s + self.pause_of(telling) - now_s)

    def pause_of(self, telling: Telling) -> float:
        """Return how long it waits, in seconds, where it goes on by itself."""
        return pause_s(telling.step, telling.phase)

    def is_held(self, telling: Telling) -> bool:
        """Whether a step that has not shown its effect holds it up, until somebody goes on."""
        outcome = telling.outcome
        return outcome is not None and outcome.has_failed and not self.hands_over


def pause_s(step: Step, phase: Phase) -> float:
    """Return how long a room needs for what is told of a step before it is carried out, or after."""
    text = " ".join((step.say, step.question, *step.choices)) if phase is Phase.ASKED else step.then
    return min(MOST_PAUSE_S, max(LEAST_PAUSE_S, LOOK_S + len(text.split()) / WORDS_PER_S))


def _takes_s(lesson: Lesson) -> float:
    pauses = (pause_s(step, phase) for step in lesson.steps for phase in (Phase.ASKED, Phase.SEEN))
    return lesson.seconds + math.fsum(pauses)
