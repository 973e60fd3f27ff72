"""The graph on a screen."""

import re
from math import inf, nan, sin

import pytest
from textual.geometry import Region

from sockscope.faces.tui.widgets.graph import Graph, Marker, Series, gutter_of_labels
from tests.tui.widgets.screen import picture, staged, watch_refresh

TIMES = [float(second) for second in range(71, 101)]
HOSTILE = "\x1b[31m[red]x[/]\u202e日本\n\x00"


def braille(lines: list[str]) -> bool:
    return any("\u2800" < character <= "\u28ff" for line in lines for character in line)


async def test_axes_legend_marker_and_limit() -> None:
    graph = Graph("Throughput", unit="req/s")
    async with staged(graph, 100, 20) as (_, pilot):
        values = [4_000.0] * 15 + [9_914.0] * 15
        graph.show(
            [Series("TCP", TIMES, values), Series("UDP", TIMES, [2_000.0] * 30)],
            now=100.0,
            markers=[Marker(85.0, "permits 20→50")],
            limit=Series("most", [80.0], [8_000.0]),
        )
        await pilot.pause()
        lines = picture(graph)
        assert lines[0].startswith("Throughput  req/s ")
        assert lines[0].endswith("⠤⠤⠤⠤ TCP 9.9k   ⠄⠄⠄⠄ UDP   2k")
        assert lines[1].startswith("10k┤")
        assert "permits 20→50" in lines[2] or "permits 20→50" in lines[1]
        assert lines[17].startswith("  0┤")
        assert lines[18].startswith("   └")
        assert lines[19].split() == ["-30s", "-25s", "-20s", "-15s", "-10s", "-5s", "now"]
        assert any("╌ most ╌" in line or "╌most╌" in line for line in lines)
        assert sum("┆" in line for line in lines) > 10


@pytest.mark.parametrize(
    "size", [(20, 4), (20, 5), (40, 9), (200, 40), (5, 3), (3, 2), (1, 1), (80, 1), (80, 2)]
)
async def test_every_size_draws(size: tuple[int, int]) -> None:
    graph = Graph("Latency", unit="ms")
    async with staged(graph, *size) as (_, pilot):
        series = [Series(f"series {n}", TIMES, [n + 1.5 + sin(t) for t in TIMES]) for n in range(6)]
        markers = [Marker(72.0 + n, f"clients {n}→{n + 1}") for n in range(30)]
        for cursor in (None, 80.0, 50.0, 200.0):
            graph.show(series, now=100.0, markers=markers, limit=Series("limit", [90.0], [3.0]))
            graph.cursor = cursor
            await pilot.pause()
            lines = picture(graph)
        assert len(lines) == size[1]


async def test_small_heights_have_no_axes_but_curves() -> None:
    graph = Graph()
    async with staged(graph, 20, 4) as (_, pilot):
        graph.show([Series("a", TIMES, TIMES)], now=100.0)
        await pilot.pause()
        lines = picture(graph)
        assert lines[0].rstrip().endswith("100")
        assert braille(lines[1:])
        assert not any(character in "".join(lines) for character in "│┤└")


async def test_one_row_is_a_spark_with_its_value() -> None:
    graph = Graph("CPU")
    async with staged(graph, 40, 1) as (_, pilot):
        graph.show([Series("a", TIMES, TIMES)], now=100.0)
        await pilot.pause()
        (line,) = picture(graph)
        assert line.startswith("CPU ")
        assert line.endswith("█    100")


