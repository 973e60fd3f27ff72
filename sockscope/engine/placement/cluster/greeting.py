"""Whether a scheduler of dask listens somewhere: looked at before dask believes what it is told there."""

from __future__ import annotations

import asyncio
import ssl
import struct

from sockscope.core.config.cluster import address_of
from sockscope.errors import EngineError

MOST_GREETING_BYTES = 1 << 20
"""A message begins with its length, 8 B little-endian (distributed/comm/tcp.py); this one has few words."""
AGAIN_S = 0.2
"""How long to wait before looking again where nothing listens: it may be about to."""


async def check_greeting(address: str, context: ssl.SSLContext | None, within_s: float) -> None:
    """Raise EngineError unless what listens at ``address`` begins as a scheduler does.

    dask itself would wait for one that says nothing, and ask for as much memory as the first bytes say.
    """
    host, port = address_of(address)
    began = None
    why: OSError | None = None
    try:
        async with asyncio.timeout(within_s):
            while began is None:
                try:
                    began = await _first_bytes(host, port, context)
                except ssl.SSLError as error:
                    told = getattr(error, "verify_message", "") or error.reason or error
                    raise EngineError(f"no TLS with the cluster at {address}: {told}") from None
                except OSError as error:
                    why = error
                    await asyncio.sleep(AGAIN_S)
    except TimeoutError:
        told = "what listens there says nothing" if why is None else why.strerror or why
        raise EngineError(f"no cluster with workers answers at {address}: {told}") from None
    if len(began) < _LENGTH.size or not 0 < _LENGTH.unpack(began)[0] <= MOST_GREETING_BYTES:
        raise EngineError(f"what listens at {address} is no scheduler of dask")


async def _first_bytes(host: str, port: int, context: ssl.SSLContext | None) -> bytes:
    """Return the first bytes that are said to whoever connects; fewer where the other end closes."""
    reader, writer = await asyncio.open_connection(
        host, port, ssl=context, server_hostname=host if context else None
    )
    try:
        return await reader.readexactly(_LENGTH.size)
    except asyncio.IncompleteReadError as end:
        return end.partial
    finally:
        writer.transport.abort()


_LENGTH = struct.Struct("<Q")
