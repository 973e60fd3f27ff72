"""Files that are whole or not there."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sockscope.store.files import check_writable, write_file

_NOBODY = 65534


@contextmanager
def as_somebody_without_rights() -> Iterator[None]:
    """Be a user whom modes hold for."""
    before = os.geteuid()
    os.seteuid(before or _NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    (place := tmp_path / "file").write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_file(place, "x" * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert place.read_text() == "before"
    assert list(tmp_path.iterdir()) == [place]


def test_a_file_that_may_be_written_in_a_directory_that_may_not(folder: Path) -> None:
    (place := folder / "file").write_text("before")
    place.chmod(0o666)
    folder.chmod(0o555)
    with as_somebody_without_rights():
        check_writable(place)
        write_file(place, "after")
        with pytest.raises(PermissionError):
            check_writable(folder / "other")
        with pytest.raises(PermissionError):
            write_file(folder / "other", "text")
    folder.chmod(0o755)
    assert place.read_text() == "after"


def test_a_file_that_may_not_be_written_is_left_alone(folder: Path) -> None:
    (place := folder / "file").write_text("before")
    place.chmod(0o444)
    folder.chmod(0o777)
    with as_somebody_without_rights():
        for write in (check_writable, lambda path: write_file(path, "after")):
            with pytest.raises(PermissionError):
                write(place)
    assert place.read_text() == "before"
