"""``--fail-if 'protocol/uvloop.requests_per_s<1000'``: a condition on the median of a figure of a race."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sockscope.core.results.race_result import NAMES, RATIO
from sockscope.core.results.standing import StandingRow
from sockscope.core.results.thresholds import Threshold, format_figure


@dataclass(frozen=True, slots=True)
class RaceThreshold:
    """A condition that must not hold at the end, for one contestant, or for none (``contestant`` empty)."""

    contestant: str
    threshold: Threshold

    @classmethod
    def parse(cls, text: str, contestants: Collection[str]) -> RaceThreshold:
        """Return the threshold that ``[NAME.]FIGURE OP VALUE`` stands for; raise ValueError with a reason."""
        text = text.strip()
        for name in sorted(contestants, key=len, reverse=True):
            if text.startswith(f"{name}."):
                return cls(name, Threshold.parse(text.removeprefix(f"{name}."), NAMES))
        try:
            return cls("", Threshold.parse(text, NAMES))
        except ValueError as error:
            named = f"; before a dot may stand one of {', '.join(contestants)}" if "/" in text else ""
            raise ValueError(f"{error}{named}") from None

    def missed(self, table: Iterable[StandingRow]) -> list[str]:
        """Return in words each contestant that misses this; a figure that is not known counts as missed."""
        found = []
        for row in table:
            if self.contestant not in ("", row.name):
                continue
            spread = row.ratio if self.threshold.figure == RATIO else row.figures[self.threshold.figure]
            if spread.median is None:
                found.append(
                    f"{self.threshold.text} cannot be judged: {row.name} has no {self.threshold.figure}"
                )
            elif self.threshold.may_hold(spread.median):
                shown = format_figure(self.threshold.figure, spread.median)
                told = self.threshold.told_of(spread.median)
                found.append(f"{told}: {self.threshold.figure} of {row.name} is {shown}")
        return found
