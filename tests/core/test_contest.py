from dataclasses import replace

import pytest

from sockscope.core.histogram import RELATIVE_ERROR
from sockscope.core.results.contest import Contest, lap_of, laps_by_figure
from sockscope.core.run.snapshot import ProcessUse, Snapshot, Totals
from sockscope.errors import ConfigError
from tests.core.races import contestant, lap
from tests.core.runs import histogram, resources, role, run
from tests.each import each


def with_process(window: Snapshot, name: str, *more: str, cpu_s: float = 0.5, pid: int = 7) -> Snapshot:
    """Return ``window`` with a process that hosts a role, and one that does not."""
    seconds = window.measured_s
    used = replace(resources(cpu_s), time_s=100.0 + seconds, since_s=100.0, threads=2)
    main = replace(used, cpu_s=0.25, machine_busy_s=2.0 * seconds)
    environment: dict[str, str] = {}
    processes = (
        ProcessUse("main", 1, (), main, "uvloop", environment),
        ProcessUse(name, pid, (name, *more), used, "uvloop", environment),
    )
    return replace(window, resources=main, processes=processes)


def test_a_lap_is_made_of_two_windows() -> None:
    served = Totals(requests=200, responses=200)
    asked = Totals(
        requests=200,
        responses=200,
        connections_opened=50,
        errors=1,
        answers_rejected=1,
        timeouts=2,
        connections_refused=3,
    )
    server = with_process(run(seconds=2.0, server=role("server", served)), "server", cpu_s=1.0)
    swarm = with_process(
        run(seconds=2.5, swarm=role("swarm", asked, service_time=histogram(*[0.004] * 200))),
        "swarm",
        cpu_s=0.5,
        pid=8,
    )
    made = lap_of(server, swarm)
    assert made.duration_s == pytest.approx(2.5)
    assert made.requests_per_s == pytest.approx(80)
    assert made.connections_per_s == pytest.approx(20)
    assert made.service_time_p50_s == pytest.approx(0.004, rel=RELATIVE_ERROR)
    assert made.cpu_ratio == pytest.approx(0.5)
    assert made.clients_cpu_ratio == pytest.approx(0.2)
    assert made.cpu_s_per_request == pytest.approx(0.005)
    assert (made.rss_bytes, made.voluntary_switches, made.involuntary_switches) == (40_000_000, 7, 3)
    assert made.threads == 2
    assert (made.timeouts, made.errors, made.failed, made.connects_failed) == (2, 1, 3, 3)
    assert made.answers_rejected == 1
    # Two cores were busy, of which half a core was the server's and a fifth the clients'.
    assert made.others_cpu_ratio == pytest.approx(2 - 0.5 - 0.2)


@each(("connected_s", "told"), [(20.0, False), (1.0, True)])
def test_percentiles_are_not_told_where_most_clients_got_no_answer(connected_s: float, told: bool) -> None:
    totals = Totals(requests=200, responses=200)
    served = histogram(*[0.004] * 200)
    swarm = run(seconds=1.0, swarm=role("swarm", totals, service_time=served, connected_s=connected_s))
    made = lap_of(run(seconds=1.0, server=role("server", totals)), swarm)
    assert (made.service_time_p50_s is not None, made.service_time_p99_s is not None) == (told, told)
    assert made.requests_per_s == pytest.approx(200)


def test_a_process_that_plays_both_roles_is_not_somebody_else_twice() -> None:
    totals = Totals(requests=10, responses=10)
    server = with_process(run(seconds=1.0, server=role("server", totals)), "server", "swarm", cpu_s=1.0)
    swarm = with_process(run(seconds=1.0, swarm=role("swarm", totals)), "swarm", "server", cpu_s=1.0)
    assert lap_of(server, swarm).others_cpu_ratio == pytest.approx(1.0)


def test_several_processes_of_a_role_add_up() -> None:
    server = with_process(run(seconds=1.0, server=role("server", Totals(responses=10))), "server", cpu_s=0.5)
    twin = replace(server.processes[1], pid=8)
    server = replace(server, processes=(*server.processes, twin))
    swarm = with_process(run(seconds=1.0, swarm=role("swarm", Totals(responses=10))), "swarm")
    made = lap_of(server, swarm)
    assert made.cpu_ratio == pytest.approx(1.0)
    assert made.cpu_s_per_request == pytest.approx(0.1)
    assert (made.threads, made.rss_bytes) == (4, 80_000_000)


def test_a_batch_is_as_long_as_it_took() -> None:
    totals = Totals(requests=100, responses=100, connections_opened=100)
    server = with_process(run(seconds=1.0, server=role("server", totals)), "server", cpu_s=0.05)
    swarm = with_process(run(seconds=1.0, swarm=role("swarm", totals)), "swarm")
    made = lap_of(server, swarm, duration_s=0.1)
    assert (made.duration_s, made.requests_per_s, made.connections_per_s) == pytest.approx((0.1, 1000, 1000))
    assert made.cpu_ratio == pytest.approx(0.5)


def test_what_was_not_seen_is_not_known() -> None:
    nothing = run(seconds=1.0, swarm=role("swarm", Totals()), server=role("server", Totals()))
    made = lap_of(nothing, nothing)
    assert made.requests_per_s == 0
    assert (made.cpu_s_per_request, made.service_time_p99_s) == (None, None)
    assert (made.cpu_ratio, made.rss_bytes, made.threads, made.others_cpu_ratio) == (None,) * 4
    seen = with_process(nothing, "server")
    unreadable = replace(seen.processes[1].resources, rss_bytes=None, threads=None)
    hidden = replace(seen, processes=(replace(seen.processes[1], resources=unreadable),))
    assert (lap_of(hidden, hidden).rss_bytes, lap_of(hidden, hidden).threads) == (None, None)


def test_figures_by_round() -> None:
    found = laps_by_figure((lap(requests_per_s=1.0), lap(requests_per_s=2.0)))
    assert found["requests_per_s"] == (1.0, 2.0)
    assert found["threads"] == (1, 1)


def test_workload_is_what_all_have_in_common() -> None:
    contest = Contest((contestant("a", permits=1), contestant("b", permits=2, clients=7)))
    workload = contest.workload()
    assert workload["service_time_s"] == 0.0
    assert (workload["permits"], workload["clients"]) == (None, None)
    assert contest.differing(contest.contestants[1]) == {"permits": 2, "clients": 7}


def test_every_fault_is_told() -> None:
    twin = contestant("twin")
    stalled = replace(twin, experiment=replace(twin.experiment, stall_at_s=1.0))
    contest = Contest((stalled, contestant("twin", permits=-1)), rounds=0, slice_s=0.0, baseline="nobody")
    with pytest.raises(ConfigError) as caught:
        contest.validated()
    assert [fault.field for fault in caught.value.faults] == [
        "contestants", "rounds", "slice", "baseline", "stall_at", "twin: permits",
    ]  # fmt: skip
    assert "takes part twice" in str(caught.value)
    with pytest.raises(ConfigError, match="must be 1 to 32"):
        replace(contest, contestants=()).validated()


def test_the_kind_decides_what_is_better() -> None:
    rate = Contest((contestant("a"),))
    batch = replace(rate, requests=100)
    assert (rate.kind, rate.figure, rate.higher_is_better) == ("rate", "requests_per_s", True)
    assert (batch.kind, batch.figure, batch.higher_is_better) == ("batch", "duration_s", False)
