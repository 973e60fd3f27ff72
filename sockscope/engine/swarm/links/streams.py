"""The ``streams`` client: a coroutine per connection on the reader and writer of ``asyncio.open_connection``.

The coroutine awaits an answer, takes it, and the next request is written on the way. When that has to wait
(for a permit, for the end of thinking) it is written later, while the coroutine awaits its answer already.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from sockscope.core.addresses import Address
from sockscope.engine.loops import handed_over
from sockscope.engine.swarm.links.transport import TransportLink

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

READ_BYTES = 65_536
"""Most bytes that one read takes."""


class StreamsLink(TransportLink):
    """A link that reads and writes streams."""

    __slots__ = ("_conversation",)

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._conversation: asyncio.Task[None] | None = None

    async def dial(self, target: Address) -> None:
        """Connect within the tuning's connect timeout; raises OSError or TimeoutError."""
        sock = await self.dial_socket(target)

        async def opened(tls: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            with handed_over(sock):
                return await asyncio.open_connection(sock=sock, **tls)

        reader, writer = await self._hand_over(sock, opened)
        self._conversation = self._swarm.loop.create_task(self._converse(reader, writer))
        self._conversation.add_done_callback(self._ended)
        self.attached(writer.transport)

    def transmit(self) -> None:
        """Write the request, unless the stream is closing: its coroutine tells of the end in a moment."""
        if self.transport is not None and not self.transport.is_closing():
            super().transmit()

    def transmit_several(self, wires: list[bytes]) -> None:
        """Write requests, unless the stream is closing."""
        if self.transport is not None and not self.transport.is_closing():
            super().transmit_several(wires)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the answers of a connection to its end."""
        broken: OSError | None = None
        try:
            # Without drain: no more is under way than the client may send before it waits. To wait until the
            # server reads, while it waits until its answers are read, would be a deadlock.
            while data := await reader.read(READ_BYTES):
                self.data_received(data)
        except OSError as error:
            broken = error
        writer.close()
        with contextlib.suppress(OSError):  # told above already
            await writer.wait_closed()
        self.connection_lost(broken)

    def _ended(self, conversation: asyncio.Task[None]) -> None:
        if not conversation.cancelled() and (error := conversation.exception()) is not None:
            self._swarm.loop.call_exception_handler({"message": "a client failed", "exception": error})
