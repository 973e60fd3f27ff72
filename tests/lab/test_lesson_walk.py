from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sockscope.lab.lessons.format import read_lesson
from sockscope.lab.lessons.lesson import Lesson
from sockscope.lab.lessons.shelf import lesson_called
from sockscope.lab.lessons.walk import Outcome, Walk, go_through
from tests.tui.fake_source import FakeSource

Made = Callable[..., Lesson]

RUN = """
title = "A run"
watch = "it"
time = "1s"
[experiment]
clients = 3
permits = 2
service_time = "2ms"
timeout = "30s"
[[step]]
name = "first"
say = "Look."
until = "responses >= 10"
check = ["limiter.permits == 2", "p50 > 1ms"]
"""
SCRIPT = """
title = "A script"
watch = "it"
time = "1s"
[script]
run = "mine:act"
"""
CODE = """
import os, sys
from sockscope.lab.lessons.cannot import CannotBeShown

async def act(how="fine", here=True):
    print("printed")
    if how == "fails":
        raise OSError("no luck")
    if how == "exits":
        os._exit(0)
    if how == "hangs":
        import time
        time.sleep(60)
    if how == "cannot":
        raise CannotBeShown("it never could")
    return {"count": 2, "took_s": 0.5, "pid": os.getpid()}
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Return what makes a lesson of a text, with the script beside it."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what is printed is not lost
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(CODE)

    def make(text: str, *steps: str) -> Lesson:
        path = tmp_path / "mine.toml"
        path.write_text(text + "".join(f'\n[[step]]\nsay = "Look."\n{step}' for step in steps))
        return read_lesson(path)

    return make


def test_steps_share_a_run_and_are_compared(made: Made) -> None:
    lesson = made(
        RUN,
        'name = "second"\ntune = {permits = 1}\nsettle = "limiter.permits == 1"\nuntil = "responses >= 5"\n'
        'check = ["limiter.permits == step.first.limiter.permits / 2", "responses < 1M"]',
    )
    outcome = go_through(lesson)
    assert outcome.is_shown, [*map(str, outcome.seen)]
    report = json.loads(json.dumps(outcome.report()))
    assert report["shown"] is True
    assert report["steps"][1]["figures"]["limiter.permits"] == 1


def test_a_step_may_begin_a_run_of_its_own(made: Made) -> None:
    lesson = made(
        RUN,
        'name = "anew"\nexperiment = {loop = "asyncio", permits = 1}\nuntil = "responses >= 5"\n'
        'check = ["limiter.permits == 1", "step.first.limiter.permits == 2"]',
    )
    assert go_through(lesson).is_shown


def test_what_is_not_shown_says_so_with_the_figures(made: Made) -> None:
    lesson = made(RUN.replace("limiter.permits == 2", "limiter.permits == 3"))
    outcome = go_through(lesson)
    assert outcome.has_failed
    assert [*outcome.seen[0].faults()] == ["limiter.permits == 3 does not hold: limiter.permits is 2"]


def test_what_never_comes_ends_with_the_patience(made: Made) -> None:
    outcome = go_through(
        made(RUN.replace('until = "responses >= 10"', 'until = "p50 > 1h"\npatience="10ms"'))
    )
    (fault,) = outcome.seen[0].faults()
    assert fault.startswith("did not come: p50 > 1h (p50 is ")


def test_what_cannot_be_shown_here_is_neither_shown_nor_failed(made: Made) -> None:
    needs = 'possible = "limiter.permits == 9"\notherwise = "it has other permits"\ncheck'
    outcome = go_through(made(RUN.replace("check", needs)))
    assert not outcome.is_shown
    assert not outcome.has_failed
    assert outcome.cannot == "it has other permits"


async def test_a_step_acts_on_whatever_run_there_is(made: Made) -> None:
    lesson = made(
        RUN.replace('until = "responses >= 10"', 'until = "elapsed >= 0s"').replace(', "p50 > 1ms"', ""),
        'name = "second"\ntune = {permits = 7}\nuntil = "elapsed >= 0s"\ncheck = "elapsed >= 0s"',
    )
    assert lesson.experiment is not None
    source = FakeSource(lesson.experiment_of(lesson.steps[0]))
    await source.start()
    walk = Walk(lesson)
    await walk.take(lesson.steps[0], source)
    await walk.take(lesson.steps[1], source)
    assert source.tuning.permits == 7


def _scripted(made: Made, how: str, check: str, patience: str = "30s") -> Outcome:
    step = f'name = "one"\nwith = {{how = "{how}"}}\ncheck = "{check}"\npatience = "{patience}"'
    return go_through(made(SCRIPT, step))


def test_a_script_reports_figures_from_a_process_of_its_own(made: Made) -> None:
    outcome = _scripted(made, "fine", f"pid / {os.getpid()} > 0")
    assert outcome.is_shown
    assert outcome.seen[0].figures["pid"] != os.getpid()
    assert outcome.seen[0].printed == "printed\n"


def test_figures_of_a_script_have_the_units_of_their_names(made: Made) -> None:
    outcome = _scripted(made, "fine", "took_s > 2 * count")
    assert [*outcome.seen[0].faults()] == ["took_s > 2 * count does not hold: took_s is 500 ms, count is 2"]


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("fails", "mine.py:act has failed: OSError: no luck"),
        ("exits", "mine.py:act has reported no figures"),
        ("cannot", "cannot be shown here: it never could"),
    ],
)
def test_a_script_that_does_not_do_is_told_about(made: Made, how: str, fault: str) -> None:
    assert [*_scripted(made, how, "count > 0").seen[0].faults()] == [fault]


def test_a_script_without_an_end_is_killed(made: Made) -> None:
    outcome = _scripted(made, "hangs", "count > 0", patience="50ms")
    assert [*outcome.seen[0].faults()] == ["mine.py:act has not ended within 0.05 s"]


def test_a_short_lesson_of_those_that_are_shipped_holds() -> None:
    outcome = go_through(lesson_called("sticky"))
    assert outcome.is_shown, [[*seen.faults()] for seen in outcome.seen]
