"""The bridge from threads to the loop: how they record, how they are started, how their end is known.

A role's recorder and its bookkeeping belong to the loop of the role. A thread appends to lists that the loop
empties when it folds the recorder, so that nothing a thread does waits for the loop, and nothing is lost:
what a thread has posted before it ended is there for the next reader. The counters of a connection are
written by one thread at a time, without a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from time import perf_counter

from sockscope.core.addresses import Address
from sockscope.core.connection import ConnectionRecord, ConnectionState
from sockscope.core.events import CloseReason
from sockscope.engine.recorder import Recorder
from sockscope.engine.stops import leave_stops_to_main
from sockscope.engine.work import spend

SLICE_S = 0.1
"""Longest time that a thread sleeps or works before it looks whether it is to end."""


class ThreadRecorder:
    """What threads see of a recorder: its calls, made here and carried out by the loop a moment later."""

    def __init__(self, recorder: Recorder) -> None:
        self.on_exchange = recorder.on_exchange
        self.count_no_frames = recorder.count_no_frames
        self._recorder = recorder
        self._post = recorder.post

    def on_open(self, transport: str, local: Address, remote: Address, generation: int) -> ConnectionRecord:
        """Register a connection and give it its number."""
        record = self._recorder.new_record(transport, local, remote, generation)
        self._post(partial(self._recorder.register, record))
        return record

    def on_paused(self, record: ConnectionRecord) -> None:
        """Note that a peer does not read what is written to it."""
        record.state = ConnectionState.PAUSED
        self._post(partial(self._recorder.count_paused, record, perf_counter()))

    def on_resumed(self, record: ConnectionRecord) -> None:
        """Note that it reads again."""
        record.state = ConnectionState.OPEN
        self._post(partial(self._recorder.count_resumed, record, perf_counter()))

    def on_close(self, record: ConnectionRecord, reason: CloseReason, text: str = "") -> None:
        """Record the end of a connection; its counters must not change any more."""
        self._post(partial(self._recorder.on_close, record, reason, text, perf_counter()))

    def on_handshake(self, seconds: float, agreed: str, *, reused: bool) -> None:
        """Count a TLS handshake."""
        self._post(partial(self._recorder.on_handshake, seconds, agreed, reused=reused))

    def on_handshake_failed(self, why: str, address: str) -> None:
        """Count and log a TLS handshake that came to nothing."""
        self._post(partial(self._recorder.on_handshake_failed, why, address))

    def on_error(self, text: str, record: ConnectionRecord | None = None, address: str = "",
                 reason: CloseReason | None = None) -> None:  # fmt: skip
        """Write a fault into the log; the caller counts it."""
        self._post(partial(self._recorder.on_error, text, record, address, reason, perf_counter()))

    def stops_accepting(self, why: str) -> None:
        """Count and log that the server accepts nobody until it has room again."""
        self._post(partial(self._recorder.stops_accepting, why, perf_counter()))

    def accepts_again(self) -> None:
        """Log that the server accepts again."""
        self._post(partial(self._recorder.accepts_again, perf_counter()))

    def count(self, counter: str, by: int = 1) -> None:
        """Add to one of the recorder's counters."""
        self._post(partial(self._recorder.count, counter, by))


class Waker:
    """Wakes up a thread that waits for sockets: a pair of which it watches one end."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Make the descriptor readable."""
        with contextlib.suppress(OSError):  # it is readable already, or its thread has ended
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4_096)

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()


class ThreadGroup:
    """The threads of an endpoint or a swarm. A fault of one is the loop's to report, and ends it alone.

    The threads are daemons only for a program that dies without closing its endpoints: whoever closes them
    finds the group ``ended`` a moment later. ``at_end`` is called by the last thread as its last act.
    """

    def __init__(self, recorder: Recorder, at_end: Callable[[], object] = lambda: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._post = recorder.post
        self._at_end = at_end
        self._leaving = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def start(self, name: str, work: Callable[[], object]) -> None:
        """Run ``work`` in a thread of its own; raises RuntimeError when the system gives no more threads."""
        thread = threading.Thread(target=self._run, args=(work,), name=f"sockscope {name}", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.discard(thread)
            raise

    def _run(self, work: Callable[[], object]) -> None:
        leave_stops_to_main()
        try:
            work()
        except Exception as error:  # noqa: BLE001  # the boundary of a thread
            context = {"message": "a thread failed", "exception": error}
            self._post(partial(self._loop.call_exception_handler, context))
        finally:
            with self._leaving:
                if len(self._threads) == 1:
                    self._at_end()
                self._threads.discard(threading.current_thread())

    @property
    def ended(self) -> bool:
        """Whether every thread has done its last act."""
        return not self._threads


def spend_in_slices(work: str, seconds: float, over: Callable[[], object]) -> None:
    """Spend a service time in the thread that calls; end early, within a slice, when ``over()`` says so."""
    while seconds > 0 and not over():
        spend(work, min(seconds, SLICE_S))
        seconds -= SLICE_S
