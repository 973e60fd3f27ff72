"""The TCP client: what its models share, and the default one, a ``Protocol`` that is its own connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from time import perf_counter
from typing import cast

from sockscope.core.config.experiment import Tuning
from sockscope.core.connection import Address
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.core.wire.framing import LENGTH_HEADER_BYTES, Decoder, Frame, FramingError, decoder_for, encode
from sockscope.engine.loops import attach
from sockscope.engine.options import (
    buffer_options,
    family_of,
    no_delay_option,
    set_buffers,
    set_no_delay,
    socket_of,
)
from sockscope.engine.os_errors import close_reason
from sockscope.engine.recorder import clip
from sockscope.engine.swarm.client import NUMBER_DIGITS, Client, ClientState, SwarmContext

NO_ECHO = "the answer is not the request: the server does not echo (--expect or --until take other answers)"
"""What is wrong with an answer where none was described."""
# linux/in.h: let several destinations share a local port when the source address is bound first.
_IP_BIND_ADDRESS_NO_PORT = 24


class TcpClient(Client):
    """A client that speaks TCP; how it comes to its reads is the model's affair."""

    __slots__ = (
        "_asked", "_decoder", "_framing", "_number_at", "_told", "_whole", "_write", "transport",
    )  # fmt: skip

    transport: asyncio.Transport | None

    def __init__(self, swarm: SwarmContext, number: int) -> None:
        super().__init__(swarm, number)
        self.transport = None
        self._framing = ""
        # Where in a request its number stands, and the number of the last one.
        self._number_at = slice(0, 0)
        self._asked = 0
        self._decoder: Decoder = decoder_for("none", 0)
        # Whether something tells where an answer ends.
        self._told = False
        # The bytes that are a whole answer, where that is known before it comes.
        self._whole: bytes | None = None

    async def dial(self, target: Address) -> socket.socket:
        """Return a socket connected within the tuning's connect timeout; raises OSError or TimeoutError."""
        self.begin()
        sock = self.new_socket(target)
        try:
            sock.setblocking(False)
            # Over loopback the handshake is done inside the first call, and the second says so.
            failed = sock.connect_ex(target)
            if failed == errno.EINPROGRESS:
                failed = sock.connect_ex(target)
            if failed not in (0, errno.EISCONN):
                async with asyncio.timeout(self.swarm.tuning.connect_timeout_s):
                    await self.swarm.loop.sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        return sock

    def begin(self) -> None:
        """Make ready for a new connection, which is what the tuning of this moment calls for."""
        tuning, dialogue = self.swarm.tuning, self.swarm.dialogue
        self._socket_generation = self.swarm.socket_generation
        self._framing = tuning.framing
        self._decoder = dialogue.decoder(tuning.framing, tuning.request_bytes)
        self._told = tuning.framing != "none" or dialogue.tells_ends

    def new_socket(self, target: Address) -> socket.socket:
        """Return a socket with the options of the tuning, bound where it is to connect from."""
        tuning, source = self.swarm.tuning, self.swarm.source
        sock = socket.socket(family_of(target[0]), socket.SOCK_STREAM)
        try:
            set_buffers(sock, tuning)
            set_no_delay(sock, tuning.no_delay)
            if source:
                with contextlib.suppress(OSError):  # older than Linux 4.2: binding alone does as well
                    sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
        except BaseException:
            sock.close()
            raise
        return sock

    def prepare(self, payload: bytes) -> None:
        """Frame the payload once; every request is the same bytes, but for its number if it has one."""
        self._wire = encode(self._framing, payload)
        self._whole = None if self.swarm.dialogue.tells_ends else self._wire
        self._kept = clip(self._wire)
        begin = LENGTH_HEADER_BYTES if self._framing == "length" else 0
        digits = min(NUMBER_DIGITS, len(payload)) if self.swarm.numbered else 0
        self._number_at = slice(begin, begin + digits)

    def next_wire(self) -> bytes:
        """Return the request with the next number; a short one has only the last digits."""
        at = self._number_at
        if at.start == at.stop:
            return self._wire
        self._asked += 1
        number = b"%0*d" % (NUMBER_DIGITS, self._asked % 10**NUMBER_DIGITS)
        return self._wire[: at.start] + number[at.start - at.stop :] + self._wire[at.stop :]

    def transmit(self) -> None:
        """Write the request."""
        self._expect = self._whole
        self._write(self._wire)

    def transmit_several(self, wires: list[bytes]) -> None:
        """Write requests: one as it is, several as one vector."""
        assert self.transport is not None
        if len(wires) == 1:
            self._write(wires[0])
        else:
            self.transport.writelines(wires)

    def hang_up(self) -> None:
        """Close after what is still to be written."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close now."""
        if self.transport is not None:
            self.transport.abort()

    def socket_options(self, tuning: Tuning) -> list[SocketOption]:
        """Return TCP_NODELAY and the buffer sizes."""
        sock = socket_of(self.transport) if self.transport is not None else None
        if sock is None:
            return []
        return [no_delay_option(sock, tuning), *buffer_options(sock, tuning)]

    # From the transport.

    def go_to_work(self, transport: asyncio.BaseTransport) -> None:
        """There is a connection: begin to ask."""
        self.transport = cast(asyncio.Transport, transport)
        self._write = self.transport.write
        local = transport.get_extra_info("sockname") or ("0.0.0.0", 0)
        remote = transport.get_extra_info("peername") or ("0.0.0.0", 0)
        self.connected("tcp", local[:2], remote[:2])

    def data_received(self, data: bytes) -> None:
        """Recognise the answer; the hot path of a swarm."""
        if data == self._expect:
            now = perf_counter()
            # Functions are taken out of their slots before they are called: as a method call the same is
            # twice as slow in CPython 3.11.
            record, kept, on_exchange = self.record, self._kept, self._on_exchange
            on_exchange((self._sent_s, now, record, kept, kept))  # type: ignore[arg-type]
            if self._steady:
                # The next request goes out here and now, so its clock is this one.
                self._sent_s = now
                write = self._write
                write(data)
                record.exchanges += 1  # type: ignore[union-attr]
            else:
                record.odd_read(len(data), 1)  # type: ignore[union-attr]
                self.answered()
            return
        self._piecewise(data, perf_counter())

    def _piecewise(self, data: bytes, now: float) -> None:
        """Take a read that is not the whole answer in one, or not in a hurry."""
        record = self.record
        if record is None:
            return
        frames: list[Frame] = []
        garbage = ""
        if self.state is not ClientState.CLOSING:
            try:
                frames = self._decoder.feed(data)
            except FramingError as error:
                garbage = str(error)
        self._expect = None
        good = len(frames)
        if self._told and not garbage:
            good, garbage = self._judge(frames)
        record.odd_read(len(data), good)
        if self._sent_s:
            for frame in frames[:good]:
                self.answer(now, clip(frame.wire, frame.reads))
        if garbage:
            self._garbage(garbage)

    def _judge(self, frames: list[Frame]) -> tuple[int, str]:
        """Return how many of ``frames`` are the answers that are due, and what is wrong with what follows."""
        due, wants_echo = self.under_way, self.swarm.dialogue.wants_echo
        for index, frame in enumerate(frames):
            if index == due:
                return index, "an answer that was not asked for"
            asked = self._pipeline[index][1] if self._pipeline else self._wire
            if wants_echo and frame.wire != asked:
                return index, NO_ECHO
            if index + 1 == due and (index + 1 < len(frames) or self._decoder.pending_bytes):
                return index, f"more than the answer{': the server does not echo' if wants_echo else ''}"
        return len(frames), ""

    def _garbage(self, why: str) -> None:
        self.swarm.recorder.errors += max(1, self._give_up("garbage"))
        self._release()
        self.leave(CloseReason.GARBAGE, why)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the loop of the client."""
        self.transport = None
        self.lost(close_reason(error), "" if error is None else str(error))


class ProtocolClient(TcpClient, asyncio.Protocol):
    """A client that is called back by its transport."""

    __slots__ = ()

    async def connect(self, target: Address) -> None:
        """Connect within the tuning's connect timeout; raises OSError or TimeoutError."""
        sock = await self.dial(target)
        self.dialling = False
        try:
            await attach(sock, self)
        except BaseException:
            sock.close()
            raise
        finally:
            self.dialling = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go to work."""
        self.go_to_work(transport)

    def eof_received(self) -> bool:
        """The server finished sending; there is nothing left to hear."""
        return False
