"""A cluster of this machine alone: what the process runs that holds its scheduler and its workers.

Started as ``python -m sockscope.engine.placement.cluster.local WORKERS``, it writes the address of the
scheduler to its standard output, one line, and ends when its standard input does: with the process that
holds the other end, however that ends. Terminals do not reach it where it is in a session of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from tempfile import TemporaryDirectory
from typing import Any

from distributed import LocalCluster

from sockscope.engine.placement.cluster.quiet import quiet_dask
from sockscope.engine.process_tree import end_descendants


async def _serve(workers: int, directory: str) -> None:
    cluster: Any = await LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        asynchronous=True,
        silence_logs=logging.ERROR,
        local_directory=directory,
    )
    # It listens for browsers whatever it is told.
    cluster.scheduler.http_server.stop()
    for nanny in cluster.workers.values():
        # A worker that was lost is lost: another in its place would be one that nobody has asked for.
        nanny.auto_restart = False
    print(cluster.scheduler_address, flush=True)
    loop, let_go = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(0, let_go.set)
    await let_go.wait()


def main(workers: int) -> None:
    """Hold a cluster of so many workers until the standard input ends."""
    quiet_dask()
    with TemporaryDirectory(prefix="sockscope-cluster-") as directory:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_serve(workers, directory))
        # What the workers had to do was stopped before; nobody waits for their farewells.
        end_descendants()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
