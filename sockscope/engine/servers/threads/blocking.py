"""The ``blocking`` model: one connection at a time, on a blocking socket.

It is the server with which textbooks begin. Who connects while another is served waits in the
backlog of the kernel, connected but unheard, until the one before hangs up.

The ``pool`` is a fixed number of threads, each such a server on the one listener they
share: it bounds threads and memory, whatever comes, and who finds no free thread waits in the backlog too.
"""

from __future__ import annotations

from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.threads.tcp_threads import BlockingConnection, ThreadsEndpoint


def converse(connection: BlockingConnection) -> None:
    """Answer what one connection asks, until it ends."""
    if not connection.begin():
        return
    with connection:
        for request in connection.requests():  # recv, again and again
            connection.serve(request)  # sleep
            connection.sendall(request)


class BlockingEndpoint(ThreadsEndpoint):
    """Each thread: accept, serve until the connection ends, accept the next."""

    def serve(self) -> None:
        """Serve one connection after the other."""
        while connection := self.accept():
            converse(connection)


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve with as many threads as the model says; raises ListenError and ResourceLimitError."""
    return BlockingEndpoint(context, assignment)
