"""The map of cells on a screen, and how its cells lie."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.strip import Strip

from sockscope.faces.tui.widgets.cell_map import CellMap, in_proportion, layout_of
from tests.tui.widgets.screen import picture, staged, watch_refresh

GLYPHS = "○█✗"


@given(st.integers(1, 9_000), st.integers(1, 200), st.integers(1, 60))
def test_all_cells_fit_and_hold_everything(count: int, width: int, height: int) -> None:
    layout = layout_of(count, width, height)
    assert layout.columns * layout.width <= width
    cells = -(-count // layout.each)
    assert -(-cells // layout.columns) * layout.height <= height
    assert (layout.each > 1) == (count > width * height)


@given(st.lists(st.integers(0, 5), min_size=8, max_size=200), st.integers(6, 8))
def test_shares_are_in_order_and_leave_no_kind_out(kinds: list[int], cells: int) -> None:
    shares = in_proportion(bytes(kinds), cells)
    assert len(shares) == cells
    assert list(shares) == sorted(shares)
    assert set(shares) == set(kinds)


async def test_each_thing_is_a_cell_of_its_character() -> None:
    cells = CellMap(GLYPHS)
    async with staged(cells, 60, 8) as (_, pilot):
        cells.show(bytes([0, 1, 2] * 30))
        await pilot.pause()
        layout = cells.layout_now
        filled = (layout.width - (layout.width >= 3)) * (layout.height - (layout.height >= 3))
        assert filled > 1
        counts = Counter("".join(picture(cells)))
        assert [counts[glyph] for glyph in GLYPHS] == [30 * filled] * 3


async def test_few_things_are_large_and_too_many_are_shared_out() -> None:
    cells = CellMap(GLYPHS, empty_text="nothing yet")
    async with staged(cells, 40, 10) as (stage, pilot):
        assert "nothing yet" in "".join(picture(cells))
        cells.show(bytes([0] * 10))
        assert cells.layout_now.height > 1
        for kinds in (bytes([0, 1, 2]), bytes([0] * 80 + [2] * 80), bytes([0, 1, 2] * 80)):
            cells.show(kinds)
            for line in cells.render_lines(cells.size.region):
                assert line.render(stage.console) == Strip(line).render(stage.console), "as Textual writes it"
        cells.show(bytes([0] * 8_999 + [1]))
        await pilot.pause()
        assert cells.layout_now.each == 23
        assert Counter("".join(picture(cells)))["█"] == 1, "the only one of its kind is seen"


async def test_only_rows_that_changed_are_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = CellMap(GLYPHS)
    async with staged(cells, 20, 10):
        cells.show(bytes(100))
        asked = watch_refresh(cells, monkeypatch)
        cells.show(bytes(100))
        assert not asked
        cells.show(bytes(99) + b"\1")
        (region,) = asked
        assert region.height == cells.layout_now.height


async def test_the_mouse_and_the_arrows_point_at_a_thing() -> None:
    cells = CellMap(GLYPHS)
    async with staged(cells, 40, 4) as (stage, pilot):
        cells.show(bytes(40))
        cells.focus()
        await pilot.press("right", "right", "down", "left")
        columns = cells.layout_now.columns
        assert cells.pointed == columns
        layout = cells.layout_now
        await pilot.hover(CellMap, offset=(2 * layout.width, 0))
        assert cells.pointed == 2
        assert [message.place for message in stage.posted_of(CellMap.Pointed)][-1] == 2
        cells.show(b"\0")
        assert cells.pointed is None
