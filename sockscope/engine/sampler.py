"""What the process uses and how late its loop is."""

from __future__ import annotations

import asyncio
import os
import resource
from time import perf_counter

import psutil

from sockscope.core.histogram import Histogram
from sockscope.core.run.adding import difference
from sockscope.core.run.snapshot import KernelUdp, Resources
from sockscope.engine.limits import descriptor_limit, open_descriptors

HEARTBEAT_S = 0.01
"""Interval of the heartbeat that measures how late the loop is."""
_NOT_BUSY = ("idle", "iowait", "guest", "guest_nice")


class Sampler:
    """A heartbeat on the loop, and readings of the process taken when asked for.

    Loop lag is how much later than due a heartbeat ran. uvloop's timers lie on a grid of 1 ms, so a lag
    of up to 1 ms is normal there. ``idle_threads`` are threads of the process that only wait for its end,
    and are not counted; without ``machine`` the counters of the whole machine are left out.
    """

    def __init__(self, idle_threads: int = 0, machine: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_threads = idle_threads
        self._machine = machine
        self._began_s = perf_counter()
        self._process = psutil.Process()
        self._lag = Histogram()
        self._late: list[float] = []
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._kernel_udp_before = kernel_udp() if machine else None
        self._machine_before_s = machine_busy_s() if machine else None
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
        return Resources(
            time_s=perf_counter(),
            since_s=self._began_s,
            cpu_s=usage.ru_utime + usage.ru_stime - began.ru_utime - began.ru_stime,
            rss_bytes=self._process.memory_info().rss,
            descriptors=open_descriptors(),
            descriptor_limit=descriptor_limit(),
            voluntary_switches=usage.ru_nvcsw - began.ru_nvcsw,
            involuntary_switches=usage.ru_nivcsw - began.ru_nivcsw,
            loop_lag=self._lag.copy(),
            threads=self._threads() - self._idle_threads,
            kernel_udp=self._kernel_udp(),
            machine_busy_s=self._machine_busy_s(),
            machine_cores=os.cpu_count() or 1,
        )

    def _threads(self) -> int:
        try:
            # A directory has a link from each of its own, and two of itself; psutil reads them all.
            return os.stat("/proc/self/task").st_nlink - 2
        except OSError:
            return self._process.num_threads()

    def _kernel_udp(self) -> KernelUdp | None:
        before = self._kernel_udp_before
        now = kernel_udp() if before is not None else None
        return difference(before, now) if now is not None and before is not None else None

    def _machine_busy_s(self) -> float | None:
        before_s = self._machine_before_s
        now_s = machine_busy_s() if before_s is not None else None
        return now_s - before_s if now_s is not None and before_s is not None else None


def machine_busy_s() -> float | None:
    """Return the time for which the cores of this machine together have worked since it was switched on.

    It has the steps of the kernel's clock (10 ms a core). None where it cannot be told.
    """
    try:
        times = psutil.cpu_times()._asdict()
    except (OSError, RuntimeError):
        return None
    # Linux counts the time of guests a second time, as user time.
    busy_s: float = sum(times.values()) - sum(times.get(name, 0.0) for name in _NOT_BUSY)
    return busy_s


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
