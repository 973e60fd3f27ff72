from __future__ import annotations

from pathlib import Path

import pytest

from sockscope.errors import ConfigError
from sockscope.lab.lessons.format import read_lesson
from sockscope.lab.lessons.lesson import Lesson
from sockscope.lab.lessons.shelf import OWN_LESSONS, lesson_called, shelf
from tests.each import each

GOOD = """
title = "A lesson"
watch = "something"
time = "5s"
code = "sockscope.engine.servers.threads.blocking:converse"
mark = "connection.serve"
[experiment]
clients = 5
[[step]]
name = "first"
say = "Look."
question = "What?"
choices = ["this", "that"]
right = 2
until = "responses >= 10"
check = "p50 > 1ms"
[[step]]
name = "second"
say = "Look again."
tune = {permits = 20}
until = ["responses >= 10", "elapsed > 10ms"]
check = ["p50 > 0 * step.first.p50"]
"""


def read(directory: Path, text: str, name: str = "mine.toml") -> Lesson:
    path = directory / name
    path.write_text(text)
    return read_lesson(path)


@each("path", shelf().values())
def test_each_lesson_that_is_shipped_can_be_read_and_has_code_and_checks(path: Path) -> None:
    lesson = read_lesson(path)
    assert lesson.seconds < 60
    assert all(step.code for step in lesson.steps)
    assert all(step.checks for step in lesson.steps)
    assert any(step.choices for step in lesson.steps)


def test_a_lesson_is_its_file(tmp_path: Path) -> None:
    lesson = read(tmp_path, GOOD)
    assert (lesson.name, lesson.title, lesson.watch, lesson.seconds) == ("mine", "A lesson", "something", 5)
    assert lesson.experiment is not None
    assert lesson.experiment.tuning.clients == 5
    first, second = lesson.steps
    assert (first.choices, first.right) == (("this", "that"), 2)
    assert second.tune == {"permits": 20}
    assert (lesson.begins_anew(first), lesson.begins_anew(second)) == (True, False)
    (code,) = second.code
    assert code.marked
    assert '"""' not in "".join(code.lines)


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        ('title = "A lesson"', "", "title in mine.toml = '' is needed, as text"),
        ('title = "A lesson"', 'titel = "x"\ntitle = "y"', "titel in mine.toml = 'x' is no key of a lesson"),
        ("title =", "title ==", " is not TOML: "),
        ("clients = 5", "clients = 0", "clients of step first in mine.toml = 0 must be at least 1"),
        ("clients = 5", "cliens = 5", "there is no such field; did you mean clients"),
        ("clients = 5", 'bind = "0.0.0.0"', "experiment.bind in mine.toml = '0.0.0.0': can only be given"),
        (
            "clients = 5",
            'server = "datagram"',
            "server of step first in mine.toml = 'datagram' does not serve",
        ),
        ("[experiment]", "[script]", "run of step first in mine.toml = None"),
        ("[experiment]", '[script]\nrun="a:b"\n[experiment]', "needs one of [experiment] and [script]"),
        ("permits = 20", "backlog = 20", "tune.backlog of step second in mine.toml = 20 cannot be turned"),
        (
            "right = 2",
            "right = 3",
            "right of step first in mine.toml = 3 is not the number of a choice, 1 to 2",
        ),
        ('["this", "that"]', '["this"]', "choices of step first in mine.toml = [...] has not 2 to 9 of them"),
        ('"second"', '"first"', "name of step first in mine.toml = 'first' is not a name of its own"),
        ('"p50 > 1ms"', '"p5 > 1ms"', "check of step first in mine.toml = 'p5 > 1ms' names p5, which is no"),
        ("step.first", "step.third", "names third, which is no earlier step; there is first"),
        ('until = "responses >= 10"', "", "until of step first in mine.toml = '' is needed"),
        ("clients = 5", "requests = 5", "requests in mine.toml = '' has no place in a lesson"),
        (":converse", ":gone", "code in mine.toml = "),
        (":converse", ":gone", " names gone, which is not in blocking.py"),
        ("servers.threads.", "gone.", "which is no module here"),
        ("connection.serve", "gone", "mark in mine.toml = 'gone' is in no line of the code"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_place(tmp_path: Path, good: str, bad: str, why: str) -> None:
    assert good in GOOD
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, GOOD.replace(good, bad, 1))
    assert why in str(raised.value)


def test_a_directory_of_ones_own_goes_first(tmp_path: Path) -> None:
    read(tmp_path, GOOD, "blocking.toml")
    assert shelf(str(tmp_path))["blocking"] == tmp_path / "blocking.toml"
    assert shelf()["blocking"] == OWN_LESSONS / "blocking.toml"
    assert lesson_called("blocking", str(tmp_path)).title == "A lesson"


def test_what_is_no_lesson_is_told_with_what_comes_near(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no lesson; did you mean blocking"):
        lesson_called("blokking")
    with pytest.raises(ConfigError, match="is no directory"):
        shelf(str(tmp_path / "gone"))
