"""The ``threaded`` model: a thread for each connection, which blocks on it and on nothing else."""

from __future__ import annotations

from functools import partial

from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.threads.blocking import converse
from sockscope.engine.servers.threads.tcp_threads import BlockingConnection, ThreadsEndpoint


class ThreadedEndpoint(ThreadsEndpoint):
    """One thread accepts, and starts one more for every connection."""

    def serve(self) -> None:
        """Give each connection a thread of its own."""
        while connection := self.accept():
            try:
                self.thread_group.start("connection", partial(self.converse, connection))
            except RuntimeError:
                self.forsake(connection, "no thread to serve it")

    def converse(self, connection: BlockingConnection) -> None:
        """Talk on a connection until it ends."""
        converse(connection)


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve with a thread per connection; raises ListenError and ResourceLimitError."""
    return ThreadedEndpoint(context, assignment)
