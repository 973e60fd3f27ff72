"""The ``buffered`` model: an asyncio ``BufferedProtocol`` per connection, which says where a read is to go.

Reads go into one buffer that is there from the beginning; the loop allocates nothing for them. All
connections of the loop share it, because what was read is taken out of it before the next read begins.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from sockscope.core.config.tuning import Tuning
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.protocol import CallbackConnection, Struck
from sockscope.engine.servers.asyncio.tcp_endpoint import TcpEndpoint
from sockscope.engine.servers.endpoint import Endpoint, ServerContext

READ_BYTES = 65_536
"""Size of the buffer unless the tuning says another."""


class BufferedConnection(CallbackConnection, asyncio.BufferedProtocol):
    """A connection that reads into its endpoint's buffer."""

    __slots__ = ()

    endpoint: BufferedEndpoint

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next read goes: a view, since over TLS asyncio fills slices of it."""
        return self.endpoint.view

    def buffer_updated(self, nbytes: int) -> None:
        """Answer what is complete; the hot path of this server."""
        buffer, repeat = self.endpoint.buffer, self._repeat
        # Compared where it lies, and answered with the bytes object of the request before.
        if repeat is not None and nbytes == len(repeat) and buffer.startswith(repeat):
            now = perf_counter()
            if self._delay_s:
                self.record.odd_read(nbytes, 1)
                self._serve_later(now, repeat, self._kept)
                return
            write, on_exchange = self._write, self._on_exchange
            write(repeat)
            record, kept = self.record, self._kept
            record.exchanges += 1
            on_exchange((now, now, record, kept, kept))
            return
        self._cut(bytes(self.endpoint.view[:nbytes]))


class StruckBuffered(Struck, BufferedConnection):
    """A connection of the ``buffered`` model whose requests meet the faults of the server."""

    __slots__ = ()


BufferedConnection.sound, BufferedConnection.struck = BufferedConnection, StruckBuffered


class BufferedEndpoint(TcpEndpoint):
    """A listener whose connections read into one buffer."""

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        self._set_buffer(assignment.tuning.read_bytes)
        super().__init__(context, assignment, BufferedConnection)

    def _set_buffer(self, read_bytes: int) -> None:
        self.buffer = bytearray(read_bytes or READ_BYTES)
        self.view = memoryview(self.buffer)

    async def apply(self, tuning: Tuning, generation: int) -> None:
        """Take over a tuning; a new size of a read is a new buffer."""
        if tuning.read_bytes != self.tuning.read_bytes:
            self._set_buffer(tuning.read_bytes)
        await super().apply(tuning, generation)


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve with a BufferedProtocol per connection; raises ListenError."""
    return BufferedEndpoint(context, assignment)
