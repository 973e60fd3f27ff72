"""What the value of a fault is, and how that is read, written and turned."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import Enum

from sockscope.core import units


class Quantity(Enum):
    """What the value of a fault is; each is a number of the unit that its comment tells."""

    DURATION = "duration"  # seconds
    RATIO = "ratio"  # 0 to 1, written as a percentage
    RATE = "rate"  # bytes per second
    SIZE = "size"  # bytes
    COUNT = "count"
    PER_S = "per_s"  # events per second
    SWITCH = "switch"  # 1: a fault that has no value is on or not there


_STEPS = {Quantity.DURATION: 0.0001, Quantity.RATIO: 0.0001, Quantity.RATE: 1000}
"""The first value above zero that a key reaches, where it is not 1."""
_WHOLE = (Quantity.SIZE, Quantity.COUNT, Quantity.RATE, Quantity.PER_S)
_EXAMPLES = {
    Quantity.DURATION: "20ms",
    Quantity.RATIO: "2%",
    Quantity.RATE: "1MB/s or 10Mbit/s",
    Quantity.SIZE: "64 or 1K",
    Quantity.COUNT: "5",
    Quantity.PER_S: "100/s",
}
_BITS = (("Gbit", 10**9), ("Mbit", 10**6), ("kbit", 10**3), ("bit", 1))


def example_of(quantity: Quantity) -> str:
    """Return how a value is written; empty for a switch, which has none."""
    return _EXAMPLES.get(quantity, "")


def read_quantity(quantity: Quantity, text: str) -> float:
    """Return the number that ``text`` stands for; raises ValueError with the reason."""
    match quantity:
        case Quantity.DURATION:
            return units.parse_duration(text)
        case Quantity.RATIO:
            return _read_ratio(text)
        case Quantity.RATE:
            return _read_rate(text)
        case Quantity.SIZE:
            return units.parse_bytes(text)
        case Quantity.PER_S:
            return units.parse_count(text.strip().removesuffix("/s"))
        case _:
            return units.parse_count(text)


def _read_ratio(text: str) -> float:
    try:
        percent = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        percent = Decimal("NaN")
    if not percent.is_finite() or not text.strip().endswith("%") or percent.adjusted() > 9:
        raise ValueError("is not a percentage (for example 2% or 0.5%)")
    return float(percent / 100)


def _read_rate(text: str) -> float:
    bare = text.strip().removesuffix("/s").strip()
    for suffix, bits in _BITS:
        if bare.endswith(suffix):
            try:
                return float(Decimal(bare.removesuffix(suffix).strip()) * bits / 8)
            except InvalidOperation:
                break
    try:
        return units.parse_bytes(bare)
    except ValueError:
        raise ValueError("is not a rate (for example 1MB/s or 10Mbit/s)") from None


def exact_quantity(quantity: Quantity, value: float) -> str:
    """Return what :func:`read_quantity` reads back as ``value``."""
    match quantity:
        case Quantity.DURATION:
            return units.exact_duration(value) if value else "0s"
        case Quantity.RATIO:
            return f"{(Decimal(repr(value)) * 100).normalize():f}%"
        case Quantity.RATE:
            return f"{_exact_rate(value)}/s"
        case Quantity.SIZE:
            return units.exact_bytes(int(value))
        case Quantity.PER_S:
            return f"{int(value)}/s"
        case _:
            return str(int(value))


def _exact_rate(value: float) -> str:
    if value % 1:
        return f"{(Decimal(repr(value)) * 8).normalize():f}bit"
    for size, suffix in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if value % size == 0:
            return f"{value / size:.0f}{suffix}"
    return f"{value:.0f}B"


def format_quantity(quantity: Quantity, value: float) -> str:
    """Return a value for people (``20 ms``, ``2 %``); empty for a switch."""
    match quantity:
        case Quantity.DURATION:
            return units.tidy_duration(value)
        case Quantity.RATIO:
            return f"{value * 100:.6g} %"
        case Quantity.RATE:
            return f"{units.tidy_bytes(round(value))}/s"
        case Quantity.SIZE:
            return units.tidy_bytes(int(value))
        case Quantity.PER_S:
            return f"{value:,.0f}/s"
        case Quantity.SWITCH:
            return ""
        case Quantity.COUNT:
            return f"{value:,.0f}"


def next_quantity(quantity: Quantity, value: float, direction: int) -> float:
    """Return the neighbour of ``value`` on the 1-2-5 scale (``direction`` +1 or -1)."""
    if quantity is Quantity.SWITCH:
        return value
    stepped = units.next_step(value, direction, _STEPS.get(quantity, 1))
    return float(round(stepped)) if quantity in _WHOLE else stepped
