"""A role that no part of the program knows of, and a child process that does."""

from __future__ import annotations

import sys

from sockscope.core.config.experiment import Experiment
from sockscope.core.connection import Address, format_address
from sockscope.core.events import CloseReason
from sockscope.core.roles import ROLE_NAMES, SWARM, RoleName
from sockscope.core.run.snapshot import RoleSnapshot, Totals
from sockscope.engine.placement import worker
from sockscope.engine.recorded_role import RecordedRole
from sockscope.engine.role import WHOLE, Assignment, Share
from sockscope.engine.roles import ROLE_KINDS, RoleKind

TALLY = "tally"


class Tally(RecordedRole):
    """Passes on the address that it is aimed at, and counts its assignments as reads."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(TALLY)
        self._address: Address = ("", 0)
        self._assignments = 0

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        self.recorder.number_as(share)
        self.recorder.on_error("the tally begins")
        return await self.apply(assignment)

    async def apply(self, assignment: Assignment) -> Address:
        self._address = assignment.address
        self._assignments += 1
        return self._address

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        self.recorder.on_error(f"the tally ends: {reason.value}")

    def own_figures(self) -> RoleSnapshot:
        return RoleSnapshot(TALLY, "tcp", format_address(self._address), Totals(reads=self._assignments), 0)

    @property
    def framing(self) -> str:
        return ""


def register() -> None:
    """Put the role into the tables, between the two that there are."""
    ROLE_NAMES[TALLY] = RoleName(TALLY, "tally", "t", "tally's side")  # type: ignore[index]
    swarm = ROLE_KINDS.pop(SWARM)
    ROLE_KINDS[TALLY] = RoleKind(TALLY, make=Tally, present=lambda _: True, aimed=True)
    ROLE_KINDS[SWARM] = swarm


def unregister() -> None:
    """Take it out again."""
    del ROLE_KINDS[TALLY]
    del ROLE_NAMES[TALLY]  # type: ignore[attr-defined]


if __name__ == "__main__":
    register()
    worker.main(int(sys.argv[1]))
