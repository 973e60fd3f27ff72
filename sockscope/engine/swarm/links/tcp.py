"""What all TCP links share: how a request is framed, and how its answer is recognised."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from time import perf_counter
from typing import TYPE_CHECKING, cast

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Tuning
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import SocketOption
from sockscope.core.wire.framing import (
    LENGTH_HEADER_BYTES,
    Decoder,
    Frame,
    FramingError,
    decoder_for,
    encode,
    torn_and_merged,
)
from sockscope.engine.addresses import both_ends, family_of, plain_address, socket_address
from sockscope.engine.options import buffer_options, no_delay_option, set_buffers, set_no_delay, socket_of
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.recorder import Unfinished, clip
from sockscope.engine.swarm.links.link import Link

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

NUMBER_DIGITS = 8
"""Digits that begin a request while several are under way at once, and tell them and their answers apart."""
NO_ECHO = "the answer is not the request: the server does not echo (--expect or --until take other answers)"
"""What is wrong with an answer where none was described."""
# linux/in.h: let several destinations share a local port when the source address is bound first.
_IP_BIND_ADDRESS_NO_PORT = 24


def connects_at_once(sock: socket.socket, target: Address) -> bool:
    """Begin to connect; tell whether that is done already. Raises OSError if it has failed."""
    # Over loopback the handshake is done inside the first call, and the second says so.
    name = socket_address(target)
    return is_connected(sock.connect_ex(name)) or is_connected(sock.connect_ex(name))


def is_connected(number: int) -> bool:
    """Read the result of a connect: True when connected, False while under way; raises OSError."""
    if number in (0, errno.EISCONN):
        return True
    if number in (errno.EINPROGRESS, errno.EALREADY):
        return False
    raise OSError(number, os.strerror(number))


class TcpLink(Link):
    """A link over TCP; how it comes to its reads is the model's affair."""

    __slots__ = ("_asked", "_closing", "_decoder", "_framing", "_number_at", "_told", "_whole")

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._framing = ""
        # Whether the connection is being closed: what is still read belongs to nobody.
        self._closing = False
        # Where in a request its number stands, and the number of the last one.
        self._number_at = slice(0, 0)
        self._asked = 0
        self._decoder: Decoder = decoder_for("none", 0)
        # Whether something tells where an answer ends.
        self._told = False
        # The bytes that are a whole answer, where that is known before it comes.
        self._whole: bytes | None = None

    def begin(self) -> None:
        """Make ready for a new connection, which is what the tuning of this moment calls for."""
        tuning, dialogue = self._swarm.tuning, self._swarm.dialogue
        self._framing = tuning.framing
        self._closing = False
        self._decoder = dialogue.decoder(tuning.framing, tuning.request_bytes)
        self._told = tuning.framing != "none" or dialogue.tells_ends or dialogue.wants_echo

    def new_socket(self, target: Address) -> socket.socket:
        """Return a socket with the options of the tuning, bound where it is to connect from."""
        tuning, source = self._swarm.tuning, self._swarm.source
        sock = socket.socket(family_of(target[0]), socket.SOCK_STREAM)
        try:
            set_buffers(sock, tuning)
            set_no_delay(sock, tuning.no_delay)
            if source and family_of(source) is sock.family:
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
        dialogue = self._swarm.dialogue
        self._whole = None if dialogue.tells_ends else self._wire
        if self._framing == "none":
            # The size may have changed, with nothing under way.
            self._decoder = dialogue.decoder("none", len(payload))
        self._kept = clip(self._wire)
        begin = LENGTH_HEADER_BYTES if self._framing == "length" else 0
        digits = min(NUMBER_DIGITS, len(payload)) if self._swarm.numbered else 0
        self._number_at = slice(begin, begin + digits)

    def next_wire(self) -> bytes:
        """Return the request with the next number; a short one has only the last digits."""
        at = self._number_at
        if at.start == at.stop:
            return self._wire
        self._asked += 1
        number = b"%0*d" % (NUMBER_DIGITS, self._asked % 10**NUMBER_DIGITS)
        return self._wire[: at.start] + number[at.start - at.stop :] + self._wire[at.stop :]

    def time_out(self, before_s: float) -> None:
        """Give the connection up: what else was sent on it is lost with it."""
        recorder = self._swarm.recorder
        held = self.unfinished_bytes
        part = f"only {held:,} B of the answer came in time" if held else ""
        recorder.timeouts += self.give_up("timeout", before_s)
        recorder.errors += self.give_up("closed")
        self._client.leave(CloseReason.TIMEOUT, part)

    # Recognising answers.

    def _take_read(self, data: bytes, now: float) -> None:
        """Take a read that is not the whole answer in one, or not in a hurry."""
        record = self.record
        if record is None:
            return
        self._expect = None
        if self._closing or not self.under_way:
            self._take_unasked(record, len(data))
            return
        frames: list[Frame] = []
        garbage = ""
        try:
            frames = self._decoder.feed(data)
        except FramingError as error:
            garbage = str(error)
        # Without anything that tells, each read counts as an answer, but none that nobody waits for.
        good = min(len(frames), self.under_way)
        if self._told and not garbage:
            good, garbage = self._judge(frames)
        record.odd_read(len(data), good)
        recorder = self._swarm.recorder
        recorder.unused_bytes += len(data) - sum(len(frame.wire) for frame in frames[:good])
        torn, merged = torn_and_merged(frames[:good], self._decoder.pending_bytes)
        recorder.torn += torn
        recorder.merged += merged
        shown_merged = bool(merged) and self._framing == "none"
        for frame in frames[:good]:
            self._take_answer(now, clip(frame.wire, frame.reads, shown_merged))
        if garbage:
            self._refuse(garbage)

    def _take_unasked(self, record: ConnectionRecord, size: int) -> None:
        """Take a read while nothing is under way: whatever it holds, it is no answer."""
        recorder = self._swarm.recorder
        record.odd_read(size)
        recorder.unused_bytes += size
        if self._closing:
            return
        recorder.unexpected += 1
        why = f"{size:,} B that nobody asked for"
        if not record.frames_out:
            why = f"{size:,} B before anything was asked: servers that speak first are not supported yet"
        if self._told or not record.frames_out:
            self._client.leave(CloseReason.GARBAGE, why)
        else:
            self._swarm.note_trouble(CloseReason.GARBAGE, why)

    def _judge(self, frames: list[Frame]) -> tuple[int, str]:
        """Return how many of ``frames`` are the answers that are due, and what is wrong with what follows."""
        due, wants_echo = self.under_way, self._swarm.dialogue.wants_echo
        for index, frame in enumerate(frames):
            asked = self._pipeline[index][1] if self._pipeline else self._wire
            if wants_echo and frame.wire != asked:
                return index, NO_ECHO
            if index + 1 == due and (index + 1 < len(frames) or self._decoder.pending_bytes):
                return index, f"more than the answer{': the server does not echo' if wants_echo else ''}"
        return len(frames), ""

    def _instead(self, outcome: str) -> Unfinished:
        """Return what came for the oldest request under way: the beginning of an answer, perhaps."""
        part = self._decoder.pending
        if outcome == "garbage" or not part.wire:
            return Unfinished(outcome)
        return Unfinished("short", clip(part.wire, part.reads))

    @property
    def unfinished_bytes(self) -> int:
        """Bytes of an answer that is not whole."""
        return self._decoder.pending_bytes

    def _refuse(self, why: str) -> None:
        """What came is no answer: whatever is under way has failed, and the connection is given up."""
        self._swarm.recorder.errors += self.give_up("garbage")
        self._client.leave(CloseReason.GARBAGE, why)


