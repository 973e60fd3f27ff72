"""What the process uses and how late its loop is."""

from __future__ import annotations

import asyncio
import resource
from time import perf_counter

import psutil

from sockscope.core.histogram import Histogram
from sockscope.core.snapshot import KernelUdp, Resources
from sockscope.engine.limits import descriptor_limit, open_descriptors

HEARTBEAT_S = 0.01
"""Interval of the heartbeat that measures how late the loop is."""


class Sampler:
    """A heartbeat on the loop, and readings of the process taken when asked for.

    Loop lag is how much later than due a heartbeat ran. uvloop's timers lie on a grid of 1 ms, so a lag
    of up to 1 ms is normal there.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = psutil.Process()
        self._lag = Histogram()
        self._late: list[float] = []
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._kernel_udp_before = kernel_udp()
        self._usage_before = resource.getrusage(resource.RUSAGE_SELF)

    def start(self) -> None:
        """Begin the heartbeat."""
        self._due_s = perf_counter() + HEARTBEAT_S
        self._timer = self._loop.call_later(HEARTBEAT_S, self._beat)

    def _beat(self) -> None:
        now = perf_counter()
        self._late.append(max(now - self._due_s, 0.0))
        self._due_s = now + HEARTBEAT_S
        self._timer = self._loop.call_later(HEARTBEAT_S, self._beat)

    def stop(self) -> None:
        """End the heartbeat."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sample(self) -> Resources:
        """Return the readings of this moment, counters since this sampler was made; takes about 0.1 ms."""
        began = self._usage_before
        self._lag.add_all(self._late)
        self._late.clear()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        kernel = kernel_udp()
        before = self._kernel_udp_before
        return Resources(
            cpu_s=usage.ru_utime + usage.ru_stime - began.ru_utime - began.ru_stime,
            rss_bytes=self._process.memory_info().rss,
            descriptors=open_descriptors(),
            descriptor_limit=descriptor_limit(),
            voluntary_switches=usage.ru_nvcsw - began.ru_nvcsw,
            involuntary_switches=usage.ru_nivcsw - began.ru_nivcsw,
            loop_lag=self._lag.copy(),
            kernel_udp=kernel - before if kernel is not None and before is not None else None,
        )


def kernel_udp() -> KernelUdp | None:
    """Return this machine's UDP counters, IPv4 and IPv6 together; None where ``/proc/net/snmp`` is not."""
    try:
        with open("/proc/net/snmp", encoding="ascii") as file:
            rows = [line.split() for line in file if line.startswith("Udp:")]
    except OSError:
        return None
    counters = dict(zip(rows[0][1:], map(int, rows[1][1:]), strict=False))
    names = ("InDatagrams", "OutDatagrams", "InErrors", "RcvbufErrors")
    values = [counters.get(name, 0) for name in names]
    try:
        with open("/proc/net/snmp6", encoding="ascii") as file:
            six = dict(line.split()[:2] for line in file if line.startswith("Udp6"))
    except OSError:
        six = {}
    return KernelUdp(*(v + int(six.get(f"Udp6{n}", 0)) for v, n in zip(values, names, strict=True)))
