"""What code that is not ours has raised, by place."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core.run.adding import Cumulative, Current


@dataclass(frozen=True, slots=True)
class Raised:
    """What the user's own code raised at one place, and how often: ``ValueError`` at ``mine.py:3``.

    ``message`` is that of the last time.
    """

    what: Current[str]
    where: Current[str]
    message: Current[str]
    count: Cumulative[int]

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same row."""
        return self.what, self.where