class DialledLink(TcpLink):
    """A link that a task connects: to a transport, to streams, or in a thread."""

    __slots__ = ("_attempt", "_may_cancel")

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self._attempt: asyncio.Task[None] | None = None
        # Not once a loop makes a transport of the socket: uvloop would drop that without a word to the
        # protocol, which may know it already.
        self._may_cancel = True

    async def dial(self, target: Address) -> None:
        """Make a connection and tell the client; raises OSError or TimeoutError."""
        raise NotImplementedError

    def connect(self, target: Address) -> None:
        """Begin to connect in a task."""
        self._attempt = self._swarm.loop.create_task(self.dial(target))
        self._attempt.add_done_callback(self._dialled)

    def give_up_connecting(self) -> None:
        """Cancel the attempt, unless the connection is being handed over already."""
        if self._attempt is not None and self._may_cancel:
            self._attempt.cancel()

    def _dialled(self, attempt: asyncio.Task[None]) -> None:
        self._attempt = None
        error = None if attempt.cancelled() else attempt.exception()
        if isinstance(error, OSError):
            self._client.connect_failed(error)
        elif attempt.cancelled() or error is not None:
            self._client.connect_failed(None)
        if error is not None and not isinstance(error, OSError):
            context = {"message": "a client failed to connect", "exception": error}
            self._swarm.loop.call_exception_handler(context)

    async def dial_socket(self, target: Address) -> socket.socket:
        """Return a socket connected within the tuning's connect timeout; raises OSError or TimeoutError."""
        self.begin()
        sock = self.new_socket(target)
        try:
            sock.setblocking(False)
            if not connects_at_once(sock, target):
                async with asyncio.timeout(self._swarm.tuning.connect_timeout_s):
                    await self._swarm.loop.sock_connect(sock, socket_address(target))
            both_ends(sock)
        except BaseException:
            sock.close()
            raise
        return sock


