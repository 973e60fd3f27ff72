"""What is kept of the screen between sessions, in a small JSON file beside the history."""

from __future__ import annotations

import json
from pathlib import Path

from sockscope.store.files import read_file, write_file
from sockscope.store.history import NO_HOME, default_path

MOST_BYTES = 4_096
"""The most that is read of the file."""


def preferences_path() -> Path | None:
    """Return where the file is: beside the history; None where the user has no place for it."""
    history = default_path()
    return history.with_name("screen.json") if history != NO_HOME else None


def read_theme(path: Path) -> str:
    """Return the name of the theme that was kept, or "" when there is no such file.

    Raises ValueError with the reason when the file cannot be used.
    """
    try:
        data = read_file(str(path), MOST_BYTES)
    except ValueError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return ""
        raise
    try:
        theme = json.loads(data)["theme"]
    except (ValueError, TypeError, LookupError, RecursionError):
        theme = None
    if not isinstance(theme, str):
        raise ValueError('is damaged and should hold {"theme": "NAME"}')
    return theme


def keep_theme(path: Path, theme: str) -> None:
    """Keep the name of a theme; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(path, json.dumps({"theme": theme}) + "\n")
