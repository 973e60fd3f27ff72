"""Faults drawn at random for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from sockscope.core.impairment.fault import DIRECTIONS, Fault, text_of
from sockscope.core.impairment.kinds import FAULTS, FaultKind
from sockscope.core.impairment.quantity import Quantity

_WHOLE = (Quantity.SIZE, Quantity.COUNT, Quantity.PER_S, Quantity.RATE, Quantity.SWITCH)


def values_of(kind: FaultKind) -> st.SearchStrategy[float]:
    if kind.quantity in _WHOLE:
        return st.integers(int(kind.low), int(kind.high)).map(float)
    # As many digits as the screen shows, and as a duration has.
    shown = st.floats(kind.low, kind.high).map(lambda value: round(float(f"{value:.6g}"), 12))
    return shown.map(lambda value: max(kind.low, value))


@st.composite
def fault(draw: st.DrawFn, kind: FaultKind) -> Fault:
    return Fault(
        kind.name,
        draw(values_of(kind)),
        draw(st.sampled_from(DIRECTIONS)) if kind.directed else DIRECTIONS[0],
        draw(st.sampled_from(("", *kind.shapes[1:]))),
    )


def faults() -> st.SearchStrategy[tuple[Fault, ...]]:
    """Return some faults, each of another kind."""
    names = st.sets(st.sampled_from(list(FAULTS)), max_size=6)
    return names.flatmap(lambda some: st.tuples(*(fault(kind) for n, kind in FAULTS.items() if n in some)))


def texts() -> st.SearchStrategy[str]:
    return faults().map(text_of)
