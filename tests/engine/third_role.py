"""A role that no part of the program knows of, and a child process that does."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from sockscope.core.addresses import Address, format_address
from sockscope.core.config.experiment import Experiment
from sockscope.core.events import CloseReason
from sockscope.core.roles import ROLE_NAMES, SWARM, RoleName
from sockscope.core.run.snapshot import RoleSnapshot, Totals
from sockscope.engine.placement import worker
from sockscope.engine.recorded_role import RecordedRole, until_closed
from sockscope.engine.role import WHOLE, Assignment, Share
from sockscope.engine.roles import ROLE_KINDS, RoleKind

PASSAGE = "passage"


class Passage(RecordedRole):
    """Listens at an address of its own and passes on what comes, both ways: clients connect to it.

    It counts its assignments as writes, and the bytes of both directions.
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(PASSAGE)
        self._target: Address = ("", 0)
        self._address: Address = ("", 0)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._assignments = self._opened = self._bytes_in = self._bytes_out = 0

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        self.recorder.number_as(share)
        self.recorder.on_error("the passage opens")
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self._address = host, port
        return await self.apply(assignment)

    async def apply(self, assignment: Assignment) -> Address:
        self._target = assignment.address
        self._assignments += 1
        return self._address

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        self._opened += 1
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._there(reader, far_writer), self._back(far_reader, writer))
        for end in (writer, far_writer):
            end.close()
            with contextlib.suppress(ConnectionError):
                await end.wait_closed()

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            self._bytes_in += len(data)
            writer.write(data)
        writer.write_eof()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            self._bytes_out += len(data)
            writer.write(data)
        writer.close()

    async def drain(self, grace_s: float) -> None:
        if self._server is not None:
            self._server.close()
        await until_closed(lambda: not self._open, grace_s)

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        await self.drain(grace_s)
        self.recorder.on_error(f"the passage closes: {reason.value}")

    def own_figures(self) -> RoleSnapshot:
        totals = Totals(
            writes=self._assignments,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            connections_opened=self._opened,
        )
        return RoleSnapshot(PASSAGE, "tcp", format_address(self._address), totals, len(self._open))

    @property
    def framing(self) -> str:
        return ""


def register() -> None:
    """Put the role into the tables, between the two that there are."""
    ROLE_NAMES[PASSAGE] = RoleName(PASSAGE, "passage", "p", "passage's side")  # type: ignore[index]
    swarm = ROLE_KINDS.pop(SWARM)
    ROLE_KINDS[PASSAGE] = RoleKind(PASSAGE, Passage, present=lambda *_: True, aimed=True, listens=True)
    ROLE_KINDS[SWARM] = swarm


def unregister() -> None:
    """Take it out again."""
    del ROLE_KINDS[PASSAGE]
    del ROLE_NAMES[PASSAGE]  # type: ignore[attr-defined]


if __name__ == "__main__":
    register()
    worker.main(int(sys.argv[1]))
