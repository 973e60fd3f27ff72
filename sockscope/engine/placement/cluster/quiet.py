"""What dask.distributed does besides, which costs time and sets how processes allocate memory."""

from __future__ import annotations

import dask

_SET = {
    # A look at every thread each 10 ms.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    # MALLOC_TRIM_THRESHOLD_, on which it depends what asyncio costs.
    "distributed.nanny.pre-spawn-environ": {},
}


def quiet_dask() -> None:
    """Let what is made of dask from now on in this process, and in its children, do without."""
    dask.config.set(_SET)
