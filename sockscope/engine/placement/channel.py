"""What the engine and its child processes say to each other over a socket pair.

Every message is framed like a request of the ``length`` framing: four bytes of length, big-endian, which
are checked against 16 MiB before they are believed, and then so many bytes. The first message of each side
is a hello in ASCII, which every version can read. All others are pickles. Unpickling runs what it is told
to; that is fine here and nowhere else: both ends are one program in one version, started by one user, and
nobody but the two of them holds an end of the pair. On a cluster a worker passes the bytes on: dask runs what
each end of it is told to in any case, so that only who may do that is let in (docs/scale.md).
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sockscope import __version__
from sockscope.core.config.experiment import Experiment
from sockscope.core.run.lens import LensView
from sockscope.core.run.snapshot import Cursors, Resources, RoleSnapshot
from sockscope.core.wire.framing import LENGTH_HEADER_BYTES, MAX_FRAME_BYTES, FramingError, decoder_for
from sockscope.errors import EngineError

PROTOCOL = 7
"""Version of the messages; to be raised with every change of one."""
MAX_MESSAGE_BYTES = MAX_FRAME_BYTES
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a child: what is run, which roles it hosts, and where modules are found.

    Without a ``path`` they are found where the child finds them by itself. With ``machine`` it tells what the
    kernel counts there: it is another machine than the engine's.
    """

    experiment: Experiment
    roles: tuple[str, ...]
    path: tuple[str, ...]
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one method of a role; the answer bears its ``number``, and 0 asks for none."""

    number: int
    role: str
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call returned, or the exception that it raised."""

    number: int
    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Asks for a report: for each role, what of it is to be in the report."""

    cursors: Mapping[str, Cursors]


@dataclass(frozen=True, slots=True)
class Report:
    """What a child knows of its roles and of itself at one moment.

    ``lens`` is without its tasks where they are those of the report before. ``generation`` is the number of
    the last change that all of its roles have gone over to.
    """

    roles: Mapping[str, RoleSnapshot]
    resources: Resources
    lens: LensView | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A role has spent its budget of requests, when so many calls without an answer had reached it."""

    role: str
    tells: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Lets a child measure how late its loop is, or do without."""

    beating: bool


@dataclass(frozen=True, slots=True)
class Look:
    """Switches the lens on a child's loop on or off."""

    on: bool


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Cancels a task of those that the lens on a child's loop shows; the answer tells what became of it."""

    number: int
    task: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that no call asked for went wrong in a child; ``fatal`` ends the run."""

    text: str
    fatal: bool


Message = Setup | Call | Answer | ReportRequest | Report | Exhausted | Heartbeat | Look | CancelTask | Trouble


def hello() -> bytes:
    """Return the first message of either side."""
    return f"sockscope child, protocol {PROTOCOL}, version {__version__}".encode()


def check_hello(theirs: bytes) -> None:
    """Raise EngineError unless the other end speaks as we do."""
    if theirs != hello():
        shown = "".join(c if c.isprintable() else "?" for c in theirs[:80].decode("ascii", "replace"))
        raise EngineError(
            f"a child process is of another version: it says “{shown}” and not “{hello().decode()}”; "
            "quit SockScope and start it again"
        )


def framed(payload: bytes) -> bytes:
    """Return a message as it goes over the channel; raise EngineError when it is too large."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise EngineError(
            f"a message of {len(payload):,} B is too large for the channel to a child process, "
            f"which takes {MAX_MESSAGE_BYTES:,} B"
        )
    return _LENGTH.pack(len(payload)) + payload


def packed(message: Message) -> bytes:
    """Return a message, framed."""
    return framed(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def unpacked(payload: bytes) -> Message:
    """Return the message that a frame holds; raise EngineError when it holds none."""
    try:
        message = pickle.loads(payload)
    except Exception as error:  # noqa: BLE001  # garbage can make unpickling raise anything
        raise EngineError(f"garbage on the channel of a child process: {type(error).__name__}") from None
    if not isinstance(message, Message):
        raise EngineError(f"garbage on the channel of a child process: {type(message).__name__}")
    return message


def receive(sock: socket.socket) -> bytes:
    """Return the next message of a blocking socket; raise EngineError when there is none."""
    (length,) = _LENGTH.unpack(_receive_exactly(sock, _LENGTH.size))
    if length > MAX_MESSAGE_BYTES:
        raise EngineError(f"garbage on the channel of a child process: a message of {length:,} B")
    return _receive_exactly(sock, length)


def _receive_exactly(sock: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        part = sock.recv(length - len(received))
        if not part:
            raise EngineError("the engine closed the channel to its child process")
        received += part
    return bytes(received)


class Channel(asyncio.Protocol):
    """One end of the socket pair on an event loop.

    ``on_message`` gets each message; ``on_end`` is called once, when the other end is gone (with an empty
    text) or broke the format (with a sentence). The hello of the other end is checked here, unless the two
    have ``greeted`` each other before there was a loop.
    """

    def __init__(
        self, on_message: Callable[[Message], None], on_end: Callable[[str], None], greeted: bool = False
    ) -> None:
        self._on_message = on_message
        self._on_end: Callable[[str], None] | None = on_end
        self._decoder = decoder_for("length", 0)
        self._greeted = greeted
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello, if that is still to be done."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._greeted:
            self._transport.write(framed(hello()))

    def data_received(self, data: bytes) -> None:
        """Hand on what is complete."""
        try:
            frames = self._decoder.feed(data)
            while frames:
                for frame in frames:
                    self._take(frame.wire[LENGTH_HEADER_BYTES:])
                frames = self._decoder.feed(b"")
        except FramingError as error:
            self._break(f"garbage on the channel of a child process: {error}")
        except EngineError as error:
            self._break(str(error))

    def _take(self, payload: bytes) -> None:
        if self._on_end is None:
            return
        if self._greeted:
            self._on_message(unpacked(payload))
        else:
            check_hello(payload)
            self._greeted = True

    def _break(self, text: str) -> None:
        self._end(text)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, text: str) -> None:
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(text)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that the other end is gone."""
        self._transport = None
        # Other than of the socket it is a fault in what a message led to.
        self._end("" if error is None or isinstance(error, OSError) else f"internal error: {error!r}")

    def send(self, message: Message) -> None:
        """Send a message, if the other end is there; raise EngineError when it is too large."""
        if self._transport is not None:
            self._transport.write(packed(message))

    def send_soon(self, message: Message) -> None:
        """Send a message in another turn of the loop, which breaks the channel if it is too large."""
        asyncio.get_running_loop().call_soon(self._send_or_break, message)

    def _send_or_break(self, message: Message) -> None:
        try:
            self.send(message)
        except EngineError as error:
            self._break(str(error))

    def close(self) -> None:
        """Send what is to be sent, and close."""
        if self._transport is not None:
            self._transport.close()
