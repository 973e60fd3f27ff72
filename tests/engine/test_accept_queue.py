"""How many connections wait at a listener of whatever server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest

from sockscope.core.addresses import Address
from sockscope.engine import accept_queue as module
from sockscope.engine.accept_queue import accept_queue
from sockscope.engine.listen_diag import drops_at
from sockscope.engine.options import ListenDrops
from tests.waiting import until

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel does not tell")


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """What is to be closed at the end."""
    with ExitStack() as stack:
        yield stack


def listener(sockets: ExitStack, host: str, port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return sockets.enter_context(socket.create_server((host, port), family=family))


def connect(sockets: ExitStack, times: int, address: Address) -> None:
    for _ in range(times):
        sockets.enter_context(socket.create_connection(address))


def test_the_queue_of_any_server_is_known(sockets: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        connect(sockets, 3, address)
        assert accept_queue(address) == 3
        sockets.enter_context(server.accept()[0])
        assert accept_queue(address) == 2
    assert accept_queue(address) is None
    assert accept_queue(("192.0.2.1", address[1])) is None


async def test_what_is_dropped_at_a_listener_is_counted_there_alone(sockets: ExitStack) -> None:
    full, idle = (socket.create_server(("127.0.0.1", 0), backlog=0) for _ in range(2))
    sockets.enter_context(full), sockets.enter_context(idle)
    drops, others = ListenDrops(full), ListenDrops(idle)
    assert drops.count == 0
    for _ in range(3):
        peer = sockets.enter_context(socket.socket())
        peer.setblocking(False)
        peer.connect_ex(full.getsockname())
    await until(lambda: drops.count)
    assert others.count == 0
    address, other = full.getsockname(), idle.getsockname()
    found, counted = drops_at(address), drops.count
    assert found is not None
    assert counted is not None
    assert 1 <= found <= (drops.count or 0), "what others tell of it is what it tells itself"
    assert (drops_at(other), drops_at(("192.0.2.1", other[1]))) == (0, None)
    assert drops.end() > 0
    assert drops.count is None


def test_the_queue_of_another_address_is_not_taken_for_it(sockets: ExitStack) -> None:
    port = listener(sockets, "127.0.0.1").getsockname()[1]
    listener(sockets, "127.0.0.2", port)
    for times, host in ((3, "127.0.0.1"), (5, "127.0.0.2")):
        connect(sockets, times, (host, port))
    assert (accept_queue(("127.0.0.1", port)), accept_queue(("127.0.0.2", port))) == (3, 5)
    assert accept_queue(("127.0.0.3", port)) is None


@pytest.mark.parametrize(("host", "near"), [("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")])
def test_a_server_may_listen_at_all_addresses(sockets: ExitStack, host: str, near: str) -> None:
    try:
        port = listener(sockets, host).getsockname()[1]
    except OSError:
        pytest.skip("no IPv6 here")
    connect(sockets, 2, (near, port))
    assert accept_queue((near, port)) == 2


def test_only_the_table_that_has_the_address_is_read(
    sockets: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel takes milliseconds to tell that a table has nothing."""
    opened: list[str] = []

    def told(path: str, mode: str) -> BinaryIO:
        opened.append(path)
        return Path(path).open("rb")

    address = listener(sockets, "127.0.0.1").getsockname()
    monkeypatch.setattr(module, "open", told, raising=False)
    assert accept_queue(address) == 0
    assert opened == ["/proc/net/tcp"]


@pytest.mark.parametrize("absent", [True, False])
def test_a_table_may_be_absent_or_empty(
    sockets: ExitStack, monkeypatch: pytest.MonkeyPatch, absent: bool
) -> None:
    address = ("127.0.0.1", listener(sockets, "0.0.0.0").getsockname()[1])
    connect(sockets, 2, address)

    def without_ipv6(path: str, mode: str) -> BinaryIO:
        if not path.endswith("tcp6"):
            return Path(path).open("rb")
        if absent:
            raise FileNotFoundError(path)
        return BytesIO()

    monkeypatch.setattr(module, "open", without_ipv6, raising=False)
    assert accept_queue(address) == 2
