"""A server of one's own that tells on which kind of loop it is served."""

import asyncio


class Teller(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(type(asyncio.get_running_loop()).__name__.encode() + b"\n")
