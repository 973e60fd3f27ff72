"""What every role keeps: a recorder, pages of it for readers, and the captures that are held for them."""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

from sockscope.core.connection import ConnectionView
from sockscope.core.run.client_states import ClientSample, RelayedSample, ServiceSample
from sockscope.core.run.lens import Hold
from sockscope.core.run.snapshot import Capture, Cursors, Relayed, RoleSnapshot, ServerSide
from sockscope.engine.captures import CaptureRing
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import Role
from sockscope.engine.standstill import LOOP_STANDSTILL
from sockscope.engine.tcp_looks import TcpLooks
from sockscope.engine.views import capture_of, connection_views, exchanges_of

_BUSY_TURNS = 100
"""Turns of the loop that are waited for one by one before the condition is polled less often."""


class RecordedRole(Role):
    """The half of a role that is the same for all of them.

    A subclass adds ``start``, ``apply`` and ``stop``, gives its own figures and its framing, and overrides
    what does not hold for it: by default a role makes no requests, accepts no connections, answers
    nothing, has no code of the user's, and closes no connection on request.
    """

    def __init__(self, name: str) -> None:
        self.recorder = Recorder(name)
        self._tcp_looks = TcpLooks(self.recorder, self.socket_of)
        self._held: CaptureRing | None = None

    @abstractmethod
    def own_figures(self) -> RoleSnapshot:
        """Return a snapshot of this moment with everything but what the recorder keeps for all roles."""

    @property
    @abstractmethod
    def framing(self) -> str:
        """The framing of what is captured now."""

    # Control.

    async def reload(self, number: int) -> str:
        """Return nothing: it has no code of the user's."""
        return ""

    def pause(self, paused: bool) -> None:
        """Expect no requests for now, or expect them again."""
        self.recorder.idle(paused)

    async def hold_connecting(self, held: bool) -> None:
        """Nothing to do: it makes no connections."""

    def refill(self, requests: int) -> None:
        """Nothing to do: it makes no requests."""

    def stall(self, seconds: float) -> None:
        """Hold up the loop, and with it whatever else runs there."""
        asyncio.get_running_loop().call_soon(LOOP_STANDSTILL.hold, seconds)

    @property
    def exhausted(self) -> bool:
        """Never: it has no budget of requests."""
        return False

    async def drain(self, grace_s: float) -> None:
        """Nothing to do: it accepts no connections."""

    # For readers.

    def ahead(self) -> Sequence[Callable[[], None]]:
        """Return the parts of the next snapshot that can be done before it, in other turns of the loop."""
        return self.recorder.fold, self._tcp_looks.look_ahead

    def snapshot(self, cursors: Cursors) -> RoleSnapshot:
        """Return the figures of this moment."""
        recorder = self.recorder
        recorder.fold()
        self._tcp_looks.look_around()
        now_s = perf_counter()
        events = recorder.events.since(cursors.events, cursors.most_events)
        captures = recorder.exchanges.since(cursors.exchanges, cursors.most_exchanges)
        query = cursors.connections
        views: tuple[ConnectionView, ...] = ()
        matching = 0
        if query is not None and query.role == recorder.role:
            views, matching = connection_views(recorder, query, now_s, self._tcp_looks.look_at)
        return replace(
            self.own_figures(),
            time_s=now_s,
            counts_frames=recorder.counts_frames,
            events=tuple(events.items),
            events_missed=events.missed,
            events_cursor=events.cursor,
            exchanges=exchanges_of(captures),
            exchanges_missed=captures.missed,
            exchanges_cursor=captures.cursor,
            captures_recorded=recorder.exchanges.recorded,
            captures_overwritten=recorder.exchanges.overwritten,
            last_conn_id=recorder.last_conn_id,
            handshake_time=recorder.handshake_time.copy(),
            jitter=recorder.jitter.copy(),
            tls=recorder.tls,
            tcp=self._tcp_looks.sample(),
            connections=views,
            connections_matching=matching,
            client_samples=self._client_samples(cursors, now_s),
            service_samples=self.service_samples(now_s) if cursors.clients and cursors.ends else (),
            relayed_samples=self.relayed_samples() if cursors.clients and cursors.ends else (),
        )

    def _client_samples(self, cursors: Cursors, now_s: float) -> tuple[ClientSample, ...]:
        samples = self.client_samples(now_s) if cursors.clients else ()
        return samples if cursors.ends else tuple(sample.bare() for sample in samples)

    def client_samples(self, now_s: float) -> tuple[ClientSample, ...]:
        """Return what its clients are doing: it has none."""
        return ()

    def service_samples(self, now_s: float) -> tuple[ServiceSample, ...]:
        """Return which connections it has accepted and serves: none."""
        return ()

    def relayed_samples(self) -> tuple[RelayedSample, ...]:
        """Return which connections it passes on: none."""
        return ()

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of a connection that the kernel is to be asked about, or None."""
        return None

    async def refresh(self) -> None:
        """Nothing to do: what runs here is known here."""

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment, or let them go."""
        if not held:
            self._held = None
        elif self._held is None:
            self.recorder.fold()
            self._held = self.recorder.exchanges.copy()

    def captures(self) -> CaptureRing:
        """Return the captures that readers may ask for: those that are held, or all up to this moment."""
        self.recorder.fold()
        return self._held or self.recorder.exchanges

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange as this role saw it, or None when it has been overwritten."""
        found = self.captures().get(record_id)
        return capture_of(record_id, found, self.framing) if found is not None else None

    async def count_held_up(self, hold: Hold) -> int:
        """Return how many exchanges waited for the end of a hold."""
        self.recorder.fold()
        return self.recorder.exchanges.count_held_up(hold)

    async def find_answer(self, seen_by_client: Capture) -> ServerSide | None:
        """Return None: it answers nothing."""
        return None

    async def find_relayed(self, seen_by_client: Capture) -> Relayed | None:
        """Return None: nothing goes through it."""
        return None

    async def close_connection(self, conn_id: int) -> bool:
        """Return False: by default no connection can be closed on request."""
        return False


async def until_closed(closed: Callable[[], bool], within_s: float) -> None:
    """Return when ``closed`` is true, after ``within_s`` at the latest.

    Closed connections are recorded late: aborted transports tell their protocols in the next turn of the
    loop, and threads end within a slice of their work.
    """
    deadline = perf_counter() + within_s
    turns = 0
    while not closed() and perf_counter() < deadline:
        await asyncio.sleep(0 if turns < _BUSY_TURNS else 0.002)
        turns += 1
