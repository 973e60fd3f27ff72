from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.wire.sequence import SEQUENCE_BYTES, WINDOW, SequenceTracker, number_of


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
    assert tracker.highest == max(seen, default=0)
    assert tracker.missing == max(seen, default=0) - len(seen)
    assert (tracker.duplicated, tracker.reordered, tracker.lost) == (duplicated, reordered, 0)
    missing = tracker.missing
    tracker.give_up()
    assert (tracker.lost, tracker.missing) == (missing, 0)


NUMBERS = st.integers(0, 2**64 - 1) | st.integers(1, 3 * WINDOW)


@given(st.lists(NUMBERS | st.none(), max_size=40))
def test_whatever_arrives_no_figure_is_negative_or_goes_back(numbers: list[int | None]) -> None:
    tracker = SequenceTracker()
    before = (0, 0, 0, 0)
    for number in numbers:
        if number is None:
            tracker.settle()
        else:
            tracker.arrived(number)
        now = (tracker.lost, tracker.duplicated, tracker.reordered, tracker.jumps)
        assert all(earlier <= later for earlier, later in zip(before, now, strict=True))
        assert 0 <= tracker.missing <= WINDOW
        before = now


@given(st.lists(st.integers(WINDOW + 10, 2**64 - 1), min_size=1, max_size=50))
def test_forged_numbers_lose_nothing_and_the_stream_goes_on(forged: list[int]) -> None:
    tracker = SequenceTracker()
    number = 0
    for far in forged:
        for _ in range(3):
            number += 1
            tracker.arrived(number)
        tracker.arrived(number + far)
    for ahead in (1, 2, 4):
        tracker.arrived(number + ahead)
    tracker.give_up()
    assert (tracker.lost, tracker.duplicated, tracker.reordered) == (1, 0, 0)
    assert tracker.jumps == 2 * len(forged)


@given(st.lists(st.integers(2**32, 2**64 - 1), min_size=2, max_size=30))
def test_a_peer_that_does_not_number_loses_nothing_and_repeats_nothing(numbers: list[int]) -> None:
    tracker = SequenceTracker()
    for number in [number for number in numbers if number + 1 not in numbers]:
        assert tracker.arrived(number)
        assert tracker.arrived(number)
        assert tracker.arrived(0)
        assert (tracker.missing, tracker.lost, tracker.duplicated, tracker.reordered) == (0, 0, 0, 0)


def test_what_stays_missing_is_lost_at_the_second_look() -> None:
    tracker = SequenceTracker()
    tracker.arrived(1)
    tracker.arrived(4)
    tracker.settle()
    assert (tracker.lost, tracker.missing) == (0, 2)
    assert tracker.arrived(2)
    tracker.settle()
    assert (tracker.lost, tracker.missing, tracker.reordered) == (1, 0, 1)
    # It is no duplicate when it comes after all, and what was said stays said.
    assert tracker.arrived(3)
    assert (tracker.lost, tracker.reordered, tracker.duplicated) == (1, 2, 0)


def test_only_the_newest_missing_numbers_are_remembered() -> None:
    tracker = SequenceTracker()
    tracker.arrived(WINDOW)
    tracker.arrived(WINDOW * 2)
    assert tracker.lost + tracker.missing == WINDOW * 2 - 2
    assert tracker.missing == WINDOW
    assert tracker.arrived(WINDOW * 2 - 1)
    assert tracker.arrived(WINDOW + 1), "not forgotten"
    assert not tracker.arrived(WINDOW + 1)


def test_a_stream_can_be_taken_up_again() -> None:
    tracker = SequenceTracker(after=41)
    assert tracker.arrived(42)
    assert tracker.arrived(44)
    assert (tracker.missing, tracker.highest) == (1, 44)


def test_a_datagram_too_short_for_a_number_has_none() -> None:
    assert number_of(b"1234567") == 0
    assert number_of((77).to_bytes(SEQUENCE_BYTES, "big") + b"rest") == 77
