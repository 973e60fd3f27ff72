"""One address at which a relay listens, and the way from there to where that leads."""

from __future__ import annotations

import asyncio
from time import perf_counter

from sockscope.core.addresses import Address, format_address
from sockscope.core.config.experiment import LOOPBACK, Experiment
from sockscope.core.config.taps import Lead
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.impairment.link import link_faults
from sockscope.core.roles import RELAY
from sockscope.core.run.relay import TapFigures
from sockscope.engine.addresses import targets_of
from sockscope.engine.recorder import Recorder
from sockscope.engine.relay.edges import Edges
from sockscope.engine.relay.passage import Common, Passage
from sockscope.engine.relay.tcp import TcpPassage
from sockscope.engine.relay.udp import UdpPassage
from sockscope.engine.role import DRAIN_S, Assignment

_PASSAGES: dict[str, type[TcpPassage | UdpPassage]] = {"tcp": TcpPassage, "udp": UdpPassage}
LATE_S = 0.25
"""How much longer than its timeout an answer over UDP may take until nobody waits for it any more."""


class Tap:
    """The passage in use, and those that are being drained after a change.

    Without a ``lead`` it listens where the experiment says and leads where the relay is aimed.
    """

    def __init__(
        self, experiment: Experiment, recorder: Recorder, edges: Edges | None, lead: Lead | None = None
    ) -> None:
        self.common = Common(experiment, recorder, edges)
        self.passage: Passage | None = None
        # What it listens for now: the transport, and the address that was asked for.
        self._wanted: tuple[str, Address] | None = None
        self._experiment = experiment
        self._lead = lead
        self._draining: dict[Passage, asyncio.Task[None]] = {}

    def take(self, assignment: Assignment) -> None:
        """Take over what is not of the link: where it leads, and how long something is waited for."""
        common, tuning, lead = self.common, assignment.tuning, self._lead
        common.generation = assignment.generation
        common.targets = lead.targets if lead else targets_of(self._experiment, assignment.address)
        common.connect_timeout_s = tuning.connect_timeout_s
        common.answer_s = tuning.request_timeout_s + LATE_S

    async def turn(self, tuning: Tuning) -> None:
        """Go over to the faults of a tuning, where they are others."""
        common = self.common
        found = [link_faults(tuning.faults, way.name, tuning.transport) for way in (common.up, common.down)]
        if found == [common.up.faults, common.down.faults]:
            return
        common.up.turn(found[0])
        common.down.turn(found[1])
        common.is_impaired = any(found)
        for passage in self.passages():
            await passage.turn()

    def listening(self, tuning: Tuning) -> Passage | None:
        """Return a passage that listens as the tuning says; None where the one in use does.

        Raises ListenError.
        """
        wanted = tuning.transport, self._address(tuning)
        if wanted == self._wanted:
            return None
        return _PASSAGES[tuning.transport](self.common, wanted[1], self._experiment.max_connections)

    def use(self, passage: Passage, tuning: Tuning, *, named: bool) -> None:
        """Go over to a passage, and let the one before drain."""
        before, self.passage = self.passage, passage
        self._wanted = tuning.transport, self._address(tuning)
        self.common.name = format_address(passage.address) if named else ""
        if before is not None:
            before.drain()
            self._draining[before] = asyncio.create_task(self._finish(before))

    def _address(self, tuning: Tuning) -> Address:
        if self._lead is not None:
            return self._lead.listen
        experiment, loopback = self._experiment, LOOPBACK[tuning.family]
        if experiment.role == RELAY:
            return experiment.bind or loopback, experiment.port
        return experiment.host or loopback, 0

    async def _finish(self, passage: Passage) -> None:
        try:
            await until_drained([passage], DRAIN_S)
        finally:
            passage.close(CloseReason.REPLACED)
            self._draining.pop(passage, None)

    def passages(self) -> list[Passage]:
        """Return them all."""
        return [*([self.passage] if self.passage is not None else []), *self._draining]

    @property
    def draining(self) -> int:
        """Connections that addresses which are no longer used still have."""
        return sum(passage.open_connections for passage in self._draining)

    async def settle(self) -> None:
        """Leave what is drained to whoever stops everything."""
        finishing = list(self._draining.values())
        for task in finishing:
            task.cancel()
        if finishing:
            await asyncio.wait(finishing)

    def close(self) -> None:
        """Watch nothing any more, when the passages are closed."""
        self.passage = None
        for direction in (self.common.up, self.common.down):
            # Streams have let go of theirs: these are datagrams that are due later.
            direction.undelivered += direction.held
            direction.held = direction.held_bytes = 0
        self.common.close()

    def figures(self, number: int) -> TapFigures | None:
        """Return what was overheard here, where that is done."""
        common, overheard = self.common, self.common.overheard
        if overheard is None:
            return None
        overheard.fold()
        return TapFigures(
            address=format_address(self.passage.address) if self.passage is not None else "",
            target=",".join(map(format_address, common.targets)),
            speaks=overheard.names,
            connections_open=sum(passage.open_connections for passage in self.passages()),
            connections_opened=common.opened,
            unreached=common.unreached,
            requests=overheard.requests,
            responses=overheard.responses,
            unanswered=overheard.without_answer,
            ended_by_silence=overheard.ended_by_silence,
            in_flight=overheard.under_way,
            bytes_in=common.up.bytes_in,
            bytes_out=common.down.bytes_out,
            service_time=overheard.service_time.copy(),
            number=number,
        )


async def until_drained(passages: list[Passage] | list[TcpPassage], within_s: float) -> None:
    """Return when nothing is on its way there any more, after ``within_s`` seconds at the latest."""
    deadline = perf_counter() + within_s
    while perf_counter() < deadline and not all(passage.drained for passage in passages):
        await asyncio.sleep(0.01)
