from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import sockscope

LESSON = """
title = "Mine"
watch = "two permits"
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
check = "limiter.permits == PERMITS"
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A directory with a lesson that holds, and one that does not."""
    (tmp_path / "holds.toml").write_text(LESSON.replace("PERMITS", "2"))
    (tmp_path / "fails.toml").write_text(LESSON.replace("PERMITS", "3"))
    return tmp_path


def test_lessons_lists_those_of_sockscope_and_ones_own(mine: Path) -> None:
    done = sockscope("lessons", "--lessons", str(mine))
    assert (done.returncode, done.stderr) == (0, "")
    assert "blocking " in done.stdout
    assert "holds " in done.stdout
    listed = json.loads(sockscope("lessons", "--lessons", str(mine), "--json").stdout)["lessons"]
    assert {"blocking", "holds", "fails"} <= {one["lesson"] for one in listed}


def test_a_faulty_lesson_does_not_hide_the_others(mine: Path) -> None:
    (mine / "faulty.toml").write_text("titel = 1")
    done = sockscope("lessons", "--lessons", str(mine))
    assert done.returncode == 2
    assert "holds " in done.stdout
    assert "titel in faulty.toml = 1 is no key of a lesson; did you mean title?" in done.stderr


def test_what_a_lesson_shows_is_the_exit_code(mine: Path) -> None:
    done = sockscope("lesson", "holds", "--check", "--lessons", str(mine))
    assert done.returncode == 0
    assert "limiter.permits == 2: limiter.permits is 2" in done.stdout
    done = sockscope("lesson", "fails", "--check", "--json", "--lessons", str(mine))
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["shown"] is False
    assert report["steps"][0]["checks"] == [
        {"check": "limiter.permits == 3", "holds": False, "figures": "limiter.permits is 2"}
    ]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ((), "which lesson?"),
        (("blokking", "--check"), "NAME = 'blokking' is no lesson; did you mean blocking?"),
        (("--all",), "--all needs --check"),
        (("blocking", "--json"), "--json needs --check"),
        (("blocking", "--all", "--check"), "which lesson?"),
        (("blocking",), "the dashboard needs a terminal"),
    ],
)
def test_what_is_typed_amiss_is_a_sentence(typed: tuple[str, ...], told: str) -> None:
    done = sockscope("lesson", *typed)
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("present",), "what is shown?"),
        (("present", "blocking", "--all"), "what is shown?"),
        (("present", "blokking"), "did you mean blocking?"),
        (("demo", "--json"), "--json needs --check"),
    ],
)
def test_what_cannot_be_presented_is_a_sentence(typed: tuple[str, ...], told: str) -> None:
    done = sockscope(*typed)
    assert done.returncode == 2
    assert told in done.stderr
