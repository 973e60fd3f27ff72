"""The ``epoll`` model over UDP: one thread, one non-blocking socket, service times as timers."""

from __future__ import annotations

from functools import partial
from selectors import EVENT_READ

from sockscope.core.events import CloseReason
from sockscope.engine.os_errors import describe
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, Inheritance, ServerContext
from sockscope.engine.servers.selectors.loop import SelectorLoop
from sockscope.engine.servers.sync_udp import Datagram, SyncUdpEndpoint
from sockscope.engine.servers.udp_endpoint import READS_PER_TURN


class SelectorUdpEndpoint(SyncUdpEndpoint):
    """A UDP socket on a loop of its own, in one thread."""

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        super().__init__(context, assignment)
        try:
            self._loop_of_thread = SelectorLoop(self.model.mechanism, self.waker)
        except OSError:
            super().release()
            raise
        self._watch()
        self.start_threads(self._loop_of_thread.run)

    def release(self) -> None:
        """Close the socket and the loop; called by the last thread."""
        self._loop_of_thread.close()
        super().release()

    # In the thread of the loop.

    def _readable(self, _: int) -> None:
        for _turn in range(READS_PER_TURN):
            try:
                request = self.receive()
            except BlockingIOError:
                return
            except OSError as error:
                self.recorder.on_error(describe(error))
                continue
            if request is not None:
                self._serve(request)
            elif not self.reading:
                return

    def _serve(self, request: Datagram) -> None:
        tuning = self.tuning
        if tuning.service_time_s and tuning.work == "wait":
            self._loop_of_thread.call_later(tuning.service_time_s, partial(self._served, request))
            self._watch()
        else:
            self.spend()
            self.answer(request)

    def _served(self, request: Datagram) -> None:
        self.answer(request)
        self._watch()

    def _watch(self) -> None:
        """Read while there is room for what is read; else the kernel keeps it, or drops it."""
        events = EVENT_READ if self.reading and self.has_room else 0
        self._loop_of_thread.watch(self.sock, events, self._readable)

    def _end(self) -> None:
        self._loop_of_thread.running = False

    # From the role.

    def share(self) -> Inheritance | None:
        """Return a duplicate of the socket, or None when it is closed or another's already."""
        inheritance = super().share()
        self._loop_of_thread.call(self._watch)
        return inheritance

    def take_back(self) -> None:
        """Read again: the successor could not begin."""
        super().take_back()
        self._loop_of_thread.call(self._watch)

    def close(self, reason: CloseReason) -> None:
        """Record the end of every peer, and close the socket as soon as the thread has ended."""
        super().close(reason)
        self._loop_of_thread.call(self._end)


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve in one loop of one thread; raises ListenError and ResourceLimitError."""
    return SelectorUdpEndpoint(context, assignment)
