"""A cluster of this machine alone: what the process runs that holds its scheduler and its workers.

Started as ``python -m sockscope.engine.placement.cluster.local DESCRIPTOR local:N``, it writes the address of
the scheduler to the socket of that descriptor, one line, and ends when the other end is closed: by whoever
holds that, however he ends. Terminals do not reach it: it is in a session of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import socket
import sys
from glob import glob
from tempfile import gettempdir, mkdtemp
from threading import Thread
from typing import Any

import dask
from distributed import LocalCluster, Nanny

from sockscope.core.config.cluster import local_workers
from sockscope.engine.placement.cluster.quiet import quiet_dask
from sockscope.engine.process_tree import end_descendants

PREFIX = "sockscope-cluster-"
"""How a directory begins in which workers come up."""
SEMAPHORES = "/dev/shm"
"""Where Linux has the semaphores of processes (sem_overview(7))."""


class _Once(Nanny):  # type: ignore[misc]  # of a module without types
    """Starts its worker once: another in the place of one that is lost is one that nobody has asked for."""

    async def instantiate(self) -> Any:
        """Start the worker, unless there has been one; return the state it is in."""
        return self.status if self.process is not None else await super().instantiate()


async def _serve(asked_by: socket.socket, workers: int, directory: str) -> None:
    dask.config.set({"temporary-directory": directory})
    cluster: Any = await LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        worker_class=_Once,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        asynchronous=True,
        silence_logs=logging.ERROR,
        local_directory=directory,
    )
    # It listens for browsers whatever it is told.
    cluster.scheduler.http_server.stop()
    # They put nothing there: there is no limit of memory beyond which they would. So nothing is left, however
    # they end.
    shutil.rmtree(directory)
    asked_by.sendall(f"{cluster.scheduler_address}\n".encode())
    await asyncio.Event().wait()


def _own_directory() -> str:
    """Return a new directory that is ours while this process lives; remove those whose owners are gone."""
    for left in glob(f"{gettempdir()}/{PREFIX}*"):
        with contextlib.suppress(OSError):
            if os.stat(left, follow_symlinks=False).st_uid == os.getuid():
                lock = _locked(left)
                shutil.rmtree(left)
                os.close(lock)
    while True:
        directory = mkdtemp(prefix=PREFIX)
        _locked(directory)
        if os.path.isdir(directory):  # and nobody has taken it for one that was left
            return directory


def _locked(directory: str) -> int:
    """Return a descriptor by which a directory is locked; raises OSError where another process has it."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _end_with(asked_by: socket.socket, directory: str) -> None:
    """End when the other end of the socket is closed, also while the workers come up."""
    while asked_by.recv(1):
        pass
    # What the workers had to do was stopped before; nobody waits for their farewells.
    end_descendants()
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)


def why(error: BaseException) -> str:
    """Return what led to an error, in words: dask tells only that a worker has not started."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    told = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    if sys.platform == "linux" and not os.access(SEMAPHORES, os.W_OK):
        told += (
            f" (Python's multiprocessing, which starts them, needs {SEMAPHORES}, and that cannot be written)"
        )
    return f"its workers cannot be started: {told}"


def main(descriptor: int, named: str) -> None:
    """Hold a cluster of this name until the other end of the socket is closed."""
    quiet_dask()
    with socket.socket(fileno=descriptor) as asked_by:
        directory = _own_directory()
        Thread(target=_end_with, args=(asked_by, directory), daemon=True).start()
        try:
            asyncio.new_event_loop().run_until_complete(_serve(asked_by, local_workers(named), directory))
        except Exception as error:  # noqa: BLE001  # the boundary of the process: its last line is what is told
            end_descendants()
            shutil.rmtree(directory, ignore_errors=True)
            print(why(error), file=sys.stderr, flush=True)
            os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
