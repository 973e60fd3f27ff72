"""A process and those that it has begun, as they come and go: what all of them use together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from time import perf_counter

import psutil

from sockscope.engine.run_queue import RunQueue, Wanted

LOOK_AGAIN_S = 1.0
"""How often children are looked for where only a list of all processes tells them, which takes long."""
MOST = 256
"""Processes that are followed; one that has ended and is not waited for (a zombie) is read once."""
PATIENCE_S = 60.0
"""How long a child that has ended is left to whoever may wait for it."""
_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2)."""


@dataclass(frozen=True, slots=True)
class TreeUse:
    """What a process and its descendants use; times and switches are cumulative.

    ``wanted`` is of the process that wanted a core most, from one reading to the next.
    """

    cpu_s: float
    rss_bytes: int
    threads: int
    voluntary_switches: int
    involuntary_switches: int
    wanted: Wanted | None


@dataclass(slots=True)
class _Member:
    """One process of the tree, with what it had used when it was last read."""

    process: psutil.Process
    run_queue: RunQueue
    rss_bytes: int = 0
    threads: int = 0
    voluntary: int = 0
    involuntary: int = 0
    wanted: Wanted | None = None


class ProcessTree:
    """Reads ``root`` and its descendants.

    The time of a process that has ended is its parent's once that has waited for it, as the kernel has it
    (times(2), ``tms_cutime``), so that one that lived between two readings is counted too; until then, or
    where the parent does not wait for its children, what was read of one last stays.
    """

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._members = {root.pid: _Member(root, RunQueue(root.pid))}
        # What those have used that have ended, until somebody waits for them.
        self._ended_s: dict[int, float] = {}
        self._size = 1
        self._looked_s = 0.0
        # What is no longer to be read of any process, so that no figure goes down.
        self._lost_cpu_s = self._cpu_s = 0.0
        self._past_switches = [0, 0]
        self._waited_s = self._busiest_s = 0.0

    @property
    def size(self) -> int:
        """How many processes were read the last time."""
        return self._size

    def read(self) -> TreeUse:
        """Read all of them; raises psutil.Error and OSError of the root. What others hide is left out."""
        known = len(self._ended_s)
        self._find()
        self._size = len(self._members) + max(len(self._ended_s) - known, 0)
        cpu_s, wanted = sum(self._ended_s.values()), [Wanted(0.0, 0.0)]
        for pid, member in list(self._members.items()):
            try:
                cpu_s += (used_s := _read(member))
            except (psutil.Error, OSError, ValueError, LookupError, RuntimeError):
                if pid == self._root.pid:
                    raise
                self._forget(pid)
                continue
            if not member.threads and pid != self._root.pid:
                self._ended_s[pid] = used_s
                self._forget(pid)
                continue
            before, now = member.wanted, member.run_queue.read()
            if before is not None and now is not None:
                wanted.append(Wanted(now.waited_s - before.waited_s, now.busiest_s - before.busiest_s))
            # A reading that fails leaves its time to the next.
            member.wanted = now or before
        # The times have the steps of the kernel's clock, each for itself.
        if cpu_s + self._lost_cpu_s < self._cpu_s:
            self._lost_cpu_s = self._cpu_s - cpu_s
        self._cpu_s = cpu_s + self._lost_cpu_s
        most = max(wanted, key=lambda one: one.busiest_s)
        self._waited_s += most.waited_s
        self._busiest_s += most.busiest_s
        return self._use()

    def _use(self) -> TreeUse:
        members = self._members.values()
        known = any(member.wanted is not None for member in members)
        return TreeUse(
            cpu_s=self._cpu_s,
            rss_bytes=sum(member.rss_bytes for member in members),
            threads=sum(member.threads for member in members),
            voluntary_switches=self._past_switches[0] + sum(member.voluntary for member in members),
            involuntary_switches=self._past_switches[1] + sum(member.involuntary for member in members),
            wanted=Wanted(self._waited_s, self._busiest_s) if known else None,
        )

    def _forget(self, pid: int) -> None:
        member = self._members.pop(pid)
        self._past_switches[0] += member.voluntary
        self._past_switches[1] += member.involuntary

    def _find(self) -> None:
        """Follow those that have been begun since, and no longer those that are somebody else's by now."""
        found = self._descendants()
        for pid in self._ended_s.keys() - found:
            del self._ended_s[pid]  # it is its parent's by now
        for pid in list(self._members):
            member = self._members[pid].process
            if pid != self._root.pid and (pid not in found or not member.is_running()):
                self._forget(pid)
        for pid in found - self._ended_s.keys() - self._members.keys():
            if (ended_s := _ended_s(pid)) is not None:
                self._ended_s[pid] = ended_s
            elif len(self._members) < MOST:
                with contextlib.suppress(psutil.Error):
                    self._members[pid] = _Member(psutil.Process(pid), RunQueue(pid))

    def _descendants(self) -> set[int]:
        try:
            return set(_children_of(self._root.pid, self._ended_s))
        except OSError:
            pass  # a kernel without CONFIG_PROC_CHILDREN, or another system
        if perf_counter() < self._looked_s + LOOK_AGAIN_S:
            return {pid for pid in (*self._members, *self._ended_s) if pid != self._root.pid}
        self._looked_s = perf_counter()
        return {child.pid for child in self._root.children(recursive=True)}