class TransportLink(DialledLink):
    """A link that writes to a transport of the event loop."""

    __slots__ = ("_write", "transport")

    transport: asyncio.Transport | None

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        super().__init__(swarm, client)
        self.transport = None

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

    def socket_options(self, tuning: Tuning) -> list[SocketOption]:
        """Return TCP_NODELAY and the buffer sizes."""
        sock = socket_of(self.transport) if self.transport is not None else None
        return tcp_options(sock, tuning)

    # From the transport.

    def attached(self, transport: asyncio.BaseTransport) -> None:
        """The connection has its transport: go to work."""
        self.transport = cast(asyncio.Transport, transport)
        self._write = self.transport.write
        local = transport.get_extra_info("sockname") or ("0.0.0.0", 0)
        remote = transport.get_extra_info("peername") or ("0.0.0.0", 0)
        self._client.connected("tcp", plain_address(local), plain_address(remote))

    def data_received(self, data: bytes) -> None:
        """Recognise the answer."""
        if data == self._expect:
            now = perf_counter()
            # Functions are taken out of their slots before they are called: as a method call the same is
            # twice as slow in CPython 3.11.
            record, kept, on_exchange = self.record, self._kept, self._on_exchange
            on_exchange((self._sent_s, now, record, kept, kept))  # type: ignore[arg-type]
            if self.steady:
                # The next request goes out here and now, so its clock is this one.
                self._sent_s = now
                write = self._write
                write(data)
                record.exchanges += 1  # type: ignore[union-attr]
            else:
                record.odd_read(len(data), 1)  # type: ignore[union-attr]
                self._answered()
            return
        self._take_read(data, perf_counter())

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the client."""
        self.transport = None
        self._client.lost(close_reason(error), "" if error is None else describe(error))


def tcp_options(sock: socket.socket | None, tuning: Tuning) -> list[SocketOption]:
    """Return TCP_NODELAY and the buffer sizes of a socket, requested and effective; nothing without one."""
    return [] if sock is None else [no_delay_option(sock, tuning), *buffer_options(sock, tuning)]
