"""Numbers with units, read from and written for people.

Reading: ``10k`` clients, ``64K`` bytes, ``250ms``, ``1m30s``. In byte sizes ``k M G`` followed by
nothing or ``B`` follow the custom of network tools: a capital or binary suffix (``K``, ``KiB``, ``M``,
``G``) is a power of 1,024, and ``k``/``kB`` is 1,000. In counts every suffix is a power of 1,000.

Writing: three significant digits, a space, the unit; thousands are separated by commas.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from sockscope.core.censoring import AtLeast, AtMost, change

_COUNT_SUFFIX = {"": 1, "k": 1_000, "K": 1_000, "m": 1_000_000, "M": 1_000_000}
_BYTE_SUFFIX = {
    "": 1, "B": 1,
    "k": 1_000, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000,
    "K": 1 << 10, "KB": 1 << 10, "KiB": 1 << 10,
    "M": 1 << 20, "MiB": 1 << 20, "G": 1 << 30, "GiB": 1 << 30,
}  # fmt: skip
_DURATION_SUFFIX = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0,
                    "h": 3600.0}  # fmt: skip
_DIGITS = r"((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*)(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(rf"\s*{_DIGITS}\s*([A-Za-zµ]*)\s*")
_DURATION = re.compile(rf"{_DIGITS}\s*(ns|us|µs|ms|s|min|m|h)\s*")
_LARGEST = 1 << 63
_EXPONENT = re.compile(r"[eE][-+]?\d+")
_NOT_ZERO = re.compile(r"[1-9]")
SHORTEST_S = 1e-12
"""What durations are rounded to; zero often means something else than a very short one."""
TOO_SHORT = "is too short to tell from 0 (for example 250ms, 5s or 1m30s)"

AT_LEAST, AT_MOST = "≥", "≤"
"""What stands before a figure of which only a lower, or an upper, bound is known."""
DASH = "–"
"""What stands for a figure that is not known yet."""


def _number(text: str, suffixes: dict[str, int], what: str, example: str) -> int:
    if text.lstrip().startswith("-"):
        raise ValueError(f"must not be negative (for example {example})")
    match = _NUMBER.fullmatch(text)
    if match is None or match[2] not in suffixes:
        raise ValueError(f"is not a {what} (for example {example})")
    value = Decimal(match[1].replace(",", "").replace("_", "")) * suffixes[match[2]]
    if value > _LARGEST:
        raise ValueError(f"is far too large (for example {example})")
    if value % 1:
        raise ValueError(f"is not a whole number (for example {example})")
    return int(value)


def parse_count(text: str) -> int:
    """Return the whole number in ``text`` (``"10k"`` is 10,000); raise ValueError with the reason."""
    return _number(text, _COUNT_SUFFIX, "number", "250 or 10k")


def parse_bytes(text: str) -> int:
    """Return the number of bytes in ``text`` (``"64K"`` is 65,536); raise ValueError with the reason."""
    return _number(text, _BYTE_SUFFIX, "size", "64, 64K or 1MiB")


def parse_duration(text: str) -> float:
    """Return the seconds in ``text`` (``"250ms"``, ``"1m30s"``, or a bare number of seconds).

    Raises ValueError with the reason.
    """
    text = text.strip()
    if text.startswith("-"):
        raise ValueError("must not be negative (for example 250ms, 5s or 1m30s)")
    try:
        seconds = float(text)
    except ValueError:
        pieces = list(_DURATION.finditer(text))
        if not pieces or "".join(piece[0] for piece in pieces) != text:
            raise ValueError("is not a duration (for example 250ms, 5s or 1m30s)") from None
        seconds = sum(
            float(piece[1].replace(",", "").replace("_", "")) * _DURATION_SUFFIX[piece[2]] for piece in pieces
        )
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("is not a duration (for example 250ms, 5s or 1m30s)")
    rounded = round(seconds, 12)
    if not rounded and _NOT_ZERO.search(_EXPONENT.sub("", text)):
        raise ValueError(TOO_SHORT)
    return rounded


def with_unit_of(text: str, standing: str) -> str:
    """Return a duration without a unit with that of ``standing``, a value as it is shown (``5 ms``).

    Raises ValueError with a question when that has none. Zero needs none.
    """
    bare = text.strip().replace(",", "").replace("_", "")
    try:
        is_bare = 0 < float(bare) < math.inf
    except ValueError:
        is_bare = False
    if not is_bare:
        return text
    unit = standing.rpartition(" ")[2]
    if unit not in _DURATION_SUFFIX or not unit:
        raise ValueError(f"{bare} s or {bare} ms? Type the unit too")
    return bare + unit


def _significant(value: float) -> str:
    """Return ``value`` (0 <= value < 1,000) with three significant digits."""
    if value >= 99.95:
        return f"{value:.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}"


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    for size, unit in steps[:-1]:
        if abs(value) >= size * 0.9995:
            return f"{_significant(value / size)} {unit}"
    size, unit = steps[-1]
    return f"{_significant(value / size)} {unit}"


def format_count(value: float | None) -> str:
    """Return a whole number with its thousands separated (``9,914``), or a dash for None."""
    return DASH if value is None or not math.isfinite(value) else f"{value:,.0f}"


def format_cores(taken: float | None, cores: float) -> str:
    """Return how many of so many cores are taken: ``1.7/2``, of a hundred and more in whole ones."""
    if taken is None or not math.isfinite(taken):
        return f"{DASH}/{cores:.0f}"
    return f"{taken:.1f}/{cores:.0f}" if cores < 100 else f"{taken:.0f}/{cores:.0f}"


def counted(count: float | None, noun: str) -> str:
    """Return a number of things in words: ``1 request``, ``2,000 requests``, ``– requests`` for None."""
    return f"{format_count(count)} {noun}" + ("" if count == 1 else "s")


def bounded(value: float, shown: str) -> str:
    """Return ``shown``, with a sign before it where ``value`` is but a bound: ``≥ 5.00 s``."""
    sign = AT_LEAST if isinstance(value, AtLeast) else AT_MOST if isinstance(value, AtMost) else ""
    return f"{sign} {shown}" if sign else shown


def format_bytes(value: float | None) -> str:
    """Return a byte count in decimal units (``647 kB``), or a dash for None."""
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) < 999.5:
        return f"{value:.0f} B"
    return _scaled(value, ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")))


def format_duration(seconds: float | None) -> str:
    """Return a latency or interval (``10.3 ms``, ``≥ 5.00 s``), or a dash for None."""
    if isinstance(seconds, AtLeast | AtMost):
        return bounded(seconds, format_duration(float(seconds)))
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds == 0:
        return "0 ms"
    if seconds >= 119.95:
        return format_elapsed(seconds)
    return _scaled(seconds, ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")))


def format_elapsed(seconds: float) -> str:
    """Return the time on a clock face: ``00:01:42``."""
    whole = max(0, int(seconds))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def format_age(seconds: float) -> str:
    """Return an age that is short and of even width: ``4.2 s``, ``1:42``, ``2:03:04``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def format_ratio(value: float | None) -> str:
    """Return a share as a percentage (0.62 -> ``62 %``), or a dash for None."""
    return DASH if value is None or not math.isfinite(value) else f"{value * 100:.0f} %"


