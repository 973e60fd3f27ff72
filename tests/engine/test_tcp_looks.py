"""What the kernel tells of TCP connections: the layout of its struct, and looks at a few at a time."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace

import pytest

from sockscope.core.connection import TcpInfo
from sockscope.core.run.snapshot import TcpSample
from sockscope.engine.options import parsed_tcp_info, tcp_info
from sockscope.engine.recorder import Recorder
from sockscope.engine.tcp_looks import AT_ONCE, TcpLooks
from tests.engine.runs import running, server_of, swarm_of
from tests.waiting import until


def a_struct() -> bytearray:
    """Return a ``struct tcp_info`` with a figure in each field that is read (offsets of linux/tcp.h)."""
    raw = bytearray(b"\xff" * 240)
    for offset, value in ((68, 41), (72, 12), (80, 10), (100, 3)):
        struct.pack_into("=I", raw, offset, value)
    for offset, value in (
        (120, 5_000_000_000),
        (160, 9_000),
        (168, 2_000_000),
        (176, 500_000),
        (184, 250_000),
    ):
        struct.pack_into("=Q", raw, offset, value)
    return raw


ALL = TcpInfo(41e-6, 12e-6, 10, 3, 5_000_000_000, 9_000, 2.0, 0.5, 0.25)


@pytest.mark.parametrize(
    ("size", "known"),
    [(240, ALL), (192, ALL), (191, replace(ALL, sndbuf_limited_s=None)), (104, TcpInfo(41e-6, 12e-6, 10, 3))],
)
def test_a_struct_of_an_older_kernel_tells_less(size: int, known: TcpInfo) -> None:
    assert parsed_tcp_info(bytes(a_struct()[:size])) == known


def test_a_few_are_looked_at_each_time_and_all_of_them_in_turn() -> None:
    recorder = Recorder("server")
    asked: list[int] = []

    def socket_of(conn_id: int) -> None:
        asked.append(conn_id)

    looks = TcpLooks(recorder, socket_of)
    records = [recorder.on_open("tcp", ("127.0.0.1", 1), ("127.0.0.1", 2), 0) for _ in range(AT_ONCE + 10)]
    for _ in range(2):
        looks.look_around()
    assert len(asked) == 2 * AT_ONCE
    assert set(asked) == {record.conn_id for record in records}
    for look in (looks.look_ahead, looks.look_around, looks.look_around):
        look()
    assert len(asked) == 4 * AT_ONCE


async def test_both_ends_of_a_run_are_looked_at() -> None:
    with socket.socket() as sock:
        if tcp_info(sock) is None:
            pytest.skip("no TCP_INFO here")
    async with running(clients=3) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 100)

        def both() -> tuple[TcpSample, TcpSample]:
            return swarm_of(engine).tcp, server_of(engine).tcp

        await until(lambda: min(tcp.looks for tcp in both()) >= 6)
        # The kernel counts these times in ticks: of short ones some are none.
        await until(lambda: min(tcp.rwnd_limited_s + tcp.busy_s for tcp in both()) > 0)
        for tcp in both():
            assert tcp.rtt.total == tcp.looks
            assert tcp.retransmits == 0
