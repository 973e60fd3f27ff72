"""Lines made of braille dots: the geometry of the graph, with nothing of a screen in it.

A cell holds 2 x 4 dots. A curve is kept as one integer per *dot column*: bit `r` is the dot in dot row `r`,
counted from the top. That makes a steep piece of a line one shift instead of many single dots, and lets a
curve be cut to the plot by a mask.

Lines are those of Bresenham: each dot of the longer axis is set exactly once, so that neighbouring dots
touch (also diagonally) and no gap is seen. Points that share a column are joined vertically, which shows
the lowest and the highest of them: however many samples a column has to carry, a spike stays visible.

A `Pattern` lets curves be told apart without colour. Whether a dot is shown depends on its column, and on
the distance from where the line entered that column; it is therefore the same on flat and on steep parts,
and it moves with the curve when the columns are numbered by time (`phase`). Steep pieces always show both
their ends, so a pattern cannot swallow a peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

DOTS_X = 2
"""Dot columns in a cell."""

DOTS_Y = 4
"""Dot rows in a cell."""

MAX_DOT_ROWS = 2048
"""Dot rows a pattern is prepared for; more would be a terminal of 512 lines."""

GLYPHS = (" ", *(chr(0x2800 + bits) for bits in range(1, 256)))
"""The character for each set of dots; no dot at all is a plain space."""

_LEFT_DOTS = (0x01, 0x02, 0x04, 0x40)
_RIGHT_DOTS = (0x08, 0x10, 0x20, 0x80)


def _nibble_table(dots: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sum(dot for row, dot in enumerate(dots) if nibble >> row & 1) for nibble in range(16))


_LEFT = _nibble_table(_LEFT_DOTS)
_RIGHT = _nibble_table(_RIGHT_DOTS)


@dataclass(frozen=True)
class Pattern:
    """Which dots of a line are shown: `steps` is repeated along it, `#` is shown and `.` is not."""

    name: str
    steps: str

    @property
    def is_solid(self) -> bool:
        """Whether every dot is shown."""
        return "." not in self.steps

    def masks(self) -> tuple[int, ...]:
        """One long bit mask for each step the line may start on."""
        period = len(self.steps)
        shown = [step == "#" for step in self.steps]
        bits = sum(1 << row for row in range(MAX_DOT_ROWS + period) if shown[row % period])
        return tuple((bits >> start) & ((1 << MAX_DOT_ROWS) - 1) for start in range(period))


SOLID = Pattern("solid", "#")
DOTTED = Pattern("dotted", "#.")
DASHED = Pattern("dashed", "####..")
DASH_DOT = Pattern("dash-dot", "#####..#..")
PATTERNS = (SOLID, DOTTED, DASHED, DASH_DOT)
"""The patterns in the order in which series take them."""

_MASKS = {pattern: pattern.masks() for pattern in PATTERNS}


@dataclass(frozen=True)
class PlotScale:
    """How seconds and values become dots.

    A time belongs to the column `floor(time * columns_per_second) - first_column`: columns are cut on a
    fixed grid of time, so that a curve moves by whole dots and keeps its shape while it scrolls. A value
    belongs to the row `(top - value) * rows_per_unit`, rounded; values beyond either edge stick to it.
    """

    width: int
    height: int
    first_column: int
    columns_per_second: float
    top: float
    rows_per_unit: float

    def column(self, time: float) -> int:
        """The dot column of a time, which may lie outside the plot."""
        return floor(time * self.columns_per_second) - self.first_column

    def row(self, value: float) -> int:
        """The dot row of a value, held inside the plot."""
        return int(min(max((self.top - value) * self.rows_per_unit, 0.0), self.height - 1.0) + 0.5)

    def time(self, column: float) -> float:
        """The time in the middle of a dot column."""
        return (column + self.first_column + 0.5) / self.columns_per_second


def trace(
    frame: PlotScale, times: Sequence[float], values: Sequence[float], pattern: Pattern = SOLID
) -> list[int]:
    """Draw one curve; a nan interrupts it, and so does a time that runs backwards."""
    columns = [0] * frame.width
    masks = () if pattern.is_solid else _MASKS.get(pattern) or pattern.masks()
    width, first, per_second = frame.width, frame.first_column, frame.columns_per_second
    top, per_unit, bottom = frame.top, frame.rows_per_unit, frame.height - 1
    last_x = last_y = 0
    pen_down = False
    for time, value in zip(times, values, strict=False):
        if value != value or time - time != 0:
            pen_down = False
            continue
        # Written out instead of calling the methods of PlotScale: this loop is most of what a graph costs.
        x = floor(time * per_second) - first
        height = (top - value) * per_unit
        y = 0 if height <= 0 else bottom if height >= bottom else int(height + 0.5)
        if not pen_down or x < last_x:
            if 0 <= x < width:
                columns[x] |= 1 << y
        elif x - last_x <= 1 and -1 <= y - last_y <= 1:
            if 0 <= x < width and (not masks or masks[(x + first) % len(masks)] & 1):
                columns[x] |= 1 << y
        elif x >= 0 and last_x < width:
            _line(columns, last_x, last_y, x, y, masks, first)
        last_x, last_y, pen_down = x, y, True
    return columns


def _line(columns: list[int], x0: int, y0: int, x1: int, y1: int, masks: tuple[int, ...], phase: int) -> None:
    if abs(y1 - y0) <= x1 - x0:
        _flat(columns, x0, y0, x1, y1, masks, phase)
    else:
        _steep(columns, x0, y0, x1, y1, masks, phase)


def _flat(columns: list[int], x0: int, y0: int, x1: int, y1: int, masks: tuple[int, ...], phase: int) -> None:
    run, rise = x1 - x0, y1 - y0
    for x in range(max(x0, 0), min(x1 + 1, len(columns))):
        if not masks or masks[(x + phase) % len(masks)] & 1:
            columns[x] |= 1 << (y0 + (2 * rise * (x - x0) + run) // (2 * run))


def _steep(
    columns: list[int], x0: int, y0: int, x1: int, y1: int, masks: tuple[int, ...], phase: int
) -> None:
    run, rise = x1 - x0, abs(y1 - y0)
    for x in range(max(x0, 0), min(x1 + 1, len(columns))):
        step = x - x0
        # The rows of this column: those whose nearest column it is, from the last column's end to its own.
        start = (2 * step - 1) * rise // (2 * run) + 1 if step else 0
        end = min((2 * step + 1) * rise // (2 * run), rise) if run else rise
        low = y0 + start if y1 > y0 else y0 - end
        bits = (1 << (end - start + 1)) - 1
        if masks:
            bits &= masks[(x + phase) % len(masks)]
        columns[x] |= bits << low
        if step == 0:
            columns[x] |= 1 << y0
        if step == run:
            columns[x] |= 1 << y1


def thickened(columns: Sequence[int], dots: int, height: int) -> list[int]:
    """Return a curve ``dots`` dots thick, downwards: what lies below the plot is cut off."""
    inside = (1 << height) - 1
    for _ in range(dots - 1):
        columns = [bits | bits << 1 for bits in columns]
    return [bits & inside for bits in columns]


def cells(columns: Sequence[int]) -> list[tuple[int, int, int]]:
    """The cells that hold at least one dot of a curve, as (cell column, cell row, dots)."""
    found: list[tuple[int, int, int]] = []
    add = found.append
    lefts = columns[::DOTS_X]
    rights = [*columns[1::DOTS_X], 0]
    for cell, (left, right) in enumerate(zip(lefts, rights, strict=False)):
        both = left | right
        row = 0
        while both:
            if not both & 15:
                # Jump over empty cells: a curve touches one or two of the many in a column.
                skip = ((both & -both).bit_length() - 1) // DOTS_Y
                row += skip
                both >>= skip * DOTS_Y
            shift = row * DOTS_Y
            add((cell, row, _LEFT[left >> shift & 15] | _RIGHT[right >> shift & 15]))
            both >>= DOTS_Y
            row += 1
    return found


def sample(pattern: Pattern, width: int) -> str:
    """A piece of level line, `width` cells long, for a legend."""
    masks = _MASKS.get(pattern) or pattern.masks()
    columns = [(masks[x % len(masks)] & 1) << 2 for x in range(width * DOTS_X)]
    found = {cell: bits for cell, _row, bits in cells(columns)}
    return "".join(GLYPHS[found.get(cell, 0)] for cell in range(width))
