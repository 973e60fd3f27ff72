"""Who has the cores of each of several machines, and what the rules of the verdict make of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.results.contest import lap_of, one_run, verdict_of
from sockscope.core.run.evidence import Seen
from sockscope.core.run.figures import process_figures
from sockscope.core.run.findings import limit_of
from sockscope.core.run.kinds import Kind
from sockscope.core.run.machines import MachineFigures
from sockscope.core.run.snapshot import KernelTcp, KernelUdp, ProcessUse, Snapshot, Totals
from tests.core.runs import child, histogram, main_process, resources, role, run
from tests.each import each

SERVER, CLIENTS = "10.0.0.2", "10.0.0.3"


def process(
    name: str,
    at: str,
    cpu: float,
    waits: float = 0.0,
    busy: float = 0.0,
    seconds: float = 1.0,
    **rest: object,
) -> ProcessUse:
    """Return one that has used so much of a core for some ``seconds``, on a machine whose two cores were so
    ``busy``."""
    used = replace(
        resources(cpu_s=cpu * seconds), time_s=100.0 + seconds, since_s=100.0, core_wait_s=waits * seconds,
        machine_busy_s=busy * seconds if at else None, machine_steal_s=0.0, machine_cores=2,
        kernel_udp=KernelUdp(0, 0, 0, 4) if at else None, time_wait=len(name), ephemeral_ports=100,
    )  # fmt: skip
    return child(name, 7, used, machine=at, cores_of=at, **rest)


def second(*processes: ProcessUse, busy_here: float = 0.3) -> Snapshot:
    """Return a second of a run whose screen is on this machine, where two cores were so busy."""
    totals = Totals(requests=1_000, responses=1_000)
    swarm = role("swarm", totals, clients=100, in_flight=100, service_time=histogram(*[0.05] * 1_000))
    made = run(seconds=1.0, swarm=swarm, server=role("server", totals))
    here = replace(
        resources(cpu_s=0.1),
        time_s=101.0,
        since_s=100.0,
        machine_busy_s=busy_here,
        machine_cores=2,
        time_wait=5,
    )
    tuning = replace(made.tuning, permits=0, service_time_s=0.0)
    return replace(made, tuning=tuning, resources=here, processes=(main_process(here), *processes))


def machine(window: Snapshot, name: str) -> MachineFigures:
    (found,) = [one for one in Seen(window).machines if one.name == name]
    return found


def test_the_machine_whose_cores_others_have_is_named_and_no_other_one() -> None:
    crowded = process("clients at 10.0.0.3", CLIENTS, 0.4, waits=0.25, busy=1.96)
    found = limit_of(second(process("server at 10.0.0.2", SERVER, 0.3, busy=0.4), crowded))
    assert (found.kind, found.who) == (Kind.OTHER_PROGRAMS, ("machine 10.0.0.3",))
    assert found.sentence == (
        "98 % of the 2 cores of 10.0.0.3 are taken, 156 % of a core by other programs: "
        "clients at 10.0.0.3 40 %"
    )
    assert "cores taken by other programs at 10.0.0.3" in [one.name for one in found.evidence]


def test_what_the_other_processes_of_the_run_take_of_a_machine_is_not_taken_by_other_programs() -> None:
    names = "server", "clients", "clients 2"
    found = limit_of(second(*[process(name, SERVER, 0.55, waits=0.12, busy=1.96) for name in names]))
    assert (found.kind, found.who) == (Kind.MACHINE_CPU, ("machine 10.0.0.2",))
    assert found.sentence == (
        "98 % of the 2 cores of 10.0.0.2 are taken, 31 % of a core by other programs: "
        "server 55 %, clients 55 %, clients 2 55 %"
    )


def test_what_the_workers_take_that_carry_the_processes_of_a_run_is_taken_by_the_run() -> None:
    shared: dict[str, Any] = {"worker": "a", "worker_cpu_s": 0.2}
    own: dict[str, Any] = {"worker": "b", "worker_cpu_s": 0.1}
    on = [
        process("server", SERVER, 0.5, busy=1.5, **shared),
        process("relay", SERVER, 0.1, busy=1.5, **shared),
    ]
    seen = machine(second(*on, process("clients", SERVER, 0.3, busy=1.5, **own)), SERVER)
    assert (seen.ours, seen.foreign) == pytest.approx((1.2, 0.3)), "one worker has two of them"


def test_whoever_waits_for_the_core_that_others_have_is_told_with_its_machine() -> None:
    stuck = process("clients at 10.0.0.3", CLIENTS, 0.3, waits=0.68, busy=1.5)
    found = limit_of(second(process("server at 10.0.0.2", SERVER, 0.3, busy=0.4), stuck))
    assert (found.kind, found.who) == (Kind.OTHER_PROGRAMS, ("clients at 10.0.0.3",))
    assert "75 % of the 2 cores of 10.0.0.3 are taken, 120 % of a core by other programs" in found.sentence


def test_of_many_machines_and_processes_a_sentence_tells_the_worst() -> None:
    many = [process(f"clients {n}", f"10.0.1.{n}", 0.9 + n / 1_000, waits=0.2, busy=1.4) for n in range(9)]
    told = limit_of(second(process("server", SERVER, 0.3, busy=0.4), *many)).sentence
    assert told.startswith("clients 8 91 % of one core and waits for it 20 % of the time, clients 7 91 %")
    assert "clients 2 90 % of one core and waits for it 20 % of the time, 2 more want less; main 10 %" in told
    assert told.endswith("by other programs; 8 more machines are short of cores")


def test_the_machine_of_the_screen_is_no_limit_of_a_run_on_others() -> None:
    apart = process("server", SERVER, 0.3, busy=0.4), process("clients", CLIENTS, 0.3, waits=0.2, busy=0.4)
    assert limit_of(second(*apart, busy_here=2.0)).kind is Kind.LATENCY
    with_it = limit_of(second(apart[0], process("clients", "", 0.4, waits=0.25), busy_here=2.0))
    assert (with_it.kind, with_it.who) == (Kind.OTHER_PROGRAMS, ("machine",))
    assert with_it.sentence.startswith("100 % of the machine's 2 cores are taken, 150 % of a core by other")


def test_a_machine_counts_once_whoever_reads_it_longest_and_steal_is_told_apart() -> None:
    early, late = process("clients", CLIENTS, 0.5, busy=1.5), process("clients 2", CLIENTS, 0.5, busy=2.0)
    late = replace(late, resources=replace(late.resources, since_s=100.5))
    stolen = replace(early, resources=replace(early.resources, machine_steal_s=0.4))
    seen = machine(second(process("server", SERVER, 0.1), stolen, late), CLIENTS)
    assert (seen.taken, seen.stolen, seen.ours) == pytest.approx((1.5, 0.4, 1.5))
    assert seen.foreign == 0
    alone = machine(second(stolen), CLIENTS)
    assert alone.told() == [
        "75 % of the 2 cores of 10.0.0.3 are taken, 60 % of a core by other programs, "
        "40 % of a core by other machines on its host (steal)"
    ]


def test_one_that_has_ended_took_its_cores_for_a_part_of_the_time_and_its_machine_is_no_limit() -> None:
    ended = process("clients", CLIENTS, 0.8, busy=2.0, seconds=0.5, alive=False, state="lost")
    assert machine(
        second(ended, process("clients 2", CLIENTS, 0.5, busy=1.0)), CLIENTS
    ).ours == pytest.approx(0.9)
    longer = process("clients", CLIENTS, 0.8, busy=2.0, seconds=1.5, alive=False, state="lost")
    assert machine(second(process("clients 2", CLIENTS, 0.5, busy=1.0), longer), CLIENTS).taken == 1.0
    assert [one.name for one in Seen(second(process("server", SERVER, 0.1), ended)).machines] == [SERVER]


@each(("at", "taken"), [("", 0.3), (CLIENTS, 1.2)])
def test_each_process_has_the_figures_of_its_machine(at: str, taken: float) -> None:
    figures = process_figures(second(process("clients", at, 0.1, busy=1.2)))[1]
    assert (figures.machine_cores_taken, figures.machine_cores) == (taken, 2)


def test_a_slice_of_a_race_has_the_machines_of_its_server_too() -> None:
    server = second(process("server", SERVER, 0.3, waits=0.25, busy=1.96))
    swarm = second(process("clients", CLIENTS, 0.3, busy=0.4))
    halves = [replace(server, roles={"server": server.roles["server"]})]
    halves.append(replace(swarm, roles={"swarm": swarm.roles["swarm"]}))
    found = verdict_of(halves[0], halves[1], replace(swarm.experiment, tuning=swarm.tuning))
    assert (found.kind, found.who) == (Kind.OTHER_PROGRAMS, ("machine 10.0.0.2",))
    assert lap_of(halves[0], halves[1]).others_cpu_ratio == pytest.approx(1.66), "of 10.0.0.2"


@each(("server_at", "overflows"), [(SERVER, 9), (CLIENTS, 2), ("", 2)])
def test_a_full_backlog_on_the_machine_of_the_server_counts_in_a_slice_once(
    server_at: str, overflows: int
) -> None:
    there = process("server", server_at, 0.1)
    there = replace(there, resources=replace(there.resources, kernel_tcp=KernelTcp(7)))
    swarm = second(process("clients", CLIENTS, 0.1))
    swarm = replace(swarm, resources=replace(swarm.resources, kernel_tcp=KernelTcp(2)))
    whole = one_run(second(there), swarm, swarm.experiment)
    assert whole.resources.kernel_tcp == KernelTcp(overflows)
    assert whole.resources.time_wait == (6 if server_at == SERVER else 5), "of the machine that has most"
