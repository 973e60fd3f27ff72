"""The table on a screen."""

from collections.abc import Hashable, Sequence
from typing import overload

import pytest
from textual import events
from textual.strip import Strip

from sockscope.faces.tui.widgets.table import Column, Row, Table
from tests.tui.widgets.screen import picture, staged, watch_refresh

COLUMNS = [
    Column("id", "id", 4, "right", priority=9),
    Column("remote", "remote", 10, flexible=True, priority=8),
    Column("state", "state", 6, priority=2),
    Column("requests", "requests", 8, "right", priority=5),
]


def row(number: int, *, requests: str = "10", style: str = "") -> Row:
    return Row(number, (str(number), f"127.0.0.1:{number}", "open", requests), style)


def rows(first: int, last: int) -> list[Row]:
    return [row(number) for number in range(first, last)]


def ids(table: Table) -> list[int]:
    return [int(line.split()[0]) for line in picture(table)[1:] if line.strip()]


def under_cursor(table: Table) -> Hashable:
    return table.cursor_key


def background(strip: Strip) -> object:
    return next(segment.style.bgcolor for segment in strip if segment.style)


class Lazy(Sequence[Row]):
    """Rows made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.asked: set[int] = set()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        assert isinstance(index, int), "a table asks for single rows"
        self.asked.add(index)
        return row(index)


async def test_header_rows_and_alignment() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 6) as (_, pilot):
        table.show([row(1), row(20, requests="1,234,567,890")])
        await pilot.pause()
        lines = picture(table)
        assert lines[0].split() == ["id", "remote", "state", "requests"]
        assert lines[1].endswith("           10")
        assert lines[2].endswith("1,234,567,890")
        assert lines[0].endswith("     requests")
        assert table.hidden_columns == ()


async def test_columns_go_by_priority_and_figures_stay_whole() -> None:
    table = Table(COLUMNS)
    async with staged(table, 30, 6) as (_, pilot):
        table.show([row(1)])
        await pilot.pause()
        assert picture(table)[0].split() == ["id", "remote", "requests"]
        assert table.hidden_columns == ("state",)
        table.show([row(1, requests="123,456,789,012,345")])
        await pilot.pause()
        assert picture(table)[0].split() == ["id", "remote"]
        await pilot.resize_terminal(20, 4)
        await pilot.pause()
        assert picture(table)[1] == "   1  127.0.0.1:1   "


async def test_hostile_text_is_only_text() -> None:
    table = Table([Column("a", "\x1b[31ma", 4), *COLUMNS[1:]])
    async with staged(table, 60, 5) as (_, pilot):
        table.show([Row(1, ("[red]x[/]", "\x1b]0;t\x07日本\u202e🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂", "\n", "\x00"))])
        await pilot.pause()
        lines = picture(table)
        assert "␛[31ma" in lines[0]
        assert "[red]…" in lines[1]
        assert "␛]0;t␇日本·🙂" in lines[1]


async def test_rows_may_have_too_few_cells_and_unknown_styles() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 5) as (_, pilot):
        table.show([Row("key", ("1",), "no such style"), Row(("a", 1), ())])
        await pilot.pause()
        assert picture(table)[1].split() == ["1"]


async def test_empty_and_emptied() -> None:
    table = Table(COLUMNS, empty_text="press [b]c[/b] to connect")
    async with staged(table, 60, 7) as (stage, pilot):
        assert any("press [b]c[/b] to connect" in line for line in picture(table))
        await pilot.press("down", "up", "enter", "end", "home")
        assert table.cursor_key is None
        table.show(rows(0, 50))
        await pilot.press("end")
        table.show([])
        await pilot.pause()
        assert table.cursor_key is None
        assert any("to connect" in line for line in picture(table))
        assert stage.posted_of(Table.RowSelected) == []


async def test_the_cursor_moves_by_keys_and_says_so() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 11) as (stage, pilot):
        table.focus()
        table.show(rows(0, 100))
        await pilot.press("down", "down", "enter")
        assert under_cursor(table) == 2
        await pilot.press("pagedown")
        assert under_cursor(table) == 11
        assert ids(table)[-1] == 11
        await pilot.press("end")
        assert under_cursor(table) == 99
        assert ids(table)[-1] == 99
        await pilot.press("pageup", "home")
        assert under_cursor(table) == 0
        assert ids(table)[0] == 0
        assert [message.key for message in stage.posted_of(Table.RowSelected)] == [2]
        assert [message.key for message in stage.posted_of(Table.RowHighlighted)] == [0, 1, 2, 11, 99, 90, 0]
        assert stage.posted_of(Table.FollowChanged) == []


async def test_mouse_selects_rows_and_titles() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 11) as (stage, pilot):
        table.show(rows(0, 100))
        await pilot.pause()
        await pilot.click(Table, offset=(10, 4))
        await pilot.click(Table, offset=(3, 0))
        await pilot.click(Table, offset=(55, 0))
        await pilot.pause()
        assert under_cursor(table) == 3
        assert [message.key for message in stage.posted_of(Table.RowSelected)] == [3]
        assert [message.column_key for message in stage.posted_of(Table.HeaderSelected)] == ["id", "requests"]


async def test_the_arrow_of_sorting() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 5) as (_, pilot):
        table.sort_key = "requests"
        await pilot.pause()
        assert picture(table)[0].endswith("requests ▲")
        table.sort_reverse = True
        await pilot.pause()
        assert picture(table)[0].endswith("requests ▼")


async def test_the_cursor_stays_on_its_key() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 11) as (_, pilot):
        table.focus()
        table.show(rows(0, 8))
        await pilot.press("down", "down", "down")
        table.show(list(reversed(rows(0, 8))))
        assert (table.cursor_key, table.cursor_row) == (3, 4)
        table.show(rows(2, 8))
        assert (table.cursor_key, table.cursor_row) == (3, 1)
        table.show(rows(5, 8))
        assert (table.cursor_key, table.cursor_row) == (6, 1)
        assert table.move_to(7)
        assert not table.move_to("no such key")
        assert under_cursor(table) == 7


async def test_a_cursor_that_was_never_used_stays_at_its_place_until_its_row_is_selected() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 11) as (_, pilot):
        table.focus()
        table.show(rows(0, 8))
        table.show(rows(2, 8))
        assert (table.cursor_key, table.cursor_row) == (2, 0)
        await pilot.press("enter")
        table.show(list(reversed(rows(2, 8))))
        assert (table.cursor_key, table.cursor_row) == (2, 5)


async def test_a_ring_moves_under_a_still_view() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 11) as (_, pilot):
        table.show(rows(0, 100))
        await pilot.pause()
        table.scroll_to(y=50, animate=False)
        await pilot.pause()
        assert ids(table) == list(range(50, 60))
        table.show(rows(7, 107))
        await pilot.pause()
        assert ids(table) == list(range(50, 60))
        table.show(rows(55, 155))
        await pilot.pause()
        assert ids(table) == list(range(55, 65)), "what was evicted is gone, the rest stays in sight"
        table.show(rows(500, 600))
        await pilot.pause()
        assert len(ids(table)) == 10


async def test_following_the_tail() -> None:
    table = Table(COLUMNS, follow=True)
    async with staged(table, 60, 11) as (stage, pilot):
        table.focus()
        for last in (5, 50, 100):
            table.show(rows(0, last))
            await pilot.pause()
            assert ids(table)[-1] == last - 1 == table.cursor_key
        await pilot.press("up")
        table.show(rows(0, 120))
        await pilot.pause()
        assert under_cursor(table) == 98
        assert ids(table)[-1] == 99
        await pilot.press("end")
        assert ids(table)[-1] == 119 == table.cursor_key
        table.show(rows(20, 140))
        await pilot.pause()
        assert ids(table)[-1] == 139
        assert [message.follow for message in stage.posted_of(Table.FollowChanged)] == [False, True]


async def test_the_wheel_stops_following() -> None:
    table = Table(COLUMNS, follow=True)
    async with staged(table, 60, 11) as (stage, pilot):
        table.show(rows(0, 100))
        await pilot.pause()
        table.post_message(events.MouseScrollUp(table, 5, 5, 0, 0, 0, False, False, False))
        await pilot.pause()
        shown = ids(table)
        table.show(rows(0, 130))
        await pilot.pause()
        assert ids(table) == shown
        assert [message.follow for message in stage.posted_of(Table.FollowChanged)] == [False]
        table.follow = True
        await pilot.pause()
        assert ids(table)[-1] == 129


async def test_only_rows_in_view_are_asked_for() -> None:
    table = Table(COLUMNS, follow=True)
    async with staged(table, 60, 11) as (_, pilot):
        lazy = Lazy(10_000)
        table.show(lazy)
        await pilot.pause()
        assert len(lazy.asked) <= 12
        assert ids(table)[-1] == 9_999


async def test_only_lines_that_changed_are_repainted(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 11) as (_, pilot):
        table.show(rows(0, 100))
        await pilot.pause()
        asked = watch_refresh(table, monkeypatch)
        table.show(rows(0, 100))
        assert asked == []
        changed = rows(0, 100)
        changed[3] = row(3, requests="11")
        changed[90] = row(90, requests="11")
        table.show(changed)
        assert [region.y for region in asked] == [4]


async def test_the_cursor_is_dimmer_without_focus() -> None:
    table = Table(COLUMNS)
    async with staged(table, 60, 5) as (stage, pilot):
        table.show([row(1, style="error"), row(2, style="error")])
        stage.set_focus(table)
        await pilot.pause()
        focused = background(table.render_line(1))
        stage.set_focus(None)
        await pilot.pause()
        blurred = background(table.render_line(1))
        ordinary = background(table.render_line(2))
        assert len({focused, blurred, ordinary}) == 3


@pytest.mark.parametrize("size", [(20, 4), (1, 1), (3, 2), (200, 40)])
async def test_every_size_draws(size: tuple[int, int]) -> None:
    table = Table(COLUMNS)
    async with staged(table, *size) as (_, pilot):
        table.focus()
        table.show(rows(0, 1_000))
        await pilot.press("end", "up", "home", "down")
        assert len(picture(table)) == size[1]
