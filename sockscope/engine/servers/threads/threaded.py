"""The ``threaded`` model: a thread for each connection, which blocks on it and on nothing else."""

from __future__ import annotations

from functools import partial

from sockscope.core.events import CloseReason
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.threads.blocking import converse
from sockscope.engine.servers.threads.tcp_threads import ThreadsEndpoint


class ThreadedEndpoint(ThreadsEndpoint):
    """One thread accepts, and starts one more for every connection."""

    def serve(self) -> None:
        """Give each connection a thread of its own."""
        while connection := self.accept():
            try:
                self.thread_group.start(
                    f"connection {connection.record.conn_id}", partial(converse, connection)
                )
            except RuntimeError:
                self.recorder.count("rejected")
                self.recorder.on_error("no thread to serve it", connection.record, reason=CloseReason.LIMIT)
                with connection:
                    connection.close(CloseReason.LIMIT)


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve with a thread per connection; raises ListenError and ResourceLimitError."""
    return ThreadedEndpoint(context, assignment)
