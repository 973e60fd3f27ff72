"""What is kept of the screen between sessions, in a small JSON file beside the history."""

from __future__ import annotations

import json
from pathlib import Path

from sockscope.store.files import read_file
from sockscope.store.history import default_path

MOST_BYTES = 4_096


def preferences_path() -> Path:
    """Return where the file is: beside the history."""
    return default_path().with_name("screen.json")


def read_theme(path: Path) -> str:
    """Return the name of the theme that was kept, or "" when there is no such file.

    Raises ValueError with the reason when the file cannot be used.
    """
    if not path.exists():
        return ""
    data = read_file(str(path), MOST_BYTES)
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
    path.write_text(json.dumps({"theme": theme}) + "\n", encoding="utf-8")
