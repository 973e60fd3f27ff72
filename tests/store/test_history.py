"""The history: what is kept, who may write at once, and files that are not to be touched."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sockscope.core.censoring import Ages, AtLeast
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.intervals import Intervals
from sockscope.core.results.run_result import interval, report
from sockscope.core.run.snapshot import Totals
from sockscope.errors import EXIT_FAILED, EXIT_USAGE, HistoryError, UnknownRunError
from sockscope.store.history import APPLICATION_ID, ENVIRONMENT_NAME, VERSION, History, default_path
from sockscope.store.preferences import preferences_path
from tests.core.reread import damaged, races, reread, runs
from tests.core.runs import both, role, run

PATIENCE_S = 90
NOW = datetime(2026, 5, 4, 13, 30, 15, 250_000, tzinfo=UTC)
REPORT = report(both(), {"python": "3.11"})
RACE = races()[1]
"""A batch, as it is when it has been written and read."""


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "kept" / "history.db")


def add(history: History, title: str = "a run", **rest: Any) -> int:
    return history.add(rest.pop("report", REPORT), title=title, began_at=NOW, **rest)


def execute(path: Path, *statements: str) -> None:
    """Do something to the file as another program might."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def everything(history: History) -> list[Callable[[], object]]:
    """What can be done with a history that holds the run 1."""
    return [
        lambda: add(history),
        lambda: history.runs(),
        lambda: history.load(1),
        lambda: history.delete([1]),
        lambda: history.delete_all(),
        lambda: history.resolve("last"),
    ]


# What is kept.


def test_a_run_comes_back_as_it_was(history: History) -> None:
    intervals = [interval(both(seconds=1)), interval(both(seconds=2))]
    number = add(history, "TCP protocol", intervals=intervals, cut_short=True)
    stored = history.load(number)
    assert stored.report == json.loads(json.dumps(REPORT))
    assert stored.intervals == json.loads(json.dumps(intervals))
    row = stored.row
    assert (row.id, row.kind, row.title, row.cut_short) == (1, "run", "TCP protocol", True)
    assert row.began_at == NOW.replace(microsecond=0)
    assert (row.transport, row.server, row.client, row.clients) == ("tcp", "protocol", "selector", 100)
    assert row.duration_s == pytest.approx(2)
    assert row.requests_per_s == pytest.approx(500)
    assert row.failed == 0
    assert row.p99_s == REPORT["service_time_s"]["p99"]
    assert history.runs() == [row]


def test_times_are_utc_whatever_the_time_zone(history: History) -> None:
    here = NOW.astimezone(timezone(timedelta(hours=-7)))
    history.add(REPORT, title="", began_at=here)
    (row,) = history.runs()
    assert row.began_at.utcoffset() == timedelta(0)
    assert row.began_at == NOW.replace(microsecond=0)


def test_failures_are_counted_at_the_side_that_is_here(history: History) -> None:
    lost = Totals(requests=10, responses=7, errors=1, timeouts=2)
    udp = run(tuning=Tuning(transport="udp"), swarm=role("swarm", lost), server=role("server", Totals()))
    add(history, report=report(udp, {}))
    alone = run(experiment=Experiment(role="server"), server=role("server", Totals(errors=4)))
    add(history, report=report(alone, {}))
    server, client = history.runs()
    assert (client.failed, client.transport, client.server) == (3, "udp", "datagram")
    assert (server.failed, server.clients, server.p99_s) == (4, None, None)


def test_a_p99_among_requests_without_an_answer_is_listed_as_a_bound(history: History) -> None:
    swarm = role("swarm", Totals(requests=9, timeouts=9), unanswered=Ages({1.0: 9}))
    add(history, report=report(run(swarm=swarm), {}))
    add(history)
    answered, lost = history.runs()
    assert isinstance(lost.p99_s, AtLeast)
    assert lost.p99_s == 1.0
    assert type(answered.p99_s) is float
    assert history.load(1).row == lost


