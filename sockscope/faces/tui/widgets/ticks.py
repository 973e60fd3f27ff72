"""Round numbers: where axes are labelled, how far they reach, and how a figure is written in few cells.

Everything here is arithmetic on plain numbers. Steps are 1, 2 or 5 times a power of ten, so that a reader
can divide them in the head. What depends on the past (`Reach`, `Held`) grows at once and shrinks late,
because an axis that follows every wobble of its data makes still curves look restless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor, isinf, isnan, log10

from sockscope.faces.tui.widgets.plain import DASH

SHRINK_BELOW = 0.45
"""An axis shrinks only while its data stays below this share of it."""

SHRINK_AFTER_S = 3.0
"""... for so many seconds of graph time."""

_SMALLEST = 1e-9
_LARGEST = 1e300
_TOPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_TIME_STEPS = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    43200,
    86400,
)


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    value: float
    label: str


def si(value: float) -> str:
    """Write a figure in at most five cells and a sign: `0`, `0.25`, `9.9`, `950`, `9.9k`, `10k`, `1.2M`."""
    if isnan(value):
        return DASH
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    if value < 0:
        text = si(-value)
        return text if text == "0" else "-" + text
    if value < 0.9995:
        return _small(value)
    # Compare with what rounding makes of it: 999.6 has to become 1k, not 1000.
    factor, prefix = next((entry for entry in _PREFIXES if value / entry[0] >= 0.9995), _PREFIXES[-1])
    scaled = value / factor
    if scaled >= 9_999.5:
        return f"{value:.0e}".replace("e+", "e")
    return (f"{scaled:.0f}" if scaled >= 9.95 else f"{scaled:.1f}".removesuffix(".0")) + prefix


def _small(value: float) -> str:
    if value == 0:
        return "0"
    decimals = f"{value:.{3 if value < 0.095 else 2}f}".rstrip("0").rstrip(".")
    # Three decimals are enough for round figures below 0.01, and too coarse for others.
    if abs(float(decimals) - value) <= value * 0.055:
        return decimals
    for factor, prefix in ((1e-6, "µ"), (1e-9, "n")):
        scaled = value / factor
        if scaled >= 0.95:
            return (f"{scaled:.0f}" if scaled >= 9.95 else f"{scaled:.1f}".removesuffix(".0")) + prefix
    return "~0"


def round_top(value: float, digits: Sequence[float] = _TOPS) -> float:
    """The lowest round number that is not below `value`: one of `digits` times a power of ten."""
    if not value > 0:
        return 1.0
    value = min(max(value, _SMALLEST), _LARGEST)
    power = 10.0 ** floor(log10(value))
    for digit in digits:
        if digit * power >= value * (1 - 1e-12):
            return digit * power
    return 10.0 * power


def round_steps(low: float, high: float, most: int) -> list[float]:
    """Multiples of a 1-2-5 step from `low` to `high`, at most `most` of them; else the ends.

    Of the steps that fit, one that meets both ends is preferred: a labelled top tells how far the axis
    reaches.
    """
    span = high - low
    if not span > 0 or most < 2:
        return [low]
    power = 10.0 ** floor(log10(span / most))
    chosen: list[float] = []
    for digit in (1, 2, 5, 10, 20, 50, 100):
        steps = _multiples(low, high, digit * power)
        if len(steps) > most:
            continue
        meets = len(steps) > 1 and abs(steps[-1] - high) < span * 1e-9 and abs(steps[0] - low) < span * 1e-9
        if meets:
            return steps
        if len(steps) > len(chosen):
            chosen = steps
    return chosen if len(chosen) > 1 else [low, high]


def _multiples(low: float, high: float, step: float) -> list[float]:
    first = floor(low / step + 1 - 1e-9)
    last = floor(high / step + 1e-9)
    if last - first > 200:
        return [low] * 200
    return [number * step for number in range(first, last + 1)]


def value_ticks(low: float, high: float, most: int, label: Callable[[float], str]) -> list[Tick]:
    """Labelled round values between `low` and `high`; no two of them read the same.

    A format that rounds could label two ticks alike. The step is then widened until it cannot.
    """
    for count in range(max(most, 1), 0, -1):
        found = [Tick(value, label(value)) for value in round_steps(low, high, count)]
        if len({tick.label for tick in found}) == len(found):
            return found
    return [Tick(low, label(low))]


def age(seconds: float) -> str:
    """Write how long ago something was, for an axis: `-15s`, `-2m`, `-2m30s`, `-1h`; `now` for zero."""
    if seconds <= 0:
        return "now"
    if seconds < 120 and seconds % 60:
        return f"-{seconds:.1f}".removesuffix(".0") + "s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "-" + "".join(f"{count}{unit}" for count, unit in parts if count)


def age_exact(seconds: float) -> str:
    """Write an age to a tenth of a second, with its sign: `-12.4s`; a time ahead has a plus."""
    tenths = round(seconds * 10) / 10
    return f"{'-' if tenths > 0 else '+' if tenths < 0 else ''}{abs(tenths):,.1f}s"


def time_since(seconds: float) -> str:
    """Write how long after the beginning something was, for an axis: `15s`, `2m30s`; `0` for zero."""
    return age(seconds)[1:] if seconds > 0 else "0"


@lru_cache(maxsize=64)
def time_ticks(window: float, width: int, since_start: bool = False) -> tuple[Tick, ...]:
    """Labelled times for a time axis of `width` cells that shows `window` seconds, oldest first.

    The values are ages in seconds at the right edge. The labels tell the age, or, `since_start`, the time
    since the left edge; they get at least twice their own width.
    """
    if width < len("now"):
        return ()
    for step in _TIME_STEPS:
        count = floor(window / step + 1e-9)
        if count > 60:
            continue
        if since_start:
            ticks = tuple(Tick(window - step * n, time_since(step * n)) for n in range(count + 1))
        else:
            ticks = tuple(Tick(step * n, age(step * n)) for n in range(count, -1, -1))
        longest = max(len(tick.label) for tick in ticks)
        if step / window * width >= max(2 * longest + 2, 10) or (count == 1 and width >= 2 * longest + 2):
            return ticks
    return (Tick(window, "0"),) if since_start else (Tick(0.0, "now"),)


class Held:
    """A number that grows at once and shrinks only after the smaller one has lasted `hold` seconds."""

    def __init__(self, initial: int, hold: float) -> None:
        self.value = initial
        self._hold = hold
        self._waiting: int | None = None
        self._since = 0.0

    def update(self, wanted: int, now: float) -> int:
        """Take the wanted number at a time and return the one to use."""
        if wanted >= self.value:
            self.value, self._waiting = wanted, None
        elif self._waiting is None or now < self._since:
            self._waiting, self._since = wanted, now
        else:
            self._waiting = max(self._waiting, wanted)
            if now - self._since >= self._hold:
                self.value, self._waiting = self._waiting, None
        return self.value


class Reach:
    """How far an axis reaches: to the next round number at once, back only after a while.

    It shrinks when the data has stayed under `SHRINK_BELOW` of the axis for `SHRINK_AFTER_S`. The seconds
    are those of the data (`now`), so that a frozen graph stands still and a test needs no waiting.
    """

    def __init__(self, round_up: Callable[[float], float]) -> None:
        self.top: float | None = None
        self._round_up = round_up
        self._low_since: float | None = None

    def update(self, maximum: float, now: float) -> float:
        """Take the largest value in sight at a time and return the top of the axis."""
        wanted = self._round_up(maximum)
        if self.top is None or wanted > self.top:
            self.top, self._low_since = wanted, None
        elif maximum >= SHRINK_BELOW * self.top or wanted == self.top:
            self._low_since = None
        elif self._low_since is None or now < self._low_since:
            self._low_since = now
        elif now - self._low_since >= SHRINK_AFTER_S:
            self.top, self._low_since = wanted, None
        return self.top
