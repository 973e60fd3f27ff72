from __future__ import annotations

from pathlib import Path

import pytest

from sockscope.faces.tui.screens.lesson_pane import LessonPane
from sockscope.lab.lessons.format import read_lesson
from sockscope.lab.lessons.lesson import Lesson
from sockscope.lab.lessons.shelf import lesson_called
from sockscope.lab.lessons.telling import Phase, Telling
from sockscope.lab.lessons.walk import Seen
from tests.tui.driving import FakeDriver, dashboard
from tests.tui.fake_source import FakeSource

TEXT = """
title = "Permits"
watch = "them"
time = "1s"
code = "sockscope.engine.servers.threads.blocking:converse"
mark = "connection.serve"
[experiment]
clients = 5
permits = 2
[[step]]
name = "first"
say = "Two permits."
question = "What now?"
choices = ["this", "that"]
right = 2
until = "elapsed >= 0s"
check = "elapsed >= 0s"
then = "So it is."
[[step]]
name = "second"
say = "Four permits."
tune = {permits = 4}
until = "elapsed >= 0s"
check = "elapsed > 1h"
"""


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    (tmp_path / "permits.toml").write_text(TEXT)
    return read_lesson(tmp_path / "permits.toml")


def in_its_run(lesson: Lesson) -> tuple[Telling, FakeSource]:
    """Return a lesson whose first step is about to be carried out, and the run that has begun for it."""
    telling = Telling(lesson)
    telling.begin()
    return telling, FakeSource(lesson.experiment_of(lesson.steps[0]))


async def sees(driver: FakeDriver, phase: Phase) -> None:
    await driver.until(lambda: driver.app.telling is not None and driver.app.telling.phase is phase)


async def test_the_first_step_asks_and_begins_a_run_of_its_own(lesson: Lesson) -> None:
    async with dashboard() as driver:
        driver.app.begin_lesson(Telling(lesson))
        await driver.sees("Lesson  Permits  1 of 2", "Two permits.", "What now?", "▶     ")
        await driver.press("v")
        await driver.type("12")
        await driver.press("enter")
        await driver.sees("type 2 numbers, one for each choice, such as 12 3")
        await driver.type("3 12")
        await driver.press("enter")
        await driver.sees("████ 3", "████████████████ 12")
        await driver.press("v", "escape", "2")
        await driver.sees("▸2  that")
        await driver.press("enter")
        await driver.until(lambda: driver.has_left)
        assert driver.app.restart == lesson.experiment_of(lesson.steps[0])
        assert driver.app.telling is not None
        assert driver.app.telling.phase is Phase.DOING


async def test_a_step_is_carried_out_judged_and_followed_by_the_next(lesson: Lesson) -> None:
    telling, source = in_its_run(lesson)
    async with dashboard(source=source) as driver:
        driver.app.begin_lesson(telling)
        await sees(driver, Phase.SEEN)
        await driver.sees("✓ elapsed >= 0s", "So it is.")
        await driver.press("enter")
        await driver.sees("Four permits.")
        await driver.press("enter")
        await driver.tunes(permits=4)
        await driver.sees("✗ elapsed > 1h", "The effect was NOT shown.")
        await driver.press("b")
        await driver.sees("Two permits.", "✓ elapsed >= 0s")


async def test_keys_are_those_of_the_lesson_or_of_the_dashboard_and_lead_to_other_lessons(
    lesson: Lesson,
) -> None:
    async with dashboard(lesson.waiting, size=(80, 24)) as driver:
        driver.app.begin_lesson(Telling(lesson))
        pane = driver.app.dashboard.query_one(LessonPane)
        await driver.press("7")
        await driver.until(lambda: driver.app.dashboard.focused_panel().id == "log")
        await driver.press("L")
        await driver.until(lambda: pane.has_focus_within)
        await driver.press("c")
        await driver.sees("blocking.py:17")
        await driver.press("escape")  # where nothing else runs, the end leads to the list
        await driver.sees(
            "what one sees",
            "blocked-loop",
            "the second client waits in the backlog, connected but unheard, until the first ",
        )
        await driver.press("enter")
        await driver.until(lambda: pane.teaching is not None)
        driver.app.begin_lesson(Telling(lesson_called("sticky")))  # one that has no run
        await driver.sees("A client writes 200 messages", "How many of the 200")
        await driver.until(lambda: pane.size.height > 12)


def test_nobody_goes_on_while_a_step_is_carried_out(lesson: Lesson) -> None:
    telling = Telling(lesson)
    assert telling.needs_run
    assert not telling.go(-1)
    telling.begin()
    assert not telling.go(1)
    assert not telling.choose(1)
    telling.has_no_run()
    assert telling.phase is Phase.ASKED


def test_what_is_seen_is_followed_by_the_next_step(lesson: Lesson) -> None:
    telling = Telling(lesson)
    telling.begin()
    telling.show(Seen("first"))
    assert telling.go(1)
    assert not telling.needs_run
    assert telling.is_last


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "one two", "-1 2"])
def test_what_are_no_votes_is_refused(lesson: Lesson, text: str) -> None:
    with pytest.raises(ValueError, match="type 2 numbers, one for each choice, such as 12 3"):
        Telling(lesson).vote(text)
