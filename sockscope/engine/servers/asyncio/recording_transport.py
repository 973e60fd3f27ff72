"""The transport that the user's code gets: the real one, whose writes and closing are noted.

Nothing else of SockScope is called by the user's code, so what is raised through this file is the user's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from sockscope.engine.servers.asyncio.own import OwnConnection
    from sockscope.engine.servers.asyncio.own_datagram import OwnDatagramEndpoint

Bytes = bytes | bytearray | memoryview


class RecordingTransport(asyncio.Transport):
    """The transport that the user's code gets: the real one, whose writes and closing are noted."""

    def __init__(self, transport: asyncio.Transport, connection: OwnConnection) -> None:
        super().__init__()
        self._transport = transport
        self._connection = connection

    # Noted.

    def write(self, data: Bytes) -> None:
        """Write ``data``."""
        now = perf_counter()
        closing = self._transport.is_closing()
        self._transport.write(data)
        if not closing:
            self._connection.traffic.wrote(now, bytes(data))

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """Write several pieces in one call."""
        pieces = [bytes(piece) for piece in list_of_data]
        now = perf_counter()
        closing = self._transport.is_closing()
        self._transport.writelines(pieces)
        if not closing:
            self._connection.traffic.wrote(now, b"".join(pieces))

    def close(self) -> None:
        """Close after what is still to be written."""
        self._connection.closes("closed")
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._connection.closes("aborted")
        self._transport.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol go on."""
        self._connection.use(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the user's protocol."""
        return self._connection.inner

    # From our loops, which know better than to look into a transport.

    async def start_tls_by(
        self,
        start_tls: Callable[..., Awaitable[Any]],
        protocol: asyncio.BaseProtocol,
        *args: Any,
        **more: Any,
    ) -> RecordingTransport:
        """Let ``start_tls`` of the loop put TLS between the real transport and ``protocol``.

        What is counted is plain bytes, before and after.
        """
        self._transport = await self._connection.encrypted(protocol, start_tls, *args, **more)
        return self

    async def sendfile_by(
        self,
        sendfile: Callable[..., Awaitable[int]],
        file: Any,
        offset: int = 0,
        count: int | None = None,
        **more: Any,
    ) -> int:
        """Let ``sendfile`` of the loop send a file, and count what was sent."""
        now, sent = perf_counter(), 0
        try:
            sent = await sendfile(self._transport, file, offset, count, **more)
        except (Exception, asyncio.CancelledError):
            # asyncio leaves the file behind the last byte that was sent.
            sent = file.tell() - offset
            raise
        finally:
            self._connection.traffic.sent_file(now, file, offset, sent)
        return sent

    # Passed on.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the real transport knows."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Tell whether it is closing or closed."""
        return self._transport.is_closing()

    def is_reading(self) -> bool:
        """Tell whether it reads."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """Stop reading."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks between which writing is paused."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the marks between which writing is paused, the lower one first."""
        return self._transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are still to be written."""
        return self._transport.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        """Tell whether this side can be closed alone."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """Close this side after what is still to be written."""
        self._transport.write_eof()


class RecordingDatagrams(asyncio.DatagramTransport):
    """The transport that a datagram protocol gets: what it sends goes through its endpoint, which counts."""

    def __init__(self, endpoint: OwnDatagramEndpoint) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._closing = False

    def sendto(self, data: Bytes, addr: Any = None) -> None:
        """Send a datagram."""
        if addr is None:
            raise ValueError("sendto needs an address: this server has many peers")
        if not self._closing and not self._endpoint.closed:
            self._endpoint.send(bytes(data), addr)

    def close(self) -> None:
        """Read and send nothing more."""
        self._closing = True
        self._endpoint.closed_by_user()

    def abort(self) -> None:
        """Do the same."""
        self.close()

    def is_closing(self) -> bool:
        """Tell whether it is closing or closed."""
        return self._closing or self._endpoint.closed

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol go on."""
        self._endpoint.inner = cast(asyncio.DatagramProtocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the user's protocol."""
        return self._endpoint.inner

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for room in the socket."""
        return self._endpoint.unsent_bytes

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket or its name."""
        sock = self._endpoint.sock
        return {"socket": sock, "sockname": self._endpoint.address}.get(name, default)
