"""Where each knob stands in a list of so many cells: plain arithmetic, once per size."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sockscope.core.config.experiment import FIELDS

_SHOWN = {key: knob for key, entry in FIELDS.items() if (knob := entry.spec.knob) is not None}
KNOBS = tuple(sorted(_SHOWN, key=lambda key: _SHOWN[key].rank))
"""The knobs from top to bottom, by field key."""
SHORT = tuple(key for key in KNOBS if _SHOWN[key].compact)
"""The knobs of a small terminal."""
NARROWEST = 32
"""Least width of a column."""
_WIDEST = 40
"""Most width of a column: further apart, the eye does not find from a label to its value."""
_TOLD = 4
"""Rows below the knobs for what is told about the one that is chosen."""


class KnobLayout(NamedTuple):
    """A list of knobs of ``width`` and ``height`` cells.

    With a height of one or two rows (``is_short``) it shows the most important ``keys`` side by side.
    Otherwise they stand in one or two ``columns``, each ``each`` cells wide and ``lines`` knobs long, of
    which ``rows`` are in view.
    """

    width: int
    height: int
    is_short: bool
    keys: tuple[str, ...]
    columns: int
    each: int
    lines: int
    rows: int

    @classmethod
    def of(cls, width: int, height: int, lacking: Collection[str] = ()) -> KnobLayout:
        """Return the layout for a size, without the knobs that the run is ``lacking``."""
        is_short = height <= 2
        there = tuple(key for key in KNOBS if key not in lacking)
        keys = tuple(key for key in SHORT if key in there) or there[: len(SHORT)] if is_short else there
        # What is told about the chosen one stands below.
        room = max(1, height - (_TOLD if height > 3 * _TOLD else 1))
        columns = 2 if len(keys) > room and width >= 2 * NARROWEST else 1
        lines = -(-len(keys) // columns)
        each = min(width // columns, _WIDEST)
        return cls(width, height, is_short, keys, columns, each, lines, min(lines, room))

    @property
    def hidden(self) -> int:
        """Knobs for which there is no row."""
        return 0 if self.is_short else len(self.keys) - min(self.rows * self.columns, len(self.keys))

    def top(self, cursor: int) -> int:
        """Return the y of the first knob: negative when the list is scrolled to show the ``cursor``-th."""
        return -max(0, min(cursor % self.lines - self.rows // 2, self.lines - self.rows))

    def y_of(self, key: str, cursor: int) -> int | None:
        """Return the row that shows a knob; None when it is out of view."""
        y = self.keys.index(key) % self.lines + self.top(cursor)
        return y if 0 <= y < self.rows else None
