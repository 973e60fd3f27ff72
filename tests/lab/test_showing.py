from __future__ import annotations

from pathlib import Path

import pytest

from sockscope.core.results.checks import Judged
from sockscope.errors import ConfigError
from sockscope.lab.lessons.programme import DEMO, read_programme
from sockscope.lab.lessons.shelf import lesson_called, own_shelf
from sockscope.lab.lessons.showing import LEAST_PAUSE_S, MOST_PAUSE_S, Showing, pause_s
from sockscope.lab.lessons.telling import Phase, Telling
from sockscope.lab.lessons.walk import Seen

FAILED = Judged("p99 > 1s", False, "p99 is 20 ms", "p99 20 ms > 1s")


def goes_on(showing: Showing, telling: Telling) -> bool:
    """Tell whether it goes on once there was time enough."""
    showing.goes_on_in_s(telling, 100.0)
    return showing.goes_on_in_s(telling, 100.0 + MOST_PAUSE_S) == 0


def goes_on_after(showing: Showing, *checks: Judged) -> bool:
    """Tell whether it goes on after the first step, whose checks are these."""
    telling = showing.telling()
    telling.begin()
    telling.show(Seen(telling.step.name, checks))
    return goes_on(showing, telling)


def test_it_goes_on_when_there_was_time_to_read() -> None:
    showing = Showing([lesson_called("blocking")], auto=True)
    telling = showing.telling()
    pause = pause_s(telling.step, Phase.ASKED)
    assert LEAST_PAUSE_S < pause < MOST_PAUSE_S
    assert showing.goes_on_in_s(telling, 10.0) == pause
    assert showing.goes_on_in_s(telling, 11.0) == pytest.approx(pause - 1)
    showing.wait_again()
    assert showing.goes_on_in_s(telling, 11.0) == pause
    telling.begin()
    assert showing.goes_on_in_s(telling, 500.0) is None


def test_what_was_not_shown_holds_a_showing_but_not_a_demo() -> None:
    lessons = [lesson_called("blocking")]
    assert goes_on_after(Showing(lessons, auto=True))
    assert not goes_on_after(Showing(lessons, auto=True), FAILED)
    assert not goes_on_after(Showing(lessons))
    assert goes_on_after(Showing(lessons, auto=True, hands_over=True), FAILED)


def test_lessons_follow_one_another_and_time_is_counted() -> None:
    showing = Showing([lesson_called("blocking"), lesson_called("pool")], planned_s=60)
    assert not showing.go(-1)
    assert showing.go(1)
    assert showing.telling().lesson.name == "pool"
    assert not showing.has_more
    assert not showing.go(1)
    assert [showing.elapsed_s(now_s) for now_s in (5.0, 7.5)] == [0.0, 2.5]


def test_the_demo_takes_about_five_minutes() -> None:
    lessons = read_programme(DEMO, own_shelf())
    assert 240 < Showing(lessons).planned_s < 360


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no [[part]]"),
        ("[[part]]\nlesson = 'none'", "names 'none', which is no lesson"),
        ("[[part]]\nlesson = 'pool'\nx = 1", "a part with more than lesson and steps"),
        ("[[part]]\nlesson = 'blocking'\nsteps = ['x']", "some of alone, twenty"),
        ("[[part]]\nlesson = 'blocking'\nsteps = ['twenty']", "step twenty of blocking needs alone"),
    ],
)
def test_a_faulty_programme_is_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_programme(tmp_path / "mine.toml", own_shelf())
    assert told in str(raised.value)


def test_some_steps_of_a_lesson_are_played(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[[part]]\nlesson = 'sticky'\nsteps = ['prefix']")
    (lesson,) = read_programme(tmp_path / "mine.toml", own_shelf())
    assert [step.name for step in lesson.steps] == ["prefix"]
