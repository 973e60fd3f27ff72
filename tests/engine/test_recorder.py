from dataclasses import fields
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import Totals
from sockscope.engine.captures import COLUMNS, CaptureRing, Unfinished
from sockscope.engine.recorder import Recorder

ENDS = ("127.0.0.1", 1), ("127.0.0.1", 2)
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("exchange"), st.integers(0, 3), st.integers(1, 5)),
        st.tuples(st.just("read"), st.integers(0, 3), st.integers(1, 500)),
        st.tuples(st.just("write"), st.integers(0, 3), st.integers(1, 500)),
        st.tuples(st.just("expect"), st.integers(0, 3), st.integers(1, 100)),
        st.tuples(st.just("replace"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("look"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


def expected(records: list[ConnectionRecord]) -> dict[str, int]:
    """Sum up what each record says of itself."""
    udp = [record for record in records if record.transport == "udp"]
    return {
        "requests": sum(record.frames_out for record in records),
        "responses": sum(record.frames_in for record in records),
        "reads": sum(record.reads for record in records),
        "writes": sum(record.writes for record in records),
        "bytes_in": sum(record.bytes_in for record in records),
        "bytes_out": sum(record.bytes_out for record in records),
        "datagrams_sent": sum(record.writes for record in udp),
        "datagrams_received": sum(record.reads for record in udp),
    }


def found(totals: Totals) -> dict[str, int]:
    counted = {field.name: getattr(totals, field.name) for field in fields(Totals)}
    return {name: counted[name] for name in expected([])}


@given(CALLS)
def test_totals_are_the_sum_over_the_connections_whatever_happened_since_the_last_look(
    calls: list[tuple[str, int, int]],
) -> None:
    recorder = Recorder("swarm")
    everything: list[ConnectionRecord] = []

    def opened(number: int) -> ConnectionRecord:
        record = recorder.on_open("udp" if number % 2 else "tcp", *ENDS, 0)
        everything.append(record)
        return record

    current = [opened(number) for number in range(4)]
    for what, which, value in calls:
        record = current[which]
        match what:
            case "exchange":
                record.exchanges += value
            case "read":
                record.odd_read(value, value % 2)
            case "write":
                record.odd_write(value, value % 3)
            case "expect":
                record.expect(value, 2 * value)
            case "replace":
                recorder.on_close(record, CloseReason.EOF)
                current[which] = opened(which)
            case _:
                assert found(recorder.totals()) == expected(everything)
    for _ in range(3):
        assert found(recorder.totals()) == expected(everything)


def test_a_gap_is_the_time_without_an_answer_that_was_awaited() -> None:
    recorder = Recorder("swarm")
    record = recorder.on_open("tcp", *ENDS, 0)
    for sent_s, read_s in ((10.0, 10.001), (10.001, 10.5), (11.9, 12.0)):
        recorder.on_exchange((sent_s, read_s, record, b"asked", b"told"))
    recorder.fold()
    # Nobody asked for most of the time before the last answer.
    assert recorder.gaps.max_s == pytest.approx(0.499, rel=0.01)
    # The one that was sent last is answered first.
    for sent_s, read_s in ((12.9, 13.0), (12.0, 13.001)):
        recorder.on_exchange((sent_s, read_s, record, b"asked", b"told"))
    recorder.fold()
    assert recorder.gaps.max_s == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("before", [1, 15, 16, 17, 99])
def test_a_gap_between_many_answers_is_found_wherever_it_is(before: int) -> None:
    recorder = Recorder("swarm")
    record = recorder.on_open("tcp", *ENDS, 0)
    reads = [10.0 + number / 1_000 + (0.020 if number >= before else 0.0) for number in range(100)]
    for read_s in reads:
        recorder.on_exchange((9.0, read_s, record, b"asked", b"told"))
    recorder.fold()
    assert recorder.gaps.max_s == pytest.approx(0.021, rel=0.01)
    for read_s in reads:
        recorder.on_exchange((10.0, read_s - reads[0] + reads[-1], record, b"asked", b"told"))
    recorder.fold()
    assert recorder.gaps.total == 2


def test_a_gap_is_awaited_by_those_who_give_up_in_it() -> None:
    recorder, now_s = Recorder("swarm"), perf_counter()
    record = recorder.on_open("tcp", *ENDS, 0)
    recorder.on_exchange((now_s - 9.0, now_s - 8.0, record, b"asked", b"told"))
    recorder.on_unanswered(now_s - 7.0, record, b"asked", Unfinished("timeout"), 1.0)
    recorder.on_unanswered(now_s - 1.0, record, b"asked", Unfinished("timeout"), 1.0)
    recorder.on_exchange((now_s + 60.0, now_s + 60.001, record, b"asked", b"told"))
    recorder.fold()
    assert recorder.gaps.max_s == pytest.approx(7.0, rel=0.02)
    # Who asks again and is answered at last has not been answered since.
    recorder.on_unanswered(now_s + 60.001, record, b"asked", Unfinished("timeout"), 1.0)
    recorder.last_unanswered_s = now_s + 70.0
    recorder.on_exchange((now_s + 70.0, now_s + 75.0, record, b"asked", b"told"))
    recorder.fold()
    assert recorder.gaps.max_s == pytest.approx(15.0, rel=0.02)


def test_of_the_captures_there_are_the_last_ones_and_no_more_than_it_says() -> None:
    ring = CaptureRing(100)
    for batch in range(9):
        ring.extend([float(batch)] * (30 * COLUMNS))
    assert (ring.recorded, ring.overwritten, len(list(ring.newest_first()))) == (270, 170, 100)
    assert ring.get(169) is None
    assert ring.get(170) is not None
    page = ring.since(0)
    assert (len(page.items), page.missed, page.cursor) == (100, 170, 270)
