"""The history: finished runs and races in a SQLite file.

The file is in WAL mode, so that who reads never waits for who writes, and each operation opens it, makes one
short transaction and closes it again: two SockScopes may use it at once, and a process that is killed leaves
what others have finished. ``PRAGMA user_version`` is the version of the tables, ``PRAGMA application_id``
tells the file from other SQLite files (https://www.sqlite.org/pragma.html).

Before a file is written it is looked at without being touched: one that is damaged, was written by a newer
SockScope, or is something else altogether is refused with a sentence and stays as it is, byte for byte.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from platformdirs import user_data_path

from sockscope.core.censoring import AtLeast
from sockscope.core.results.kinds import check_intervals, kind_of, parse_json
from sockscope.core.results.shape import NAME, NUMBER, TEXT, record, within
from sockscope.core.units import counted
from sockscope.errors import HistoryError, UnknownRunError

APPLICATION_ID = 0x536F536B
"""``SoSk``."""
BUSY_S = 5.0
"""How long a writer waits for another one."""

MOST_BYTES = 64 << 20
"""Most bytes that are kept of a run, or read."""
MOST_TEXT = 10_000
"""Most characters of a text in the list."""
_YEARS = range(1970, 9_000)
"""Years whose moments can be told in any time zone."""

_NAME = re.compile("(?P<number>[0-9]{1,18})|last(?:-(?P<back>[0-9]{1,18}))?")
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_TEXT, _NAMED = within(TEXT, MOST_TEXT), within(NAME, MOST_TEXT)
_FIELDS = {
    "id": NUMBER, "kind": _NAMED, "began_at": _NAMED, "title": _NAMED, "cut_short": NUMBER,
    "transport": _TEXT, "server": _TEXT, "client": _TEXT, "clients": NUMBER, "duration_s": NUMBER,
    "requests_per_s": NUMBER, "p99_s": NUMBER, "failed": NUMBER,
}  # fmt: skip
"""The columns of the list, and what must be in them: SQLite keeps anything in any column."""
_P99_IS_BOUND = (
    "CASE WHEN json_valid(report) THEN EXISTS"
    " (SELECT 1 FROM json_each(report, '$.at_least') WHERE value = 'service_time_s.p99') END"
)
_ROW, _ROW_SHAPE = ", ".join([*_FIELDS, _P99_IS_BOUND]), record(_FIELDS)
_IN_USE = threading.Lock()
"""POSIX takes a process's locks on a file away when any descriptor of it is closed, so operations of one
process must not overlap (https://www.sqlite.org/howtocorrupt.html, section 2.2)."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A finished run in the list.

    ``kind`` is the name of a kind of result; ``began_at`` is UTC. ``cut_short``: it was ended before the
    length that was asked for. The figures are None where a kind or role has none: ``server`` and ``client``
    are models, ``p99_s`` is of the service time (AtLeast where requests got no answer), ``failed`` counts
    requests that failed or timed out.
    """

    id: int
    kind: str
    began_at: datetime
    title: str
    cut_short: bool
    transport: str | None
    server: str | None
    client: str | None
    clients: int | None
    duration_s: float | None
    requests_per_s: float | None
    p99_s: float | None
    failed: int | None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A finished run with everything that was kept of it.

    ``report`` is its JSON object, ``intervals`` are the objects of ``--json-stream``, each of a second, or
    longer in a long run.
    """

    row: RunRow
    report: dict[str, Any]
    intervals: list[dict[str, Any]]


class History:
    """The runs in one file, which need not exist: it is made, for its owner alone, when a run is added.

    Every method raises :class:`HistoryError` with one sentence when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(
        self,
        report: Mapping[str, Any],
        *,
        title: str,
        began_at: datetime,
        intervals: Sequence[Mapping[str, Any]] = (),
        cut_short: bool = False,
    ) -> int:
        """Keep a finished run or race, and return its number. ``began_at`` knows its time zone."""
        try:
            kind = kind_of(report)
            check_intervals(kind, list(intervals))
            bodies = [json.dumps(body, allow_nan=False) for body in (report, list(intervals))]
        except (TypeError, ValueError) as error:
            raise HistoryError(f"what is to be kept {error}") from None
        columns = {
            "kind": kind.name,
            "began_at": began_at.astimezone(UTC).isoformat(timespec="seconds"),
            "title": title,
            "cut_short": cut_short,
            **kind.columns(report),
            **dict(zip(("report", "intervals"), bodies, strict=True)),
        }
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        with self._writing(new=True) as connection:
            assert connection is not None
            cursor = connection.execute(
                f"INSERT INTO runs ({names}) VALUES ({marks})", tuple(columns.values())
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def runs(self, limit: int | None = None, kind: str | None = None) -> list[RunRow]:
        """Return the newest ``limit`` runs (all when None), the newest first; of one kind, or of all."""
        with self._reading() as connection:
            if connection is None:
                return []
            found = connection.execute(
                f"SELECT {_ROW} FROM runs WHERE kind = ? OR ? IS NULL ORDER BY id DESC LIMIT ?",
                (kind, kind, -1 if limit is None else limit),
            )
            return [self._row(values) for values in found]

    def load(self, run_id: int) -> StoredRun:
        """Return a run with its report and intervals; raises UnknownRunError when there is none."""
        with self._reading() as connection:
            found = None
            if connection is not None:
                statement = f"SELECT {_ROW}, report, intervals FROM runs WHERE id = ?"
                found = connection.execute(statement, (run_id,)).fetchone()
            if found is None:
                raise _unknown(run_id)
            return self._stored(found)

    def delete(self, run_ids: Iterable[int]) -> int:
        """Forget these runs, and return how many they were.

        Raises UnknownRunError when one of them is not there; none is forgotten then.
        """
        wanted = sorted(set(run_ids))
        with self._writing(new=False) as connection:
            for run_id in wanted:
                if connection is None or not _delete(connection, run_id):
                    raise _unknown(run_id)
        return len(wanted)

    def delete_all(self, kind: str | None = None) -> int:
        """Forget every run, or every run of a kind, and return how many there were."""
        with self._writing(new=False) as connection:
            if connection is None:
                return 0
            return connection.execute("DELETE FROM runs WHERE kind = ? OR ? IS NULL", (kind, kind)).rowcount

    def resolve(self, name: str) -> int:
        """Return the number that ``12``, ``last`` or ``last-1`` (the one before the last) stands for.

        Raises UnknownRunError when there is no such run.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise UnknownRunError(name, "is neither the number of a run nor last, last-1, ...")
        if match["number"]:
            return int(match["number"])
        index = int(match["back"] or 0)
        newest = self.runs(limit=index + 1)
        if index >= len(newest):
            raise UnknownRunError(name, f"the history has only {counted(len(newest), 'run')}")
        return newest[index].id

    # Rows.

    def _row(self, values: Sequence[Any]) -> RunRow:
        *values, p99_is_bound = values
        run_id, kind, began_at, title, cut_short, *rest = values
        fault = next(_ROW_SHAPE.faults("", dict(zip(_FIELDS, values, strict=True))), None)
        try:
            if fault is None:
                row = RunRow(run_id, kind, _moment(began_at), title, bool(cut_short), *rest)
                if p99_is_bound and row.p99_s is not None:
                    row = replace(row, p99_s=AtLeast(row.p99_s))
                return row
        except (ValueError, OverflowError):
            fault = "began_at is not a date"
        raise HistoryError(f"run {run_id} of the history {self.path} is damaged: {fault}")

    def _stored(self, values: Sequence[Any]) -> StoredRun:
        *row, report, intervals = values
        try:
            stored = StoredRun(self._row(row), parse_json(report), parse_json(intervals))
            kind = kind_of(stored.report)
            check_intervals(kind, stored.intervals)
            if kind.name != stored.row.kind:
                raise ValueError(f"is a {kind.name}, not a {stored.row.kind}")
        except (TypeError, ValueError) as error:
            raise HistoryError(f"run {row[0]} of the history {self.path} is damaged: it {error}") from None
        return stored

    # The file.

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Open the file for a look; None when there is no file, or nothing in it yet."""
        with _IN_USE, self._told("read"):
            if not self._examine(thoroughly=False):
                yield None
                return
            with _connected(self.path, "rw") as connection:
                yield connection

    @contextmanager
    def _writing(self, *, new: bool) -> Iterator[sqlite3.Connection | None]:
        """Make one transaction; where there is no file, in a ``new`` one, or in None."""
        with _IN_USE, self._told("written"):
            if not self._examine(thoroughly=True):
                if not new:
                    yield None
                    return
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The system says why this cannot be; SQLite would only say that it cannot.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            with _connected(self.path, "rw") as connection:
                _prepare(connection)
                with _transaction(connection):
                    yield connection

    def _examine(self, *, thoroughly: bool) -> bool:
        """Tell whether there is a history; raise HistoryError when the file is no history of this version.

        Looks without touching: at the header of the file, then through a connection that cannot write.
        """
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise HistoryError(f"{self.path} is not a file; choose another history with --history")
        except FileNotFoundError:
            return False
        header = self._header()
        if not header:
            return False
        if not header.startswith(_MAGIC):
            raise HistoryError(f"{self.path} is not a SockScope history; {_LEFT}")
        if _number(header, 68) == APPLICATION_ID:
            self._check_version(_number(header, 60))
        # One transaction, lest another process makes the tables between two of these questions.
        with _connected(self.path, "ro") as connection, _transaction(connection, "DEFERRED"):
            application_id, version = (
                _pragma(connection, "application_id"),
                _pragma(connection, "user_version"),
            )
            if application_id == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return False
            if application_id != APPLICATION_ID:
                raise HistoryError(f"{self.path} is not a SockScope history; {_LEFT}")
            self._check_version(version)
            if connection.execute(_STRANGERS).fetchone():
                raise HistoryError(self._damaged("it contains what no history contains"))
            if thoroughly and (found := _pragma(connection, "quick_check(1)")) != "ok":
                raise HistoryError(self._damaged(str(found)))
        return True

    def _header(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(_HEADER_BYTES)

    def _check_version(self, version: int) -> None:
        if version > VERSION:
            raise HistoryError(
                f"the history {self.path} was written by a newer SockScope (version {version} of its tables, "
                f"this one knows {VERSION}); {_LEFT}"
            )

    def _damaged(self, why: str) -> str:
        return f"the history {self.path} is damaged ({' '.join(why.split())}); {_LEFT}"

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Let what the system and SQLite say become one sentence."""
        try:
            yield
        except OSError as error:
            if self.path == NO_HOME:
                why = "you have no home directory; set HOME, or choose a file with --history"
                raise HistoryError(f"the history cannot be {what}: {why}") from None
            raise HistoryError(f"the history {self.path} cannot be {what}: {error.strerror}") from None
        except sqlite3.OperationalError as error:
            # In WAL mode SQLite writes two files beside this one, even to read it.
            beside = "; can its directory be written to?" if _may_be_its_directory(error) else ""
            raise HistoryError(f"the history {self.path} cannot be {what}: {error}{beside}") from None
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise HistoryError(self._damaged(str(error))) from None


def _moment(text: str) -> datetime:
    """Return a moment that can be told in any time zone; raise ValueError or OverflowError."""
    moment = datetime.fromisoformat(text).astimezone(UTC)
    if moment.year not in _YEARS:
        raise ValueError
    return moment


_LEFT = "it is left as it is; move it away, or choose another file with --history"


ENVIRONMENT_NAME = "SOCKSCOPE_HISTORY"
"""Names another file for the history."""


NO_HOME = Path(os.devnull, "history.db")
"""Where the history of a user without a home directory would be, who is told so."""


def default_path() -> Path:
    """Return where the history is unless a flag says otherwise: in the user's data directory."""
    if named := os.environ.get(ENVIRONMENT_NAME):
        return Path(named)
    with suppress(RuntimeError):
        return user_data_path("sockscope") / "history.db"
    return NO_HOME


# SQLite.


def _version_1(connection: sqlite3.Connection) -> None:
    # AUTOINCREMENT: the number of a run that was deleted is never given to another one.
    connection.execute(
        "CREATE TABLE runs ("
        " id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, began_at TEXT NOT NULL,"
        " title TEXT NOT NULL, cut_short INTEGER NOT NULL, transport TEXT, server TEXT, client TEXT,"
        " clients INTEGER, duration_s REAL, requests_per_s REAL, p99_s REAL, failed INTEGER,"
        " report TEXT NOT NULL, intervals TEXT NOT NULL)"
    )


_STRANGERS = (
    "SELECT 1 FROM sqlite_master WHERE type <> 'table' OR rootpage = 0"
    " OR name NOT IN ('runs', 'sqlite_sequence', 'sqlite_stat1', 'sqlite_stat4') "
    "UNION ALL SELECT 1 FROM pragma_table_xinfo('runs') WHERE hidden <> 0"
)
"""What would run when the table is read or written: views, triggers, virtual tables, generated columns."""
_MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_version_1,)
"""What leads from each version of the tables to the next; a new file has version 0."""
VERSION = len(_MIGRATIONS)
"""Version of the schema: the number of migrations that lead to it."""


