"""The ``blocking`` model over UDP: one thread, one socket; receive, serve, answer, and only then the next.

Who sends meanwhile waits in the receive buffer of the kernel, or is dropped when that is full.
"""

from __future__ import annotations

import select
import threading

from sockscope.engine.os_errors import describe
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import ServerContext
from sockscope.engine.servers.sync_udp import Datagram, SyncUdpEndpoint


class BlockingUdpEndpoint(SyncUdpEndpoint):
    """A thread that waits for one datagram, answers it, and waits for the next."""

    model = "blocking"
    threads = 1

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        super().__init__(context, assignment)
        self._receiving = threading.Lock()
        self.start_threads(self._serve, self.threads)

    def _serve(self) -> None:
        while request := self._next():  # recvfrom
            self.spend()  # sleep
            self.answer(request)  # sendto

    def _next(self) -> Datagram | None:
        """Wait for a datagram; None when no more are to be read. One thread waits at a time."""
        with self._receiving:
            while not self.closing:
                try:
                    if request := self.receive():
                        return request
                    if not self.reading:
                        self._wait()
                except BlockingIOError:
                    self._wait()
                except OSError as error:
                    # An ICMP error of an earlier answer; the socket itself is fine.
                    self.recorder.on_error(describe(error))
        return None

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        if self.reading:
            poll.register(self.sock, select.POLLIN)
        poll.poll()
        self.waker.clear()
