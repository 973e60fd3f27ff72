"""The server models by transport and name, and what of the tuning each of them knows."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from sockscope.core.config.applicability import without_effect
from sockscope.core.config.experiment import DEFAULT_SERVERS, SERVERS_OF, Experiment, Tuning
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.buffered import BufferedEndpoint
from sockscope.engine.servers.asyncio.datagram import UdpEndpoint
from sockscope.engine.servers.asyncio.protocol import open_protocol
from sockscope.engine.servers.asyncio.streams import open_streams
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.selectors.loop import FD_SETSIZE
from sockscope.engine.servers.selectors.tcp import SelectorEndpoint
from sockscope.engine.servers.selectors.udp import SelectorUdpEndpoint
from sockscope.engine.servers.threads.blocking import BlockingEndpoint
from sockscope.engine.servers.threads.pool import POOL_THREADS, PoolEndpoint
from sockscope.engine.servers.threads.threaded import ThreadedEndpoint
from sockscope.engine.servers.threads.udp_blocking import BlockingUdpEndpoint
from sockscope.engine.servers.threads.udp_threaded import UDP_THREADS, ThreadedUdpEndpoint
from sockscope.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ServerModel:
    """One way to write a server.

    ``open`` binds and serves, or raises ListenError. ``lacks`` says why this platform has not got the model
    (empty: it is here). ``ignores`` are the keys of fields that mean nothing to this model, ``ignores_on``
    those that mean nothing to it on one event loop. ``threaded`` models serve in threads of their own and
    leave the event loop alone. ``at_once`` is how many connections the model serves at a time (0: all of
    them); who comes then waits in the backlog.
    """

    name: str
    transport: str
    summary: str
    open: Callable[[ServerContext, Assignment], Endpoint]
    ignores: frozenset[str] = frozenset()
    ignores_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    threaded: bool = False
    lacks: str = ""
    at_once: int = 0

    def ignored(self, loop: str) -> frozenset[str]:
        """Return the keys of fields that mean nothing to this model on ``uvloop`` or ``asyncio``."""
        return self.ignores | self.ignores_on.get(loop, frozenset())


_UDP_IGNORES = frozenset({"framing", "no_delay", "backlog", "reuse_address"})
_SYNC_IGNORES = frozenset({"server_permits"})

Open = Callable[[ServerContext, Assignment], Endpoint]


def _in_threads(transport: str, name: str, summary: str, open: Open, at_once: int = 0) -> ServerModel:
    ignores = _SYNC_IGNORES | _UDP_IGNORES if transport == "udp" else _SYNC_IGNORES
    return ServerModel(name, transport, summary, open, ignores, threaded=True, at_once=at_once)


def _selector(transport: str, name: str, summary: str) -> ServerModel:
    """Return the model of a non-blocking loop over one of the mechanisms of :mod:`selectors`."""
    mechanism = getattr(selectors, f"{name.capitalize()}Selector", None)
    if mechanism is None:
        absent = _in_threads(transport, name, summary, _absent)
        return replace(absent, lacks=f"this system has no {name}")
    endpoint = SelectorEndpoint if transport == "tcp" else SelectorUdpEndpoint
    return _in_threads(transport, name, summary, partial(endpoint, mechanism))


def _absent(context: ServerContext, assignment: Assignment) -> Endpoint:
    raise ConfigError.of("server", assignment.tuning.server, "this system does not have it")


ALL_MODELS: tuple[ServerModel, ...] = (
    _in_threads(
        "tcp", "blocking", "one connection at a time on a blocking socket", BlockingEndpoint, at_once=1
    ),
    _in_threads("tcp", "threaded", "a thread for each connection", ThreadedEndpoint),
    _in_threads(
        "tcp", "pool", f"{POOL_THREADS} threads, each with one connection at a time",
        PoolEndpoint, at_once=POOL_THREADS,
    ),
    _selector("tcp", "select", f"one thread and select(2), for descriptors below {FD_SETSIZE:,}"),
    _selector("tcp", "poll", "one thread and poll(2)"),
    _selector("tcp", "epoll", "one thread and epoll(7)"),
    _selector("tcp", "kqueue", "one thread and kqueue(2)"),
    ServerModel("streams", "tcp", "a coroutine per connection, StreamReader and StreamWriter", open_streams),
    ServerModel(
        "protocol", "tcp", "an asyncio Protocol per connection", open_protocol,
        ignores_on={"uvloop": frozenset({"read_bytes"})},
    ),
    ServerModel("buffered", "tcp", "an asyncio BufferedProtocol, reads into one buffer", BufferedEndpoint),
    _in_threads("udp", "blocking", "one socket, one thread, one datagram at a time", BlockingUdpEndpoint),
    _in_threads("udp", "threaded", f"{UDP_THREADS} threads take turns at one socket", ThreadedUdpEndpoint),
    _selector("udp", "epoll", "one thread, one non-blocking socket and epoll(7)"),
    ServerModel(
        "datagram", "udp", "one UDP socket read with add_reader", UdpEndpoint,
        ignores=_UDP_IGNORES,
    ),
)  # fmt: skip

SERVER_MODELS: tuple[ServerModel, ...] = tuple(model for model in ALL_MODELS if not model.lacks)
"""The models that this platform has."""


def offered(transport: str) -> tuple[str, ...]:
    """Return the names of the models that can serve ``transport`` here, ``default`` first."""
    return ("default", *(model.name for model in SERVER_MODELS if model.transport == transport))


def idle_fields(experiment: Experiment, tuning: Tuning) -> frozenset[str]:
    """Return the keys of fields that mean nothing to what runs: to its roles, its transport, its model."""
    unknown = frozenset(without_effect(experiment))
    if tuning.server_processes > 1 or tuning.swarm_processes > 1:
        unknown |= {"place"}  # several are apart, whatever it says
    if experiment.role == "swarm" or experiment.own_server:
        return unknown
    return unknown | model_for(tuning.transport, tuning.server).ignored(experiment.loop)


def model_for(transport: str, name: str = "default") -> ServerModel:
    """Return the model called ``name`` that serves ``transport``; raise ConfigError where there is none."""
    wanted = DEFAULT_SERVERS[transport] if name == "default" else name
    for model in ALL_MODELS:
        if (model.transport, model.name) == (transport, wanted):
            if model.lacks:
                raise ConfigError.of("server", wanted, model.lacks)
            return model
    raise ConfigError.of(
        "server",
        wanted,
        f"does not serve {transport.upper()}; over {transport.upper()}: {', '.join(SERVERS_OF[transport])}",
    )
