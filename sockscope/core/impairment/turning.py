"""What keys make of the faults that are on: switched on and off, turned, sent the other way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sockscope.core.impairment.fault import BOTH, DIRECTIONS, Fault, default_of
from sockscope.core.impairment.kinds import FAULTS, FaultKind
from sockscope.core.impairment.quantity import next_quantity

Faults = tuple[Fault, ...]


def toggled(on: Sequence[Fault], kind: FaultKind) -> Faults:
    """Return the faults with this kind switched on, as one key press makes it, or off.

    One that modifies another brings that along where it is lacking (:func:`brought_along`), and goes with it.
    """
    if any(fault.kind == kind.name for fault in on):
        return tuple(fault for fault in on if kind.name not in (fault.kind, fault.about.modifies))
    base = brought_along(on, kind)
    direction = next((fault.direction for fault in on if fault.kind == kind.modifies), BOTH)
    return (*on, *base, default_of(kind, direction))


def brought_along(on: Sequence[Fault], kind: FaultKind) -> Faults:
    """Return what is to be switched on with this kind, which means nothing without it."""
    if not kind.modifies or any(fault.kind == kind.modifies for fault in on):
        return ()
    return (default_of(FAULTS[kind.modifies]),)


def stepped(on: Sequence[Fault], kind: FaultKind, way: int, *, coarse: bool = False) -> Faults:
    """Return the faults with the value of this kind a step up (1) or down (-1), or a decade, in its range.

    One that is off is switched on.
    """
    if not any(fault.kind == kind.name for fault in on):
        return toggled(on, kind)
    return tuple(_turned(fault, way, coarse) if fault.kind == kind.name else fault for fault in on)


def _turned(fault: Fault, way: int, coarse: bool) -> Fault:
    kind, value = fault.about, fault.value
    for _ in range(3 if coarse else 1):
        value = next_quantity(kind.quantity, value, way)
    return replace(fault, value=min(max(value, kind.low), kind.high))


def redirected(on: Sequence[Fault], kind: FaultKind) -> Faults:
    """Return the faults with this kind in the next direction: both, up, down; of two values one is left.

    What it modifies, or is modified by, goes the same way: one without the other means nothing.
    """
    first = next((fault for fault in on if fault.kind == kind.name), None)
    if first is None or not kind.directed:
        return tuple(on)
    direction = DIRECTIONS[(DIRECTIONS.index(first.direction) + 1) % len(DIRECTIONS)]
    bound = {
        kind.name,
        kind.modifies,
        *(other.name for other in FAULTS.values() if other.modifies == kind.name),
    }
    found: dict[str, Fault] = {}
    for fault in on:
        if fault.kind in bound:
            found.setdefault(fault.kind, replace(fault, direction=direction))
    return (*(fault for fault in on if fault.kind not in bound), *found.values())


def reshaped(on: Sequence[Fault], kind: FaultKind) -> Faults:
    """Return the faults with this kind drawn at random in its next shape."""
    return tuple(_reshaped(fault) if fault.kind == kind.name and kind.shapes else fault for fault in on)


def _reshaped(fault: Fault) -> Fault:
    shapes = ("", *fault.about.shapes[1:])
    return replace(fault, shape=shapes[(shapes.index(fault.shape) + 1) % len(shapes)])


def for_transport(on: Iterable[Fault], transport: str) -> Faults:
    """Return those of the faults that are for this transport."""
    return tuple(fault for fault in on if transport in fault.about.transports)


def changes(before: Sequence[Fault], after: Sequence[Fault]) -> str:
    """Return in words what has changed: ``fault loss 2 % up on, fault delay 20 ms off``."""
    told = []
    for name in FAULTS:
        old = [fault for fault in before if fault.kind == name]
        new = [fault for fault in after if fault.kind == name]
        if old == new:
            continue
        if len(old) == len(new) == 1:
            value = str(new[0]).removeprefix(f"{name} ")
            told.append(f"fault {old[0]} → {value}")
            continue
        told += [f"fault {fault} off" for fault in old if fault not in new]
        told += [f"fault {fault} on" for fault in new if fault not in old]
    return ", ".join(told)
