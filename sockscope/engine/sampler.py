"""What the process uses and how late its loop is.

Nothing here raises: descriptors may be used up, and ``/proc`` may be empty, hidden or of another system. What
cannot be read is None.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import psutil

from sockscope.core.histogram import Histogram
from sockscope.core.run.adding import difference
from sockscope.core.run.snapshot import KernelUdp, Resources
from sockscope.engine.limits import descriptor_limit, open_descriptors
from sockscope.engine.run_queue import RunQueue
from sockscope.engine.stops import STOPS

HEARTBEAT_S = 0.01
"""Interval of the heartbeat that measures how late the loop is."""
_NOT_BUSY = ("idle", "iowait", "guest", "guest_nice")
_UDP_COUNTERS = ("InDatagrams", "OutDatagrams", "InErrors", "RcvbufErrors")
T = TypeVar("T")


def reading(read: Callable[[], T]) -> T | None:
    """Return what ``read`` returns, or None when it raises: the system does not tell it, or not now.

    What psutil makes of files that are not as it expects them is no documented set of exceptions.
    """
    try:
        return read()
    except Exception:  # noqa: BLE001  # a figure that is not known ends no run
        return None


class Sampler:
    """A heartbeat on the loop, and readings of the process taken when asked for.

    Loop lag is how much later than due a heartbeat ran. Due times go on while the loop is held up, so each
    that was missed counts with its own lateness, and the share of late ones is the share of time. uvloop's
    timers lie on a grid of 1 ms, so a lag of up to 1 ms is normal there. ``idle_threads`` are threads of the
    process that only wait for its end, and are not counted; without ``machine`` the counters of the whole
    machine are left out.
    """

    def __init__(self, idle_threads: int = 0, machine: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_threads = idle_threads
        self._machine = machine
        self._began_s = perf_counter()
        self._process = reading(psutil.Process)
        self._lag = Histogram()
        self._late: list[float] = []
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._kernel_udp_before = kernel_udp() if machine else None
        self._machine_before_s = machine_busy_s() if machine else None
        self._run_queue = RunQueue()
        self._usage_before = resource.getrusage(resource.RUSAGE_SELF)

    def start(self) -> None:
        """Begin the heartbeat."""
        self._due_s = perf_counter() + HEARTBEAT_S
        STOPS.listeners.add(self._skip)
        self._timer = self._loop.call_later(HEARTBEAT_S, self._beat)

    def _skip(self, stopped_s: float) -> None:
        self._due_s += stopped_s

    def _beat(self) -> None:
        STOPS.look()
        now = perf_counter()
        late, due_s = self._late, self._due_s
        # A timer may run a little early: uvloop reads its clock once a turn.
        late.append(max(now - due_s, 0.0))
        due_s += HEARTBEAT_S
        while due_s <= now:
            late.append(now - due_s)
            due_s += HEARTBEAT_S
        self._due_s = due_s
        self._timer = self._loop.call_later(due_s - now, self._beat)

    def stop(self) -> None:
        """End the heartbeat."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            STOPS.listeners.discard(self._skip)

    def sample(self) -> Resources:
        """Return the readings of this moment, counters since this sampler was made; takes about 0.1 ms."""
        began = self._usage_before
        self._lag.add_all(self._late)
        self._late.clear()
        wanted = self._run_queue.read()
        # At one moment: I/O in between lets threads that compute have the interpreter, for seconds if there
        # are many.
        usage, now_s = resource.getrusage(resource.RUSAGE_SELF), perf_counter()
        return Resources(
            time_s=now_s,
            since_s=self._began_s,
            cpu_s=usage.ru_utime + usage.ru_stime - began.ru_utime - began.ru_stime,
            core_wait_s=wanted.waited_s if wanted is not None else None,
            busiest_s=wanted.busiest_s if wanted is not None else None,
            rss_bytes=self._rss_bytes(),
            descriptors=open_descriptors(),
            descriptor_limit=descriptor_limit(),
            voluntary_switches=usage.ru_nvcsw - began.ru_nvcsw,
            involuntary_switches=usage.ru_nivcsw - began.ru_nivcsw,
            loop_lag=self._lag.copy(),
            threads=self._threads(),
            kernel_udp=self._kernel_udp(),
            machine_busy_s=self._machine_busy_s(),
            machine_cores=os.cpu_count() or 1,
        )

    def _rss_bytes(self) -> int | None:
        process = self._process
        rss: int | None = reading(lambda: process.memory_info().rss) if process is not None else None
        return rss

    def _threads(self) -> int | None:
        process = self._process
        # A directory has a link from each of its own, and two of itself; psutil reads them all.
        links = reading(lambda: os.stat("/proc/self/task").st_nlink) or 0
        if links > 2:
            return links - 2 - self._idle_threads
        count: int | None = reading(process.num_threads) if process is not None else None
        return None if count is None else count - self._idle_threads

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
    times = reading(lambda: psutil.cpu_times()._asdict())
    if times is None:
        return None
    # Linux counts the time of guests a second time, as user time.
    busy_s: float = sum(times.values()) - sum(times.get(name, 0.0) for name in _NOT_BUSY)
    return busy_s


def kernel_udp(folder: Path = Path("/proc/net")) -> KernelUdp | None:
    """Return this machine's UDP counters, IPv4 and IPv6 together; None where ``folder`` does not tell."""
    four = reading(lambda: _snmp(folder / "snmp"))
    six = reading(lambda: _snmp6(folder / "snmp6"))
    if four is None or six is None:
        return None
    return KernelUdp(*(a + b for a, b in zip(four, six, strict=True)))


def _snmp(path: Path) -> list[int]:
    names, values = [line.split()[1:] for line in path.read_text("ascii").splitlines() if line[:4] == "Udp:"]
    counters = dict(zip(names, values, strict=True))
    return [int(counters[name]) for name in _UDP_COUNTERS]


def _snmp6(path: Path) -> list[int]:
    if not path.exists():  # a system without IPv6
        return [0] * len(_UDP_COUNTERS)
    counters = dict(line.split() for line in path.read_text("ascii").splitlines() if line[:4] == "Udp6")
    return [int(counters[f"Udp6{name}"]) for name in _UDP_COUNTERS]
