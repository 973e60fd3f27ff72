"""The ``blocking`` and the ``threaded`` model over UDP: threads that block on one socket.

A ``blocking`` server is one thread: receive, serve, answer, and only then the next. Who sends meanwhile waits
in the receive buffer of the kernel, or is dropped when that is full.

The threads of a ``threaded`` one take turns at the socket, each answers what it has received. Leader and
followers: one thread waits in recvfrom; when it has a datagram the next one takes its place. A thread for
every datagram, as ``socketserver.ThreadingUDPServer`` makes them, costs more than the echo, and has no bound.
"""

from __future__ import annotations

import select
import threading

from sockscope.engine.os_errors import describe
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.sync_udp import Datagram, SyncUdpEndpoint


class BlockingUdpEndpoint(SyncUdpEndpoint):
    """Threads each of which waits for a datagram, answers it, and waits for the next."""

    def __init__(self, context: ServerContext, assignment: Assignment) -> None:
        super().__init__(context, assignment)
        self._receiving = threading.Lock()
        self.start_threads(self._serve, self.model.at_once)

    def _serve(self) -> None:
        while request := self._next():  # recvfrom
            self.spend()  # sleep
            self.answer(request)  # sendto

    def _next(self) -> Datagram | None:
        """Wait for a datagram; None when no more are to be read. One thread waits at a time."""
        with self._receiving:
            while not self.closed:
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


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve with as many threads as the model says; raises ListenError and ResourceLimitError."""
    return BlockingUdpEndpoint(context, assignment)
