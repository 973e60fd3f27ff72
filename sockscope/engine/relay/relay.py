"""The relay as a role: the passage in use, and those that are being drained after a change."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from time import perf_counter

from sockscope.core.addresses import Address, format_address, split_address
from sockscope.core.config.experiment import LOOPBACK, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.impairment.link import link_faults
from sockscope.core.roles import RELAY
from sockscope.core.run.client_states import RelayedSample
from sockscope.core.run.relay import RelayFigures
from sockscope.core.run.snapshot import Capture, Relayed, RoleSnapshot
from sockscope.engine.addresses import targets_of
from sockscope.engine.recorded_role import RecordedRole
from sockscope.engine.relay.overheard import QUIET_S, Overheard
from sockscope.engine.relay.passage import Common, Passage
from sockscope.engine.relay.tcp import TcpPassage
from sockscope.engine.relay.udp import UdpPassage
from sockscope.engine.role import DRAIN_S, WHOLE, Assignment, Share

_PASSAGES: dict[str, type[TcpPassage | UdpPassage]] = {"tcp": TcpPassage, "udp": UdpPassage}
LATE_S = 0.25
"""How much longer than its timeout an answer over UDP may take until nobody waits for it any more."""


class Relay(RecordedRole):
    """Listens at an address of its own, and passes on what comes to where it is aimed, both ways."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(RELAY)
        self._experiment = experiment
        common = self._common = Common(experiment, self.recorder)
        if common.overheard is None:
            self.recorder.count_no_frames()
        self._listening: asyncio.TimerHandle | None = None
        self._passage: Passage | None = None
        self._tuning: Tuning | None = None
        self._draining: dict[Passage, asyncio.Task[None]] = {}

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Listen; raises ListenError."""
        self.recorder.number_as(share)
        self._take(assignment)
        await self._turn(assignment.tuning)
        try:
            self._passage = self._open(assignment.tuning)
        except BaseException:
            self._common.close()
            raise
        self.recorder.start()
        if self._common.overheard is not None:
            self._overhear(self._common.overheard)
        return self._passage.address

    def _overhear(self, overheard: Overheard) -> None:
        """End answers that only silence ends, again and again."""
        overheard.look(perf_counter())
        self._listening = self._common.loop.call_later(QUIET_S / 2, self._overhear, overheard)

    async def apply(self, assignment: Assignment) -> Address:
        """Take over a tuning. Another transport or family gets an address of its own; the old one drains."""
        before, passage = self._tuning, self._passage
        assert before is not None
        assert passage is not None
        if (before.transport, before.family) != (assignment.tuning.transport, assignment.tuning.family):
            self._passage = self._open(assignment.tuning)
            passage.drain()
            self._draining[passage] = asyncio.create_task(self._finish(passage))
        self._take(assignment)
        await self._turn(assignment.tuning)
        return self._passage.address if self._passage is not None else passage.address

    def _take(self, assignment: Assignment) -> None:
        common, tuning = self._common, assignment.tuning
        self._tuning = tuning
        common.generation = assignment.generation
        common.targets = targets_of(self._experiment, assignment.address)
        common.connect_timeout_s = tuning.connect_timeout_s
        common.answer_s = tuning.request_timeout_s + LATE_S

    async def _turn(self, tuning: Tuning) -> None:
        """Go over to the faults of a tuning, where they are others."""
        common = self._common
        found = [link_faults(tuning.faults, way.name, tuning.transport) for way in (common.up, common.down)]
        if found == [common.up.faults, common.down.faults]:
            return
        common.up.turn(found[0])
        common.down.turn(found[1])
        common.is_impaired = any(found)
        for passage in self._passages():
            await passage.turn()

    def _open(self, tuning: Tuning) -> Passage:
        experiment = self._experiment
        address = LOOPBACK[tuning.family], 0
        if experiment.role == RELAY:
            address = experiment.bind or address[0], experiment.port
        return _PASSAGES[tuning.transport](self._common, address, self._experiment.max_connections)

    async def _finish(self, passage: Passage) -> None:
        try:
            await _until_drained([passage], DRAIN_S)
        finally:
            passage.close(CloseReason.REPLACED)
            self._draining.pop(passage, None)

    def _passages(self) -> list[Passage]:
        return [*([self._passage] if self._passage is not None else []), *self._draining]

    async def drain(self, grace_s: float) -> None:
        """Accept nobody new; return when nothing is on its way, after ``grace_s`` seconds at the latest."""
        passages = self._passages()
        for passage in passages:
            passage.drain()
        await _until_drained(passages, grace_s)

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Let what is on its way arrive for at most ``grace_s`` seconds, then close everything."""
        passages, finishing = self._passages(), list(self._draining.values())
        for task in finishing:
            task.cancel()
        if finishing:
            await asyncio.wait(finishing)
        # Clients have hung up by now; what they and the server have said last is on its way.
        for passage in passages:
            passage.drain()
        await _until_drained([p for p in passages if isinstance(p, TcpPassage)], grace_s)
        for passage in passages:
            passage.close(reason)
        self._passage = None
        for direction in (self._common.up, self._common.down):
            # Streams have let go of theirs: these are datagrams that are due later.
            direction.undelivered += direction.held
            direction.held = direction.held_bytes = 0
        if self._listening is not None:
            self._listening.cancel()
        self._common.close()
        self.recorder.stop()
        self.recorder.fold()

    # For readers.

    def own_figures(self) -> RoleSnapshot:
        """Return the figures that only a relay has."""
        recorder, common, now_s = self.recorder, self._common, perf_counter()
        unread_bytes = sum(passage.look_at_buffers() for passage in self._passages())
        up, down = common.up.passed(), common.down.passed()
        datagrams = self._tuning is not None and self._tuning.transport == "udp"
        totals = replace(
            recorder.totals(),
            datagrams_unsent=up.unsent + down.unsent if datagrams else 0,
            datagrams_dropped=up.dropped + down.dropped,
            datagrams_unread=up.unread + down.unread,
        )
        current, overheard = self._passage, common.overheard
        return RoleSnapshot(
            role=RELAY,
            transport=self._tuning.transport if self._tuning is not None else "",
            address=format_address(current.address) if current is not None else "",
            totals=totals,
            connections_open=len(recorder.live),
            draining=sum(passage.open_connections for passage in self._draining),
            unread_bytes=unread_bytes,
            not_accepting=current.not_accepting if current is not None else "",
            connected_s=recorder.connected.total_s(now_s),
            unwritable_s=recorder.unwritable.total_s(now_s),
            in_flight=overheard.under_way if overheard is not None else 0,
            serves_as=overheard.names if overheard is not None else "",
            service_time=recorder.service_time.copy(),
            response_time=recorder.response_time(),
            gaps=recorder.gaps.copy(),
            last_answer_s=recorder.last_answer_s,
            # The recorder calls it lateness: how late the relay is with what it passes on.
            relay=RelayFigures(up, down, recorder.schedule_lateness.copy()),
        )

    def relayed_samples(self) -> tuple[RelayedSample, ...]:
        """Return which connection to the server belongs to which client's."""
        found = [ends for passage in self._passages() for ends in passage.ends()]
        return (RelayedSample(*zip(*found, strict=True)),) if found else (RelayedSample(),)

    async def find_relayed(self, seen_by_client: Capture) -> Relayed | None:
        """Return the connection that an exchange went through, if it is still known."""
        seen, exchange = seen_by_client, seen_by_client.exchange
        if seen.remote_address not in [format_address(passage.address) for passage in self._passages()]:
            return None
        client = split_address(seen.local_address)
        newest: ConnectionRecord | None = None
        for record in self.recorder.records():
            if record.remote_address != client or record.transport != seen.transport:
                continue
            # An address may have been another client's before, or may be by now.
            if record.closed_s is not None and record.closed_s < exchange.time_s:
                continue
            if (
                exchange.service_time_s is not None
                and record.opened_s > exchange.time_s + exchange.service_time_s
            ):
                continue
            if newest is None or record.conn_id > newest.conn_id:
                newest = record
        if newest is None or (address := format_address(newest.local_address)) == seen.remote_address:
            return None  # or it has not reached the server
        return Relayed(newest.conn_id, address)

    @property
    def framing(self) -> str:
        """The framing of the tuning."""
        return self._tuning.framing if self._tuning is not None else ""

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of the client's side of a connection, or None."""
        return next((sock for p in self._passages() if (sock := p.socket_of(conn_id))), None)

    async def close_connection(self, conn_id: int) -> bool:
        """Close one connection on both sides."""
        return any(p.close_connection(conn_id, CloseReason.CLOSED) for p in self._passages())


async def _until_drained(passages: list[Passage] | list[TcpPassage], within_s: float) -> None:
    deadline = perf_counter() + within_s
    while perf_counter() < deadline and not all(passage.drained for passage in passages):
        await asyncio.sleep(0.01)
