"""The ``blocking`` model: one connection at a time, on a blocking socket. The server of the first chapter.

Who connects while another is served waits in the backlog of the kernel, connected but unheard, until the
one before hangs up.
"""

from __future__ import annotations

from sockscope.engine.servers.threads.tcp_threads import BlockingConnection, ThreadsEndpoint


def converse(connection: BlockingConnection) -> None:
    """Answer what one connection asks, until it ends."""
    with connection:
        for request in connection.requests():  # recv, again and again
            connection.serve(request)  # sleep
            connection.sendall(request)


class BlockingEndpoint(ThreadsEndpoint):
    """One thread: accept, serve until the connection ends, accept the next."""

    model = "blocking"

    def serve(self) -> None:
        """Serve one connection after the other."""
        while connection := self.accept():
            converse(connection)
