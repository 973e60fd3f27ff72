"""Which columns fit."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sockscope.faces.tui.widgets.columns import Column, fit, lay_out
from sockscope.faces.tui.widgets.plain import plain

columns = st.lists(
    st.builds(
        Column,
        key=st.just("key"),
        title=st.text("abc日", max_size=6),
        width=st.integers(1, 12),
        align=st.sampled_from(["left", "right"]),
        flexible=st.booleans(),
        priority=st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)


@given(columns, st.integers(0, 90), st.data())
def test_slots_fit_do_not_overlap_and_use_the_width(
    found: list[Column], width: int, data: st.DataObject
) -> None:
    needed = data.draw(st.lists(st.integers(0, 15), min_size=len(found), max_size=len(found)))
    slots = lay_out(found, needed, width)
    assert bool(slots) == (width > 0)
    for before, after in pairwise(slots):
        assert before.start + before.width + 2 == after.start
        assert before.index < after.index
    assert all(slot.start + slot.width <= width for slot in slots)
    if len(slots) > 1:
        figures = [slot for slot in slots if not found[slot.index].flexible]
        assert all(slot.width >= min(found[slot.index].width, needed[slot.index]) for slot in slots)
        assert all(slot.width >= max(found[slot.index].width, needed[slot.index]) for slot in figures)
    if any(found[slot.index].flexible for slot in slots):
        assert slots[-1].start + slots[-1].width == width
    kept = {slot.index for slot in slots}
    lost = set(range(len(found))) - kept
    assert all(found[one].priority <= found[other].priority for one in lost for other in kept)


def test_what_a_flexible_column_does_not_need_goes_to_those_that_do() -> None:
    found = [Column("peer", "peer", 10, flexible=True), Column("text", "text", 10, flexible=True)]
    assert [slot.width for slot in lay_out(found, [0, 40], 62)] == [4, 56]
    assert [slot.width for slot in lay_out(found, [0, 90], 62)] == [4, 56]
    assert [slot.width for slot in lay_out(found, [12, 90], 62)] == [12, 48]
    assert [slot.width for slot in lay_out(found, [90, 90], 62)] == [30, 30]
    assert [slot.width for slot in lay_out(found, [0, 0], 62)] == [10, 50]


@given(st.text(st.characters()), st.integers(0, 20), st.sampled_from(["left", "right"]))
def test_a_cell_has_exactly_its_width(text: str, width: int, align: str) -> None:
    assert cell_len(fit(plain(text), width, align)) == width


def test_a_figure_is_whole_or_not_there() -> None:
    assert fit("10,110", 6, "right") == "10,110"
    assert fit("10,110", 5, "right") == "    …"
    assert fit("127.0.0.1", 6, "left") == "127.0…"
