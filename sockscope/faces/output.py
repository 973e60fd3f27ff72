"""Where the figures of a headless run go: text, JSON, JSON lines or CSV; to stdout or to a file."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import select
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Any, TextIO

from sockscope.core.results.run_result import interval
from sockscope.core.results.schema import flat
from sockscope.core.results.thresholds import Threshold
from sockscope.core.run.snapshot import Snapshot
from sockscope.errors import ConfigError, SockscopeError
from sockscope.faces.printing import Outlet, is_gone, outlet, printable_lines, say
from sockscope.store.files import check_writable, write_file

LOOK_S = 0.05
"""How often it is looked whether a pipe has a reader."""
PIECE = getattr(select, "PIPE_BUF", 512) // 4
"""Characters that a pipe with room for any takes at once: no more bytes than it has room for then."""


class OutputForm(Enum):
    """What is written."""

    TEXT = "text"
    JSON = "json"
    JSON_STREAM = "json_stream"
    CSV = "csv"

    @property
    def streams(self) -> bool:
        """Whether something is written per interval."""
        return self in (OutputForm.JSON_STREAM, OutputForm.CSV)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a headless run writes and where (``path`` None or ``-``: stdout), and what it is judged by.

    ``hdr_path`` is where the distribution of the latencies goes (None: nowhere), ``hdr_of`` which of them:
    ``response`` or ``service`` time. ``allow_invalid`` lets it end well although its result is not valid.
    """

    form: OutputForm = OutputForm.TEXT
    path: str | None = None
    hdr_path: str | None = None
    hdr_of: str = "response"
    interval_s: float = 1.0
    quiet: bool = False
    thresholds: tuple[Threshold, ...] = ()
    allow_invalid: bool = False

    @property
    def to_stdout(self) -> bool:
        """Whether the figures go to stdout."""
        return self.path in (None, "-")

    @property
    def stdout_is_free(self) -> bool:
        """Whether a line for people may go to stdout without spoiling figures for programs."""
        return self.form is OutputForm.TEXT or not self.to_stdout


class Output:
    """An open destination. As a context manager it closes what it opened.

    A regular file that gets everything at the end is written beside its place and moved there, so that it
    is whole or not there; until then there is no other file. What is no file yet, or one of this process's
    descriptors (``/dev/stdout``, ``/dev/fd/63``), is written to as it comes. Opening it raises ConfigError of
    ``flag`` when it cannot be written, and KeyboardInterrupt once ``must_end`` while a pipe has no reader.
    """

    def __init__(
        self, plan: Plan, must_end: Callable[[], bool] = lambda: False, flag: str = "--output"
    ) -> None:
        self._flag = flag
        self._must_end = must_end
        self._form = plan.form
        self._name = plan.path or ""
        self._columns: list[str] = []
        self._place: Path | None = None
        self._whole: list[str] = []
        self._left = ""
        self._stdout = sys.stdout
        self._stream: TextIO | None = self._stdout
        if plan.path is not None and not plan.to_stdout:
            self._open(plan.path)

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None and self._stream is not self._stdout:
            with contextlib.suppress(OSError):
                self._stream.close()

    @property
    def gone(self) -> bool:
        """Whether the reader has gone away (a broken pipe); nothing more is written then."""
        return is_gone(self._stream)

    def tell(self, line: str) -> None:
        """Write a line to stdout, wherever the figures go."""
        print(line, file=self._stdout, flush=True)

    def interval(self, window: Snapshot) -> None:
        """Write one interval, if this form has any; what its reader does not take now stays until it does."""
        if self._form is OutputForm.JSON_STREAM:
            self._left += _json(interval(window)) + "\n"
        elif self._form is OutputForm.CSV:
            self._left += self._row(interval(window))
        self.hand_over()

    def hand_over(self) -> bool:
        """Write as much of the intervals as is taken at once, and return whether that is all.

        The loop of a run never waits for who reads its figures.
        """
        while self._left and _takes_more(self._stream):
            piece, self._left = self._left[:PIECE], self._left[PIECE:]
            self._write(piece)
        return not self._left

    def summary(self, report: Mapping[str, Any], text: str) -> None:
        """Write what is left of the intervals and the end of the run, and finish the file."""
        left, self._left = self._left, ""
        if left:
            self._write(left)
        match self._form:
            case OutputForm.TEXT:
                self._write(printable_lines(text))
            case OutputForm.JSON:
                self._write(_json(report, indent=2) + "\n")
            case OutputForm.JSON_STREAM:
                self._write(_json(report) + "\n")
            case OutputForm.CSV:
                pass
        if self._place is not None:
            try:
                write_file(self._place, "".join(self._whole))
            except OSError as error:
                raise SockscopeError(f"cannot write to {self._name}: {error.strerror}") from None

    def _open(self, path: str) -> None:
        try:
            if (descriptor := _descriptor_of(path)) is not None:
                self._stream = outlet(Outlet(os.dup(descriptor), path))
            elif _is_replaced(path) and not self._form.streams:
                self._stream, self._place = None, Path(path).resolve()
                check_writable(self._place)
            else:
                self._stream = outlet(Outlet(_opened(path, self._must_end), path))
        except OSError as error:
            raise ConfigError.of(self._flag, path, f"cannot be written: {error.strerror}") from None

    def _row(self, fields: Mapping[str, Any]) -> str:
        left_out = ("schema_version", "type", "processes", "raised", "verdict.evidence")
        row = {name: value for name, value in flat(fields) if name not in left_out}
        names = ""
        if not self._columns:
            self._columns = list(row)
            names = _csv(self._columns)
        return names + _csv([_cell(value) for value in row.values()])

    def _write(self, text: str) -> None:
        if self._place is not None:
            self._whole.append(text)
        elif self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


def _takes_more(stream: TextIO | None) -> bool:
    """Tell whether something can be written without waiting for a reader."""
    try:
        return stream is None or bool(select.select([], [stream.fileno()], [], 0)[1])
    except OSError:  # no descriptor
        return True


def _descriptor_of(path: str) -> int | None:
    """Return the descriptor of this process that a path names: the file behind it is not opened anew."""
    if path == "/dev/stdout":
        return 1
    if path == "/dev/stderr":
        return 2
    match = re.fullmatch("(?:/dev|/proc/self)/fd/([0-9]{1,9})", path)
    return int(match[1]) if match else None


def _is_replaced(path: str) -> bool:
    """Tell whether a path is that of a regular file, or of none yet."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return True


def _opened(path: str, must_end: Callable[[], bool]) -> int:
    """Open a path to write to; a pipe is opened once somebody reads it, which is told where it takes long."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY
    waits = False
    while not must_end():
        try:
            descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                raise
            if not waits:
                say(f"waiting for a reader on {path}")
            waits = True
            sleep(LOOK_S)
        else:
            os.set_blocking(descriptor, True)
            return descriptor
    raise KeyboardInterrupt


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    # A report holds None where a figure is not known; NaN would not be JSON.
    return json.dumps(value, indent=indent, allow_nan=False)


def _cell(value: object) -> object:
    """Return a value as CSV has it: nothing where it is not known, truth as in JSON, names side by side."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else value


def _csv(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
