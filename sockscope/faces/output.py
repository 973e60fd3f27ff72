"""Where the figures of a headless run go: text, JSON, JSON lines or CSV; to stdout or to a file."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from sockscope.core.results.run_result import interval
from sockscope.core.results.schema import flat
from sockscope.core.results.thresholds import Threshold
from sockscope.core.run.snapshot import Snapshot
from sockscope.errors import ConfigError, SockscopeError


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
    """What a headless run writes and where (``path`` None = stdout), and what it is judged by."""

    form: OutputForm = OutputForm.TEXT
    path: str | None = None
    interval_s: float = 1.0
    quiet: bool = False
    thresholds: tuple[Threshold, ...] = ()

    @property
    def stdout_is_free(self) -> bool:
        """Whether a line for people may go to stdout without spoiling figures for programs."""
        return self.form is OutputForm.TEXT or self.path is not None


class Output:
    """An open destination. As a context manager it leaves no half-written file behind.

    A regular file that gets everything at the end is written beside its place and moved there, so that it
    is whole or not there. Opening it raises ConfigError when it cannot be written.
    """

    def __init__(self, plan: Plan) -> None:
        self._form = plan.form
        self.gone = False
        """Whether the reader has gone away (a broken pipe); nothing more is written then."""
        self._name = plan.path or "standard output"
        self._columns: list[str] = []
        self._temporary: Path | None = None
        self._stdout = sys.stdout
        self._stream: IO[str] | None = self._stdout
        if plan.path is not None:
            self._open(Path(plan.path))

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None and self._stream is not self._stdout:
            with contextlib.suppress(OSError):
                self._stream.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    def tell(self, line: str) -> None:
        """Write a line to stdout, wherever the figures go."""
        print(line, file=self._stdout, flush=True)

    def interval(self, window: Snapshot) -> None:
        """Write one interval, if this form has any."""
        if self._form is OutputForm.JSON_STREAM:
            self._write(_json(interval(window)) + "\n")
        elif self._form is OutputForm.CSV:
            self._write_row(interval(window))

    def summary(self, report: Mapping[str, Any], text: str) -> None:
        """Write the end of the run and finish the file."""
        match self._form:
            case OutputForm.TEXT:
                self._write(text)
            case OutputForm.JSON:
                self._write(_json(report, indent=2) + "\n")
            case OutputForm.JSON_STREAM:
                self._write(_json(report) + "\n")
            case OutputForm.CSV:
                pass
        self._finish()

    def _open(self, path: Path) -> None:
        try:
            place = path.resolve()
            if self._form.streams or (place.exists() and not stat.S_ISREG(place.stat().st_mode)):
                self._stream = place.open("w", encoding="utf-8", newline="")
                return
            beside = place.with_name(f".{place.name}.{os.getpid()}")
            self._stream = beside.open("x", encoding="utf-8", newline="")
            self._temporary, self._place = beside, place
        except OSError as error:
            raise ConfigError.of("--output", str(path), f"cannot be written: {error.strerror}") from None

    def _finish(self) -> None:
        if self._temporary is None or self._stream is None:
            return
        try:
            self._stream.close()
            if self._place.exists():
                shutil.copymode(self._place, self._temporary)
            self._temporary.replace(self._place)
        except OSError as error:
            raise self._cannot_write(error) from None
        self._temporary = None

    def _write_row(self, fields: Mapping[str, Any]) -> None:
        left_out = ("schema_version", "type", "processes")
        row = {name: value for name, value in flat(fields) if name not in left_out}
        if not self._columns:
            self._columns = list(row)
            self._write(_csv(self._columns))
        self._write(_csv([_cell(value) for value in row.values()]))

    def _write(self, text: str) -> None:
        if self.gone or self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            self.gone = True
            silence(self._stdout)
        except OSError as error:
            raise self._cannot_write(error) from None

    def _cannot_write(self, error: OSError) -> SockscopeError:
        silence(self._stdout)
        return SockscopeError(f"cannot write to {self._name}: {error.strerror}")


def silence(stdout: IO[str] | None) -> None:
    """Let what is still in its buffer go nowhere, so that leaving does not complain about it."""
    if stdout is None:
        return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout.fileno())
        os.close(nowhere)


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    # A report holds None where a figure is not known; NaN would not be JSON.
    return json.dumps(value, indent=indent, allow_nan=False)


def _cell(value: object) -> object:
    """Return a value as CSV has it: nothing where it is not known, truth as in JSON."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def _csv(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
