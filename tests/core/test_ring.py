from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.ring import Ring

BATCHES = st.lists(st.lists(st.integers(), max_size=7), max_size=8)


@given(st.integers(0, 10), BATCHES, st.integers(0, 60), st.none() | st.integers(0, 12))
def test_a_ring_is_the_end_of_the_whole_story(
    capacity: int, batches: list[list[int]], cursor: int, most: int | None
) -> None:
    ring: Ring[int] = Ring(capacity)
    story: list[int] = []
    for batch in batches:
        if len(batch) == 1:
            assert ring.append(batch[0]) == len(story)
        else:
            ring.extend(batch)
        story += batch
    kept = story[-capacity:] if capacity else []
    oldest = len(story) - len(kept)

    assert (ring.count, ring.oldest) == (len(story), oldest)
    assert ring.newest_first() == kept[::-1]
    for number in range(-1, len(story) + 2):
        expected = story[number] if oldest <= number < len(story) else None
        assert ring.get(number) == expected

    page = ring.since(cursor, most)
    wanted = story[max(cursor, oldest) :]
    if most is not None:
        wanted = wanted[len(wanted) - min(most, len(wanted)) :]
    assert page.items == wanted
    assert page.missed == max(0, len(story) - cursor) - len(wanted)
    assert page.cursor == len(story)


@given(st.integers(1, 8), BATCHES, BATCHES)
def test_reading_with_a_cursor_gets_each_item_once_or_counts_it_as_missed(
    capacity: int, first: list[list[int]], then: list[list[int]]
) -> None:
    ring: Ring[int] = Ring(capacity)
    seen = missed = cursor = 0
    for batch in first + then:
        ring.extend(batch)
        page = ring.since(cursor)
        seen, missed, cursor = seen + len(page.items), missed + page.missed, page.cursor
    assert seen + missed == ring.count
    assert ring.since(cursor).items == []


def test_a_copy_keeps_what_the_ring_lets_go() -> None:
    ring: Ring[str] = Ring(2)
    ring.extend("ab")
    copy = ring.copy()
    ring.extend("cd")
    assert [copy.get(0), copy.get(1), copy.count] == ["a", "b", 2]
    assert [ring.get(0), ring.get(2), ring.count] == [None, "c", 4]
