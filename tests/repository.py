"""A repository of git with own code in it that was edited."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
HANDLER = """\
import said

async def handle(reader, writer):
    while await reader.readline():
        writer.write(said.LINE)
"""


def repository(folder: Path) -> Path:
    """Make a repository whose folder ``sub`` has had three revisions and an edit; return that folder.

    In the first the handler cannot be imported; then it says ``first``, ``second``, and now ``third``.
    """
    sub = folder / "sub"
    sub.mkdir()
    git(folder, "init", "-q")
    for line in ("1 / 0", r"b'first\n'", r"b'second\n'"):
        (sub / "mine.py").write_text(HANDLER)
        (sub / "said.py").write_text(f"LINE = {line}\n")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", line)
    git(folder, "branch", "feature/first", "HEAD~1")
    (sub / "said.py").write_text("LINE = b'third\\n'\n")
    (sub / "new.py").write_text("from mine import handle\n")
    return sub


def git(folder: Path, *arguments: str) -> str:
    """Call git in ``folder``, without settings of whoever runs the tests."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *IDENTITY, *arguments], cwd=folder, env=environment, capture_output=True, check=True
    )
    return done.stdout.decode()
