"""The relay as a role: the addresses at which it listens, and what passes there."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from time import perf_counter

from sockscope.core.addresses import Address, format_address, split_address
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.roles import RELAY
from sockscope.core.run.adding import total
from sockscope.core.run.client_states import RelayedSample
from sockscope.core.run.relay import Passed, RelayFigures, TapFigures
from sockscope.core.run.snapshot import Capture, Relayed, RoleSnapshot
from sockscope.engine.recorded_role import RecordedRole
from sockscope.engine.relay.edges import Edges
from sockscope.engine.relay.overheard import QUIET_S
from sockscope.engine.relay.passage import Passage
from sockscope.engine.relay.tap import Tap, until_drained
from sockscope.engine.relay.tcp import TcpPassage
from sockscope.engine.role import WHOLE, Assignment, Share
from sockscope.engine.views import capture_of


class Relay(RecordedRole):
    """Listens at an address of its own, and passes on what comes to where it is aimed, both ways.

    Alone it may listen at several, each of which leads somewhere else.
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(RELAY)
        self._experiment = experiment
        self._edges = Edges() if experiment.role == RELAY else None
        if self._edges is None:
            self.recorder.count_no_frames()
        leads = [None, *experiment.leads] if experiment.role == RELAY else [None]
        self._taps = [Tap(experiment, self.recorder, self._edges, lead) for lead in leads]
        self._listening: asyncio.TimerHandle | None = None
        self._tuning: Tuning | None = None

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Listen; raises ListenError."""
        self.recorder.number_as(share)
        await self._take(assignment)
        try:
            self._listen(assignment.tuning)
        except BaseException:
            for tap in self._taps:
                tap.common.close()
            raise
        self.recorder.start()
        if self._edges is not None:
            self._overhear()
        return self._address

    def _overhear(self) -> None:
        """End answers that only silence ends, again and again."""
        now_s = perf_counter()
        for tap in self._taps:
            if tap.common.overheard is not None:
                tap.common.overheard.look(now_s)
        self._listening = asyncio.get_running_loop().call_later(QUIET_S / 2, self._overhear)

    async def apply(self, assignment: Assignment) -> Address:
        """Take over a tuning. Another transport or family gets an address of its own; the old one drains."""
        before = self._tuning
        assert before is not None
        if (before.transport, before.family) != (assignment.tuning.transport, assignment.tuning.family):
            self._listen(assignment.tuning)
        await self._take(assignment)
        return self._address

    def _listen(self, tuning: Tuning) -> None:
        """Listen at every address, or leave all as they are; raises ListenError."""
        opened: list[tuple[Tap, Passage]] = []
        try:
            for tap in self._taps:
                if (passage := tap.listening(tuning)) is not None:
                    opened.append((tap, passage))
        except BaseException:
            for _, passage in opened:
                passage.close(CloseReason.STOPPED)
            raise
        for tap, passage in opened:
            tap.use(passage, tuning, named=len(self._taps) > 1)

    async def _take(self, assignment: Assignment) -> None:
        self._tuning = assignment.tuning
        for tap in self._taps:
            tap.take(assignment)
            await tap.turn(assignment.tuning)

    @property
    def _address(self) -> Address:
        passage = self._taps[0].passage
        assert passage is not None
        return passage.address

    def _passages(self) -> list[Passage]:
        return [passage for tap in self._taps for passage in tap.passages()]

    async def drain(self, grace_s: float) -> None:
        """Accept nobody new; return when nothing is on its way, after ``grace_s`` seconds at the latest."""
        passages = self._passages()
        for passage in passages:
            passage.drain()
        await until_drained(passages, grace_s)

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Let what is on its way arrive for at most ``grace_s`` seconds, then close everything."""
        passages = self._passages()
        for tap in self._taps:
            await tap.settle()
        # Clients have hung up by now; what they and the server have said last is on its way.
        for passage in passages:
            passage.drain()
        await until_drained([p for p in passages if isinstance(p, TcpPassage)], grace_s)
        for passage in passages:
            passage.close(reason)
        for tap in self._taps:
            tap.close()
        if self._listening is not None:
            self._listening.cancel()
        self.recorder.stop()
        self.recorder.fold()

    # For readers.

    def own_figures(self) -> RoleSnapshot:
        """Return the figures that only a relay has."""
        recorder, now_s = self.recorder, perf_counter()
        unread_bytes = sum(passage.look_at_buffers() for passage in self._passages())
        up, down = self._passed()
        datagrams = self._tuning is not None and self._tuning.transport == "udp"
        totals = replace(
            recorder.totals(),
            datagrams_unsent=up.unsent + down.unsent if datagrams else 0,
            datagrams_dropped=up.dropped + down.dropped,
            datagrams_unread=up.unread + down.unread,
        )
        current, taps = self._taps[0].passage, self._tap_figures()
        return RoleSnapshot(
            role=RELAY,
            transport=self._tuning.transport if self._tuning is not None else "",
            address=format_address(current.address) if current is not None else "",
            totals=totals,
            connections_open=len(recorder.live),
            draining=sum(tap.draining for tap in self._taps),
            unread_bytes=unread_bytes,
            not_accepting=next(filter(None, (p.not_accepting for p in self._passages())), ""),
            connected_s=recorder.connected.total_s(now_s),
            unwritable_s=recorder.unwritable.total_s(now_s),
            in_flight=sum(tap.in_flight for tap in taps),
            serves_as=", ".join(dict.fromkeys(tap.speaks for tap in taps if tap.speaks)),
            service_time=recorder.service_time.copy(),
            response_time=recorder.response_time(),
            gaps=recorder.gaps.copy(),
            last_answer_s=recorder.last_answer_s,
            # The recorder calls it lateness: how late the relay is with what it passes on.
            relay=RelayFigures(up, down, recorder.schedule_lateness.copy(), taps),
        )

    def _passed(self) -> tuple[Passed, Passed]:
        """Return what has passed up and down, of all addresses together."""
        commons = [tap.common for tap in self._taps]
        return total([one.up.passed() for one in commons]), total([one.down.passed() for one in commons])

    def _tap_figures(self) -> tuple[TapFigures, ...]:
        found = (tap.figures(number) for number, tap in enumerate(self._taps))
        return tuple(figures for figures in found if figures is not None)

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange, with the moments at which it was read and passed back."""
        found = self.captures().get(record_id)
        if found is None or self._edges is None:
            return await super().capture(record_id)
        passing = self._edges.of(record_id - self.recorder.exchanges.first)
        return replace(capture_of(record_id, found, found[2].speaks), passing=passing)

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
