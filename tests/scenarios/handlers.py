"""Handlers that are the limit of a run, each in its way."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import time
from asyncio import StreamReader, StreamWriter


async def raises(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(100)
    raise ValueError("no such thing")


async def blocks(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65_536):
        time.sleep(0.01)  # noqa: ASYNC251  # what is to be found
        writer.write(data)


async def waits(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65_536):
        await asyncio.sleep(0.2)
        writer.write(data)


OPENED: list[object] = []
"""What is never closed."""


async def leaks(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65_536):
        OPENED.append(open("/dev/null", "rb"))  # noqa: ASYNC230, SIM115  # what is to be found
        writer.write(data)
    writer.close()


async def writes_in_parts(reader: StreamReader, writer: StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    while data := await reader.read(65_536):
        writer.write(data[:8])
        await asyncio.sleep(0)
        writer.write(data[8:])


SO_ATTACH_FILTER = 26
LOST_RATIO = 0.2
INSTRUCTIONS = (
    (0x20, 0, 0, 0xFFFFF000 + 56),  # A = a random number: BPF_LD + BPF_W + BPF_ABS, SKF_AD_RANDOM
    (0x25, 1, 0, int(LOST_RATIO * 2**32)),  # skip the next when it is greater: BPF_JMP + BPF_JGT
    (0x06, 0, 0, 0),  # drop the segment: BPF_RET
    (0x06, 0, 0, 0xFFFF),  # take it
)
"""A classic BPF program (linux/filter.h) that drops that share of what comes in."""


async def loses(reader: StreamReader, writer: StreamWriter) -> None:
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in INSTRUCTIONS)
    kept = ctypes.create_string_buffer(program)
    filtering = struct.pack("HP", len(INSTRUCTIONS), ctypes.addressof(kept))
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filtering)
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()
