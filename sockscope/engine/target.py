"""The process of a server that runs elsewhere on this machine: what it and its children use, from outside."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import psutil

from sockscope.core.histogram import Histogram
from sockscope.core.run.snapshot import STOPPED, TARGET, ProcessUse, Resources
from sockscope.engine.os_errors import describe
from sockscope.engine.process_tree import ProcessTree
from sockscope.errors import ConfigError

FEW = 16
"""Processes that are read whenever somebody asks, which takes less than 3 ms."""
READ_RATIO = 0.01
"""Share of the time that reading more of them takes at most."""
_HALTED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


class TargetProcess:
    """Readings of one process that is not ours and of those that it has begun, taken when asked for.

    It may end, or be hidden from us; that is its state, and its figures stay as they were.
    """

    def __init__(self, pid: int) -> None:
        """Find the process; raises ConfigError when there is none with this number."""
        self._state, self._alive = "running", True
        self._before: Resources | None = None
        now_s = perf_counter()
        self._last = Resources(
            time_s=now_s, since_s=now_s, cpu_s=0.0, rss_bytes=None, descriptors=None, descriptor_limit=None,
            voluntary_switches=None, involuntary_switches=None, threads=None, loop_lag=Histogram(),
            kernel_udp=None,
        )  # fmt: skip
        try:
            self._process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            raise ConfigError.of("pid", pid, "there is no such process") from None
        self._pid = pid
        self._tree = ProcessTree(self._process)
        self._due_s = 0.0
        self.use()

    def use(self) -> ProcessUse:
        """Return what it uses, CPU time since this object was made.

        Takes about 0.2 ms and 0.1 ms for each child. It is read at this moment, or when there are more than
        :data:`FEW` processes a while ago, which ``resources.time_s`` tells.
        """
        began_s = perf_counter()
        if self._alive and began_s >= self._due_s:
            self._look()
            if self._tree.size > FEW:
                now_s = perf_counter()
                self._due_s = now_s + (now_s - began_s) / READ_RATIO
        return ProcessUse(
            name=TARGET,
            pid=self._pid,
            roles=("server",),
            resources=self._last,
            loop_name="",
            environment={},
            state=self._state,
            alive=self._alive,
        )

    def _look(self) -> None:
        try:
            read = self._read()
        except psutil.AccessDenied:
            self._state = "cannot be inspected: no permission"
            return
        except psutil.NoSuchProcess:
            self._state, self._alive = "has ended", False
            return
        except (OSError, ValueError, LookupError, RuntimeError) as error:
            # No descriptor is left to look with, or /proc is not as psutil expects it.
            self._state = f"cannot be inspected: {describe(error)}"
            return
        before = self._before = self._before or read
        self._last = replace(
            read,
            since_s=before.time_s,
            cpu_s=read.cpu_s - before.cpu_s,
            voluntary_switches=_since(before.voluntary_switches, read.voluntary_switches),
            involuntary_switches=_since(before.involuntary_switches, read.involuntary_switches),
        )

    def _read(self) -> Resources:
        """Return its counters as they are; raises psutil.Error."""
        process = self._process
        if not process.is_running():
            # Its number may be that of another process by now.
            raise psutil.NoSuchProcess(process.pid)
        with process.oneshot():
            if (status := process.status()) == psutil.STATUS_ZOMBIE:
                raise psutil.NoSuchProcess(process.pid)
            self._state = STOPPED if status in _HALTED else "running"
        use = self._tree.read()
        return replace(
            self._last,
            time_s=perf_counter(),
            cpu_s=use.cpu_s,
            core_wait_s=use.wanted.waited_s if use.wanted is not None else None,
            busiest_s=use.wanted.busiest_s if use.wanted is not None else None,
            rss_bytes=use.rss_bytes,
            threads=use.threads,
            voluntary_switches=use.voluntary_switches,
            involuntary_switches=use.involuntary_switches,
        )


def _since(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else now - before
