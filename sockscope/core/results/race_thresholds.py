"""``--fail-if 'protocol/uvloop.requests_per_s<1000'``: a condition on a median of a race or a sweep."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sockscope.core.results.race_result import NAMES
from sockscope.core.results.spread import Spread
from sockscope.core.results.thresholds import Threshold, format_figure


@dataclass(frozen=True, slots=True)
class RaceThreshold:
    """A condition that must not hold at the end, for one contestant, or for none (``contestant`` empty).

    The contestants of a sweep are its steps and its curves.
    """

    contestant: str
    threshold: Threshold

    @classmethod
    def parse(
        cls, text: str, contestants: Collection[str], names: Mapping[str, str] = NAMES
    ) -> RaceThreshold:
        """Return the threshold that ``[NAME.]FIGURE OP VALUE`` stands for; raise ValueError with a reason.

        ``names`` are what figures may be called, with the name of each.
        """
        text = text.strip()
        for name in sorted(contestants, key=len, reverse=True):
            if text.startswith(f"{name}."):
                return cls(name, Threshold.parse(text.removeprefix(f"{name}."), names))
        try:
            return cls("", Threshold.parse(text, names))
        except ValueError as error:
            named = f"; before a dot may stand one of {', '.join(contestants)}" if "/" in text else ""
            raise ValueError(f"{error}{named}") from None

    def missed(self, spreads: Iterable[tuple[str, Mapping[str, Spread]]]) -> list[str]:
        """Return in words each contestant that misses this; a figure that is not known counts as missed.

        ``spreads`` are the contestants by name, each with the spreads of the figures that it has.
        """
        found, figure = [], self.threshold.figure
        for name, of in spreads:
            if self.contestant not in ("", name) or figure not in of:
                continue
            median = of[figure].median
            if median is None:
                found.append(f"{self.threshold.text} cannot be judged: {name} has no {figure}")
            elif self.threshold.may_hold(median):
                shown = format_figure(figure, median)
                found.append(f"{self.threshold.told_of(median)}: {figure} of {name} is {shown}")
        return found
