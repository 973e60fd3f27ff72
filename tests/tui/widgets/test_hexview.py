"""The hex view on a screen."""

import pytest

from sockscope.faces.tui.widgets.hexview import HexPane, HexView
from tests.tui.widgets.screen import picture, staged

SENT = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_one_pane() -> None:
    view = HexView()
    async with staged(view, 80, 8) as (_, pilot):
        view.show([HexPane("written", SENT, len(SENT), boundaries=(0, 16, 999, -1), note="2 writes")])
        await pilot.pause()
        lines = [line.rstrip() for line in picture(view)]
        assert lines[:4] == [
            "written",
            "27 B  2 writes",
            "0000 │47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  GET / HTTP/1.1··",
            "0010 │48 6f 73 74 3a 20 61 0d  0a 0d 0a                 Host: a····",
        ]


async def test_two_panes_stand_beside_each_other_where_they_can() -> None:
    view = HexView()
    async with staged(view, 160, 12) as (_, pilot):
        other = SENT.replace(b"Host", b"Most")
        view.show([HexPane("written", SENT, len(SENT)), HexPane("read", other, 4096)])
        await pilot.pause()
        lines = picture(view)
        assert view.is_side_by_side
        assert lines[0].split() == ["written", "read"]
        assert "27 B" in lines[1]
        assert "first 27 of 4,096 B kept" in lines[1]
        assert lines[2].count("GET / HTTP/1.1··") == 2
        different = [
            segment.text for segment in view.render_line(3) if segment.style and segment.style.underline
        ]
        assert different == ["48", "H", "4d", "M"]
        await pilot.resize_terminal(60, 12)
        await pilot.pause()
        lines = picture(view)
        assert [view.is_side_by_side] == [False]
        assert lines[0].strip() == "written"
        assert any(line.strip() == "read" for line in lines)


async def test_nothing_raw_reaches_the_screen() -> None:
    view = HexView(empty_text="select [b]an[/b] exchange\x1b")
    async with staged(view, 60, 30) as (_, pilot):
        assert any("select [b]an[/b] exchange␛" in line for line in picture(view))
        view.show([HexPane("\x1b[31m[red]t[/]", bytes(range(256)), 256, note="\u202en\n")])
        await pilot.pause()
        lines = picture(view)
        assert lines[0].strip() == "␛[31m[red]t[/]"
        assert lines[1].strip() == "256 B  ·n␊"


@pytest.mark.parametrize("size", [(20, 4), (200, 40), (1, 1), (7, 3), (40, 10)])
async def test_every_size_draws(size: tuple[int, int]) -> None:
    view = HexView()
    async with staged(view, *size) as (_, pilot):
        panes = [HexPane("written", SENT * 40, 9_999, (3, 5)), HexPane("read", b"", 0)]
        for count in (0, 1, 2):
            view.show(panes[:count])
            await pilot.pause()
            assert len(picture(view)) == size[1]


async def test_it_scrolls_and_starts_over_with_other_bytes() -> None:
    view = HexView()
    async with staged(view, 80, 10) as (_, pilot):
        view.focus()
        view.show([HexPane("a", bytes(65_536 * 2), 65_536 * 2)])
        await pilot.pause()
        view.scroll_to(y=8_192 + 2, animate=False)
        await pilot.pause()
        assert picture(view)[-1].startswith("1fff0 ")
        view.show([HexPane("b", SENT, len(SENT))])
        await pilot.pause()
        assert picture(view)[0].startswith("b ")
        view.show([HexPane("b", b"", 0)])
        await pilot.pause()
        assert picture(view)[2].strip() == "no bytes"
