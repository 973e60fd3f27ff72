"""The ``pool`` model: a fixed number of threads, each a blocking server on the one listener they share.

With more connections than threads, who is not served waits in the backlog, as with ``blocking``; the pool
bounds threads and memory, whatever comes.
"""

from __future__ import annotations

from sockscope.engine.servers.threads.blocking import BlockingEndpoint

POOL_THREADS = 100
"""Threads of the pool: as many as the default experiment has clients, so that one more has to wait."""


class PoolEndpoint(BlockingEndpoint):
    """Many threads, each of which serves one connection after the other."""

    model = "pool"
    threads = POOL_THREADS
