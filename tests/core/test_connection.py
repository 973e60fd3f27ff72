from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.addresses import format_address
from sockscope.core.connection import ConnectionRecord, ConnectionState, view_of
from sockscope.core.events import CloseReason, Event, EventKind

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("expect"), st.integers(0, 100), st.just(0)),
        st.tuples(st.just("exchange"), st.just(0), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 100), st.integers(0, 3)),
        st.tuples(st.just("write"), st.integers(0, 100), st.just(0)),
    ),
    max_size=40,
)


def record() -> ConnectionRecord:
    return ConnectionRecord(3, "tcp", ("127.0.0.1", 1000), ("::1", 2000), opened_s=10.0)


@given(STEPS)
def test_the_counters_are_those_of_counting_everything_one_by_one(steps: list[tuple[str, int, int]]) -> None:
    counted = record()
    frames_in = frames_out = reads = writes = bytes_in = bytes_out = size_in = size_out = 0
    for what, amount, frames in steps:
        match what:
            case "expect":
                counted.expect(amount, amount + frames)
                size_in, size_out = amount, amount + frames
            case "exchange":
                counted.exchanges += 1
                frames_in, frames_out, reads, writes = frames_in + 1, frames_out + 1, reads + 1, writes + 1
                bytes_in, bytes_out = bytes_in + size_in, bytes_out + size_out
            case "read":
                counted.odd_read(amount, frames)
                reads, bytes_in, frames_in = reads + 1, bytes_in + amount, frames_in + frames
            case "write":
                counted.odd_write(amount)
                writes, bytes_out, frames_out = writes + 1, bytes_out + amount, frames_out + 1
        assert (counted.reads, counted.writes) == (reads, writes)
        assert (counted.frames_in, counted.frames_out) == (frames_in, frames_out)
        assert (counted.bytes_in, counted.bytes_out) == (bytes_in, bytes_out)


def test_a_view_tells_requests_from_the_side_of_its_role() -> None:
    counted = record()
    counted.odd_read(10, frames=2)
    counted.odd_write(4)
    at_server, at_client = view_of(counted, "server", 12.5), view_of(counted, "swarm", 12.5)
    assert (at_server.requests, at_server.responses) == (2, 1)
    assert (at_client.requests, at_client.responses, at_client.rtt_s) == (1, 2, None)
    assert (at_server.age_s, at_server.local_address, at_server.remote_address) == (
        2.5, "127.0.0.1:1000", "[::1]:2000",
    )  # fmt: skip


def test_the_age_of_a_closed_connection_is_its_length() -> None:
    counted = record()
    counted.closed_s, counted.state = 11.0, ConnectionState.CLOSED
    assert view_of(counted, "server", 99.0).age_s == 1.0


def test_addresses() -> None:
    assert format_address(("127.0.0.1", 80)) == "127.0.0.1:80"
    assert format_address(("::1", 80)) == "[::1]:80"


def test_an_event_is_a_fault_by_its_kind_or_its_reason() -> None:
    assert Event(0.0, EventKind.ERROR, "swarm").is_fault
    assert Event(0.0, EventKind.CLOSE, "swarm", reason=CloseReason.RESET).is_fault
    assert not Event(0.0, EventKind.CLOSE, "swarm", reason=CloseReason.EOF).is_fault
    assert not Event(0.0, EventKind.TUNING, "run").is_fault