AWKWARD = {
    "nothing": [],
    "empty": [Series("a", [], [])],
    "only nan": [Series("a", TIMES, [nan] * 30)],
    "zero": [Series("a", TIMES, [0.0] * 30)],
    "negative": [Series("a", TIMES, [-5.0] * 30)],
    "huge": [Series("a", TIMES, [1e308] * 30), Series("b", TIMES, [-1e308] * 30)],
    "tiny": [Series("a", TIMES, [5e-324] * 30)],
    "infinite": [Series("a", TIMES, [inf, -inf, nan] * 10)],
    "identical times": [Series("a", [90.0] * 30, TIMES)],
    "unequal lengths": [Series("a", TIMES, [1.0]), Series("b", [99.0], [1.0, 2.0])],
    "all old": [Series("a", [1.0, 2.0], [3.0, 4.0])],
    "all ahead": [Series("a", [101.0, 102.0], [3.0, 4.0])],
    "hostile": [Series(HOSTILE, TIMES, TIMES)],
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("height", [12, 1])
async def test_awkward_data(name: str, height: int) -> None:
    graph = Graph(HOSTILE, unit=HOSTILE)
    async with staged(graph, 60, height) as (_, pilot):
        graph.show(
            AWKWARD[name], now=100.0, markers=[Marker(90.0, HOSTILE)], limit=Series(HOSTILE, [90.0], [1e9])
        )
        await pilot.pause()
        assert "\x1b" not in "".join(picture(graph))


async def test_empty_says_what_will_come() -> None:
    graph = Graph("Latency", empty_text="press \x1b[1menter to start [b]the[/b] run")
    async with staged(graph, 60, 9) as (_, pilot):
        assert picture(graph)[4].strip() == "press ␛[1menter to start [b]the[/b] run"
        graph.empty_text = "nothing"
        await pilot.pause()
        assert picture(graph)[4].strip() == "nothing"
        graph.show([Series("a", TIMES, TIMES)], now=100.0)
        await pilot.pause()
        assert "nothing" not in "".join(picture(graph))


async def test_the_cursor_reads_the_past() -> None:
    graph = Graph()
    async with staged(graph, 60, 10) as (_, pilot):
        values = [float(n) if n != 10 else nan for n in range(30)]
        graph.show([Series("a", TIMES, values)], now=100.0)
        graph.cursor = 87.6
        await pilot.pause()
        lines = picture(graph)
        assert "-12.4s" in lines[0]
        assert lines[0].rstrip().endswith(" 16")
        assert sum("│" in line[6:] for line in lines) >= 5
        graph.cursor = 81.5
        await pilot.pause()
        assert picture(graph)[0].rstrip().endswith("–")
        graph.cursor = None
        await pilot.pause()
        assert picture(graph)[0].rstrip().endswith("29")


async def test_the_window_can_change() -> None:
    graph = Graph()
    async with staged(graph, 60, 10) as (_, pilot):
        graph.show([Series("a", TIMES, TIMES)], now=100.0, window=600.0)
        await pilot.pause()
        assert picture(graph)[-1].split()[0] == "-10m"
        graph.show([Series("a", TIMES, TIMES)], now=100.0, window=10.0)
        await pilot.pause()
        assert picture(graph)[-1].split()[0] == "-10s"
        graph.show([Series("a", TIMES, TIMES)], now=100.0, window=-1.0)
        assert graph.window == 10.0


async def test_the_axis_grows_at_once_and_shrinks_late() -> None:
    graph = Graph()
    async with staged(graph, 60, 10) as (_, pilot):

        async def top_at(now: float, value: float) -> str:
            graph.show([Series("a", [now - 1, now], [value, value])], now=now)
            await pilot.pause()
            return picture(graph)[1].split("┤")[0].strip()

        assert await top_at(100.0, 9.5) == "10"
        assert await top_at(100.5, 95.0) == "100"
        assert await top_at(101.0, 9.5) == "100"
        assert await top_at(104.5, 9.5) == "10"
        assert await top_at(105.0, 95.0) == "100"
        graph.forget_axis()
        assert await top_at(105.0, 9.5) == "10", "what is shown now is something else"


async def test_a_fixed_top_stays_and_higher_values_stick_to_it() -> None:
    graph = Graph(y_max=100.0)
    async with staged(graph, 60, 10) as (_, pilot):
        graph.show([Series("a", TIMES, [180.0] * 30)], now=100.0)
        await pilot.pause()
        lines = picture(graph)
        assert lines[1].startswith("100┤")
        assert braille(lines[1:2])
        assert not braille(lines[2:])


async def test_a_spike_between_many_samples_is_seen() -> None:
    graph = Graph(y_max=100.0)
    async with staged(graph, 30, 10) as (_, pilot):
        times = [70 + n / 100 for n in range(3_000)]
        values = [1.0] * 3_000
        values[1234] = 100.0
        graph.show([Series("a", times, values)], now=100.0)
        await pilot.pause()
        assert braille(picture(graph)[1:2])


async def test_labels_of_markers_never_touch_and_figures_are_whole() -> None:
    graph = Graph()
    async with staged(graph, 60, 12) as (_, pilot):
        markers = [Marker(80.0 + n, f"permits {n}→{n * 10}") for n in range(20)]
        graph.show([Series("a", TIMES, [1.0] * 30)], now=100.0, markers=markers)
        await pilot.pause()
        drawn = "\n".join(line[5:] for line in picture(graph)[1:-2])
        text = re.sub("[▖\u2801-\u28ff]", " ", drawn)
        assert "permits 19→190" in text
        # A label between two lines touches the one that it belongs to.
        assert not re.search("┆[^┆ ][^┆]*[^┆ ]┆", text)
        words = text.replace("┆", " ").replace("permits…", " ").split()
        figures = [word for word in words if "→" in word]
        assert set(figures) <= {f"{n}→{n * 10}" for n in range(20)}


async def test_labels_of_markers_are_whole_beside_free_space_and_never_over_a_curve() -> None:
    graph = Graph()
    async with staged(graph, 60, 12) as (_, pilot):
        curve = Series("a", TIMES, [10.0 if n % 2 else 0.0 for n in range(30)])
        for at, data in ((99.5, [Series("a", TIMES, [9.9] * 30)]), (99.5, [curve]), (72.0, [curve])):
            graph.show(data, now=100.0)
            await pilot.pause()
            before = picture(graph)
            graph.show(data, now=100.0, markers=[Marker(at, "clients 1,000→2,000")])
            await pilot.pause()
            after = picture(graph)
            assert braille(before[1:-2])
            for old, new in zip(before, after, strict=True):
                assert all(b == a for a, b in zip(old, new, strict=True) if "\u2800" < a <= "\u28ff")
            if data != [curve]:
                assert sum("clients 1,000→2,000" in line for line in after) == 1


async def test_a_marker_is_seen_where_a_curve_falls_along_it() -> None:
    graph = Graph()
    async with staged(graph, 60, 6) as (_, pilot):
        falls = Series("a", [80.0, 90.0, 90.01, 100.0], [10.0, 10.0, 0.0, 0.0])
        graph.show([falls], now=100.0, markers=[Marker(90.0, "")])
        await pilot.pause()
        assert "┆" in "".join(picture(graph))


async def test_graphs_one_above_the_other_share_their_time_axis() -> None:
    """The lower one has a row less than a time axis needs, and wider labels."""
    gutter = gutter_of_labels()
    upper, lower = Graph(gutter=gutter), Graph(gutter=gutter, format_value=lambda value: f"{value:.4f} kB")
    ends = []
    for graph, height in ((lower, 3), (upper, 12)):
        async with staged(graph, 60, height) as (_, pilot):
            graph.show([Series("a", [85.0, 100.0], [5.0, 5.0])], now=100.0)
            await pilot.pause()
            line = next(line for line in picture(graph)[1:] if braille([line]))
            ends.append([n for n, c in enumerate(line) if "\u2800" < c <= "\u28ff"])
    assert ends[0] == ends[1]


async def test_an_axis_that_was_hidden_begins_anew() -> None:
    graph = Graph()
    async with staged(graph, 60, 10) as (_, pilot):
        graph.show([Series("a", [90.0], [950.0])], now=100.0)
        await pilot.resize_terminal(60, 1)
        await pilot.pause()
        graph.show([Series("a", [100.0], [9.0])], now=101.0, window=1.0)
        await pilot.resize_terminal(60, 10)
        await pilot.pause()
        graph.show([Series("a", [100.0], [9.0])], now=101.0, window=1.0)
        await pilot.pause()
        assert picture(graph)[1].split("┤")[0].strip() == "10"


async def test_a_limit_out_of_reach_is_named() -> None:
    graph = Graph()
    async with staged(graph, 60, 12) as (_, pilot):
        graph.show([Series("a", TIMES, [1.0] * 30)], now=100.0, limit=Series("permits", [90.0], [1e6]))
        await pilot.pause()
        assert any("permits ▲" in line for line in picture(graph)[1:3])


async def test_a_limit_begins_where_it_was_set_and_has_a_step_where_it_was_turned() -> None:
    graph = Graph()
    async with staged(graph, 60, 12) as (_, pilot):
        limit = Series("80 permits", [72.0, 80.0, 90.0], [nan, 40.0, 80.0])
        graph.show([Series("a", TIMES, [100.0] * 30)], now=100.0, limit=limit)
        await pilot.pause()
        dashed = [line for line in picture(graph) if "╌" in line]
        assert len(dashed) == 2
        upper, lower = ({x for x, cell in enumerate(line) if cell == "╌"} for line in dashed)
        assert max(lower) < min(upper)
        assert "80 permits" in dashed[0]
        left, right = picture(graph)[-2].index("┬"), 59
        seconds = [(x - right) * 30 / (right - left) for x in (min(lower), min(upper))]
        assert seconds == [pytest.approx(-20.0, abs=1.0), pytest.approx(-10.0, abs=1.0)]


async def test_the_legend_tells_what_it_is_given_of_this_moment() -> None:
    graph = Graph()
    async with staged(graph, 60, 12) as (_, pilot):
        series = [Series("a", TIMES, [5.0] * 30, 7.0), Series("b", TIMES, [5.0] * 30, nan)]
        graph.show(series, now=100.0)
        await pilot.pause()
        assert picture(graph)[0].split()[-5:] == ["a", "7", "⠄⠄⠄⠄", "b", "–"]
        graph.cursor = 90.0
        assert picture(graph)[0].split()[-5:] == ["a", "5", "⠄⠄⠄⠄", "b", "5"]


async def test_only_rows_that_changed_are_repainted(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph()
    async with staged(graph, 60, 12) as (_, pilot):
        graph.show([Series("a", TIMES, [50.0] * 30)], now=100.0)
        await pilot.pause()
        asked = watch_refresh(graph, monkeypatch)
        graph.show([Series("a", TIMES, [50.0] * 30)], now=100.0)
        assert asked == []
        graph.show([Series("a", TIMES, [50.0] * 29 + [49.0])], now=100.0)
        assert 1 <= len(asked) <= 4
        assert Region(0, 0, 60, 1) in asked


async def test_a_click_tells_the_time() -> None:
    graph = Graph()
    async with staged(graph, 64, 12) as (stage, pilot):
        graph.show([Series("a", TIMES, TIMES)], now=100.0)
        await pilot.pause()
        await pilot.click(Graph, offset=(63, 5))
        await pilot.click(Graph, offset=(34, 5))
        await pilot.click(Graph, offset=(1, 5))
        await pilot.click(Graph, offset=(30, 0))
        await pilot.pause()
        times = [message.time for message in stage.posted_of(Graph.Clicked)]
        assert times == [pytest.approx(100.0, abs=0.5), pytest.approx(85.5, abs=0.5)]


async def test_resize_and_theme() -> None:
    graph = Graph("T")
    async with staged(graph, 60, 12) as (stage, pilot):
        graph.show([Series("a", TIMES, TIMES)], now=100.0)
        await pilot.pause()
        await pilot.resize_terminal(20, 4)
        await pilot.pause()
        assert len(picture(graph)) == 4
        await pilot.resize_terminal(120, 30)
        await pilot.pause()
        lines = picture(graph)
        assert len(lines) == 30
        assert braille(lines)
        before = {segment.style for segment in graph.render_line(5)}
        stage.theme = "textual-light"
        await pilot.pause()
        assert {segment.style for segment in graph.render_line(5)}.isdisjoint(before)


async def test_the_memory_survives_being_hidden() -> None:
    graph = Graph()
    graph.show([Series("a", TIMES, [900.0] * 30)], now=100.0)
    async with staged(graph, 60, 12) as (_, pilot):
        await pilot.pause()
        assert braille(picture(graph))
        graph.display = False
        await pilot.pause()
        graph.show([Series("a", TIMES, [90.0] * 30)], now=100.5)
        graph.display = True
        await pilot.pause()
        assert picture(graph)[0].rstrip().endswith("90")


async def test_the_area_below_a_single_curve_and_within_a_band_is_filled_and_gaps_stay_empty() -> None:
    graph = Graph()
    async with staged(graph, 60, 14) as (_, pilot):
        level = Series("a", TIMES, [10.0] * 15 + [nan] * 5 + [10.0] * 10)
        graph.show([level], now=100.0)
        await pilot.pause()
        lowest = picture(graph)[10]
        assert lowest.count("▖") > 30
        assert " " * 8 in lowest, "nothing is filled where nothing is known"
        low, high = Series("p50", TIMES, [2.0] * 30), Series("p99", TIMES, [9.0] * 30)
        graph.show([low, high], now=100.0, band=(0, 1))
        await pilot.pause()
        filled = [row for row, line in enumerate(picture(graph)) if "▖" in line]
        assert 3 <= len(filled) <= 8
        graph.show([low, high], now=100.0)
        await pilot.pause()
        assert not any("▖" in line for line in picture(graph))
