"""A UDP server of the user's own: one ``asyncio.DatagramProtocol`` gets what every peer sends.

The socket is read here, up to 64 datagrams a turn, on either loop: it can be left to a successor without
losing any. What the protocol raises is counted and told with its place, and the server goes on.
For the inspector an exchange is a datagram and the first one that goes back to where it came from.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sockscope.core.events import CloseReason
from sockscope.core.wire.sequence import number_of
from sockscope.engine.captures import Clip, clip
from sockscope.engine.os_errors import describe
from sockscope.engine.own_errors import is_interrupt, told
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.recording_transport import RecordingDatagrams
from sockscope.engine.servers.endpoint import Inheritance, Remote, ServerContext
from sockscope.engine.servers.peers import UdpPeer
from sockscope.engine.servers.udp_endpoint import (
    LARGEST_DATAGRAM_BYTES,
    MOST_HELD_S,
    READS_PER_TURN,
    UdpEndpoint,
)

if TYPE_CHECKING:
    from sockscope.engine.servers.own_server import OwnServer

MOST_UNANSWERED = 65_536
"""Datagrams that are remembered because they may be answered."""
PAUSE_BYTES, RESUME_BYTES = 65_536, 16_384
"""Bytes that wait for room: with more the protocol is to pause and nothing is read, with fewer it goes on."""


class OwnDatagramEndpoint(UdpEndpoint):
    """A UDP socket whose datagrams the user's protocol gets."""

    def __init__(self, server: OwnServer, context: ServerContext, assignment: Assignment) -> None:
        inner = server.code.datagram_protocol()
        super().__init__(context, assignment, context.recorder, nullcontext())
        self.server = server
        self.code = server.code
        self.inner = inner
        # Filler begins with a number; what somebody else sends need not.
        self._numbered = context.experiment.role == "both" and not context.experiment.request
        self._unanswered: dict[Remote, tuple[float, Clip]] = {}
        # What waits for room: until when it may, its bytes, and who is to get it.
        self._unsent: deque[tuple[float, bytes, Any]] = deque()
        self.unsent_bytes = 0
        self._paused = False
        self._watched = False
        self._call_at_read = self._call
        self._watch()
        self.watch_idle()
        self._call(None, self.inner.connection_made, RecordingDatagrams(self))

    def _watch(self) -> None:
        """Read unless the protocol is to pause: what it would answer has to wait, too."""
        watched = self.reading and not self._paused
        if watched == self._watched:
            return
        self._watched = watched
        if watched:
            self._loop.add_reader(self.sock, self._readable)
        else:
            self._loop.remove_reader(self.sock)

    # From the socket.

    def _readable(self) -> None:
        for _ in range(READS_PER_TURN):
            if not self._watched:
                return
            try:
                data, remote = self.sock.recvfrom(LARGEST_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._recorder.on_error(describe(error))
                self._call(None, self.inner.error_received, error)
                continue
            peer = self.peers.arrived(remote, number_of(data) if self._numbered else 0)
            if peer is None:
                continue
            peer.record.odd_read(len(data), 1)
            if len(self._unanswered) < MOST_UNANSWERED:
                self._unanswered[remote] = perf_counter(), clip(data)
            self._call_at_read(peer, self.inner.datagram_received, data, remote)

    def _send_unsent(self) -> None:
        """Send what has waited for room; a Unix socket may have none for as long as an answer waits there."""
        if self.closed:
            return
        self._loop.remove_writer(self.sock)
        while self._unsent:
            until_s, data, remote = self._unsent[0]
            try:
                self.sock.sendto(data, remote)
            except OSError as error:
                if isinstance(error, BlockingIOError) and perf_counter() < until_s:
                    self.send_later(self._send_unsent)
                    break
                self._not_sent(error, remote)
            else:
                self._sent(data, remote)
            self._unsent.popleft()
            self.unsent_bytes -= len(data)
        if self._paused and self.unsent_bytes <= RESUME_BYTES:
            self._paused = False
            self._watch()
            self._call(None, self.inner.resume_writing)

    # From the user's code.

    def send(self, data: bytes, remote: Any) -> None:
        """Send a datagram, or keep it until there is room for it."""
        if not self._unsent:
            try:
                self.sock.sendto(data, remote)
            except BlockingIOError:
                self.send_later(self._send_unsent)
            except OSError as error:
                self._not_sent(error, remote)
                return
            else:
                self._sent(data, remote)
                return
        until_s = perf_counter() + MOST_HELD_S if self.holds else math.inf
        self._unsent.append((until_s, data, remote))
        self.unsent_bytes += len(data)
        if not self._paused and self.unsent_bytes > PAUSE_BYTES:
            self._paused = True
            self._watch()
            self._call(None, self.inner.pause_writing)

    def _sent(self, data: bytes, remote: Any) -> None:
        peer = self.peers.known.get(remote) or self.peers.arrived(remote, 0)
        if peer is None:
            return
        peer.record.odd_write(len(data))
        if (asked := self._unanswered.pop(remote, None)) is not None:
            read_s, request = asked
            self._recorder.on_exchange((read_s, perf_counter(), peer.record, request, clip(data)))

    def _not_sent(self, error: OSError, remote: Any) -> None:
        if (peer := self.peers.known.get(remote)) is not None:
            self.answer_failed(error, peer, remote)
        self._call(peer, self.inner.error_received, error)

    def closed_by_user(self) -> None:
        """The user's code reads and sends nothing more."""
        if not self.closed and self.reading:
            self._recorder.on_error(f"closed by {self.server.name}: nothing more is read")
            self.reading = False
            self._watch()
            self._loop.call_soon(self._call, None, self.inner.connection_lost, None)

    def _call(self, peer: UdpPeer | None, callback: Callable[..., Any], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except BaseException as error:
            if is_interrupt(error):
                raise
            record = peer.record if peer is not None else None
            self.server.count_raised(self.context.recorder, record, error, told(error, self.server.name))

    def _call_struck(self, peer: UdpPeer | None, callback: Callable[..., Any], *arguments: Any) -> None:
        """Call the user's code with a datagram, unless that meets a fault of the server first."""

        def struck() -> None:
            self.context.faults.strike()
            callback(*arguments)

        self._call(peer, struck)

    # From the role.

    async def take_faults(self) -> None:
        """Let what is read meet the faults of the server while these strike."""
        self._call_at_read = self._call_struck if self.context.faults.strikes else self._call

    def share(self) -> Inheritance | None:
        """Return a duplicate of the socket, or None when it is closed or another's already."""
        inheritance = super().share()
        self._watch()
        return inheritance

    def take_back(self) -> None:
        """Read again: the successor could not begin."""
        super().take_back()
        self._watch()

    def close(self, reason: CloseReason) -> None:
        """Close the socket, record the end of every peer, and tell the user's code."""
        if self.closed:
            return
        super().close(reason)
        self._watch()
        self._loop.remove_writer(self.sock)
        self.sock.close()
        self._call(None, self.inner.connection_lost, None)
