"""Snapshots of runs that never happened, for tests of what is made from snapshots."""

from dataclasses import replace
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.histogram import Histogram
from sockscope.core.run.snapshot import (
    KernelUdp,
    LimiterStatistics,
    ProcessUse,
    Resources,
    RoleSnapshot,
    RunState,
    Snapshot,
    SocketOption,
    Totals,
)


def histogram(*seconds: float) -> Histogram:
    made = Histogram()
    made.add_all(seconds)
    return made


def role(name: str, totals: Totals, **rest: object) -> RoleSnapshot:
    made = RoleSnapshot(name, "tcp", "127.0.0.1:7007", totals, connections_open=4, ready_s=100.0)
    return replace(made, **rest)  # type: ignore[arg-type]


def resources(cpu_s: float = 0.5, lag: Histogram | None = None) -> Resources:
    return Resources(
        cpu_s=cpu_s,
        rss_bytes=40_000_000,
        descriptors=20,
        descriptor_limit=1_024,
        voluntary_switches=7,
        involuntary_switches=3,
        loop_lag=lag or Histogram(),
        kernel_udp=KernelUdp(10, 10, 2, 1),
    )


def main_process(used: Resources) -> ProcessUse:
    return ProcessUse("main", 100, (), used, "uvloop", {"allocator": "calm"})


def child(name: str, pid: int, used: Resources, **rest: object) -> ProcessUse:
    roles = tuple(role for role in ("server", "swarm") if role in name.replace("clients", "swarm"))
    made = ProcessUse(name, pid, roles, used, "uvloop", {"allocator": "calm"})
    return replace(made, **rest)  # type: ignore[arg-type]


def of_roles(*present: RoleSnapshot | None) -> dict[str, RoleSnapshot]:
    """Return the roles that there are by their names, as a snapshot has them."""
    return {one.role: one for one in present if one is not None}


def changed(snapshot: Snapshot, role: str, **values: Any) -> Snapshot:
    """Return the snapshot with other figures of one of its roles."""
    return replace(snapshot, roles={**snapshot.roles, role: replace(snapshot.roles[role], **values)})


def run(
    *,
    tuning: Tuning | None = None,
    experiment: Experiment | None = None,
    seconds: float = 2.0,
    since_s: float = 100.0,
    server: RoleSnapshot | None = None,
    swarm: RoleSnapshot | None = None,
    used: Resources | None = None,
    children: tuple[ProcessUse, ...] = (),
) -> Snapshot:
    """Return a run that began at 100 s on the clock, ``seconds`` later."""
    tuning = tuning or Tuning()
    own = replace(used or resources(), time_s=100.0 + seconds, since_s=since_s)
    return Snapshot(
        time_s=100.0 + seconds,
        started_s=100.0,
        measured_since_s=since_s,
        state=RunState.RUNNING,
        experiment=experiment or Experiment(tuning=tuning),
        tuning=tuning,
        generation=0,
        loop_name="uvloop",
        roles=of_roles(server, swarm),
        resources=own,
        processes=(main_process(own), *children),
    )


def both(
    seconds: float = 2.0, requests: int = 1_000, children: tuple[ProcessUse, ...] = (), **rest: object
) -> Snapshot:
    """Return a TCP run with both roles in which each of ``requests`` was answered after 10 ms."""
    counts = {"requests": requests, "responses": requests}
    wire_bytes = requests * 68
    carried = dict.fromkeys(("bytes_in", "bytes_out", "response_bytes"), wire_bytes)
    totals = Totals(**counts, **carried, connections_opened=4)
    options = (SocketOption("SO_RCVBUF", None, 131_072),)
    return run(
        seconds=seconds,
        children=children,
        server=role("server", totals, socket_options=options),
        swarm=role(
            "swarm",
            totals,
            clients=4,
            service_time=histogram(*[0.010] * requests),
            limiter=LimiterStatistics(permits=50, acquired=requests, waited=10, wait_s=0.1),
            socket_options=options,
            **rest,
        ),
    )
