"""Addresses as sockets have them: zones, this machine's own, and those of a name in turn."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psutil
import pytest

from sockscope.core.addresses import Address, format_address
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.models import CLIENTS
from sockscope.core.config.tuning import Tuning
from sockscope.engine.addresses import both_ends, check_reach, is_here, plain_address
from sockscope.engine.swarm.links import LINKS
from sockscope.engine.swarm.links.tcp import TcpLink
from sockscope.errors import ConfigError
from tests.engine.runs import running, server_of, swarm_of
from tests.ports import unused_port
from tests.waiting import until


def own_addresses() -> Iterator[tuple[str, str]]:
    """Yield the addresses of this machine's interfaces, each with the name of its interface."""
    for name, addresses in psutil.net_if_addrs().items():
        if psutil.net_if_stats()[name].isup:
            for address in addresses:
                if address.family in (socket.AF_INET, socket.AF_INET6):
                    yield address.address, name


def test_every_address_of_an_interface_is_this_machine() -> None:
    found = [address for address, _ in own_addresses()]
    assert "127.0.0.1" in found
    assert [address for address in found if not is_here(address)] == []
    assert [wildcard for wildcard in ("0.0.0.0", "::", "::ffff:0.0.0.0") if not is_here(wildcard)] == []


@pytest.mark.parametrize("host", ["192.0.2.254", "2001:db8::1", "::ffff:192.0.2.254", "fe80::dead%lo"])
def test_another_machine_is_not_aimed_at_unless_that_is_typed(host: str) -> None:
    target = f"[{host}]:80" if ":" in host else f"{host}:80"
    aimed = Experiment(Tuning(family="ipv6" if ":" in host else "ipv4"), role="swarm", target=target)
    with pytest.raises(ConfigError, match="only with --allow-remote"):
        check_reach(aimed)
    with pytest.raises(ConfigError, match="only with --allow-remote"):
        check_reach(Experiment(role="swarm", target=f"127.0.0.1:80,{target}"))
    check_reach(Experiment(role="swarm", target=target, allow_remote=True))


def test_a_link_local_address_keeps_its_zone() -> None:
    index, name = socket.if_nameindex()[0]
    assert plain_address(("fe80::1", 80, 0, index)) == (f"fe80::1%{name}", 80)
    assert plain_address(("fe80::1", 80, 0, 4_000_000)) == ("fe80::1%4000000", 80)
    assert plain_address(("::1", 80, 0, 0)) == ("::1", 80)
    assert plain_address(("127.0.0.1", 80)) == ("127.0.0.1", 80)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_that_is_connected_to_itself_is_refused_and_gives_the_port_back(
    kind: socket.SocketKind,
) -> None:
    address = ("127.0.0.1", 0)
    for _ in range(2):
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.bind(address)
            address = sock.getsockname()
            sock.connect(address)
            with pytest.raises(ConnectionRefusedError):
                both_ends(sock)


@pytest.mark.parametrize("client", CLIENTS)
async def test_nobody_answers_itself(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = ("127.0.0.1", unused_port())
    made = TcpLink.new_socket

    def with_the_port_of_the_target(link: TcpLink, target: Address) -> socket.socket:
        sock = made(link, target)
        try:
            sock.bind(target)
        except OSError:  # the socket before is still being closed by its thread
            sock.close()
            raise
        return sock

    monkeypatch.setattr(TcpLink, "new_socket", with_the_port_of_the_target)
    async with running(role="swarm", clients=1, client=client, target=format_address(target)) as engine:
        await until(lambda: swarm_of(engine).totals.connections_refused >= 2)
        assert (swarm_of(engine).totals.connections_opened, swarm_of(engine).totals.requests) == (0, 0)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("bind", ["::ffff:127.0.0.1", "::", "::1%1", "link-local"])
async def test_both_ends_meet_at_any_form_of_an_address(bind: str, transport: str) -> None:
    if bind == "link-local":
        zoned = [address for address, _ in own_addresses() if address.startswith("fe80:")]
        if not zoned:
            pytest.skip("no interface has a link-local address")
        bind = zoned[0]
    async with running(bind=bind, family="ipv6", transport=transport, clients=2, requests=20) as engine:
        await engine.wait()
        assert server_of(engine).totals.responses == 20
    assert swarm_of(engine).totals.responses == 20


@pytest.mark.parametrize(("transport", "client"), LINKS)
async def test_the_addresses_of_a_target_are_tried_in_turn(transport: str, client: str) -> None:
    """A name whose first address nobody listens at is that of a server all the same."""
    async with running(role="server", transport=transport) as server:
        port = int(server_of(server).address.rpartition(":")[2])
        target = f"[::1]:{port},127.0.0.1:{port}"
        async with running(
            role="swarm", target=target, transport=transport, client=client, clients=3, requests=30
        ) as engine:
            await engine.wait()
            swarm = swarm_of(engine)
            assert swarm.address == f"127.0.0.1:{port}"
    totals = swarm_of(engine).totals
    if transport == "tcp":
        assert (totals.responses, totals.errors, totals.connections_refused) == (30, 0, 0)
        assert 1 <= totals.connections_opened <= 3  # two may have asked for all before the third is connected
    else:  # only a datagram finds out that nobody listens
        assert totals.responses == 30 - totals.errors
        assert totals.errors <= 3


async def test_where_nobody_listens_at_any_of_them_it_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    target = f"[::1]:{port},127.0.0.1:{port}"
    async with running(role="swarm", target=target, clients=1) as engine:
        await until(lambda: swarm_of(engine).totals.connections_refused >= 2)
        assert swarm_of(engine).last_trouble == "Connection refused"
        with socket.create_server(("::1", port), family=socket.AF_INET6) as late:
            await until(lambda: swarm_of(engine).connections_open == 1, what="the one that listens now")
            assert late.getsockname()[1] == port
