"""What faults make of datagrams: how many, which, when, and the same for the same seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.impairment.datagrams import HOLD_S, QUEUE_S, DatagramImpairer, with_bit_flipped
from sockscope.core.impairment.link import LinkFaults
from tests.each import each

MANY = 10_000
GAP_S = 0.001
RATIO = st.just(0.0) | st.floats(0.001, 0.5)

Arrived = list[tuple[float, int]]
"""When each copy was due, and the number of the datagram that it carries."""


def numbered(count: int, flow: int = 0) -> Iterator[bytes]:
    return (number.to_bytes(8, "big") + bytes([flow]) for number in range(count))


def passed(impairer: DatagramImpairer, count: int, flows: int = 1, gap_s: float = GAP_S) -> Arrived:
    """Return what arrives of ``count`` datagrams, in its order: by due time, then as it was returned."""
    arrived: Arrived = []

    def take(copies: object) -> None:
        arrived.extend((due, int.from_bytes(data[:8], "big")) for due, data in copies)  # type: ignore[attr-defined]

    for number, data in enumerate(numbered(count)):
        now_s = number * gap_s
        for _, copies in impairer.release(now_s):
            take(copies)
        take(impairer.admit(now_s, data, number % flows))
    for _, copies in impairer.release(math.inf):
        take(copies)
    return sorted(arrived, key=lambda one: one[0])


drawn_faults = st.builds(
    LinkFaults,
    delay_s=st.sampled_from([0.0, 0.02]),
    jitter_s=st.sampled_from([0.0, 0.005]),
    jitter_shape=st.sampled_from(["normal", "uniform"]),
    rate_bytes_per_s=st.sampled_from([0.0, 5_000.0]),
    loss_ratio=RATIO,
    loss_burst=st.sampled_from([0.0, 5.0]),
    duplicate_ratio=RATIO,
    reorder_ratio=RATIO,
)


@settings(max_examples=25)
@given(drawn_faults, st.integers(0, 1 << 62), st.integers(1, 3))
def test_the_counts_add_up_and_no_copy_is_early(faults: LinkFaults, seed: int, flows: int) -> None:
    impairer = DatagramImpairer(faults, seed)
    arrived = passed(impairer, 300, flows)
    counts = impairer.counts
    assert counts.admitted == 300
    assert len(arrived) == counts.admitted - counts.lost + counts.duplicated
    assert len({number for _, number in arrived}) == counts.admitted - counts.lost
    assert all(due >= number * GAP_S for due, number in arrived)
    assert math.isinf(impairer.release_at_s)
    assert passed(DatagramImpairer(faults, seed), 300, flows) == arrived


@each("burst", [0, 2, 5, 50])
@each("ratio", [0.02, 0.3])
def test_the_loss_is_the_stated_share_in_bursts_of_the_stated_length(ratio: float, burst: float) -> None:
    faults = LinkFaults(loss_ratio=ratio, loss_burst=burst)
    arrived = {number for _, number in passed(DatagramImpairer(faults, 1), MANY)}
    lost = [number not in arrived for number in range(MANY)]
    # In bursts, neighbours are alike: the variance of the share grows by (1 + r) / (1 - r), where r is the
    # correlation of neighbours in a chain of two states.
    stay = 1 - 1 / burst if burst else ratio
    enter = ratio / ((1 - ratio) * burst) if burst else ratio
    correlation = stay - enter
    error = math.sqrt(ratio * (1 - ratio) / MANY * (1 + correlation) / (1 - correlation))
    assert abs(sum(lost) / MANY - ratio) < 3 * error
    lengths = [len(list(run)) for is_lost, run in groupby(lost) if is_lost]
    mean = burst or 1 / (1 - ratio)
    # Lengths are geometric, with the variance mean * (mean - 1).
    assert abs(sum(lengths) / len(lengths) - mean) <= 3 * math.sqrt(mean * (mean - 1) / len(lengths)) + 0.1


def test_all_or_nothing_is_lost() -> None:
    assert not passed(DatagramImpairer(LinkFaults(loss_ratio=1.0), 1), 500)
    assert not passed(DatagramImpairer(LinkFaults(loss_ratio=1.0, loss_burst=5), 1), 500)
    assert len(passed(DatagramImpairer(LinkFaults(), 1), 500)) == 500


@each("faults", [LinkFaults(duplicate_ratio=0.05), LinkFaults(corrupt_ratio=0.05)])
def test_the_share_that_is_touched_is_the_stated_one(faults: LinkFaults) -> None:
    impairer = DatagramImpairer(faults, 1)
    passed(impairer, MANY)
    touched = impairer.counts.duplicated + impairer.counts.corrupted
    assert abs(touched / MANY - 0.05) < 3 * math.sqrt(0.05 * 0.95 / MANY)


@each("ratio", [0.02, 0.3, 0.5])
def test_the_stated_share_is_overtaken_by_the_next_one_as_the_receiver_counts_it(ratio: float) -> None:
    impairer = DatagramImpairer(LinkFaults(reorder_ratio=ratio), 1)
    order = [number for _, number in passed(impairer, MANY)]
    highest, late = -1, 0
    for number in order:
        late += number < highest
        highest = max(highest, number)
    assert late == impairer.counts.reordered
    assert abs(late / MANY - ratio) < 3 * math.sqrt(ratio * (1 - ratio) / MANY) + 1 / MANY
    assert max(abs(place - number) for place, number in enumerate(order)) <= 1


def test_what_nothing_overtakes_is_held_for_a_while_and_not_counted() -> None:
    impairer = DatagramImpairer(LinkFaults(reorder_ratio=0.5), 1)
    assert not impairer.admit(1.0, b"a")
    assert impairer.release_at_s == 1.0 + HOLD_S
    assert not impairer.release(1.0)
    assert impairer.release(1.0 + HOLD_S) == [(0, [(1.0, b"a")])]
    assert impairer.counts.reordered == 0


def test_a_datagram_is_overtaken_by_one_of_its_own_flow() -> None:
    impairer = DatagramImpairer(LinkFaults(reorder_ratio=0.5), 1)
    assert not impairer.admit(0.0, b"a", "one")
    assert not impairer.admit(0.0, b"b", "other")
    assert impairer.admit(0.01, b"c", "one") == [(0.01, b"c"), (0.01, b"a")]


def test_corruption_flips_one_bit() -> None:
    impairer = DatagramImpairer(LinkFaults(corrupt_ratio=1.0), 1)
    for _ in range(100):
        [(_, data)] = impairer.admit(0.0, bytes(20))
        assert len(data) == 20
        assert sum(octet.bit_count() for octet in data) == 1
    assert impairer.admit(0.0, b"") == [(0.0, b"")]
    assert with_bit_flipped(b"\x00\x00", 9) == b"\x00\x02"


def test_a_delay_without_jitter_is_exact() -> None:
    arrived = passed(DatagramImpairer(LinkFaults(delay_s=0.02), 1), 100)
    assert [due - number * GAP_S for due, number in arrived] == pytest.approx([0.02] * 100)


def test_jitter_spreads_the_delay_around_itself_and_never_below_zero() -> None:
    def delays(faults: LinkFaults) -> list[float]:
        return [due - number * GAP_S for due, number in passed(DatagramImpairer(faults, 1), MANY)]

    uniform = delays(LinkFaults(delay_s=0.02, jitter_s=0.01, jitter_shape="uniform"))
    assert 0.01 <= min(uniform) < 0.0105
    assert 0.0295 < max(uniform) <= 0.03 + 1e-9
    normal = delays(LinkFaults(delay_s=0.05, jitter_s=0.005))
    mean = sum(normal) / MANY
    deviation = math.sqrt(sum((one - mean) ** 2 for one in normal) / MANY)
    assert mean == pytest.approx(0.05, abs=3 * 0.005 / math.sqrt(MANY))
    assert deviation == pytest.approx(0.005, rel=3 / math.sqrt(2 * MANY))
    assert min(delays(LinkFaults(delay_s=0.001, jitter_s=0.05))) >= -1e-9


def test_the_rate_is_exact_over_any_second_and_what_would_wait_too_long_is_lost() -> None:
    rate, size = 50_000.0, 100
    impairer = DatagramImpairer(LinkFaults(rate_bytes_per_s=rate), 1)
    # Twice as much is offered as the line carries.
    came = [(now_s, impairer.admit(now_s, bytes(size))) for now_s in (k * 0.001 for k in range(5_000))]
    left = [due for _, copies in came for due, _ in copies]
    for begin_s in (0.0, 0.7, 2.34, 3.9):
        in_second = sum(size for due in left if begin_s < due <= begin_s + 1)
        assert in_second == pytest.approx(rate, rel=0.03)
    assert max(copies[0][0] - now_s for now_s, copies in came if copies) <= QUEUE_S + size / rate + 1e-9
    counts = impairer.counts
    assert counts.full == counts.lost == 5_000 - len(left) > 2_000


def test_other_faults_go_on_with_the_counts() -> None:
    impairer = DatagramImpairer(LinkFaults(loss_ratio=1.0), 1)
    assert not impairer.admit(0.0, b"a")
    impairer.turn(LinkFaults())
    assert impairer.admit(0.0, b"b") == [(0.0, b"b")]
    assert (impairer.counts.admitted, impairer.counts.lost) == (2, 1)
