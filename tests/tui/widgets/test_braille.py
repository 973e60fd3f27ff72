"""The geometry of curves."""

from collections.abc import Sequence
from math import nan

from hypothesis import assume, given
from hypothesis import strategies as st

from sockscope.faces.tui.widgets.braille import (
    DOTTED,
    GLYPHS,
    PATTERNS,
    SOLID,
    Pattern,
    PlotScale,
    cells,
    sample,
    trace,
)

WIDTH, HEIGHT = 40, 24
FRAME = PlotScale(WIDTH, HEIGHT, first_column=0, columns_per_second=1.0, top=HEIGHT - 1.0, rows_per_unit=1.0)
"""One column a second; the value is the distance from the bottom."""

dots = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1))
patterns = st.sampled_from(PATTERNS)


def drawn(columns: Sequence[int]) -> set[tuple[int, int]]:
    """The dots that are set, as (column, row from the top)."""
    return {(x, row) for x, bits in enumerate(columns) for row in range(bits.bit_length()) if bits >> row & 1}


def curve(points: Sequence[tuple[int, int]], pattern: Pattern = SOLID) -> list[int]:
    """A curve through dots given as (column, row from the top)."""
    return trace(FRAME, [float(x) for x, _ in points], [HEIGHT - 1.0 - row for _, row in points], pattern)


@given(dots, dots)
def test_a_line_is_connected_and_thin(one: tuple[int, int], other: tuple[int, int]) -> None:
    one, other = sorted((one, other))
    found = drawn(curve([one, other]))
    assert {one, other} <= found
    run, rise = other[0] - one[0], abs(other[1] - one[1])
    assert len(found) == max(run, rise) + 1
    for x, y in found:
        assert one[0] <= x <= other[0]
        assert min(one[1], other[1]) <= y <= max(one[1], other[1])
        # No dot is farther from the true line than half a dot along the shorter axis.
        assert abs((x - one[0]) * (other[1] - one[1]) - (y - one[1]) * run) * 2 <= max(run, rise)
    for x, y in found - {other}:
        assert any((x + dx, y + dy) in found for dx in (0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0))


@given(st.lists(dots, min_size=1, max_size=60))
def test_every_sample_is_shown_however_many_share_a_column(points: list[tuple[int, int]]) -> None:
    points.sort(key=lambda point: point[0])
    assert set(points) <= drawn(curve(points))


@given(st.lists(dots, min_size=2, max_size=30), patterns)
def test_a_pattern_only_takes_dots_away(points: list[tuple[int, int]], pattern: Pattern) -> None:
    points.sort(key=lambda point: point[0])
    assert drawn(curve(points, pattern)) <= drawn(curve(points))


@given(patterns, st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 4), st.integers(3, HEIGHT))
def test_a_pattern_never_swallows_a_peak(pattern: Pattern, x: int, low: int, rise: int) -> None:
    assume(0 < x < WIDTH - 1 and low + rise < HEIGHT)
    found = drawn(curve([(x - 1, low + rise), (x, low), (x + 1, low + rise)], pattern))
    assert (x, low) in found


@given(patterns, st.integers(0, HEIGHT - 1), st.integers(-1000, 1000))
def test_a_pattern_travels_with_the_time(pattern: Pattern, row: int, shift: int) -> None:
    value = HEIGHT - 1.0 - row
    moved = PlotScale(WIDTH, HEIGHT, shift, 1.0, HEIGHT - 1.0, 1.0)
    times = [float(shift + x) for x in range(-20, WIDTH + 20)]
    wider = PlotScale(WIDTH + 1, HEIGHT, shift - 1, 1.0, HEIGHT - 1.0, 1.0)
    values = [value] * len(times)
    assert trace(moved, times, values, pattern) == trace(wider, times, values, pattern)[1:]


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(allow_nan=True, allow_infinity=True)), max_size=40),
    patterns,
)
def test_anything_stays_inside_the_plot(points: list[tuple[float, float]], pattern: Pattern) -> None:
    columns = trace(FRAME, [time for time, _ in points], [value for _, value in points], pattern)
    assert len(columns) == WIDTH
    assert all(0 <= bits < 1 << HEIGHT for bits in columns)


def test_a_nan_is_a_gap_and_a_lone_point_is_seen() -> None:
    columns = trace(FRAME, [1.0, 2.0, 3.0, 4.0, 5.0], [3.0, nan, 3.0, nan, 3.0], DOTTED)
    assert [x for x, bits in enumerate(columns) if bits] == [1, 3, 5]


def test_a_line_from_outside_enters_where_it_crosses_the_edge() -> None:
    columns = trace(FRAME, [-10.0, 10.0], [0.0, 20.0])
    assert columns[0] == 1 << (HEIGHT - 1 - 10)
    assert columns[10] == 1 << (HEIGHT - 1 - 20)


def test_times_that_cannot_be_are_left_out() -> None:
    assert not any(trace(FRAME, [nan, float("inf"), float("-inf")], [1.0, 2.0, 3.0]))


@given(st.lists(st.integers(0, (1 << HEIGHT) - 1), min_size=0, max_size=21))
def test_cells_hold_exactly_the_dots(columns: list[int]) -> None:
    left, right = (0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)
    found = set()
    for cell, row, bits in cells(columns):
        assert bits
        for dot in range(4):
            found |= {(cell * 2, row * 4 + dot)} if bits & left[dot] else set()
            found |= {(cell * 2 + 1, row * 4 + dot)} if bits & right[dot] else set()
    assert found == drawn(columns)


@given(st.floats(-1e6, 1e6))
def test_a_row_is_that_of_the_curve(value: float) -> None:
    columns = trace(FRAME, [0.0], [value])
    assert columns[0] == 1 << FRAME.row(value)


def test_samples_differ_and_fill_their_width() -> None:
    samples = [sample(pattern, 4) for pattern in PATTERNS]
    assert len(set(samples)) == len(PATTERNS)
    assert all(len(text) == 4 for text in samples)
    assert len(GLYPHS) == 256
