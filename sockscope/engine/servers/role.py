"""The server as a role: the endpoint in use, and those that are being drained after a change."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from time import perf_counter

from sockscope.core.connection import Address, format_address
from sockscope.core.events import CloseReason
from sockscope.core.experiment import Experiment, Tuning
from sockscope.core.snapshot import Capture, Cursors, RoleSnapshot, ServerSide
from sockscope.engine.recorder import CaptureRing, Recorder
from sockscope.engine.role import WHOLE, Assignment, Share
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.own import OwnServer
from sockscope.engine.servers.registry import model_for
from sockscope.engine.servers.udp_datagram import UdpEndpoint
from sockscope.engine.views import capture_of, connection_views, exchanges_of, find_answer

DRAIN_S = 5.0
"""How long connections of an endpoint that is no longer used may go on."""


class Server:
    """Serves one address at a time with the model that the tuning's transport calls for."""

    def __init__(self, experiment: Experiment) -> None:
        self._recorder = Recorder("server")
        self._context = ServerContext(experiment, self._recorder)
        self._own: OwnServer | None = None
        self._endpoint: Endpoint | None = None
        self._assignment: Assignment | None = None
        self._draining: dict[Endpoint, asyncio.Task[None]] = {}
        self._held: CaptureRing | None = None

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Listen; raises ListenError, and ConfigError when the user's own server will not do."""
        self._recorder.number_as(share)
        if self._context.experiment.own_server:
            self._own = OwnServer(self._context.experiment)
        self._endpoint = self._open(assignment)
        self._assignment = assignment
        self._recorder.start()
        return self._endpoint.address

    def _open(self, assignment: Assignment, before: Endpoint | None = None) -> Endpoint:
        """Serve with the user's own server or the model that is called for.

        It goes on with the listener of the endpoint ``before``, if there is one.
        """
        server = self._own or model_for(assignment.tuning.transport, assignment.tuning.server)
        listener = before.listener() if before is not None else None
        return server.open(replace(self._context, listener=listener), assignment)

    async def apply(self, assignment: Assignment) -> Address:
        """Take over a tuning. A new transport, family or model gets a new endpoint; the old one drains.

        A new model of the same transport and family takes over the listening socket.
        """
        endpoint, before = self._endpoint, self._assignment
        assert endpoint is not None
        assert before is not None
        if _same_place(before.tuning, assignment.tuning):
            endpoint.apply(assignment.tuning, assignment.generation)
        else:
            same_address = _address(before.tuning) == _address(assignment.tuning)
            self._endpoint = self._open(assignment, endpoint if same_address else None)
            endpoint.drain()
            self._draining[endpoint] = asyncio.create_task(self._finish(endpoint))
        for old in self._draining:
            old.apply(
                replace(assignment.tuning, transport=before.tuning.transport, family=before.tuning.family),
                assignment.generation,
            )
        self._assignment = assignment
        return self._endpoint.address if self._endpoint else endpoint.address

    async def _finish(self, endpoint: Endpoint) -> None:
        deadline = perf_counter() + DRAIN_S
        try:
            while not endpoint.drained and perf_counter() < deadline:
                await asyncio.sleep(0.05)
        finally:
            endpoint.close(CloseReason.ROLLED)
            self._draining.pop(endpoint, None)

    def pause(self, paused: bool) -> None:
        """Nothing to do: who asks nothing is served nothing."""

    def give_way(self, wanted: bool) -> None:
        """Nothing to do: the fewer requests come in a turn, the sooner it ends."""

    def refill(self, requests: int) -> None:
        """Nothing to do: a server makes no requests."""

    @property
    def exhausted(self) -> bool:
        """A server is never done."""
        return False

    def _endpoints(self) -> list[Endpoint]:
        return [*([self._endpoint] if self._endpoint else []), *self._draining]

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of a connection, or None."""
        for endpoint in self._endpoints():
            if sock := endpoint.socket_of(conn_id):
                return sock
        return None

    def snapshot(self, cursors: Cursors) -> RoleSnapshot:
        """Return the figures of this moment."""
        recorder = self._recorder
        recorder.fold()
        now_s = perf_counter()
        events = recorder.events.since(cursors.events, cursors.most_events)
        captures = recorder.exchanges.since(cursors.exchanges, cursors.most_exchanges)
        totals = recorder.totals()
        for endpoint in self._endpoints():
            if isinstance(endpoint, UdpEndpoint):
                lost, reordered, duplicated = endpoint.sequence_counts()
                totals = replace(
                    totals,
                    datagrams_lost=totals.datagrams_lost + lost,
                    datagrams_reordered=totals.datagrams_reordered + reordered,
                    datagrams_duplicated=totals.datagrams_duplicated + duplicated,
                )
        views, matching = (), 0
        if cursors.connections is not None and cursors.connections.role == "server":
            views, matching = connection_views(recorder, cursors.connections, now_s, self.socket_of)  # type: ignore[assignment]
        return RoleSnapshot(
            role="server",
            transport=self._assignment.tuning.transport if self._assignment else "",
            address=format_address(self._endpoint.address) if self._endpoint else "",
            time_s=now_s,
            totals=totals,
            counts_frames=recorder.counts_frames,
            connections_open=len(recorder.live),
            draining=sum(endpoint.open_connections for endpoint in self._draining),
            limiter=self._context.admission.statistics(),
            socket_options=tuple(self._endpoint.socket_options()) if self._endpoint else (),
            events=tuple(events.items),
            events_missed=events.missed,
            events_cursor=events.cursor,
            exchanges=exchanges_of(captures),
            exchanges_missed=captures.missed,
            exchanges_cursor=captures.cursor,
            captures_recorded=recorder.exchanges.recorded,
            captures_overwritten=recorder.exchanges.overwritten,
            last_conn_id=recorder.last_conn_id,
            connections=views,
            connections_matching=matching,
            last_trouble=self._own.last_trouble if self._own is not None else "",
        )

    async def refresh(self) -> None:
        """Nothing to do: what runs here is known here."""

    def hold(self, held: bool) -> None:
        """Keep the captures of this moment, or let them go."""
        if not held:
            self._held = None
        elif self._held is None:
            self._recorder.fold()
            self._held = self._recorder.exchanges.copy()

    async def capture(self, record_id: int) -> Capture | None:
        """Return one exchange as the server saw it."""
        self._recorder.fold()
        found = (self._held or self._recorder.exchanges).get(record_id)
        if found is None or self._assignment is None:
            return None
        return capture_of(record_id, found, self._assignment.tuning.framing)

    async def find_answer(self, seen_by_client: Capture) -> ServerSide | None:
        """Return what this server saw of an exchange, if that is still here."""
        self._recorder.fold()
        return find_answer(self._held or self._recorder.exchanges, seen_by_client)

    async def close_connection(self, conn_id: int) -> bool:
        """Close one connection."""
        return any(e.close_connection(conn_id, CloseReason.CLOSED) for e in self._endpoints())

    async def drain(self, grace_s: float) -> None:
        """Accept nobody new; return when everybody is served, after ``grace_s`` seconds at the latest."""
        endpoints = self._endpoints()
        for endpoint in endpoints:
            endpoint.drain()
        deadline = perf_counter() + grace_s
        while perf_counter() < deadline and not all(endpoint.drained for endpoint in endpoints):
            await asyncio.sleep(0.05)

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Stop accepting, answer what was asked, and close; after ``grace_s`` close what is left."""
        endpoints = self._endpoints()
        finishing = list(self._draining.values())
        for task in finishing:
            task.cancel()
        if finishing:
            await asyncio.wait(finishing)
        for endpoint in endpoints:
            if self._context.experiment.role == "server":
                endpoint.finish(reason)
            else:
                # The swarm of this run has hung up already; its last bytes and goodbyes are on their way.
                endpoint.drain()
        deadline = perf_counter() + grace_s
        while perf_counter() < deadline and any(
            not e.drained for e in endpoints if not isinstance(e, UdpEndpoint)
        ):
            await asyncio.sleep(0.01)
        for endpoint in endpoints:
            endpoint.close(reason)
        self._recorder.stop()
        # Aborted transports tell their protocols in the next turn of the loop; the books close there.
        for _ in range(100):
            if all(endpoint.drained for endpoint in endpoints):
                break
            await asyncio.sleep(0)
        self._endpoint = None


def _same_place(before: Tuning, after: Tuning) -> bool:
    return (_address(before), before.server_model) == (_address(after), after.server_model)


def _address(tuning: Tuning) -> tuple[str, str]:
    return tuning.transport, tuning.family
