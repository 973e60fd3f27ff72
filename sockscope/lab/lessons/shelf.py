"""Where lessons are found: those of SockScope, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import platformdirs

from sockscope.errors import ConfigError, shortened
from sockscope.lab.lessons.format import read_lesson
from sockscope.lab.lessons.lesson import Lesson

OWN_LESSONS = Path(__file__).parent


def user_directory() -> Path:
    """Return where a user's own lessons are looked for without being named."""
    return Path(platformdirs.user_config_dir("sockscope", appauthor=False)) / "lessons"


def own_shelf() -> dict[str, Path]:
    """Return the files of the lessons that come with SockScope, by name."""
    return _files_in(OWN_LESSONS)


def _files_in(place: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(place.glob("*.toml"))}


def shelf(directory: str = "") -> dict[str, Path]:
    """Return the files of all lessons by name; the user's go before those of SockScope.

    ``directory`` is one more to look in, which goes first. Raises ConfigError when it is none.
    """
    if directory and not Path(directory).is_dir():
        raise ConfigError.of("--lessons", directory, "is no directory")
    found: dict[str, Path] = {}
    for place in (OWN_LESSONS, user_directory(), *([Path(directory)] if directory else [])):
        if place.is_dir():
            found |= _files_in(place)
    return dict(sorted(found.items()))


def read_lessons(paths: Mapping[str, Path]) -> tuple[list[Lesson], list[ConfigError]]:
    """Return the lessons of some files, and what is wrong with those that are none."""
    found, faults = list[Lesson](), list[ConfigError]()
    for path in paths.values():
        try:
            found.append(read_lesson(path))
        except ConfigError as error:
            faults.append(error)
    return found, faults


def lesson_called(name: str, directory: str = "") -> Lesson:
    """Return the lesson of this name; raise ConfigError where there is none, or where it is faulty."""
    paths = shelf(directory)
    if name not in paths:
        near = get_close_matches(name, paths, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; sockscope lessons lists them"
        raise ConfigError.of("NAME", shortened(name), f"is no lesson{hint}")
    return read_lesson(paths[name])
