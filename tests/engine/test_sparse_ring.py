"""A ring that knows of what it never got."""

from hypothesis import given
from hypothesis import strategies as st

from sockscope.engine.placement.sparse_ring import SparseRing

PAGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=20)


@given(PAGES, st.integers(0, 100), st.integers(1, 12), st.one_of(st.none(), st.integers(0, 10)))
def test_every_item_has_its_number(
    pages: list[tuple[int, int]], first: int, capacity: int, most: int | None
) -> None:
    ring: SparseRing[int] = SparseRing(capacity, first)
    stored: list[int] = []
    number = first
    for missed, amount in pages:
        number += missed
        page = list(range(number, number + amount))
        ring.extend(page, missed)
        stored += page
        number += amount
    kept = stored[-capacity:]
    assert ring.count == number
    for wanted in range(first, number + 2):
        assert ring.get(wanted) == (wanted if wanted in kept else None)
    for cursor in (first, (first + number) // 2, number):
        found = ring.since(cursor, most)
        later = [item for item in kept if item >= cursor]
        expected = later if most is None else later[len(later) - min(most, len(later)) :]
        assert found.items == [(item, item) for item in expected]
        assert found.cursor == number
        assert found.missed == number - cursor - len(expected)


def test_a_reader_gets_every_item_once() -> None:
    ring: SparseRing[str] = SparseRing(100)
    read: list[str] = []
    cursor = 0
    for page in (["a", "b"], [], ["c"], ["d", "e", "f"]):
        ring.extend(page)
        found = ring.since(cursor)
        read += [item for _, item in found.items]
        cursor = found.cursor
    assert "".join(read) == "abcdef"
