"""What the faults of a tuning make of one direction of the link."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockscope.core.impairment.fault import Fault
from sockscope.core.impairment.kinds import LINK, NORMAL

if TYPE_CHECKING:
    from sockscope.core.config.tuning import Tuning


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """The faults of one direction; one that has none is false.

    What is off is 0, or None where 0 is a value: the ages at which a connection is reset, half-closed or
    swallowed.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    jitter_shape: str = NORMAL
    rate_bytes_per_s: float = 0.0
    loss_ratio: float = 0.0
    loss_burst: float = 0.0
    duplicate_ratio: float = 0.0
    reorder_ratio: float = 0.0
    corrupt_ratio: float = 0.0
    slice_bytes: int = 0
    slice_gap_s: float = 0.0
    stall_s: float = 0.0
    reset_after_s: float | None = None
    half_close_after_s: float | None = None
    slow_close_s: float = 0.0
    black_hole_after_s: float | None = None
    refuse_ratio: float = 0.0

    def __bool__(self) -> bool:
        return self != NO_FAULTS


NO_FAULTS = LinkFaults()

_FIELDS = {
    "delay": "delay_s",
    "jitter": "jitter_s",
    "rate": "rate_bytes_per_s",
    "loss": "loss_ratio",
    "loss-burst": "loss_burst",
    "duplicate": "duplicate_ratio",
    "reorder": "reorder_ratio",
    "corrupt": "corrupt_ratio",
    "slice": "slice_bytes",
    "slice-gap": "slice_gap_s",
    "stall": "stall_s",
    "reset": "reset_after_s",
    "half-close": "half_close_after_s",
    "slow-close": "slow_close_s",
    "black-hole": "black_hole_after_s",
    "refuse": "refuse_ratio",
}
"""Where the value of each kind of fault goes."""


def link_faults(faults: Iterable[Fault], direction: str, transport: str) -> LinkFaults:
    """Return what ``faults`` do to data of ``transport`` that goes ``up`` or ``down``."""
    found: dict[str, float | str] = {}
    for fault in faults:
        kind = fault.about
        if kind.where == LINK and transport in kind.transports and fault.works(direction):
            value = fault.value
            found[_FIELDS[fault.kind]] = int(value) if fault.kind == "slice" else value
            if fault.kind == "jitter":
                found["jitter_shape"] = fault.shape or kind.shapes[0]
    return LinkFaults(**found)  # type: ignore[arg-type]


def needs_relay(tuning: Tuning) -> bool:
    """Tell whether a fault of the link is on, which a relay between clients and server makes."""
    return any(fault.about.where == LINK for fault in tuning.faults)
