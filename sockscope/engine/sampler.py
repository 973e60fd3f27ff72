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
from typing import Protocol, TypeVar

import psutil

from sockscope.core.histogram import Histogram
from sockscope.core.run.adding import difference
from sockscope.core.run.figures import HEARTBEAT_S
from sockscope.core.run.snapshot import KernelTcp, KernelUdp, Resources
from sockscope.engine.limits import descriptor_limit, ephemeral_range, open_descriptors
from sockscope.engine.run_queue import RunQueue
from sockscope.engine.stops import STOPS

MOST_LATE = 1_000
"""Heartbeats that are kept one by one until they are counted: those of ten seconds that nobody looks at."""
_NOT_BUSY = ("idle", "iowait", "guest", "guest_nice")
_UDP_COUNTERS = ("InDatagrams", "OutDatagrams", "InErrors", "RcvbufErrors", "NoPorts", "SndbufErrors")
T = TypeVar("T")


class BeatListener(Protocol):
    """What hears of the heartbeat, on the loop."""

    def expect(self, due_s: float) -> None:
        """The heartbeat begins, and is due then."""
        ...

    def beaten(self, due_s: float, now_s: float, next_s: float) -> None:
        """It was due at ``due_s``, came now, and is due again at ``next_s``."""
        ...

    def rest(self) -> None:
        """There is none for now."""
        ...


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
        self._listener: BeatListener | None = None
        self._listener_threads = 0
        self._kernel_udp_before = kernel_udp() if machine else None
        self._kernel_tcp_before = kernel_tcp() if machine else None
        self._machine_before_s = machine_busy_s() if machine else None
        self._steal_before_s = machine_steal_s() if machine else None
        self._run_queue = RunQueue()
        self._usage_before = resource.getrusage(resource.RUSAGE_SELF)

    def start(self) -> None:
        """Begin the heartbeat, or go on with it; loop lag is not measured without one."""
        if self._timer is not None:
            return
        self._due_s = perf_counter() + HEARTBEAT_S
        STOPS.listeners.add(self._skip)
        self._timer = self._loop.call_later(HEARTBEAT_S, self._beat)
        if self._listener is not None:
            self._listener.expect(self._due_s)

    def listen(self, listener: BeatListener | None, threads: int = 0) -> None:
        """Let ``listener`` hear of each heartbeat, or nobody; ``threads`` of it only wait for that."""
        self._listener, self._listener_threads = listener, threads
        if listener is not None and self._timer is not None:
            listener.expect(self._due_s)

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
        if self._listener is not None:
            self._listener.beaten(self._due_s, now, due_s)
        self._due_s = due_s
        if len(late) >= MOST_LATE:
            self._count_late()
        self._timer = self._loop.call_later(due_s - now, self._beat)

    def _count_late(self) -> None:
        self._lag.add_all(self._late)
        self._late.clear()

    def stop(self) -> None:
        """End the heartbeat."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            STOPS.listeners.discard(self._skip)
            if self._listener is not None:
                self._listener.rest()

    def sample(self) -> Resources:
        """Return the readings of this moment, counters since this sampler was made; takes about 0.1 ms."""
        began = self._usage_before
        self._count_late()
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
            kernel_udp=_since(self._kernel_udp_before, kernel_udp),
            kernel_tcp=_since(self._kernel_tcp_before, kernel_tcp),
            machine_busy_s=_passed_s(self._machine_before_s, machine_busy_s),
            machine_steal_s=_passed_s(self._steal_before_s, machine_steal_s),
            time_wait=time_wait_sockets() if self._machine else None,
            ephemeral_ports=ephemeral_ports() if self._machine else None,
            machine_cores=os.cpu_count() or 1,
        )

    def _rss_bytes(self) -> int | None:
        process = self._process
        rss: int | None = reading(lambda: process.memory_info().rss) if process is not None else None
        return rss

    def _threads(self) -> int | None:
        process, idle = self._process, self._idle_threads + self._listener_threads
        # A directory has a link from each of its own, and two of itself; psutil reads them all.
        links = reading(lambda: os.stat("/proc/self/task").st_nlink) or 0
        if links > 2:
            return links - 2 - idle
        count: int | None = reading(process.num_threads) if process is not None else None
        return None if count is None else count - idle


def _passed_s(before_s: float | None, read: Callable[[], float | None]) -> float | None:
    """Return the seconds that were counted since ``before_s``; None where they cannot be read."""
    now_s = read() if before_s is not None else None
    return now_s - before_s if now_s is not None and before_s is not None else None


def _since(before: T | None, read: Callable[[], T | None]) -> T | None:
    """Return what counters of the kernel have counted since ``before``; None where they cannot be read."""
    now = read() if before is not None else None
    return difference(before, now) if now is not None and before is not None else None


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


def machine_steal_s() -> float | None:
    """Return the time in which cores of this machine had to wait for a hypervisor; None if it is not told."""
    return reading(lambda: psutil.cpu_times().steal)


def time_wait_sockets(folder: Path = Path("/proc/net")) -> int | None:
    """Return how many TCP sockets of this machine are in TIME_WAIT; None where ``folder`` does not tell."""
    return reading(lambda: _time_wait(folder / "sockstat"))


def _time_wait(path: Path) -> int:
    (words,) = [line.split() for line in path.read_text("ascii").splitlines() if line.startswith("TCP:")]
    return int(words[words.index("tw") + 1])


def ephemeral_ports() -> int | None:
    """Return how many ephemeral ports a source address has, or None where that cannot be read."""
    ports = ephemeral_range()
    return len(ports) if ports is not None else None


def kernel_udp(folder: Path = Path("/proc/net")) -> KernelUdp | None:
    """Return this machine's UDP counters, IPv4 and IPv6 together; None where ``folder`` does not tell."""

    def read() -> list[int]:
        counters = _counters(folder / "snmp", "Udp:")
        return [counters[name] for name in _UDP_COUNTERS]

    four, six = reading(read), reading(lambda: _snmp6(folder / "snmp6"))
    if four is None or six is None:
        return None
    return KernelUdp(*(a + b for a, b in zip(four, six, strict=True)))


def kernel_tcp(folder: Path = Path("/proc/net")) -> KernelTcp | None:
    """Return this machine's TCP counters, IPv4 and IPv6 together; None where ``folder`` does not tell."""

    def read() -> KernelTcp:
        more = _counters(folder / "netstat", "TcpExt:")
        delayed_acks = reading(lambda: more["DelayedACKs"])
        return KernelTcp(more["ListenOverflows"], delayed_acks, reading(retransmits))

    def retransmits() -> int:
        return _counters(folder / "snmp", "Tcp:")["RetransSegs"]

    return reading(read)


def _counters(path: Path, protocol: str) -> dict[str, int]:
    """Return counters of a file in which each protocol has a line of names and one of values."""
    lines = path.read_text("ascii").splitlines()
    names, values = [line.split()[1:] for line in lines if line.startswith(protocol)]
    return dict(zip(names, map(int, values), strict=True))


def _snmp6(path: Path) -> list[int]:
    if not path.exists():  # a system without IPv6
        return [0] * len(_UDP_COUNTERS)
    counters = dict(line.split() for line in path.read_text("ascii").splitlines() if line[:4] == "Udp6")
    return [int(counters[f"Udp6{name}"]) for name in _UDP_COUNTERS]
