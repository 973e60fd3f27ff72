"""What faults make of the data of a connection: nothing is lost, the order stays, times only grow."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.impairment.line import Line
from sockscope.core.impairment.link import LinkFaults
from sockscope.core.impairment.stream import NONE, Fate, StreamImpairer
from tests.each import each

faults = st.builds(
    LinkFaults,
    delay_s=st.sampled_from([0.0, 0.02]),
    jitter_s=st.sampled_from([0.0, 0.005]),
    rate_bytes_per_s=st.sampled_from([0.0, 1_000.0, 1e6]),
    slice_bytes=st.sampled_from([0, 1, 7]),
    slice_gap_s=st.sampled_from([0.0, 0.001]),
    stall_s=st.sampled_from([0.0, 0.5]),
)
chunks = st.lists(st.binary(max_size=40), max_size=20)


@settings(max_examples=50)
@given(faults, chunks, st.integers(0, 1 << 62), st.lists(st.floats(0, 0.1), min_size=20, max_size=20))
def test_a_stream_stays_whole_and_in_order(
    some: LinkFaults, data: list[bytes], seed: int, gaps: list[float]
) -> None:
    def passed() -> list[tuple[float, bytes]]:
        impairer, now_s = StreamImpairer(some, seed), 0.0
        found: list[tuple[float, bytes]] = []
        for gap, chunk in zip(gaps, data, strict=False):
            now_s += gap
            pieces = impairer.admit(now_s, chunk)
            assert all(due >= now_s for due, _ in pieces)
            found += pieces
        assert impairer.close_due_s(now_s) >= max([now_s, *(due for due, _ in found)])
        return found

    sent = passed()
    assert b"".join(piece for _, piece in sent) == b"".join(data)
    assert all(one <= other for (one, _), (other, _) in pairwise(sent))
    assert all(piece for _, piece in sent)
    if some.slice_bytes:
        assert all(len(piece) <= some.slice_bytes for _, piece in sent)
    assert passed() == sent


@each("rate", [1_000, 50_000, 10_000_000])
def test_the_rate_is_exact_over_any_second(rate: int) -> None:
    impairer = StreamImpairer(LinkFaults(rate_bytes_per_s=rate), 1)
    sent = [piece for k in range(4) for piece in impairer.admit(k * 0.5, bytes(rate))]
    for begin_s in (0.0, 0.4, 1.23, 2.9):
        in_second = sum(len(data) for due, data in sent if begin_s < due <= begin_s + 1)
        assert in_second == pytest.approx(rate, rel=0.03)


def test_connections_share_a_line() -> None:
    line, some = Line(1_000), LinkFaults(rate_bytes_per_s=1_000)
    first, second = StreamImpairer(some, 1, line), StreamImpairer(some, 2, line)
    assert first.admit(0.0, bytes(1_000))[-1][0] == pytest.approx(1.0)
    assert second.admit(0.0, bytes(1_000))[-1][0] == pytest.approx(2.0)


def test_slices_lie_apart() -> None:
    impairer = StreamImpairer(LinkFaults(slice_bytes=4, slice_gap_s=0.01), 1)
    assert [(round(due, 6), data) for due, data in impairer.admit(1.0, b"abcdefghij")] == [
        (1.0, b"abcd"), (1.01, b"efgh"), (1.02, b"ij"),
    ]  # fmt: skip
    assert impairer.counts.sliced == 2


def test_a_connection_stands_still_once() -> None:
    impairer = StreamImpairer(LinkFaults(stall_s=0.5), 1)
    assert impairer.admit(1.0, b"a") == [(1.5, b"a")]
    assert impairer.admit(1.1, b"b") == [(1.5, b"b")]
    assert impairer.admit(2.0, b"c") == [(2.0, b"c")]
    impairer.turn(LinkFaults())
    impairer.turn(LinkFaults(stall_s=0.5))
    assert impairer.admit(3.0, b"d") == [(3.5, b"d")]
    assert impairer.counts.stalled == 2


def test_an_end_comes_behind_the_data_and_later_where_it_is_slow() -> None:
    impairer = StreamImpairer(LinkFaults(delay_s=0.02, slow_close_s=0.5), 1)
    impairer.admit(1.0, b"a")
    assert impairer.close_due_s(1.0) == pytest.approx(1.52)


def test_the_stated_share_of_connections_is_refused_whichever_direction_asks() -> None:
    some = LinkFaults(refuse_ratio=0.2)
    up, down = StreamImpairer(some, 5), StreamImpairer(some, 5)
    fates = [up.fate(number) for number in range(2_000)]
    assert fates == [down.fate(number) for number in range(2_000)]
    assert abs(sum(fate.refused for fate in fates) / 2_000 - 0.2) < 3 * (0.2 * 0.8 / 2_000) ** 0.5


def test_ages_at_which_connections_end() -> None:
    some = LinkFaults(reset_after_s=1.0, black_hole_after_s=0.0)
    assert StreamImpairer(some, 1).fate(7) == Fate(reset_after_s=1.0, black_hole_after_s=0.0)
    assert StreamImpairer(LinkFaults(delay_s=1), 1).fate(7) == NONE
    assert not NONE
