"""What the user's own code raises: quoted safely, placed in the user's file, and counted by place."""

from __future__ import annotations

import os
import signal
import site
import sys
import sysconfig
import traceback
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from sockscope.core.run.raised import Raised
from sockscope.core.wire.octets import printable

MOST_PLACES = 32
"""Rows of the table; what is raised elsewhere when it is full is counted in one more."""
ELSEWHERE = "other places"
MOST_INNER = 4
"""Exceptions of a group that are told."""
_LOOPS_RUN_IN = ("run_forever", "run_until_complete")
"""Functions below which nobody calls who is called by the loop."""
_SOON = 64
"""Exceptions that are remembered because they may come twice."""
_DEEPEST = 16
"""Groups in groups that are looked into."""

revisions: dict[str, str] = {}
"""The directories that hold the files of a revision, which goes before a file's path as it does in git."""
_OURS = str(Path(__file__).parent.parent) + os.sep
_LENT = tuple(
    os.path.join(_OURS, "engine", "servers", *path)
    for path in (("asyncio", "recording_transport.py"), ("threads", "recording_socket.py"))
)
"""What of ours the user's code calls."""


def _folders(*paths: str) -> tuple[str, ...]:
    return tuple(path + os.sep for path in paths)


_INSTALLED = _folders(
    sysconfig.get_path("purelib"),
    sysconfig.get_path("platlib"),
    *site.getsitepackages(),
    site.getusersitepackages(),
)
_PYTHONS = _folders(sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_NOT_THE_USERS = ("<", _OURS, *_PYTHONS, *_INSTALLED)
"""How the file names of frames begin that belong to Python, to what is installed, and to SockScope."""


class RaisedTable:
    """How often the user's own code has raised what, by place; bounded."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Raised] = {}
        self._passed_over: deque[BaseException] = deque(maxlen=_SOON)

    def add(self, error: BaseException, place: str = "") -> None:
        """Count an exception, of a group each that is in it; ``place`` is for those that have none."""
        place = place_of(error) or place
        for one in leaves(error):
            if one in self._passed_over:
                continue
            self._count(_name_of(one), place_of(one) or place, message_of(one))

    def pass_over(self, error: BaseException) -> None:
        """Do not count this very exception when it comes this way again soon: it has been counted."""
        self._passed_over.append(error)

    def add_event(self, what: str, place: str, message: str = "") -> None:
        """Count what is no exception, in the words of ``what``."""
        self._count(what, place, message)

    def _count(self, what: str, where: str, message: str) -> None:
        key = what, where
        if key not in self._rows and len(self._rows) >= MOST_PLACES:
            what, where = key = "exceptions", ELSEWHERE
        before = self._rows.get(key)
        self._rows[key] = Raised(what, where, message, 1 + (before.count if before else 0))

    def rows(self) -> tuple[Raised, ...]:
        """Return the table, the place that raises most often first."""
        return tuple(sorted(self._rows.values(), key=lambda row: -row.count))


def told(error: BaseException, otherwise: str = "") -> str:
    """Return type, place and message of an exception: ``ValueError at my_server.py:12: no such key``.

    The place is where the user's code was, not the library that it called, and ``otherwise`` where it was
    nowhere. Of a group the exceptions in it follow.
    """
    place, message = place_of(error) or otherwise, message_of(error)
    head = f"{_name_of(error)} at {place}" if place else _name_of(error)
    whole = f"{head}: {message}" if message else head
    if not isinstance(error, BaseExceptionGroup):
        return whole
    inner = list(leaves(error))
    more = f"; and {len(inner) - MOST_INNER:,} more" if len(inner) > MOST_INNER else ""
    return f"{whole}: {'; '.join(map(told, inner[:MOST_INNER]))}{more}"


def leaves(error: BaseException, depth: int = 0) -> Iterator[BaseException]:
    """Yield the exceptions that a group holds, or the one that is no group."""
    if isinstance(error, BaseExceptionGroup) and depth < _DEEPEST:
        for inner in error.exceptions:
            yield from leaves(inner, depth + 1)
    else:
        yield error


def _name_of(error: BaseException) -> str:
    return printable(type(error).__name__, 60)


def message_of(error: BaseException) -> str:
    """Return the message of an exception, fit to be shown; its own code may fail at telling it."""
    try:
        return printable(str(error))
    except BaseException as fault:  # noqa: BLE001  # the user's code
        return f"(its __str__ raised {_name_of(fault)})"


def place_of(error: BaseException) -> str:
    """Return file and line of the innermost frame that is the user's, or else an installed library's.

    Empty where there is neither: files of SockScope, of Python and of compiled code tell the user nothing.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown_path(error.filename)}:{error.lineno or 0}"
    frames = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(error.__traceback__)]
    frames = [frame for frame in frames if _is_python(frame[0])]
    users = [frame for frame in frames if is_users(frame[0])]
    chosen = (users or [frame for frame in frames if _is_installed(frame[0])])[-1:]
    return f"{shown_path(chosen[0][0])}:{chosen[0][1]}" if chosen else ""


