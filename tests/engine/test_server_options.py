"""Whether servers share an address as they were told to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sockscope.core.config.models import ServerModel
from sockscope.core.events import CloseReason
from sockscope.engine.engine import Engine
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.registry import model_for, open_endpoint
from sockscope.errors import ListenError
from tests.engine.runs import experiment, running, server_of, swarm_of, tune
from tests.waiting import until

MODELS = [model_for("tcp", "protocol"), model_for("udp", "datagram")]
SO_BUF_LOCK = 72
models = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


@contextmanager
def listening(model: ServerModel, port: int = 0, **values: Any) -> Iterator[Endpoint]:
    chosen = experiment(transport=model.transport, server=model.name, **values)
    assignment = Assignment(chosen.tuning, 0, ("127.0.0.1", port))
    endpoint = open_endpoint(ServerContext(chosen, Recorder("server")), assignment)
    try:
        yield endpoint
    finally:
        endpoint.close(CloseReason.STOPPED)


def option(endpoint: Endpoint, name: str) -> tuple[int | None, int | None]:
    """Return what was asked for and what is in force."""
    found = next(option for option in endpoint.socket_options() if option.name == name)
    return found.requested, found.effective


@models
async def test_servers_that_ask_for_it_share_a_port(model: ServerModel) -> None:
    with listening(model, reuse_port=True) as first:
        with listening(model, first.address[1], reuse_port=True) as second:
            assert first.address == second.address
            assert option(second, "SO_REUSEPORT") == (1, 1)
        with pytest.raises(ListenError, match="in use"), listening(model, first.address[1]):
            pass


@models
async def test_a_port_is_not_shared_unless_it_is_asked_for(model: ServerModel) -> None:
    with listening(model) as first:
        assert option(first, "SO_REUSEPORT") == (0, 0)
        with pytest.raises(ListenError), listening(model, first.address[1], reuse_port=True):
            pass


@pytest.mark.parametrize("reuse", [True, False])
async def test_the_address_of_a_listener_is_used_anew_as_asked(reuse: bool) -> None:
    with listening(model_for("tcp"), reuse_address=reuse) as endpoint:
        assert option(endpoint, "SO_REUSEADDR") == (int(reuse), int(reuse))


async def test_udp_never_asks_for_the_address_of_another() -> None:
    with listening(model_for("udp"), reuse_address=True) as endpoint:
        assert "SO_REUSEADDR" not in {option.name for option in endpoint.socket_options()}


async def test_a_new_model_takes_over_the_listener_and_nobody_is_refused() -> None:
    async with running(clients=20, lifetime=3) as engine:
        address = server_of(engine).address
        for name in ("streams", "buffered", "protocol", "streams"):
            answered = swarm_of(engine).totals.responses
            await tune(engine, server=name)
            await until(lambda a=answered: swarm_of(engine).totals.responses > a + 500)  # type: ignore[misc]
            assert server_of(engine).address == address
            await until(lambda: not server_of(engine).draining)
        totals = swarm_of(engine).totals
        assert (totals.errors, totals.timeouts, totals.connections_refused, totals.connections_reset) == (
            0, 0, 0, 0,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("transport", "server"),
    [("tcp", "protocol"), ("tcp", "epoll"), ("tcp", "threaded"), ("udp", "datagram"), ("udp", "threaded")],
)
async def test_buffers_that_are_the_systems_again_are_as_in_a_new_socket_at_both_ends(
    transport: str, server: str
) -> None:
    def in_force(engine: Engine) -> list[tuple[str, int]]:
        sides = (server_of(engine), swarm_of(engine))
        return [
            (option.name, option.effective or 0)
            for side in sides
            for option in side.socket_options
            if option.name in untouched
        ]

    with socket.socket(type=socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM) as new:
        untouched = {
            "SO_RCVBUF": new.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            "SO_SNDBUF": new.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        }
    # So small a buffer loses datagrams.
    values = {"clients": 3, "request_timeout_s": 0.2}
    async with running(transport=transport, server=server, **values) as engine:
        await until(lambda: len(in_force(engine)) == 4)
        await tune(engine, rcvbuf_bytes=1_000, sndbuf_bytes=3_000)
        await until(lambda: all(size < untouched[name] for name, size in in_force(engine)))
        await tune(engine, rcvbuf_bytes=0, sndbuf_bytes=0)
        # The kernel goes on from there, as it fits the buffers of TCP to their connection.
        await until(lambda: all(size >= untouched[name] for name, size in in_force(engine)))


async def test_a_listener_whose_buffer_is_the_systems_again_fits_those_of_its_connections() -> None:
    with listening(model_for("tcp"), rcvbuf_bytes=1_000, sndbuf_bytes=3_000) as endpoint:
        await endpoint.apply(experiment().tuning, 1)
        with socket.create_connection(endpoint.address):
            await until(lambda: endpoint.open_connections)
            accepted = endpoint.socket_of(1)
            assert accepted is not None
            assert accepted.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK) == 0
