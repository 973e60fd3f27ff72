"""The heat map on a screen."""

import pytest
from textual.geometry import Offset

from sockscope.faces.characters import to_ascii
from sockscope.faces.tui.widgets.heatmap import HeatMap, HeatSlice
from sockscope.faces.tui.widgets.plot import Marker
from tests.tui.widgets.screen import picture, staged


def power(number: int) -> float:
    return 2.0**number


def slices(counts: dict[int, int], beyond: int = 0, hatched: bool = False) -> list[HeatSlice]:
    """A slice per second from 0 to 30."""
    bins = sorted(counts)
    return [
        HeatSlice(float(second), second + 1.0, bins, [counts[bin] for bin in bins], beyond, hatched)
        for second in range(30)
    ]


async def test_density_tells_the_share_and_the_row_the_value() -> None:
    heat = HeatMap(bin_edge=power, beyond="no answer")
    async with staged(heat, 64, 20) as (_, pilot):
        # Bins of 1 to 2, 8 to 16 and 512 to 1,024: 90 %, 9.5 % and half a per cent.
        heat.show(slices({0: 900, 3: 95, 9: 5}), now=30.0, window=30.0)
        await pilot.pause()
        lines = picture(heat)
        assert lines[0].endswith("· below 1 %  ░ 1  ▒ 5  ▓ 20  █ from 50 %")
        rows = {sign: [y for y, line in enumerate(lines[1:-2], 1) if sign in line] for sign in "·░▒▓█"}
        assert rows["█"]
        assert (
            max(rows["·"])
            < min(rows["░"] + rows["▒"])
            <= max(rows["░"] + rows["▒"])
            < min(rows["▓"] + rows["█"])
        )
        assert lines[-1].split()[0] == "-30s"
        labels = [line.split("┤")[0].strip() for line in lines if "┤" in line]
        assert {"1", "10", "100"} <= set(labels)
        assert "×" not in "".join(lines)


async def test_what_has_no_value_is_above_all_others_and_left_out_times_are_hatched() -> None:
    heat = HeatMap(bin_edge=power, beyond="no answer", hatched="warm-up")
    async with staged(heat, 80, 12) as (_, pilot):
        shown = [*slices({0: 1}, hatched=True)[:10], *slices({0: 1}, beyond=1)[10:]]
        heat.show(shown, now=30.0, window=30.0, markers=[Marker(20.0, "stall")])
        await pilot.pause()
        lines = picture(heat)
        assert lines[0].endswith("× no answer  ╱ warm-up")
        plot = [line[8:] for line in lines[2:-2]]
        assert lines[1].count("×") > 40
        assert "×" not in lines[1][:20]
        assert "×" not in "".join(lines[2:])
        assert all("╱" in line for line in plot)
        assert "╱" not in "".join(line[len(line) // 2 :] for line in plot)
        assert any("┆" in line or "stall" in line for line in lines)
        # Told apart in a terminal that shows nothing but ASCII, too.
        assert len(set(to_ascii("·░▒▓█×╱"))) == 7


async def test_the_line_of_a_marker_does_not_run_through_the_label_of_another() -> None:
    heat = HeatMap(bin_edge=power)
    async with staged(heat, 64, 14) as (_, pilot):
        # One band of cells at the bottom, so that the rows above have room for labels.
        label = "server stalled for 1.00 s"
        markers = [Marker(28.0, label), *(Marker(float(at), "") for at in range(14, 27, 2))]
        heat.show(slices({0: 900, 9: 1})[:10], now=30.0, window=30.0, markers=markers)
        await pilot.pause()
        assert sum(label in line for line in picture(heat)) == 1


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (10, 5), (12, 6), (200, 60)])
async def test_every_size_draws(size: tuple[int, int]) -> None:
    heat = HeatMap(bin_edge=power)
    async with staged(heat, *size) as (_, pilot):
        for counts in ({}, {0: 1}, {-30: 1, 40: 10**9}):
            heat.show(slices(counts, beyond=2), now=30.0, window=25.0, cursor=12.0,
                      markers=[Marker(5.0, "\x1b[31m[red]x")])  # fmt: skip
            await pilot.pause()
            assert len(picture(heat)) == size[1]


async def test_the_picture_keeps_its_columns_while_it_moves_and_a_click_tells_the_time() -> None:
    heat = HeatMap(bin_edge=power)
    async with staged(heat, 60, 12) as (stage, pilot):
        data = [HeatSlice(n / 5, (n + 1) / 5, [n % 4], [1]) for n in range(200)]
        cells = []
        for now in (30.0, 31.0):
            heat.show(data[: int(now * 5)], now=now, window=30.0)
            await pilot.pause()
            cells.append([line[5:-1] for line in picture(heat)[1:8]])
        shift = next(
            n for n in range(1, 4) if all(a[n + 3 : 50] == b[3 : 50 - n] for a, b in zip(*cells, strict=True))
        )
        assert shift in (1, 2)
        await pilot.click(HeatMap, offset=Offset(59, 4))
        [clicked] = stage.posted_of(HeatMap.Clicked)
        assert clicked.time == pytest.approx(31.0, abs=1.0)


async def test_what_is_kept_of_the_picture_before_is_what_would_be_drawn_anew() -> None:
    data = [
        HeatSlice(n / 5, (n + 1) / 5, [n % 7, n % 7 + 2], [1, n % 3 + 1], int(n % 11 == 0))
        for n in range(900)
    ]
    pictures = []
    for moments in (range(60, 181), (180,)):
        heat = HeatMap(bin_edge=power)
        async with staged(heat, 50, 14) as (_, pilot):
            for now in moments:
                heat.show([one for one in data if now - 62 < one.begin < now], now=float(now), window=60.0)
            await pilot.pause()
            pictures.append([line[5:] for line in picture(heat)])  # the first column loses slices one by one
            heat.show([HeatSlice(180.0, 181.0, [1], [1])], now=181.0, window=60.0)
            await pilot.pause()
            assert all(set(line[8:40]) <= set(" ─┬") for line in picture(heat)[1:-1]), "figures began anew"
    assert pictures[0] == pictures[1]
