"""Links that write to a transport of the event loop, which tells them what it reads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sockscope.core.addresses import Address
from sockscope.engine.addresses import ends_of
from sockscope.engine.options import socket_of
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.swarm.links.dialling import DialledLink
from sockscope.engine.tls.contexts import said_goodbye
from sockscope.engine.tls.faults import handshake_error

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

T = TypeVar("T")
LEAST_HANDSHAKE_S = 0.001
"""What a TLS handshake gets of the time for a connection, at least."""


class TransportLink(DialledLink):
    """A link that writes to a transport of the event loop."""

    __slots__ = ("_began_s", "_handshaking", "_target", "_write", "transport")

    transport: asyncio.Transport | None

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self.transport = None
        self._target: Address = ("", 0)
        # The socket of a TLS handshake that is under way, and when that or the connecting before it began.
        self._handshaking: socket.socket | None = None
        self._began_s = 0.0

    def connect(self, target: Address) -> None:
        """Begin to connect in a task."""
        self._target, self._began_s = target, perf_counter()
        super().connect(target)

    def give_up_connecting(self) -> None:
        """Cancel the attempt, or end the TLS handshake."""
        super().give_up_connecting()
        if self._handshaking is not None:
            with contextlib.suppress(OSError):  # it has just come to its end
                self._handshaking.shutdown(socket.SHUT_RDWR)

    async def _hand_over(self, sock: socket.socket, hand_over: Callable[[dict[str, Any]], Awaitable[T]]) -> T:
        """Return what a loop makes of a connected socket, by ``hand_over(tls)``; raises OSError.

        ``tls`` are its arguments for TLS, whose handshake is over then.
        """
        self._may_cancel = False
        tls = self._tls
        left_s = self._swarm.tuning.connect_timeout_s + self._began_s - perf_counter()
        self._began_s = perf_counter()
        try:
            if tls is None:
                return await hand_over({})
            self._handshaking = sock
            left_s = max(left_s, LEAST_HANDSHAKE_S)
            return await hand_over(tls.for_loop(self._target, self._session, left_s))
        except BaseException as error:
            sock.close()
            if tls is not None and isinstance(error, OSError):
                raise handshake_error(error) from None
            raise
        finally:
            self._handshaking = None
            self._may_cancel = True

    def transmit(self) -> None:
        """Write the request."""
        self._expect = self._whole
        self._write(self._wire)

    def converse(self, says: bytes) -> None:
        """Write these bytes; what is read is told anyway."""
        if says and self.transport is not None and not self.transport.is_closing():
            self._write(says)

    def transmit_several(self, wires: list[bytes]) -> None:
        """Write requests: one as it is, several as one vector."""
        assert self.transport is not None
        if len(wires) == 1:
            self._write(wires[0])
        else:
            self.transport.writelines(wires)

    def close(self, *, abort: bool) -> None:
        """Close after what is still to be written, or at once."""
        self._expect = None
        self._closing = True
        if self.transport is not None:
            if abort:
                self.transport.abort()
            else:
                self.transport.close()

    @property
    def unsent(self) -> bool:
        """Whether the transport has something left to write."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    @property
    def sock(self) -> socket.socket | None:
        """The socket of the connection; None without one."""
        return socket_of(self.transport) if self.transport is not None else None

    # From the transport.

    def attached(self, transport: asyncio.BaseTransport) -> None:
        """The connection has its transport: go to work."""
        self.transport = cast(asyncio.Transport, transport)
        self._no_delay = None
        self._write = self.transport.write
        if (over := transport.get_extra_info("ssl_object")) is not None:
            self._secured(over, self._began_s, perf_counter())
        local, remote = ends_of(transport)
        self._client.connected("tcp", local, remote)

    def data_received(self, data: bytes) -> None:
        """Recognise the answer."""
        now = perf_counter()
        if data == self._expect and now - self._sent_s <= self._timeout_s:
            # Functions are taken out of their slots before they are called: as a method call the same is
            # twice as slow in CPython 3.11.
            record, on_exchange = self.record, self._on_exchange
            on_exchange((self._sent_s, now, record, self._kept, self._kept_answer))  # type: ignore[arg-type]
            if self.steady:
                # The next request goes out here and now, so its clock is this one.
                self._sent_s = now
                write = self._write
                write(self._wire)
                record.exchanges += 1  # type: ignore[union-attr]
            else:
                record.odd_read(len(data), 1)  # type: ignore[union-attr]
                if self._waited_s:
                    self._on_waited((self._sent_s, now, self._waited_s))
                self._answered()
            return
        self._take_read(data, now)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the client."""
        self.transport = None
        if self._over is not None:
            self._unsecured(truncated=error is None and not said_goodbye(self._over))
        self._client.lost(close_reason(error), "" if error is None else describe(error))
