"""What the faults of a tuning make of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockscope.core.config.tuning import Tuning


@dataclass(frozen=True, slots=True)
class ServerFaults:
    """The faults in the server; one without any is false. What is off is 0 or False.

    Each is described by the sentence of its kind (:mod:`sockscope.core.impairment.kinds`).
    """

    block_s: float = 0.0
    cpu_s: float = 0.0
    exception_ratio: float = 0.0
    no_drain: bool = False
    cancel_storm_per_s: float = 0.0
    task_leak_per_s: float = 0.0
    descriptor_leak_per_s: float = 0.0
    full_executor: bool = False
    swallow_cancel: bool = False

    def __bool__(self) -> bool:
        return self != NO_SERVER_FAULTS


NO_SERVER_FAULTS = ServerFaults()


def server_faults(tuning: Tuning) -> ServerFaults:
    """Return the faults that ``tuning`` makes in the server."""
    on = {fault.kind: fault.value for fault in tuning.faults}
    return ServerFaults(
        block_s=on.get("block", 0.0),
        cpu_s=on.get("cpu", 0.0),
        exception_ratio=on.get("exception", 0.0),
        no_drain="no-drain" in on,
        cancel_storm_per_s=on.get("cancel-storm", 0.0),
        task_leak_per_s=on.get("task-leak", 0.0),
        descriptor_leak_per_s=on.get("descriptor-leak", 0.0),
        full_executor="full-executor" in on,
        swallow_cancel="swallow-cancel" in on,
    )