def _children_of(root: int, ended: Collection[int], *, deep: bool = True) -> list[int]:
    """Return the descendants of a process from ``/proc``, those that have ``ended`` and are still there
    included, or not ``deep`` its children; raises OSError where that does not tell."""
    found: list[int] = []
    left, looked = [root], 0
    while left and looked < MOST:
        looked += 1
        pid = left.pop()
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            for task in tasks:
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                    children = list(map(int, file.read().split()))
                found += children
                left += [child for child in children if deep and child not in ended]
        except OSError:
            if pid == root:
                raise
    return found


def _ended_s(pid: int) -> float | None:
    """Return the time that a process has used which has ended (proc_pid_stat(5)); None where it has not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before these fields may hold anything.
            fields = file.read().rpartition(b")")[2].split()
        ticks = sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK") if fields[0] == b"Z" else None
    except (OSError, ValueError, IndexError):
        return None


def _read(member: _Member) -> float:
    """Read one process; return the time that it and the children it has waited for have used."""
    process = member.process
    with process.oneshot():
        times, switches = process.cpu_times(), process.num_ctx_switches()
        ended = process.status() == psutil.STATUS_ZOMBIE
        memory, threads = (0, 0) if ended else (process.memory_info().rss, process.num_threads())
    member.rss_bytes, member.threads = memory, threads
    member.voluntary, member.involuntary = switches.voluntary, switches.involuntary
    waited_for: float = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + waited_for)


def adopt_orphans(adopting: bool) -> None:
    """Let processes whose parents end before them be children of this one, where the kernel can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(adopting))


class Orphans:
    """Children of this process that have ended and that nobody waits for, as nobody does for an orphan.

    Those that were begun here are waited for by whoever has begun them, much sooner than ``patience_s``.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._ended_s: dict[int, float] = {}

    def look(self) -> None:
        """Let go of those that were there ended for so long."""
        now_s = perf_counter()
        try:
            ended = {pid for pid in _children_of(os.getpid(), (), deep=False) if _ended_s(pid) is not None}
        except OSError:
            return
        self._ended_s = {pid: self._ended_s.get(pid, now_s) for pid in ended}
        for pid, since_s in self._ended_s.items():
            if now_s - since_s >= self._patience_s:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def end_descendants(of: int | None = None, but: Collection[int] = ()) -> None:
    """Kill the descendants of process ``of`` (this one), except those of the ids in ``but``."""
    with contextlib.suppress(psutil.Error, OSError):
        for process in psutil.Process(of).children(recursive=True):
            if process.pid not in but:
                with contextlib.suppress(psutil.Error):
                    process.kill()
