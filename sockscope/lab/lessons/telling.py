"""A lesson as people go through it: what is asked, what they have predicted, and what they have seen.

It knows neither a screen nor a run: a face shows it and carries out what it says.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from sockscope.lab.lessons.lesson import Lesson, Step
from sockscope.lab.lessons.walk import Seen, Walk

if TYPE_CHECKING:
    from sockscope.lab.lessons.showing import Showing

MOST_VOTES = 100_000


class Phase(Enum):
    """Where a step is: told and asked about, being carried out, or seen."""

    ASKED = "asked"
    DOING = "doing"
    SEEN = "seen"


class Telling:
    """One way through a lesson with people in front of it."""

    def __init__(self, lesson: Lesson, showing: Showing | None = None) -> None:
        self.lesson = lesson
        self.showing = showing
        """What it is shown to a room with; None where one goes through it alone."""
        self.walk = Walk(lesson)
        self.index = 0
        self.phase = Phase.ASKED
        self.seen: dict[str, Seen] = {}
        self.chosen: dict[str, int] = {}
        """What was predicted, as the number of a choice, by the name of the step."""
        self.votes: dict[str, tuple[int, ...]] = {}
        """How many in the room have predicted what, by the name of the step."""
        self._run: Step | None = None

    @property
    def step(self) -> Step:
        """The step that is told."""
        return self.lesson.steps[self.index]

    @property
    def is_last(self) -> bool:
        """Whether no step follows."""
        return self.index == len(self.lesson.steps) - 1

    @property
    def outcome(self) -> Seen | None:
        """What this step has shown; None until it has."""
        return self.seen.get(self.step.name) if self.phase is Phase.SEEN else None

    @property
    def needs_run(self) -> bool:
        """Whether the step needs a run that is not there: its own, or that of a step before."""
        if self.lesson.experiment is None:
            return False
        return self.lesson.begins_anew(self.step) or self._run is not self.lesson.run_of(self.step)

    def choose(self, number: int) -> bool:
        """Predict; False where there is no such choice, or it is too late for that."""
        if self.phase is not Phase.ASKED or not 1 <= number <= len(self.step.choices):
            return False
        self.chosen[self.step.name] = number
        return True

    def vote(self, text: str) -> None:
        """Take the votes of a room, a number for each choice (``12 3 5``); raise ValueError if it is none."""
        numbers = text.replace(",", " ").split()
        choices = len(self.step.choices)
        if len(numbers) != choices or not all(one.isascii() and one.isdigit() for one in numbers):
            raise ValueError(f"type {choices} numbers, one for each choice, such as {_example(choices)}")
        self.votes[self.step.name] = tuple(min(int(one[:9]), MOST_VOTES) for one in numbers)

    @property
    def has_predicted(self) -> bool:
        """Whether anybody has said what this step will show."""
        return self.step.name in self.chosen or self.step.name in self.votes

    @property
    def votes_right(self) -> tuple[int, int] | None:
        """How many of the room's votes on this step were right, and how many there are; None: none."""
        votes = self.votes.get(self.step.name, ())
        return (votes[self.step.right - 1], sum(votes)) if sum(votes) else None

    def begin(self) -> None:
        """Say that the step is being carried out, in the run that it needs."""
        self.phase = Phase.DOING
        self.walk.missing = ()
        if self.lesson.experiment is not None:
            self._run = self.lesson.run_of(self.step)

    def has_no_run(self) -> None:
        """Say that the run that the step needs could not begin, or is no longer there."""
        self._run = None
        if self.phase is Phase.DOING:
            self.phase = Phase.ASKED

    def show(self, seen: Seen) -> None:
        """Take what the step has shown."""
        self.seen[self.step.name] = seen
        self.phase = Phase.SEEN

    def go(self, by: int) -> bool:
        """Go to the next step, or the one before; False where there is none, or one is being carried out."""
        index = self.index + by
        if self.phase is Phase.DOING or not 0 <= index < len(self.lesson.steps):
            return False
        self.index = index
        self.phase = Phase.SEEN if self.step.name in self.seen else Phase.ASKED
        return True

    def again(self) -> None:
        """Ask about the step once more, unless it is being carried out."""
        if self.phase is Phase.SEEN:
            self.phase = Phase.ASKED


def _example(choices: int) -> str:
    return " ".join(str(number) for number in (12, 3, 5, 4, 1, 2, 7, 6, 8)[:choices])