def _prepare(connection: sqlite3.Connection) -> None:
    """Bring the tables to the version of today."""
    if _pragma(connection, "user_version") == VERSION:
        return
    # Space of deleted runs goes back to the system; this must be told before the first table.
    connection.execute("PRAGMA auto_vacuum = FULL")
    _write_ahead(connection)
    with _transaction(connection):
        for number in range(int(_pragma(connection, "user_version")), VERSION):
            _MIGRATIONS[number](connection)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn WAL on, which the file then remembers."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        # SQLite does not wait for this lock. Whoever holds it prepares the same file, or will next time.
        if _code(error) != sqlite3.SQLITE_BUSY:
            raise


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open a file that exists, ``ro`` or ``rw``."""
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        yield connection
    finally:
        connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _delete(connection: sqlite3.Connection, run_id: int) -> bool:
    return connection.execute("DELETE FROM runs WHERE id = ?", (run_id,)).rowcount > 0


def _unknown(run_id: int) -> UnknownRunError:
    return UnknownRunError(run_id, "there is no such run in the history")


def _may_be_its_directory(error: sqlite3.OperationalError) -> bool:
    return _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def _code(error: sqlite3.OperationalError) -> int:
    """Return what went wrong without its details (https://www.sqlite.org/rescode.html), 0 if not told."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _number(header: bytes, offset: int) -> int:
    """Return a number of the file's header (https://www.sqlite.org/fileformat.html, section 1.3)."""
    return int.from_bytes(header[offset : offset + 4], "big")
