"""How files are read and written whole.

A file that somebody named is read if it is a regular one, and no more than a limit of it: a device has no
end, and a pipe keeps its reader waiting.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tomllib
from pathlib import Path

_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def read_file(path: str, most_bytes: int) -> bytes:
    """Return what is in a regular file; raise ValueError with the reason why that cannot be."""
    if "\0" in path:
        raise ValueError("cannot be read: no file has a NUL in its name")
    try:
        # A pipe without a writer is not waited for, and a terminal does not become that of this process.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
            if kind != stat.S_IFREG:
                raise ValueError(f"is {_KINDS.get(kind, 'something else')}, not a regular file")
            data = file.read(most_bytes + 1) or b""
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > most_bytes:
        raise ValueError(f"is larger than {most_bytes:,} B, the most that is read")
    return data


def files_in(path: str, most: int) -> list[str]:
    """Return the paths of the files in a directory, by name and without hidden ones; ``path`` if it is none.

    Raises ValueError with the reason where there are none or more than ``most``, or it cannot be read.
    """
    if "\0" in path or not os.path.isdir(path):
        return [path]
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if not names:
        raise ValueError("is an empty directory")
    if len(names) > most:
        raise ValueError(f"has {len(names):,} files in it; at most {most:,} are read")
    return [os.path.join(path, name) for name in names]


def read_text(path: str, most_bytes: int) -> str:
    """Return the UTF-8 text of a regular file without a byte order mark; raise ValueError with the reason."""
    data = read_file(path, most_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start:,} is {data[error.start]:#04x}") from None


_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*"""
_DEEP_KEY = re.compile(rf"(?:^|[\[{{,])[ \t]*{_PART}(?:\.[ \t]*{_PART}){{99}}", re.MULTILINE)
"""A key of a hundred parts (``a.a.a``): tomllib takes minutes for some thousands of them."""


def read_toml(path: str, most_bytes: int) -> dict[str, object]:
    """Return the table of a TOML file; raise ValueError with the reason where there is none."""
    text = read_text(path, most_bytes)
    try:
        if _DEEP_KEY.search(text):
            raise RecursionError
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = str(error)
    except ValueError:
        why = "a number has too many digits"
    except RecursionError:
        why = "it is nested too deeply"
    raise ValueError(f"is not TOML: {why}")


def check_writable(place: Path) -> None:
    """Raise OSError where :func:`write_file` could not put a file at ``place``."""
    if place.exists():
        os.close(os.open(place, os.O_WRONLY))
        return
    beside = _beside(place)
    with beside.open("x"):
        beside.unlink()


def write_file(place: Path, text: str) -> None:
    """Put a UTF-8 file at ``place`` that is whole or not there; it keeps the mode of the one that was there.

    A file that may be written in a directory that may not is written in place. Raises OSError, also for a
    file that may not be written.
    """
    if place.exists():
        check_writable(place)
    place = place.resolve()
    beside = _beside(place)
    try:
        file = beside.open("x", encoding="utf-8", newline="")
    except PermissionError:
        if not place.exists():
            raise
        place.write_text(text, encoding="utf-8", newline="")
        return
    try:
        with file:
            file.write(text)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(place, beside)
        beside.replace(place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name}.{os.getpid()}")
