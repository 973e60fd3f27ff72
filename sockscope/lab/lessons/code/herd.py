"""Clients that lose their server at the same moment, and come back: all at once, or spread out."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

CLIENTS = 100
FIRST_DELAY_S = 0.5
BIN_S = 0.1
OUTAGE_TRIES = 3
"""So many times the server hangs up on each client before it serves it."""


async def reconnect(port: int, number: int, *, jitter: bool) -> int:
    """Connect until the server stays; return how many times that took."""
    for tries in range(1, 10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"%d\n" % number)
        answer = await reader.readline()
        writer.close()
        if answer:
            return tries
        most_s = FIRST_DELAY_S * 2**tries
        await asyncio.sleep(random.uniform(0, most_s) if jitter else most_s / 2)
    return 0


async def outage(*, jitter: bool = False) -> dict[str, float]:
    """Let all clients lose the server at once; tell how many came in the fullest tenth of a second."""
    loop = asyncio.get_running_loop()
    visits: Counter[str] = Counter()
    later: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode()
        visits[name] += 1
        if visits[name] > 1:
            later.append(loop.time())
        if visits[name] > OUTAGE_TRIES:
            writer.write(b"welcome\n")
        writer.close()

    random.seed(1)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=2 * CLIENTS)
    async with server:
        port = server.sockets[0].getsockname()[1]
        clients = [reconnect(port, number, jitter=jitter) for number in range(CLIENTS)]
        tries = await asyncio.gather(*clients)
    bins = Counter(int((at - later[0]) / BIN_S) for at in later)
    return {
        "clients": CLIENTS,
        "served": sum(number > 0 for number in tries),
        "reconnects": len(later),
        "fullest": max(bins.values()),
        "bins": len(bins),
    }
