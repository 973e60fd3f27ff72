"""The server models by transport and name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.tcp_protocol import TcpEndpoint
from sockscope.engine.servers.udp_datagram import UdpEndpoint


@dataclass(frozen=True, slots=True)
class ServerModel:
    """One way to write a server. ``open`` binds and serves, or raises ListenError."""

    name: str
    transport: str
    summary: str
    open: Callable[[ServerContext, Assignment], Endpoint]


SERVER_MODELS: tuple[ServerModel, ...] = (
    ServerModel("protocol", "tcp", "an asyncio Protocol per connection", TcpEndpoint),
    ServerModel("datagram", "udp", "one UDP socket read with add_reader", UdpEndpoint),
)


def model_for(transport: str) -> ServerModel:
    """Return the model that serves ``transport``."""
    return next(model for model in SERVER_MODELS if model.transport == transport)
