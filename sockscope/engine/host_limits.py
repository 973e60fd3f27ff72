"""What a machine allows: read where a process runs, so that one elsewhere can be told of, too."""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sockscope.engine.limits import ephemeral_range, read_number

UNLIMITED = 1 << 20
"""What counts as the limit of descriptors where there is none."""


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The limits of one machine, and of one process there. None is what cannot be read on that system.

    ``soft_descriptors`` are in force, and a process may raise them to ``hard_descriptors``.
    ``ephemeral_ports`` are those of one source address. ``somaxconn`` connections may wait to be accepted,
    ``rmem_max`` and ``wmem_max`` bytes are the most that a socket's buffers get. ``kernel`` is that of
    :func:`kernel_name`.
    """

    cores: int | None
    soft_descriptors: int
    hard_descriptors: int
    ephemeral_ports: range | None
    somaxconn: int | None
    rmem_max: int | None
    wmem_max: int | None
    kernel: str = ""

    @property
    def most_descriptors(self) -> int:
        """How many descriptors a process may open there."""
        return UNLIMITED if self.hard_descriptors == resource.RLIM_INFINITY else self.hard_descriptors


def host_limits() -> HostLimits:
    """Return the limits of this machine and process; takes less than a millisecond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return HostLimits(
        cores=usable_cores(),
        soft_descriptors=soft,
        hard_descriptors=hard,
        ephemeral_ports=ephemeral_range(),
        somaxconn=read_number("/proc/sys/net/core/somaxconn"),
        rmem_max=read_number("/proc/sys/net/core/rmem_max"),
        wmem_max=read_number("/proc/sys/net/core/wmem_max"),
        kernel=kernel_name(),
    )


def usable_cores() -> int | None:
    """Return how many cores this process may use, or None where that cannot be told."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count()


@cache
def kernel_name() -> str:
    """Return what two processes have alike only if one kernel runs them; empty where not known.

    Containers and network namespaces of one machine have its kernel and its cores, whatever their addresses
    (boot_id in random(4)).
    """
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""