def test_a_race_is_kept_whole(history: History) -> None:
    add(history)
    number = add(history, "guide", report=RACE)
    stored = history.load(number)
    assert (stored.row.kind, stored.report, stored.intervals) == ("race", RACE, [])
    assert (stored.row.transport, stored.row.duration_s) == ("tcp", 93.0)
    assert (stored.row.requests_per_s, stored.row.p99_s, stored.row.failed) == (None, None, None)
    assert [row.kind for row in history.runs()] == ["race", "run"]
    assert [row.title for row in history.runs(kind="race")] == ["guide"]


@pytest.mark.parametrize("report", runs() + races())
def test_every_result_comes_back_as_it_was_written(history: History, report: dict[str, Any]) -> None:
    stored = history.load(add(history, report=report))
    assert stored.report == report
    assert stored.row == history.runs()[0]
    assert stored.row.transport == report["experiment"]["transport"]


@given(damaged(runs() + races()))
def test_what_is_kept_can_be_read_again(report: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "history.db")
        try:
            number = add(history, report=report)
        except HistoryError:
            assert not history.path.exists()
            return
        assert history.load(number).report == reread(report)
        assert len(history.runs()) == 1


def test_what_is_no_result_is_not_kept(history: History) -> None:
    with pytest.raises(HistoryError, match="what is to be kept is not the JSON object"):
        add(history, report={"type": "interval"})
    with pytest.raises(HistoryError, match="has intervals, which a race has not"):
        add(history, report=RACE, intervals=[interval(both())])
    for body in (float("nan"), object()):
        with pytest.raises(HistoryError, match="what is to be kept"):
            add(history, intervals=[{"duration_s": body}])
    assert not history.path.exists()


def test_the_newest_come_first_and_as_many_as_wanted(history: History) -> None:
    for number in range(5):
        add(history, str(number))
    assert [row.title for row in history.runs(limit=2)] == ["4", "3"]
    assert [row.id for row in history.runs()] == [5, 4, 3, 2, 1]


def test_runs_have_names(history: History) -> None:
    for _ in range(3):
        add(history)
    assert [history.resolve(name) for name in ("2", "last", "last-0", "last-2")] == [2, 3, 3, 1]
    with pytest.raises(UnknownRunError, match="last-3: the history has only 3 runs"):
        history.resolve("last-3")


@pytest.mark.parametrize(
    "name", ["", "first", "last-", "last1", "last--1", "-1", "1.5", "٣", "9" * 30, "last\n"]
)
def test_names_that_no_run_can_have(history: History, name: str) -> None:
    add(history)
    with pytest.raises(UnknownRunError, match="neither the number of a run nor last") as caught:
        history.resolve(name)
    assert caught.value.exit_code == EXIT_USAGE


def test_deleting(history: History) -> None:
    for _ in range(4):
        add(history)
    assert history.delete([2, 3, 3]) == 2
    assert [row.id for row in history.runs()] == [4, 1]
    with pytest.raises(UnknownRunError, match="2: there is no such run"):
        history.delete([1, 2])
    assert [row.id for row in history.runs()] == [4, 1]
    add(history, report=RACE)
    assert history.delete_all("race") == 1
    assert history.delete_all() == 2
    assert add(history) == 6, "a number is never given twice"


def test_deleted_runs_give_their_space_back(history: History) -> None:
    for _ in range(20):
        add(history, intervals=[interval(both())] * 20)
    before = history.path.stat().st_size
    history.delete_all()
    assert history.path.stat().st_size < before / 10


def test_without_a_file_there_are_no_runs_and_no_file_is_made(history: History) -> None:
    assert history.runs() == []
    assert history.delete_all() == 0
    for ask in (lambda: history.load(1), lambda: history.delete([1]), lambda: history.resolve("last")):
        with pytest.raises(UnknownRunError):
            ask()
    assert not history.path.parent.exists()


def test_an_empty_file_is_a_new_history(history: History) -> None:
    history.path.parent.mkdir()
    history.path.touch()
    assert history.runs() == []
    assert add(history) == 1


def test_the_file_is_for_its_owner_alone(history: History) -> None:
    mask = os.umask(0)
    try:
        add(history)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in history.path.parent.iterdir()] == ["history.db"]


