"""A handler of which every fiftieth request takes long, in one of three ways."""

from __future__ import annotations

import asyncio
import time
from itertools import count

HOLD_S = 0.5
EVERY = 50
_numbers = count(1)


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str = "await") -> None:
    """Echo; every fiftieth answer has to wait for something."""
    while data := await reader.read(1024):
        if next(_numbers) % EVERY == 0:
            if way == "block":
                time.sleep(HOLD_S)
            elif way == "thread":
                await asyncio.to_thread(time.sleep, HOLD_S)
            else:
                await asyncio.sleep(HOLD_S)
        writer.write(data)
        await writer.drain()
    writer.close()
