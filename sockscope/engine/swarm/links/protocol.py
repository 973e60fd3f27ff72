"""The ``protocol`` client over TCP: a ``Protocol`` that is called back by its transport."""

from __future__ import annotations

import asyncio

from sockscope.core.addresses import Address
from sockscope.engine.loops import attach
from sockscope.engine.swarm.links.transport import TransportLink


class ProtocolLink(TransportLink, asyncio.Protocol):
    """A link that is its own protocol."""

    __slots__ = ()

    async def dial(self, target: Address) -> None:
        """Connect within the tuning's connect timeout; raises OSError or TimeoutError."""
        sock = await self.dial_socket(target)
        await self._hand_over(sock, lambda tls: attach(sock, self, tls=tls))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go to work."""
        self.attached(transport)

    def eof_received(self) -> bool:
        """The server finished sending; there is nothing left to hear."""
        return False