def format_change(before: float | None, after: float | None) -> str:
    """Return the change from ``before`` to ``after`` in per cent, from tenfold on as ``×52``; or a dash.

    To or from a lower bound there is a change at least (``≥ +25 %``, ``≤ -50 %``), or none that is known.
    """
    if before is None or after is None or not before:
        return DASH
    between = change(before, after)
    if between is None:
        return DASH
    times = float(after) / float(before)
    return bounded(between, f"×{times:,.0f}" if times >= 10 else f"{(times - 1) * 100:+.0f} %")


def exact_bytes(value: int) -> str:
    """Return a byte count that :func:`parse_bytes` reads back to exactly ``value``."""
    for size, suffix in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if value and value % size == 0:
            return f"{value // size}{suffix}"
    return str(value)


def exact_duration(seconds: float) -> str:
    """Return a duration that :func:`parse_duration` reads back to ``seconds``."""
    for size, suffix in ((3600.0, "h"), (60.0, "m"), (1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        text = f"{round(seconds / size)}{suffix}"
        if seconds >= size and parse_duration(text) == seconds:
            return text
    return f"{seconds:.12f}".rstrip("0").rstrip(".") + "s"


def next_step(value: float, direction: int, smallest: float) -> float:
    """Return the neighbour of ``value`` on the 1-2-5 scale; ``smallest`` is the first one above zero."""
    if direction > 0:
        if value < smallest:
            return smallest
        exponent = math.floor(math.log10(value) + 1e-9)
        for mantissa in (1.0, 2.0, 5.0, 10.0):
            candidate = mantissa * 10.0**exponent
            if candidate > value * (1 + 1e-9):
                return round(candidate, 12)
    if value <= smallest:
        return 0
    exponent = math.floor(math.log10(value) + 1e-9)
    for mantissa in (5.0, 2.0, 1.0, 0.5):
        candidate = mantissa * 10.0**exponent
        if candidate < value * (1 - 1e-9):
            return round(max(candidate, smallest), 12)
    return smallest


_BYTE_UNITS = (
    (1 << 30, "GiB"),
    (10**9, "GB"),
    (1 << 20, "MiB"),
    (10**6, "MB"),
    (1 << 10, "KiB"),
    (10**3, "kB"),
)


def tidy_bytes(value: int) -> str:
    """Return a byte count as it was typed (``64 KiB``, ``1,500 B``), nothing rounded."""
    for size, unit in _BYTE_UNITS:
        if value >= size and value % size == 0:
            return f"{value // size:,} {unit}"
    return f"{value:,} B"


def tidy_duration(seconds: float) -> str:
    """Return a duration as it was typed (``250 ms``, ``1.5 min``), to six digits."""
    for size, unit in ((60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        text = f"{seconds / size:.6g}"
        # 100 s, not 1.66667 min.
        crooked = unit == "min" and seconds < 600 and len(text) > len("1.25")
        if seconds >= size * (1 - 1e-9) and not crooked:
            return f"{text} {unit}"
    return "0" if seconds == 0 else f"{seconds * 1e9:.6g} ns"
