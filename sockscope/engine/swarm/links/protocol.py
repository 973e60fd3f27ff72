"""The ``protocol`` client over TCP: a ``Protocol`` that is called back by its transport."""

from __future__ import annotations

import asyncio

from sockscope.core.addresses import Address
from sockscope.engine.loops import attach
from sockscope.engine.swarm.links.tcp import TransportLink


class ProtocolLink(TransportLink, asyncio.Protocol):
    """A link that is its own protocol."""

    __slots__ = ()

    async def dial(self, target: Address) -> None:
        """Connect within the tuning's connect timeout; raises OSError or TimeoutError."""
        sock = await self.dial_socket(target)
        self._may_cancel = False
        try:
            await attach(sock, self)
        except BaseException:
            sock.close()
            raise
        finally:
            self._may_cancel = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go to work."""
        self.attached(transport)

    def eof_received(self) -> bool:
        """The server finished sending; there is nothing left to hear."""
        return False