def test_the_file_says_what_it_is(history: History) -> None:
    add(history)
    with closing(sqlite3.connect(history.path)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
    assert (mode, version, application) == ("wal", VERSION, APPLICATION_ID)


def test_names_that_mean_something_to_sqlite_are_only_names(tmp_path: Path) -> None:
    history = History(tmp_path / "a?mode=memory&x=%41#b.db")
    assert add(history) == 1
    assert [path.name for path in tmp_path.iterdir()] == [history.path.name]


def test_the_default_is_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_NAME)
    assert default_path().name == "history.db"
    assert "sockscope" in default_path().parts


def test_who_has_no_home_directory_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ENVIRONMENT_NAME, "HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    history = History(default_path())
    for use in (history.runs, lambda: add(history)):
        with pytest.raises(HistoryError, match=r"cannot be .*: you have no home directory; set HOME, or "):
            use()
    assert preferences_path() is None


def test_the_intervals_of_a_long_run_are_few(history: History) -> None:
    """Joined twice by now, they are nearly as many as there may be."""
    memory = Intervals()
    for second in range(1_190):
        memory.absorb(both(seconds=second, requests=second // 100))
    assert 290 < len(memory.reports()) <= 300
    add(history, intervals=memory.reports())
    assert history.path.stat().st_size < 2_000_000


# Several at once.

_WRITER = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from sockscope.store import history
history.BUSY_S = 60.0  # SQLite's turns are not fair, and a loaded disk is slow
from sockscope.store.history import History
history, report = History(Path(sys.argv[1])), json.load(open(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    history.add(report, title=f"{sys.argv[4]} {number}", began_at=datetime.now(UTC))
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_processes_may_write_at_once_even_into_a_new_file(history: History, tmp_path: Path) -> None:
    body = tmp_path / "report.json"
    body.write_text(json.dumps(REPORT))
    each = 15
    writers = [python(_WRITER, str(history.path), str(body), str(each), name) for name in "abc"]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            out, err = writer.communicate(timeout=PATIENCE_S)
            assert (writer.returncode, out, err) == (0, "", "")
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    rows = history.runs()
    assert sorted(row.id for row in rows) == list(range(1, 3 * each + 1))
    assert {row.title for row in rows} == {f"{name} {number}" for name in "abc" for number in range(each)}
    for name in "abc":
        assert [row.title for row in reversed(rows) if row.title[0] == name] == [
            f"{name} {number}" for number in range(each)
        ]


def test_threads_may_use_it_at_once(history: History) -> None:
    faults: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(5):
                add(history)
                history.runs(limit=3)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test must see it
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert faults == []
    assert len(history.runs()) == 20


def test_reading_does_not_wait_for_a_writer(history: History) -> None:
    add(history)
    with closing(sqlite3.connect(history.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE runs SET title = 'half'")
        assert [row.title for row in history.runs()] == ["a run"]
        other.execute("COMMIT")
        assert [row.title for row in history.runs()] == ["half"]


def test_a_writer_that_never_ends_is_told(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    add(history)
    monkeypatch.setattr("sockscope.store.history.BUSY_S", 0.01)
    with closing(sqlite3.connect(history.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError, match="cannot be written: database is locked"):
            add(history)


_HALF_A_RUN = """
import sys
from pathlib import Path
from sockscope.store.history import History
with History(Path(sys.argv[1]))._writing(new=True) as connection:
    columns = "kind, began_at, title, cut_short, report, intervals"
    for _ in range(200):
        connection.execute(
            f"INSERT INTO runs ({columns}) VALUES ('run', '2026-05-04', 'half', 0, ?, '[]')", ("x" * 20_000,)
        )
    print("in the middle", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("before", [0, 2])
def test_a_killed_writer_leaves_what_was_finished(history: History, before: int) -> None:
    for _ in range(before):
        add(history)
    child = python(_HALF_A_RUN, str(history.path))
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "in the middle\n"
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.communicate(timeout=PATIENCE_S)
    assert [row.title for row in history.runs()] == ["a run"] * before
    assert add(history, "after") == before + 1
    assert history.load(before + 1).row.title == "after"


# Files that are left as they are.


def refuses_everything(history: History, *words: str) -> None:
    """Check that nothing can be done, that each fault is one sentence, and that nothing is changed."""
    before = history.path.read_bytes()
    for ask in everything(history):
        with pytest.raises(HistoryError) as caught:
            ask()
        said = str(caught.value)
        assert str(history.path) in said
        assert all(word in said for word in words), said
        assert "\n" not in said
        assert caught.value.exit_code == EXIT_FAILED
        assert history.path.read_bytes() == before


def test_a_newer_version(history: History) -> None:
    add(history)
    execute(history.path, f"PRAGMA user_version = {VERSION + 1}", "ALTER TABLE runs ADD COLUMN mood TEXT")
    refuses_everything(history, "written by a newer SockScope", f"version {VERSION + 1}", "left as it is")


def test_a_newer_version_that_is_still_in_the_log(history: History) -> None:
    add(history)
    with closing(sqlite3.connect(history.path, isolation_level=None)) as other:
        other.execute(f"PRAGMA user_version = {VERSION + 7}")
        assert history.path.read_bytes()[60:64] == VERSION.to_bytes(4, "big")
        refuses_everything(history, "written by a newer SockScope", f"version {VERSION + 7}")
        copied = history.path.read_bytes()
    execute(history.path, "PRAGMA user_version")  # the log goes into the file when SQLite closes it
    assert history.path.read_bytes() != copied
    refuses_everything(history, "written by a newer SockScope", f"version {VERSION + 7}")


@pytest.mark.parametrize(
    "content", [b"{}", b"SQLite format 4\0" + bytes(4_096), random.Random(1).randbytes(9_999)]
)
def test_something_else(history: History, content: bytes) -> None:
    history.path.parent.mkdir()
    history.path.write_bytes(content)
    refuses_everything(history, "is not a SockScope history", "left as it is")


def test_the_database_of_another_program(history: History) -> None:
    history.path.parent.mkdir()
    execute(history.path, "CREATE TABLE runs (id INTEGER)")
    refuses_everything(history, "is not a SockScope history")
    execute(history.path, "PRAGMA application_id = 7")
    refuses_everything(history, "is not a SockScope history")


def filled(history: History) -> bytes:
    for _ in range(8):
        add(history, intervals=[interval(both())] * 3)
    return history.path.read_bytes()


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_not_written_to(history: History, keep: float) -> None:
    whole = filled(history)
    history.path.write_bytes(whole[: int(len(whole) * keep)])
    before = history.path.read_bytes()
    for ask in (everything(history)[0], everything(history)[3]):
        with pytest.raises(HistoryError, match=r"is damaged .*; it is left as it is"):
            ask()
        assert history.path.read_bytes() == before


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_page_of_rubbish(history: History, page: int) -> None:
    """The first page holds the tables, the third the runs (the second is that of auto_vacuum)."""
    whole = bytearray(filled(history))
    start = 100 if page == 1 else (page - 1) * 4_096
    whole[start : page * 4_096] = b"\xff" * (page * 4_096 - start)
    history.path.write_bytes(whole)
    with pytest.raises(HistoryError, match="is damaged"):
        add(history)
    assert history.path.read_bytes() == whole


def test_a_run_whose_text_is_damaged(history: History) -> None:
    add(history)
    add(history)
    for text, why in (
        ("'{'", "damaged"),
        ("'[]'", "damaged"),
        ("x'ff'", "damaged|UTF-8"),
        ("7", "damaged"),
        (f"'{'[' * 100_000}'", "is damaged: it is not JSON"),
        (f"'{json.dumps(RACE)}'", "is damaged: it is a race, not a run"),
    ):
        execute(history.path, f"UPDATE runs SET report = {text} WHERE id = 1")
        with pytest.raises(HistoryError, match=why):
            history.load(1)
    assert history.load(2).report["type"] == "summary"
    for text in ("{}", "[7]", '[{"duration_s": "long"}]', '[{"duration_s": NaN}]', "[[[]]]"):
        execute(history.path, f"UPDATE runs SET intervals = '{text}' WHERE id = 2")
        with pytest.raises(HistoryError, match=r"run 2 of the history .* is damaged: .*intervals"):
            history.load(2)
    execute(history.path, "UPDATE runs SET began_at = 'once upon a time' WHERE id = 1")
    with pytest.raises(HistoryError, match=r"run 1 of the history .* is damaged"):
        history.runs()
    execute(history.path, f"UPDATE runs SET began_at = '{NOW.isoformat()}', clients = 'many' WHERE id = 1")
    with pytest.raises(HistoryError, match=r"run 1 of the history .* is damaged"):
        history.runs()
    assert history.delete([1]) == 1
    assert len(history.runs()) == 1


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("began_at", "'0001-01-01T00:00:00+00:00'", "began_at is not a date"),
        ("began_at", "'9999-12-31T23:59:59-23:00'", "began_at is not a date"),
        ("p99_s", "9e999", "p99_s is out of range"),
        ("clients", "1e300", "clients is out of range"),
        ("clients", "'many'", "clients is not a number"),
        ("title", "x'1b5b'", "title is not text"),
        ("title", "printf('%.20000c', 'x')", "title is longer than 10,000 characters"),
        ("report", f"'{'[' * 5_000}'", "is not JSON"),
        ("report", '\'{"type": "summary", "schema_version": 1e999}\'', "has no schema_version"),
        ("report", "zeroblob(80000000)", "too big"),
    ],
)
def test_a_file_that_sqlite_takes_and_nobody_else_should(
    history: History, column: str, value: str, why: str
) -> None:
    add(history)
    execute(history.path, f"UPDATE runs SET {column} = {value}")
    with pytest.raises(HistoryError, match=f"is damaged.*({why})"):
        history.load(1)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON runs BEGIN UPDATE runs SET title = 'owned'; END",
        "ALTER TABLE runs RENAME TO others;"
        "CREATE VIEW runs AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x FROM r) SELECT * FROM r",
        "ALTER TABLE runs ADD COLUMN more AS (printf('%.50000000c', 'x'))",
        "CREATE INDEX i ON runs (length(title))",
    ],
)
def test_nothing_in_a_file_runs(history: History, statement: str) -> None:
    add(history)
    with closing(sqlite3.connect(history.path)) as connection:
        connection.executescript(statement)
    before = history.path.read_bytes()
    for ask in everything(history):
        with pytest.raises(HistoryError, match="it contains what no history contains"):
            ask()
    assert history.path.read_bytes() == before


@given(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=400))
@example(0.0321005190977548, b"\x80")  # a name that SQLite puts into its own words, and Python cannot read
def test_damage_anywhere_is_a_sentence_or_harmless(where: float, rubbish: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "history.db")
        history.path.write_bytes(_FILLED)
        with history.path.open("r+b") as file:
            file.seek(int(where * len(_FILLED)))
            file.write(rubbish)
        before = history.path.read_bytes()
        refused = 0
        for ask in everything(history)[:3]:
            try:
                ask()
            except HistoryError:
                refused += 1
        if refused == 3:
            assert history.path.read_bytes() == before


def _filled() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return filled(History(Path(folder) / "history.db"))


_FILLED = _filled()


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, Path(os.devnull)):
        for ask in everything(History(path)):
            with pytest.raises(HistoryError, match=f"{path} is not a file"):
                ask()


def test_a_place_where_nothing_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HistoryError, match="cannot be written: Not a directory"):
        add(History(tmp_path / "file" / "history.db"))
    with pytest.raises(HistoryError, match="cannot be read: Not a directory"):
        History(tmp_path / "file" / "history.db").runs()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_to(history: History) -> None:
    add(history)
    before = history.path.read_bytes()
    folder = history.path.parent
    folder.chmod(0o500)
    try:
        with pytest.raises(HistoryError, match="can its directory be written to"):
            add(history)
        with pytest.raises(HistoryError, match="cannot be written: Permission denied"):
            add(History(folder / "other.db"))
    finally:
        folder.chmod(0o700)
    assert history.path.read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [history.path.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_a_file_that_cannot_be_written(history: History) -> None:
    add(history)
    history.path.chmod(0o400)
    with pytest.raises(HistoryError, match="cannot be written: Permission denied"):
        add(history)
    assert len(history.runs()) == 1
