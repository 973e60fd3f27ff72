"""The server as a role: the endpoint in use, and those that are being drained after a change."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from time import perf_counter

from sockscope.core.addresses import Address, format_address
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.impairment.server import server_faults
from sockscope.core.roles import SERVER
from sockscope.core.run.client_states import ServiceSample
from sockscope.core.run.snapshot import Capture, RoleSnapshot, ServerSide
from sockscope.engine.os_errors import listen_error
from sockscope.engine.recorded_role import RecordedRole, until_closed
from sockscope.engine.role import DRAIN_S, WHOLE, Assignment, Share
from sockscope.engine.servers.asyncio.own_guard import OwnGuard
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.faults.faults import Faults
from sockscope.engine.servers.faults.refusing import refuse_faults
from sockscope.engine.servers.own_server import OWN_ENDPOINTS, OwnServer
from sockscope.engine.servers.registry import open_endpoint
from sockscope.engine.servers.service_sample import ServiceLooks
from sockscope.engine.servers.sync_tcp import SyncTcpEndpoint
from sockscope.engine.servers.sync_udp import SyncUdpEndpoint
from sockscope.engine.views import find_answer

CLOSE_S = 2.0
"""How long it may take until closed connections are recorded; threads need a moment to end."""


class Server(RecordedRole):
    """Serves one address at a time with the model that the tuning calls for."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(SERVER)
        self._looks = ServiceLooks()
        self._context = ServerContext(experiment, self.recorder, faults=Faults(experiment.seed))
        self._own: OwnServer | None = None
        self._guard: OwnGuard | None = None
        self._endpoint: Endpoint | None = None
        self._assignment: Assignment | None = None
        self._draining: dict[Endpoint, asyncio.Task[None]] = {}
        # With which tuning those that are being drained have served.
        self._served: dict[Endpoint, Tuning] = {}

    async def start(self, assignment: Assignment, share: Share = WHOLE) -> Address:
        """Listen; raises ListenError, and ConfigError when the user's own server will not do."""
        self.recorder.number_as(share)
        self._context.tls.certificate = assignment.certificate
        if self._context.experiment.own_server:
            await self._begin_own(assignment)
        else:
            self._endpoint = self._open(assignment)
        assert self._endpoint is not None
        self._assignment = assignment
        self.recorder.start()
        await self._context.faults.apply(server_faults(assignment.tuning), self)
        return self._endpoint.address

    async def _begin_own(self, assignment: Assignment) -> None:
        """Serve with the user's own code, when what it wants to be done before is done."""
        own = self._own = OwnServer(self._context.experiment, assignment.code)
        guard = self._guard = OwnGuard(own, self.recorder)
        guard.begin()
        try:
            await own.begin()
            self._refuse_faults(assignment.tuning)
            self._endpoint = self._open(assignment)
        except BaseException:
            await own.end()
            guard.end()
            raise

    async def apply(self, assignment: Assignment) -> Address:
        """Take over a tuning. New code, transport, family or model get a new endpoint; the old one drains."""
        endpoint, before = self._endpoint, self._assignment
        self._refuse_faults(assignment.tuning)
        self._context.tls.certificate = assignment.certificate
        assert endpoint is not None
        assert before is not None
        if _served_alike(before, assignment):
            await endpoint.apply(assignment.tuning, assignment.generation)
        else:
            self._endpoint = self._open(assignment)
            endpoint.drain()
            self._context.files.remove(keep=self._endpoint.address[0])
            self._draining[endpoint] = asyncio.create_task(self._finish(endpoint))
            self._served[endpoint] = before.tuning
        for old in list(self._draining):
            if (was := self._served.get(old)) is None:
                continue  # drained meanwhile
            await old.apply(
                replace(assignment.tuning, transport=was.transport, family=was.family, server=was.server),
                assignment.generation,
            )
        self._assignment = assignment
        await self._context.faults.apply(server_faults(assignment.tuning), self)
        return self._endpoint.address if self._endpoint else endpoint.address

    async def reload(self, number: int) -> str:
        """Read the user's own code anew; return what was edited."""
        return await self._own.reload(number) if self._own is not None else ""

    def _refuse_faults(self, tuning: Tuning) -> None:
        """Raise ConfigError for faults that the user's own server cannot have, as what it is."""
        if self._own is not None:
            refuse_faults(tuning.faults, self._own.name, self._own.form)

    def _open(self, assignment: Assignment) -> Endpoint:
        """Serve with the user's own server or the model that is called for.

        It goes on with the socket of an endpoint that has served the same address, if there is one. Raises
        ListenError and what else a model refuses.
        """
        files = self._context.files
        try:
            endpoint = self._opened(assignment)
        except BaseException as error:
            files.restore()
            if isinstance(error, OSError):
                # Without descriptors there is neither a duplicate of the socket nor what a model needs.
                raise listen_error(assignment.address, error) from error
            raise
        files.settle()
        return endpoint

    def _opened(self, assignment: Assignment) -> Endpoint:
        if self._own is not None:
            self._own.use(assignment.code)
        open_ = self._own.open if self._own is not None else open_endpoint
        for predecessor in self._predecessors(assignment.tuning):
            if (inheritance := predecessor.share()) is None:
                continue
            try:
                return open_(replace(self._context, inheritance=inheritance), assignment)
            except BaseException:
                inheritance.sock.close()
                predecessor.take_back()
                raise
        return open_(self._context, assignment)

    def _predecessors(self, tuning: Tuning) -> list[Endpoint]:
        """Return the endpoints whose address is that of ``tuning``."""
        # The file of a Unix socket that is being drained may be another's by now.
        served = dict(self._served) if tuning.family != "unix" else {}
        if self._endpoint is not None and self._assignment is not None:
            served[self._endpoint] = self._assignment.tuning
        place = (tuning.transport, tuning.family)
        return [endpoint for endpoint, was in served.items() if (was.transport, was.family) == place]

    async def _finish(self, endpoint: Endpoint) -> None:
        deadline = perf_counter() + DRAIN_S
        try:
            while not endpoint.drained and perf_counter() < deadline:
                await asyncio.sleep(0.05)
        finally:
            endpoint.close(CloseReason.REPLACED)
            await _closed([endpoint])
            self._draining.pop(endpoint, None)
            self._served.pop(endpoint, None)
            await self._end_code()

    async def _end_code(self) -> None:
        """End what code of the user's serves nobody any more."""
        if self._own is not None:
            await self._own.end_former({e.code for e in self._endpoints() if isinstance(e, OWN_ENDPOINTS)})

    def _endpoints(self) -> list[Endpoint]:
        return [*([self._endpoint] if self._endpoint else []), *self._draining]

    def socket_of(self, conn_id: int) -> socket.socket | None:
        """Return the socket of a connection, or None."""
        for endpoint in self._endpoints():
            if sock := endpoint.socket_of(conn_id):
                return sock
        return None

    def own_figures(self) -> RoleSnapshot:
        """Return the figures that only a server has."""
        recorder, now_s = self.recorder, perf_counter()
        totals, dropped, unread_bytes = recorder.totals(), recorder.dropped, 0
        for endpoint in self._endpoints():
            here = endpoint.sequence_counts()
            dropped += here.dropped
            unread_bytes += here.unread_bytes
            totals = replace(
                totals,
                datagrams_lost=totals.datagrams_lost + here.lost,
                datagrams_reordered=totals.datagrams_reordered + here.reordered,
                datagrams_duplicated=totals.datagrams_duplicated + here.duplicated,
            )
        # Whom the kernel has dropped from altogether is not known, and its numbers tell nothing.
        lost = max(totals.datagrams_lost, dropped)
        totals = replace(totals, datagrams_lost=lost, datagrams_dropped=dropped)
        return RoleSnapshot(
            role=recorder.role,
            transport=self._assignment.tuning.transport if self._assignment else "",
            address=format_address(self._endpoint.address) if self._endpoint else "",
            totals=totals,
            connections_open=len(recorder.live),
            unread_bytes=unread_bytes,
            draining=sum(endpoint.open_connections for endpoint in self._draining),
            backlog=self._endpoint.backlog if self._endpoint else 0,
            not_accepting=self._endpoint.not_accepting if self._endpoint else "",
            listen_drops=self._listen_drops(),
            connected_s=recorder.connected.total_s(now_s),
            unwritable_s=recorder.unwritable.total_s(now_s),
            limiter=self._context.admission.statistics(),
            socket_options=tuple(self._endpoint.socket_options()) if self._endpoint else (),
            last_trouble=self._own.last_trouble if self._own is not None else "",
            serves_as=self._own.form.value if self._own is not None and self._endpoint is not None else "",
            raised=self._own.raised.rows() if self._own is not None else self._context.faults.raised(),
            injected=self._context.faults.figures(),
        )

    def service_samples(self, now_s: float) -> tuple[ServiceSample, ...]:
        """Return which connections it has accepted, and with which it is busy."""
        return (self._looks.sample(self.recorder, self._endpoints(), now_s),)

    # For the faults that are made here.

    @property
    def serves_on_loop(self) -> bool:
        """Whether somebody is served on the event loop."""
        return not all(isinstance(e, SyncTcpEndpoint | SyncUdpEndpoint) for e in self._endpoints())

    def transports(self) -> Iterable[asyncio.Transport]:
        """Return the transports of the connections that are served on the loop."""
        return [transport for endpoint in self._endpoints() for transport in endpoint.transports()]

    def cancels(self) -> Iterable[Callable[[], object]]:
        """Return what cancels each handler that is a task."""
        return [cancel for endpoint in self._endpoints() for cancel in endpoint.cancels()]

    async def take_faults(self) -> None:
        """Serve requests by way of the faults while these strike, and else without them."""
        faults = self._context.faults
        self._context.standstill.strike_with(faults.strike_in_thread if faults.strikes_in_threads else None)
        for endpoint in self._endpoints():
            await endpoint.take_faults()

    def _listen_drops(self) -> int | None:
        """Return how many connections the kernel has dropped at the listeners of this server, if it tells."""
        known = [drops for endpoint in self._endpoints() if (drops := endpoint.listen_drops) is not None]
        ended = self.recorder.listen_drops
        return ended + sum(known) if known or ended else None

    @property
    def framing(self) -> str:
        """The framing of the tuning."""
        return self._assignment.tuning.framing if self._assignment is not None else ""

    async def find_answer(self, seen_by_client: Capture) -> ServerSide | None:
        """Return what this server saw of an exchange, if that is still here."""
        return find_answer(self.captures(), seen_by_client)

    async def close_connection(self, conn_id: int) -> bool:
        """Close one connection."""
        return any(e.close_connection(conn_id, CloseReason.CLOSED) for e in self._endpoints())

    def stall(self, seconds: float) -> None:
        """Stand still: the threads of models that serve in threads, for the others the loop."""
        if any(isinstance(e, SyncTcpEndpoint | SyncUdpEndpoint) for e in self._endpoints()):
            self._context.standstill.begin(seconds)
        if self.serves_on_loop:
            super().stall(seconds)

    async def drain(self, grace_s: float) -> None:
        """Accept nobody new; return when everybody is served, after ``grace_s`` seconds at the latest."""
        endpoints = self._endpoints()
        for endpoint in endpoints:
            endpoint.drain()
        self._context.files.remove()
        deadline = perf_counter() + grace_s
        while perf_counter() < deadline and not all(endpoint.drained for endpoint in endpoints):
            await asyncio.sleep(0.05)

    async def stop(self, grace_s: float, reason: CloseReason = CloseReason.STOPPED) -> None:
        """Stop accepting, answer what was asked, and close; after ``grace_s`` close what is left."""
        self._context.standstill.lift()
        await self._context.faults.end()
        endpoints = self._endpoints()
        finishing = list(self._draining.values())
        for task in finishing:
            task.cancel()
        if finishing:
            await asyncio.wait(finishing)
        for endpoint in endpoints:
            if self._context.experiment.role == SERVER:
                endpoint.finish(reason)
            else:
                # The swarm of this run has hung up already; its last bytes and goodbyes are on their way.
                endpoint.drain()
        deadline = perf_counter() + grace_s
        while perf_counter() < deadline and any(endpoint.owing for endpoint in endpoints):
            await asyncio.sleep(0.01)
        for endpoint in endpoints:
            endpoint.close(reason)
        self._context.files.remove()
        await _closed(endpoints)
        if self._own is not None:
            await self._own.end()
        if self._guard is not None:
            self._guard.end()
        self.recorder.stop()
        self.recorder.fold()
        self._endpoint = None


async def _closed(endpoints: Sequence[Endpoint]) -> None:
    """Return when the connections of closed endpoints are recorded as closed."""
    await until_closed(lambda: all(endpoint.drained for endpoint in endpoints), CLOSE_S)


def _served_alike(before: Assignment, after: Assignment) -> bool:
    if before.code != after.code:
        return False
    return (before.tuning.transport, before.tuning.family, before.tuning.server_model) == (
        after.tuning.transport,
        after.tuning.family,
        after.tuning.server_model,
    )
