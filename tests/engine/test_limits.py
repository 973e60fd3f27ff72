"""How many descriptors an experiment needs, in the process that needs the most."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import KernelTcp, KernelUdp
from sockscope.engine.limits import RESERVED_DESCRIPTORS, descriptors_needed, open_descriptors
from sockscope.engine.sampler import Sampler, kernel_tcp, kernel_udp


@pytest.mark.parametrize(
    ("role", "values", "sockets"),
    [
        ("both", {}, 200),
        ("both", {"place": "child"}, 200),
        ("both", {"place": "server"}, 100),
        ("both", {"place": "apart"}, 100),
        ("both", {"transport": "udp"}, 100),
        ("both", {"transport": "udp", "swarm_processes": 3}, 34),
        ("both", {"swarm_processes": 3}, 100),
        ("swarm", {"swarm_processes": 3}, 34),
        ("swarm", {}, 100),
        ("server", {"place": "apart"}, 0),
        # A hash spreads connections over servers: half of them, and some more by chance.
        ("both", {"server_processes": 2, "swarm_processes": 2}, 86),
        ("both", {"server_processes": 64, "swarm_processes": 64}, 8),
        ("both", {"fault": "delay=1ms"}, 400),
        ("both", {"fault": "delay=1ms", "transport": "udp"}, 200),
        ("both", {"fault": "delay=1ms", "place": "child"}, 200),
        ("both", {"fault": "delay=1ms", "place": "server"}, 300),
        ("both", {"fault": "delay=1ms", "place": "apart"}, 200),
        ("swarm", {"fault": "delay=1ms"}, 300),
        ("both", {"fault": "block=1ms"}, 200),
    ],
)
def test_sockets_of_the_process_that_opens_the_most(role: str, values: dict[str, Any], sockets: int) -> None:
    assert descriptors_needed(role, Tuning(clients=100, **values)) == sockets + RESERVED_DESCRIPTORS


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Use up every descriptor of the process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, ((open_descriptors() or 0) + 64, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_figure_that_cannot_be_read_is_not_known_and_the_next_one_is() -> None:
    sampler = Sampler()
    with no_descriptors_left():
        blind = sampler.sample()
    seen = sampler.sample()
    assert (blind.rss_bytes, blind.machine_busy_s, blind.kernel_udp) == (None, None, None)
    assert blind.threads == seen.threads
    assert blind.cpu_s <= seen.cpu_s
    assert seen.rss_bytes
    with no_descriptors_left():
        born_blind = Sampler()
    assert born_blind.sample().machine_busy_s is None


SNMP = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 5 1 1 7 2 0\n"
SNMP6 = (
    "Udp6InDatagrams 10\nUdp6InErrors 0\nUdp6OutDatagrams 20\nUdp6RcvbufErrors 0\nUdp6NoPorts 3\n"
    "Udp6SndbufErrors 8\n"
)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"snmp": SNMP, "snmp6": SNMP6}, KernelUdp(15, 27, 1, 2, 4, 8)),
        ({"snmp": SNMP}, KernelUdp(5, 7, 1, 2, 1)),
        ({}, None),
        ({"snmp": ""}, None),
        ({"snmp": SNMP.splitlines()[0]}, None),
        ({"snmp": "Udp: InDatagrams\nUdp: 5\n"}, None),
        ({"snmp": SNMP.replace("7", "seven")}, None),
        ({"snmp": SNMP, "snmp6": ""}, None),
    ],
)
def test_what_is_partly_readable_is_not_known(
    tmp_path: Path, files: dict[str, str], told: KernelUdp | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert kernel_udp(tmp_path) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 3 14\nIpExt: InOctets\nIpExt: 9\n", KernelTcp(14)),
        ("TcpExt: SyncookiesSent\nTcpExt: 3\n", None),
        ("", None),
    ],
)
def test_what_a_full_backlog_turned_away_is_known_where_the_kernel_tells(
    tmp_path: Path, text: str, told: KernelTcp | None
) -> None:
    assert kernel_tcp(tmp_path) is None
    (tmp_path / "netstat").write_text(text)
    assert kernel_tcp(tmp_path) == told
