"""One direction of a spliced connection.

What is read from one side is written to the other at once, from one buffer. What a side does not take is
kept, at most one read of it, and no more is read from the other side until it has gone: that is how a slow
reader is felt at the far end. EOF is passed on as a half-close when everything before it has gone.

Faults make pieces of what is read, each with the moment at which it is due; they wait in order.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from sockscope.core.connection import ConnectionState
from sockscope.core.events import CloseReason
from sockscope.core.impairment.stream import NONE, Fate, StreamImpairer
from sockscope.engine.relay.direction import UP, Direction
from sockscope.engine.swarm.readiness import BUFFER_BYTES, READ, READ_ONCE, WRITE

if TYPE_CHECKING:
    from sockscope.engine.relay.splice import Splice

BROKEN = 0x8
"""EPOLLERR: the peer has reset the connection, or it broke otherwise."""
_PEER_ENDED = 0x2000 | 0x10 | BROKEN
"""With EPOLLRDHUP and EPOLLHUP: there is an end to be read behind the last bytes, which is not told again."""
MOST_HELD_BYTES = 1 << 20
"""What one direction of a connection holds until it is due, about; then no more is read."""
MOST_TOGETHER_BYTES = 256 << 20
"""As soon as all connections together hold so much in a direction,"""
LEAST_HELD_BYTES = 1 << 16
"""each of them has room for no more than this: those that clients have given up keep what they hold, too."""
MOST_PIECES = 4_096
"""And in how many pieces."""
_EOF = b""
"""The piece that stands for the end: no read is empty otherwise."""


class Way:
    """One direction of a splice, from ``source`` to ``target``."""

    __slots__ = (
        "_buffer", "_common", "_data", "_direction", "_fate", "_held", "_held_bytes", "_impairer",
        "_is_alarm_set", "_is_dark", "_is_full", "_is_plain", "_is_slow", "_most", "_on_late", "_readiness",
        "_record", "_recv_into", "_send", "_size", "_splice", "_stopped", "_talk", "back", "ended", "is_up",
        "passed", "pending", "source", "target",
    )  # fmt: skip

    back: Way
    """The other direction, which writes to the source of this one."""

    def __init__(
        self,
        splice: Splice,
        direction: Direction,
        source: socket.socket,
        target: socket.socket,
    ) -> None:
        self._splice = splice
        self._common = splice.common
        self._record = splice.record
        self._direction = direction
        self.is_up = direction.name == UP
        self.source, self.target = source, target
        self._recv_into, self._send = source.recv_into, target.send
        self._readiness = splice.common.readiness
        self._buffer = splice.common.readiness.buffer
        self._on_late = splice.common.recorder.on_late_by
        # The part of the buffer that the last read has filled: mostly the next one fills it again.
        self._size, self._data = 0, memoryview(b"")
        self._talk = splice.talk
        self.pending = b""
        """What was to be written and the target has not taken yet."""
        self.ended = False
        """Whether EOF was read, or nothing more is to be."""
        self.passed = False
        """Whether EOF was passed on."""
        self._stopped = False
        # What waits until it is due, and how many bytes of it there are.
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._is_full = self._is_alarm_set = self._is_dark = False
        self._impairer: StreamImpairer | None = None
        self._is_slow = False
        # Whether what is read is written at once, and nobody listens.
        self._is_plain = self._talk is None
        # Most bytes that one read takes; 0 = all that the buffer holds.
        self._most = 0
        self._fate = NONE

    # The fast path.

    def ready(self, events: int) -> None:
        """The source is ready for ``events``: there is something to read, or room to write."""
        if not self._is_plain or events != READ:
            self._ready(events)
            return
        try:
            size = self._recv_into(self._buffer)
            if size != self._size:
                if not size:
                    self._end()
                    return
                self._size, self._data = size, self._common.view[:size]
        except BlockingIOError:
            return
        except OSError as error:
            self._splice.break_off(error)
            return
        try:
            sent = self._send(self._data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._count_read(size)
            self._splice.break_off(error, unwritable=self)
            return
        if sent != size:
            self._count_read(size)
            if sent:
                self._count(sent)
            self._wait_for_room(bytes(self._data[sent:]))
        else:
            direction, record = self._direction, self._record
            direction.whole += 1
            direction.whole_bytes += size
            if self.is_up:
                record.odd_reads += 1
                record.odd_bytes_in += size
            else:
                record.odd_writes += 1
                record.odd_bytes_out += size
            record.tally.changed = True
            self._on_late(perf_counter() - self._readiness.turn_s)
        if size == BUFFER_BYTES:
            self.watch_again()

    # What is not as fast.

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self.back.flush()
        if not self._stopped:
            if events != WRITE:
                self._read(events)
        elif events & BROKEN and not self._is_dark:
            # What cannot be read now will not be read any more.
            self._splice.break_off(_error_of(self.source))

    def _read(self, events: int) -> None:
        common = self._common
        try:
            size = self._recv_into(common.readiness.buffer, self._most)
        except BlockingIOError:
            return
        except OSError as error:
            self._splice.break_off(error)
            return
        if not size:
            self._end()
            return
        self._count_read(size)
        if self._is_slow:
            if self._talk is not None and not self.is_up:
                self._talk.answer(common.view[:size], perf_counter(), 0.0)
            self._hold(bytes(common.view[:size]))
        else:
            self._write(common.view[:size], common.readiness.turn_s)
        if size == (self._most or BUFFER_BYTES) or events & _PEER_ENDED:
            self.watch_again()

    def _write(self, data: bytes | memoryview, since_s: float) -> None:
        """Write what is to go since ``since_s``; what is not taken waits, and so does the source."""
        talk = self._talk
        if talk is not None:
            begin_s = perf_counter()
            if self.is_up:
                talk.ask(data, 0.0 if self._is_slow else since_s, begin_s)
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if talk is not None and not (self.is_up or self._is_slow):
                talk.answer(data, begin_s, 0.0)
            self._splice.break_off(error, unwritable=self)
            return
        if sent:
            self._count(sent)
        end_s = perf_counter()
        if talk is not None and not (self.is_up or self._is_slow):
            talk.answer(data, begin_s, end_s)
        if sent == len(data):
            self._on_late(end_s - since_s)
        else:
            self._wait_for_room(bytes(data[sent:]))

    def _count_read(self, size: int) -> None:
        direction = self._direction
        direction.reads += 1
        direction.bytes_in += size
        if self.is_up:
            record = self._record
            record.odd_reads += 1
            record.odd_bytes_in += size
            record.tally.changed = True

    def _count(self, sent: int) -> None:
        direction = self._direction
        direction.writes += 1
        direction.bytes_out += sent
        if not self.is_up:
            record = self._record
            record.odd_writes += 1
            record.odd_bytes_out += sent
            record.tally.changed = True

    # A target that does not read.

    def _wait_for_room(self, data: bytes) -> None:
        self.pending = data
        if not self.is_up:
            self._common.recorder.on_paused(self._record)
        self._direction.held += 1
        self._direction.held_bytes += len(data)
        self.back.watch_again()
        self._settle()

    def flush(self) -> None:
        """The target may have room again."""
        if not self.pending:
            return
        try:
            sent = self._send(self.pending)
        except BlockingIOError:
            return
        except OSError as error:
            self._splice.break_off(error, unwritable=self)
            return
        self._count(sent)
        self._direction.held_bytes -= sent
        self.pending = self.pending[sent:]
        if self.pending:
            return
        self._direction.held -= 1
        if not self.is_up:
            self._common.recorder.on_resumed(self._record)
        self.back.watch_again()
        self._release()

    def _settle(self) -> None:
        """Read on, or do not, as things are now."""
        self._stopped = bool(self.ended or self.pending or self._is_full or self._is_dark)
        self._look_if_plain()
        self.watch_again()

    def _look_if_plain(self) -> None:
        self._is_plain = not (self._stopped or self._is_slow or self._talk is not None)

    def watch_again(self) -> None:
        """Watch the source for what matters now, and hear anew what it is ready for already."""
        if self._splice.closed:
            return
        events = READ_ONCE & ~READ if self._stopped else READ_ONCE
        if self.back.pending:
            events |= WRITE
        self._common.readiness.watch(self.source, events)

    # The end.

    def _end(self) -> None:
        """EOF was read."""
        self.ended = self._stopped = True
        self._is_plain = False
        if self._is_slow:
            now_s = perf_counter()
            self._held.append((self._impairer.close_due_s(now_s) if self._impairer else now_s, _EOF))
            self._release()
        else:
            self._finish()

    def _finish(self) -> None:
        """Pass EOF on, when everything before it has gone."""
        splice = self._splice
        if self.passed or self.pending or self._held or splice.closed or splice.breaking:
            return
        self.passed = True
        if self.back.passed:
            splice.close(CloseReason.EOF)
            return
        self._record.state = ConnectionState.HALF_CLOSED
        try:
            self.target.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._splice.break_off(error)

    def forget(self) -> None:
        """Nothing waits any more."""
        direction = self._direction
        if self.pending:
            direction.held -= 1
            direction.held_bytes -= len(self.pending)
            self.pending = b""
        direction.held -= sum(1 for _, data in self._held if data)
        direction.held_bytes -= self._held_bytes
        self._held.clear()
        self._held_bytes = 0

    def drain(self) -> None:
        """Pass on what has come before the end of the connection, as far as it is taken at once."""
        while not (self._stopped or self._splice.closed):
            before = self._direction.reads
            self._read(0)
            if self._direction.reads == before:
                return

    # Faults.

    def turn(self, impairer: StreamImpairer | None) -> None:
        """Go over to the faults that the direction has now; whatever they held back goes on at once."""
        if self._impairer is not None and impairer is not None:
            self._impairer.turn(self._direction.faults)
            self._impairer.let_go()
        else:
            self._impairer = impairer
        faults = self._direction.faults
        self._most = min(faults.slice_bytes * MOST_PIECES // 4, BUFFER_BYTES - 1) if faults else 0
        now_s = perf_counter()
        self._held = deque((min(due_s, now_s), data) for due_s, data in self._held)
        current = self._impairer
        self._meet(current.fate(self._record.conn_id) if current is not None else NONE)
        self._is_slow, self._is_plain = True, False
        if self._is_alarm_set:
            # It rings too late by now; another one does no harm.
            self._is_alarm_set = False
        self._release()

    def _meet(self, fate: Fate) -> None:
        """Plan what is to become of this direction, where that is something else than before."""
        before, self._fate = self._fate, fate
        since_s, schedule = self._splice.counts_from_s, self._common.schedule
        if fate.black_hole_after_s != before.black_hole_after_s:
            self._is_dark = False
            if fate.black_hole_after_s is not None:
                schedule.at(since_s + fate.black_hole_after_s, partial(self._go_dark, fate))
        if fate.half_close_after_s not in (None, before.half_close_after_s):
            schedule.at(since_s + fate.half_close_after_s, partial(self._half_close, fate))

    def _go_dark(self, fate: Fate, due_s: float) -> None:
        if self._fate.black_hole_after_s == fate.black_hole_after_s and not self._splice.closed:
            self._direction.black_holed += not self._is_dark
            self._direction.black_holed_at_s = due_s
            self._is_dark = True
            self._settle()

    def _half_close(self, fate: Fate, _: float) -> None:
        gone = self._splice.closed or self.ended
        if self._fate.half_close_after_s == fate.half_close_after_s and not gone:
            self._direction.half_closed += 1
            self._is_slow = True
            self._end()
            self.watch_again()

    def _hold(self, data: bytes) -> None:
        """Make pieces of what was read, and let them wait until they are due."""
        now_s, direction = perf_counter(), self._direction
        pieces = self._impairer.admit(now_s, data) if self._impairer is not None else [(now_s, data)]
        self._held.extend(pieces)
        self._held_bytes += len(data)
        direction.held += len(pieces)
        direction.held_bytes += len(data)
        self._release()

    def _ring(self, _: float) -> None:
        self._is_alarm_set = False
        self._release()

    def _release(self) -> None:
        """Write what is due by now, and come back for the rest."""
        held, direction, now_s = self._held, self._direction, perf_counter()
        while held and not (self.pending or self._is_dark or self._splice.closed) and held[0][0] <= now_s:
            due_s, data = held.popleft()
            if data:
                self._held_bytes -= len(data)
                direction.held -= 1
                direction.held_bytes -= len(data)
                self._write(data, due_s)
        if self._splice.closed:
            return
        if held and not (self.pending or self._is_dark or self._is_alarm_set):
            self._is_alarm_set = True
            self._common.schedule.at(held[0][0], self._ring)
        most = MOST_HELD_BYTES if direction.held_bytes <= MOST_TOGETHER_BYTES else LEAST_HELD_BYTES
        self._is_full = self._held_bytes > most or len(held) > MOST_PIECES
        self._is_slow = self._impairer is not None or bool(held)
        self._look_if_plain()
        if self.ended:
            self._finish()
        elif self._stopped or self._is_full:
            self._settle()


def _error_of(sock: socket.socket) -> OSError:
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
    return OSError(number, os.strerror(number))
