from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.connection import TcpInfo
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import ConnectionQuery
from sockscope.engine.recorder import Recorder
from sockscope.engine.views import connection_views


def ids(recorder: Recorder, query: ConnectionQuery) -> list[int]:
    views, matching = connection_views(recorder, query, 1.0, lambda _: None)
    assert matching == len(recorder.live) + len(recorder.closed)
    return [view.conn_id for view in views]


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 40), st.booleans())
def test_open_connections_stand_before_closed_ones_each_in_order(
    stays: list[bool], limit: int, reverse: bool
) -> None:
    recorder = Recorder("server")
    records = [recorder.on_open("tcp", ("127.0.0.1", 1), ("127.0.0.1", 2), 0) for _ in stays]
    for record, stay in reversed(list(zip(records, stays, strict=True))):
        if not stay:
            recorder.on_close(record, CloseReason.EOF)
    opened = [number for number, stay in enumerate(stays, start=1) if stay]
    closed = [number for number, stay in enumerate(stays, start=1) if not stay]
    expected = [*opened, *closed]
    for text in ("", "tcp"):  # every connection matches either
        found = ids(recorder, ConnectionQuery(limit=limit, reverse=reverse, text=text))
        assert found == (expected[::-1] if reverse else expected)[:limit]


def test_only_the_first_rows_cost_a_system_call() -> None:
    recorder = Recorder("server")
    asked: list[int] = []
    for _ in range(5):
        recorder.on_open("tcp", ("127.0.0.1", 1), ("127.0.0.1", 2), 0)
    for looks, first in ((2, [1, 2]), (0, []), (None, [1, 2, 3, 4]), (9, [1, 2, 3, 4])):
        asked.clear()
        views, _ = connection_views(
            recorder,
            ConnectionQuery(limit=4, looks=looks),
            1.0,
            lambda records: asked.extend(r.conn_id for r in records),
        )
        assert [view.conn_id for view in views] == [1, 2, 3, 4]
        assert asked == first


def test_any_other_column_sorts_the_rows_too() -> None:
    recorder = Recorder("swarm")
    for port in (30, 10, 20):
        recorder.on_open("tcp", ("127.0.0.1", port), ("127.0.0.1", 2), 0)
    assert ids(recorder, ConnectionQuery(role="swarm", sort="local")) == [2, 3, 1]
    assert ids(recorder, ConnectionQuery(role="swarm", sort="local", reverse=True, limit=2)) == [1, 3]


def test_connections_are_sorted_by_what_the_kernel_told_last() -> None:
    recorder = Recorder("swarm")
    records = [recorder.on_open("tcp", ("127.0.0.1", 1), ("127.0.0.1", 2), 0) for _ in range(4)]
    for record, retransmits in zip(records, (3, None, 7, 5), strict=True):
        record.tcp = None if retransmits is None else TcpInfo(retransmits=retransmits)
    recorder.on_close(records[0], CloseReason.RESET)
    assert ids(recorder, ConnectionQuery(role="swarm", sort="retrans", reverse=True)) == [3, 4, 1, 2]


def test_connections_are_sorted_by_the_age_that_is_shown() -> None:
    recorder = Recorder("swarm")
    records = [recorder.on_open("tcp", ("127.0.0.1", 1), ("127.0.0.1", 2), 0) for _ in range(3)]
    for record, opened_s in zip(records, (0.1, 0.2, 0.6), strict=True):
        record.opened_s = opened_s
    recorder.on_close(records[0], CloseReason.EOF, time_s=0.2)
    # Shown are 0.1, 0.8 and 0.4 s.
    assert ids(recorder, ConnectionQuery(role="swarm", sort="age")) == [1, 3, 2]
