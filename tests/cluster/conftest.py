"""One cluster for all tests here: a scheduler and three workers, each an interpreter of its own."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sockscope.engine.placement.cluster.joining import LOCAL


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of its scheduler; when it is let go of, none of its processes is left."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", LOCAL, str(theirs.fileno()), "local:3"]
    with ours, theirs:
        held = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        with ours.makefile() as told:
            yield told.readline().strip()
        members = psutil.Process(held.pid).children(recursive=True)
    held.wait()
    _, left = psutil.wait_procs(members, timeout=60)
    assert left == []
