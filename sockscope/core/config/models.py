"""The server and client models: every fact about each of them, once.

A server model is one :class:`ServerModel` here and one file in ``sockscope/engine/servers``, which the entry
names. A client model is one :class:`ClientModel` here, and a link for each transport in
``sockscope/engine/swarm/links``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT = "default"
"""Stands for the default server model of whichever transport is in use."""
TRANSPORTS = ("tcp", "udp")
FAMILIES = ("ipv4", "ipv6", "unix")
"""A Unix socket carries streams where the transport is ``tcp``, and datagrams where it is ``udp``."""
POOL_THREADS = 100
"""Threads of the ``pool``: as many as the default experiment has clients, so that one more has to wait."""
UDP_THREADS = 100
"""Threads that take turns at a UDP socket: as many requests are in service at once at the most."""
FD_SETSIZE = 1_024
"""Descriptors from this number on do not fit into the bit mask of select(2) (glibc, BSD)."""


@dataclass(frozen=True, slots=True)
class ServerModel:
    """One way to write a server.

    ``module`` is the file below ``sockscope/engine/servers`` that opens it, as a dotted name. ``at_once`` is
    how many connections, or over UDP datagrams, a process serves at a time (0: all of them); who comes then
    waits in the backlog or in the receive buffer. ``threaded`` models serve in threads of their own and leave
    the event loop alone; with ``tasks`` a task serves each connection. ``mechanism`` is what :mod:`selectors`
    has to offer for it (empty: it needs nothing that a platform may lack). ``ignores`` are the keys of fields
    that mean nothing to the model, and ``ignores_on`` those that mean nothing to it on one event loop,
    ``ignores_over_tls`` those over TLS; what means nothing to a whole transport, or to every threaded model,
    is told by the field. ``default`` marks the model that ``default`` stands for.
    """

    name: str
    transport: str
    module: str
    summary: str
    at_once: int = 0
    threaded: bool = False
    tasks: bool = False
    mechanism: str = ""
    ignores: frozenset[str] = frozenset()
    ignores_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ignores_over_tls: frozenset[str] = frozenset()
    default: bool = False


SERVER_MODELS: Mapping[tuple[str, str], ServerModel] = {
    (model.transport, model.name): model
    for model in (
        ServerModel(
            "blocking", "tcp", "threads.blocking", "one connection at a time on a blocking socket",
            at_once=1, threaded=True,
        ),
        ServerModel("threaded", "tcp", "threads.threaded", "a thread for each connection", threaded=True),
        ServerModel(
            "pool", "tcp", "threads.blocking", f"{POOL_THREADS} threads, each with one connection at a time",
            at_once=POOL_THREADS, threaded=True,
        ),
        ServerModel(
            "select", "tcp", "selectors.tcp",
            f"one thread and select(2), for descriptors below {FD_SETSIZE:,}",
            threaded=True, mechanism="select",
        ),
        ServerModel(
            "poll", "tcp", "selectors.tcp", "one thread and poll(2)", threaded=True, mechanism="poll"
        ),
        ServerModel(
            "epoll", "tcp", "selectors.tcp", "one thread and epoll(7)", threaded=True, mechanism="epoll"
        ),
        ServerModel(
            "kqueue", "tcp", "selectors.tcp", "one thread and kqueue(2)", threaded=True, mechanism="kqueue"
        ),
        ServerModel(
            "streams", "tcp", "asyncio.streams",
            "a coroutine per connection, StreamReader and StreamWriter", tasks=True,
        ),
        ServerModel(
            "protocol", "tcp", "asyncio.protocol", "an asyncio Protocol per connection",
            ignores_on={"uvloop": frozenset({"read_bytes"})}, ignores_over_tls=frozenset({"read_bytes"}),
            default=True,
        ),
        ServerModel(
            "buffered", "tcp", "asyncio.buffered", "an asyncio BufferedProtocol, reads into one buffer"
        ),
        ServerModel(
            "blocking", "udp", "threads.udp", "one socket, one thread, one datagram at a time",
            at_once=1, threaded=True,
        ),
        ServerModel(
            "threaded", "udp", "threads.udp", f"{UDP_THREADS} threads take turns at one socket",
            at_once=UDP_THREADS, threaded=True,
        ),
        ServerModel(
            "epoll", "udp", "selectors.udp", "one thread, one non-blocking socket and epoll(7)",
            threaded=True, mechanism="epoll",
        ),
        ServerModel(
            "datagram", "udp", "asyncio.datagram", "one UDP socket read with add_reader", default=True
        ),
    )
}  # fmt: skip
"""Every server model by transport and name, in the order in which the screen offers them."""

SERVERS: tuple[str, ...] = (DEFAULT, *dict.fromkeys(name for _, name in SERVER_MODELS))
"""What the field ``server`` may say; which of them serve a transport is in :data:`SERVERS_OF`."""
SERVERS_OF: Mapping[str, tuple[str, ...]] = {
    transport: tuple(name for served, name in SERVER_MODELS if served == transport)
    for transport in TRANSPORTS
}
"""Names of the server models by transport."""
DEFAULT_SERVERS: Mapping[str, str] = {
    transport: name for (transport, name), model in SERVER_MODELS.items() if model.default
}
"""What ``default`` stands for, by transport."""


@dataclass(frozen=True, slots=True)
class ClientModel:
    """One way to write a client, over each transport.

    ``threaded`` models run in threads of their own, the others on the event loop. ``pipelines`` tells whether
    it can send several requests before it waits for their answers, ``pools`` whether clients can share their
    connections. ``default`` marks the one that is chosen unless another is asked for.
    """

    name: str
    summary: str
    threaded: bool = False
    pipelines: bool = True
    pools: bool = True
    default: bool = False


CLIENT_MODELS: Mapping[str, ClientModel] = {
    model.name: model
    for model in (
        ClientModel(
            "selector", "a non-blocking socket in a readiness set that all clients share",
            default=True,
        ),
        ClientModel(
            "protocol", "an asyncio Protocol per connection; over UDP a socket and add_reader"
        ),
        ClientModel(
            "streams",
            "a coroutine per client, StreamReader and StreamWriter; over UDP loop.sock_recv",
        ),
        ClientModel(
            "blocking", "a thread per client on a blocking socket",
            threaded=True, pipelines=False, pools=False,
        ),
    )
}  # fmt: skip
"""Every client model by name, in the order in which the screen offers them."""

CLIENTS: tuple[str, ...] = tuple(CLIENT_MODELS)
(DEFAULT_CLIENT,) = (name for name, model in CLIENT_MODELS.items() if model.default)


def carrier(transport: str, family: str, tls: bool = False) -> str:
    """Return what carries the requests, for people: ``TCP``, ``UDP``, ``Unix stream``, ``Unix datagram``, and
    ``TLS`` (of TCP) or ``TLS over Unix stream``."""
    if family == "unix":
        return "Unix datagram" if transport == "udp" else f"{'TLS over ' if tls else ''}Unix stream"
    return "TLS" if tls else transport.upper()


def server_model(transport: str, name: str = DEFAULT) -> ServerModel | None:
    """Return the server model called ``name`` that serves ``transport``, or None where there is none."""
    return SERVER_MODELS.get((transport, DEFAULT_SERVERS[transport] if name == DEFAULT else name))
