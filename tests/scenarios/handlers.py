"""Handlers that are the limit of a run, each in its way."""

from __future__ import annotations

import asyncio
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