def place_of_suspended(awaited: object) -> str:
    """Return file and line of the user's innermost code at which a coroutine waits, or nothing."""
    place = ""
    while awaited is not None:
        kind = next((kind for kind in ("cr", "ag", "gi") if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None:
            break
        frame: FrameType | None = getattr(awaited, f"{kind}_frame")
        if frame is not None and is_users(frame.f_code.co_filename):
            place = f"{shown_path(frame.f_code.co_filename)}:{frame.f_lineno}"
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return place


def caller() -> str:
    """Return file and line of the user's code that has called what runs now, empty where a loop has."""
    return place_in(sys._getframe(1))


def place_in(frame: FrameType) -> str:
    """Return file and line of the user's innermost code below which ``frame`` runs, or nothing."""
    for own in own_frames(frame)[:1]:
        return f"{shown_path(own.f_code.co_filename)}:{own.f_lineno}"
    return ""


def own_frames(frame: FrameType) -> list[FrameType]:
    """Return the frames of the user's code below which ``frame`` runs, the innermost first."""
    found: list[FrameType] = []
    for at, _ in traceback.walk_stack(frame):
        if at.f_code.co_name in _LOOPS_RUN_IN:
            break
        if is_users(at.f_code.co_filename):
            found.append(at)
    return found


def is_own(error: BaseException, skip: int = 0) -> bool:
    """Tell whether the user's code is to blame: it went through a file of theirs, or through none of ours.

    ``skip`` frames are those that catch it.
    """
    files = _files(error)[skip:]
    if any(map(is_users, files)):
        return True
    return not (isinstance(error, OSError) or any(map(is_ours, files)))


def is_interrupt(error: BaseException) -> bool:
    """Tell whether somebody has pressed Ctrl+C, as opposed to the user's code raising KeyboardInterrupt."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    files = _files(error)
    # Python's own handler leaves no frame behind; any other is where it was raised.
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler or not is_users("".join(files[-1:]))


def _files(error: BaseException) -> list[str]:
    return [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]


def is_users(filename: str) -> bool:
    """Tell whether a file is the user's: neither Python's, nor installed, nor SockScope's."""
    return _is_python(filename) and not filename.startswith(_NOT_THE_USERS)


def is_ours(filename: str) -> bool:
    """Tell whether a file is SockScope's, but for what the user's code calls."""
    return filename.startswith(_OURS) and filename not in _LENT


def is_of_python(filename: str) -> bool:
    """Tell whether a file is of Python itself, or no file at all."""
    return filename.startswith(("<", *_PYTHONS)) and not _is_installed(filename)


def _is_installed(filename: str) -> bool:
    return filename.startswith(_INSTALLED) and not filename.startswith(_OURS)


def _is_python(filename: str) -> bool:
    return filename.endswith(".py")


def here() -> str:
    """Return the current directory, empty where it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def shown_path(filename: str) -> str:
    """Return a file's path as short as it is still found: from here, or from where modules are looked for."""
    folders = (os.path.join(folder, "") for folder in (here(), *sys.path) if folder)
    longest = max((folder for folder in folders if filename.startswith(folder)), key=len, default="")
    revision = revisions.get(longest.rstrip(os.sep), "")
    return printable((f"{revision}:" if revision else "") + filename.removeprefix(longest))
