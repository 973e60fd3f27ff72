from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.wire.sequence import LARGEST_JUMP, SEQUENCE_BYTES, WINDOW, SequenceTracker, number_of


@given(st.lists(st.integers(1, 60), max_size=80))
def test_the_counts_are_those_of_a_model_that_remembers_everything(numbers: list[int]) -> None:
    tracker = SequenceTracker()
    seen: set[int] = set()
    duplicated = reordered = 0
    for number in numbers:
        is_new = number not in seen
        duplicated += not is_new
        reordered += is_new and bool(seen) and number < max(seen)
        seen.add(number)
        assert tracker.arrived(number) is is_new
    assert tracker.numbered
    assert tracker.highest == max(seen, default=0)
    assert tracker.unique == len(seen)
    assert tracker.missing == max(seen, default=0) - len(seen)
    assert (tracker.duplicated, tracker.reordered) == (duplicated, reordered)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_whatever_arrives_no_figure_is_negative(before: list[int], after: list[int]) -> None:
    tracker = SequenceTracker()
    for number in [*before, LARGEST_JUMP + max(before, default=0) + 2, *after]:
        tracker.arrived(number)
        assert min(tracker.missing, tracker.duplicated, tracker.reordered, tracker.unique) >= 0


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(1, 5), max_size=30))
def test_a_peer_that_does_not_number_is_not_said_to_lose_anything(numbers: list[int]) -> None:
    tracker = SequenceTracker()
    tracker.arrived(1)
    tracker.arrived(4)
    assert tracker.missing == 2
    for number in [2**63, *numbers]:
        assert tracker.arrived(number)
        assert not tracker.numbered
        assert (tracker.missing, tracker.duplicated, tracker.reordered) == (0, 0, 0)


def test_only_the_newest_missing_numbers_are_remembered() -> None:
    tracker = SequenceTracker()
    tracker.arrived(WINDOW * 3)
    assert tracker.missing == WINDOW * 3 - 1
    assert tracker.arrived(WINDOW * 3 - 1)
    assert tracker.reordered == 1
    assert not tracker.arrived(1)
    assert tracker.duplicated == 1


def test_a_stream_can_be_taken_up_again() -> None:
    tracker = SequenceTracker(after=41)
    assert tracker.arrived(42)
    assert tracker.arrived(44)
    assert (tracker.missing, tracker.highest) == (1, 44)


def test_a_datagram_too_short_for_a_number_has_none() -> None:
    assert number_of(b"1234567") == 0
    assert number_of((77).to_bytes(SEQUENCE_BYTES, "big") + b"rest") == 77
