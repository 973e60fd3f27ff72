"""A distribution as vertical bars over a logarithmic axis.

    bars = Bars(format_value=milliseconds)
    bars.show([(0.00102, 17), (0.00104, 31), ...])     # value, how many; ascending values

Each column of cells stands for an equal factor between the values at the edges. Heights are eighths of a
cell and relative to the fullest column; the share of all is written at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil, floor, log10
from typing import ClassVar

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from sockscope.faces.tui.widgets.plain import plain
from sockscope.faces.tui.widgets.ticks import si

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_AXIS_ROWS = 2


class Bars(Widget):
    """Bars over a logarithmic axis.

    Args:
        format_value: How a value of the axis is written.
        empty_text: What stands here without data.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"bars--bar", "bars--axis", "bars--mark"}
    DEFAULT_CSS = """
    Bars {
        width: 1fr;
        height: 1fr;
        & > .bars--bar { color: $primary; }
        & > .bars--axis { color: $foreground 45%; }
        & > .bars--mark { color: $text-accent; text-style: bold; }
    }
    """

    def __init__(self, *, format_value: Callable[[float], str] = si, empty_text: str = "no data yet") -> None:
        super().__init__()
        self._format = format_value
        self._empty_text = plain(empty_text)
        self._values: Sequence[tuple[float, int]] = ()
        self._marks: Sequence[tuple[str, float]] = ()
        self._range: tuple[float, float] | None = None
        self._rows: list[list[tuple[str, str]]] = []

    def show(self, values: Sequence[tuple[float, int]], marks: Sequence[tuple[str, float]] = ()) -> None:
        """Replace the data; ``marks`` are named values that are pointed at below the axis."""
        self._values = [(value, count) for value, count in values if value > 0 and count > 0]
        self._marks = marks
        self._rows = []
        self.refresh()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._rows = []

    def render_line(self, y: int) -> Strip:
        """Return one row."""
        if not self._rows:
            self._rows = self._draw()
        width = self.size.width
        if y >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        segments = [
            Segment(text, self.get_component_rich_style(f"bars--{part}") if part else self.rich_style)
            for text, part in self._rows[y]
        ]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _draw(self) -> list[list[tuple[str, str]]]:
        width, height = self.size.width, self.size.height
        if not self._values or width < 10 or height <= _AXIS_ROWS:
            return [[("", "")]] * (height // 2) + [[(self._empty_text.center(width), "axis")]]
        low, high = self._edges()
        per_column = width / (high - low)

        def column(value: float) -> int:
            return min(max(int((log10(value) - low) * per_column), 0), width - 1)

        weights = [0] * width
        for value, count in self._values:
            weights[column(value)] += count
        fullest = max(weights)
        rows = height - _AXIS_ROWS
        bars = [round(weight / fullest * rows * 8) or int(weight > 0) for weight in weights]
        drawn = [
            [("".join(_EIGHTHS[min(max(bar - row * 8, 0), 8)] for bar in bars), "bar")]
            for row in reversed(range(rows))
        ]
        return [
            *drawn,
            [(self._axis(low, high, column, width), "axis")],
            [(self._pointers(column, width), "mark")],
        ]

    def _edges(self) -> tuple[float, float]:
        """Return the logarithms at the edges: a third of a decade at least, steady while data moves."""
        low = floor(log10(self._values[0][0]) * 3) / 3
        high = ceil(log10(self._values[-1][0]) * 3 + 1e-9) / 3
        if self._range is not None:
            kept_low, kept_high = self._range
            # Shrink only when a whole decade is empty, so that the picture does not jump.
            low = min(low, kept_low) if low - kept_low < 1 else low
            high = max(high, kept_high) if kept_high - high < 1 else high
        if high - low < 1 / 3:
            high = low + 1 / 3
        self._range = (low, high)
        return low, high

    def _axis(self, low: float, high: float, column: Callable[[float], int], width: int) -> str:
        line = ["─"] * width
        ticks = [
            mantissa * 10.0**exponent
            for exponent in range(floor(low), ceil(high) + 1)
            for mantissa in (1, 2, 5)
            if low <= log10(mantissa * 10.0**exponent) <= high
        ]
        taken = -2
        for tick in ticks:
            text = self._format(tick)
            at = column(tick)
            if at > taken + 1 and at + len(text) < width:
                line[at : at + len(text) + 1] = list("┬" + text)
                taken = at + len(text) + 1
        return "".join(line)

    def _pointers(self, column: Callable[[float], int], width: int) -> str:
        line = " " * width
        places = [(column(value), f"▲{plain(name)}") for name, value in self._marks if value > 0]
        for (at, text), (next_at, _) in pairwise([*places, (width, "")]):
            if at + len(text) <= next_at:
                line = line[:at] + text + line[at + len(text) :]
        return line
