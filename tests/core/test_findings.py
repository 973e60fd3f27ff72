from dataclasses import replace

import pytest

from sockscope.core.config.experiment import Tuning
from sockscope.core.config.models import POOL_THREADS
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.findings import limit_of, limit_of_run
from sockscope.core.run.snapshot import (
    TARGET,
    LimiterStatistics,
    ProcessUse,
    RunState,
    Snapshot,
    Totals,
)
from tests.core.runs import changed, child, histogram, main_process, of_roles, resources, role, run

FULL = LimiterStatistics(permits=50, in_flight=50, waiting=50, acquired=500, waited=500, wait_s=2.5)


def busy(
    tuning: Tuning | None = None, cpu_s: float = 0.2, service_s: float = 0.006, **rest: object
) -> Snapshot:
    totals = Totals(requests=1_000, responses=1_000)
    swarm = role(
        "swarm", totals, clients=100, in_flight=50, service_time=histogram(*[service_s] * 10), **rest
    )
    return run(
        tuning=tuning, seconds=1.0, swarm=swarm, server=role("server", totals), used=resources(cpu_s=cpu_s)
    )


def test_permits_are_named_with_their_evidence() -> None:
    found = limit_of(busy(limiter=FULL))
    assert found.limit == "semaphore"
    assert "50 of 50 permits" in found.text
    assert "50 clients waiting" in found.text
    assert "5.00 ms each" in found.text


def test_a_server_without_descriptors_is_named_before_the_clients_that_find_no_server() -> None:
    why = "241 of 256 descriptors of this process are in use"
    lacking = changed(busy(clients_retrying=30), SERVER, not_accepting=why, backlog=145)
    found = limit_of(lacking)
    assert found.limit == "descriptors"
    assert why in found.text
    assert "145 connections wait in its backlog" in found.text
    assert limit_of(replace(lacking, roles=of_roles(lacking.server))).limit == "descriptors"


def test_the_admission_limit_of_the_server_goes_before_the_permits_of_the_clients() -> None:
    admitted = LimiterStatistics(permits=10, in_flight=10, waiting=40, acquired=500, waited=490, wait_s=9.8)
    run_of_it = busy(limiter=FULL)
    limited = changed(run_of_it, SERVER, limiter=admitted)
    found = limit_of(limited)
    assert found.limit == "admission"
    assert "10 of 10 requests in service" in found.text
    assert "40 requests waiting" in found.text
    assert "20.0 ms each" in found.text
    alone = replace(limited, roles=of_roles(limited.server))
    assert limit_of(alone).limit == "admission"
    # Most requests did not have to wait: that is no limit.
    rarely = replace(admitted, waited=3)
    assert limit_of(changed(limited, SERVER, limiter=rarely)).limit == "semaphore"


def test_a_pool_that_is_waited_for_is_named() -> None:
    taken = LimiterStatistics(permits=8, in_flight=8, waiting=92, acquired=100, waited=100, wait_s=4.0)
    found = limit_of(busy(Tuning(pool=8), pool=taken))
    assert found.limit == "pool"
    assert "8 of 8 connections of the pool taken, 92 clients waiting, 40.0 ms each" in found.text
    assert limit_of(busy(Tuning(pool=8), pool=taken, limiter=FULL)).limit == "semaphore"
    assert limit_of(busy(Tuning(pool=8), pool=replace(taken, waiting=0))).limit != "pool"
    gone = limit_of(busy(Tuning(pool=8), clients_retrying=8, last_trouble="Connection refused"))
    assert gone.text == "8 of 8 connections of the pool are missing and being retried: connection refused"


def test_cpu_goes_before_permits() -> None:
    found = limit_of(busy(limiter=FULL, cpu_s=0.97))
    assert found.limit == "CPU"
    assert "97 %" in found.text


def test_cpu_says_that_latency_is_queueing_when_there_is_no_service_time() -> None:
    assert "queueing" in limit_of(busy(Tuning(service_time_s=0.0), cpu_s=1.0)).text
    assert "queueing" not in limit_of(busy(Tuning(service_time_s=0.005), cpu_s=1.0)).text


def test_service_time_limits_when_it_is_most_of_the_latency() -> None:
    assert limit_of(busy(Tuning(service_time_s=0.005))).limit == "service time"
    assert limit_of(busy(Tuning(service_time_s=0.001))).limit == "latency"


def test_think_time() -> None:
    assert limit_of(busy(Tuning(service_time_s=0.0, think_time_s=0.5))).limit == "think time"


def test_clients_without_a_server() -> None:
    found = limit_of(busy(clients_retrying=7, last_trouble="Connection refused"))
    assert found.limit == "server"
    assert "7 of 100 clients" in found.text
    assert "connection refused" in found.text


def test_timeouts() -> None:
    totals = Totals(requests=100, responses=80, timeouts=20)
    swarm = role("swarm", totals, clients=100, service_time=histogram(0.1))
    found = limit_of(run(seconds=1.0, swarm=swarm, server=role("server", totals)))
    assert found.limit == "timeouts"
    assert "20 %" in found.text
    assert "1.00 s" in found.text


def test_requests_that_hold_each_other_up_are_named() -> None:
    sleeping = Tuning(work="block", service_time_s=0.0009)
    found = limit_of(busy(sleeping, limiter=FULL))
    assert found.limit == "blocked"
    assert "holds up all the others for 900 µs: 1,000 per second take 90 % of the server's time" in found.text
    # Threads sleep side by side; a server that is hardly asked holds nobody up; nobody else is in flight.
    assert limit_of(busy(replace(sleeping, service_time_s=0.05), limiter=FULL)).limit == "semaphore"
    assert limit_of(busy(replace(sleeping, service_time_s=0.0002), limiter=FULL)).limit == "semaphore"
    assert limit_of(busy(replace(sleeping, work="wait"), limiter=FULL)).limit == "semaphore"
    alone = busy(sleeping)
    assert alone.swarm is not None
    assert limit_of(changed(alone, SWARM, in_flight=1)).limit != "blocked"
    assert limit_of(busy(replace(sleeping, work="cpu"), limiter=FULL)).limit == "blocked"
    two = busy(replace(sleeping, service_time_s=0.0018, server_processes=2), limiter=FULL)
    assert limit_of(two).limit == "blocked"


def test_nothing_is_said_of_the_service_time_of_a_users_own_server() -> None:
    for tuning in (Tuning(service_time_s=0.005), Tuning(work="block", service_time_s=0.0009)):
        seen = busy(tuning)
        own = replace(seen, experiment=replace(seen.experiment, handler="mine:handle"))
        assert limit_of(seen).limit in ("service time", "blocked")
        assert limit_of(own).limit == "server"


def test_a_server_that_serves_one_connection_says_who_waits_and_why() -> None:
    run_of_it = busy(Tuning(server="blocking"), limiter=FULL, connections_open=100)
    one = changed(run_of_it, SERVER, connections_open=1)
    found = limit_of(one)
    assert found.limit == "server"
    assert found.text.startswith("blocking serves one connection at a time; 99 of 100 wait in its backlog")
    all_served = changed(run_of_it, SERVER, connections_open=100)
    assert limit_of(all_served).limit == "semaphore"
    for other in (replace(one.tuning, server="epoll"), replace(one.tuning, transport="udp")):
        assert limit_of(replace(one, tuning=other)).limit == "semaphore"
    sleeping = replace(one.tuning, transport="udp", service_time_s=0.001)
    assert limit_of(replace(one, tuning=sleeping)).limit == "blocked"
    several = replace(one, tuning=replace(one.tuning, server_processes=100))
    assert limit_of(several).limit == "semaphore", "each process serves one"


def test_a_pool_with_fewer_threads_than_connections_says_who_waits() -> None:
    crowd = busy(Tuning(server="pool"), connections_open=POOL_THREADS + 20)
    full = changed(crowd, SERVER, connections_open=POOL_THREADS)
    found = limit_of(full)
    assert found.limit == "server"
    assert found.text == (
        "pool serves 100 connections at a time; 20 of 120 wait in its backlog until one of those ends"
    )
    # Whoever has only just come is not kept waiting by others.
    enough = changed(full, SWARM, connections_open=POOL_THREADS)
    assert limit_of(changed(enough, SERVER, connections_open=POOL_THREADS - 1)).limit != "server"


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.RUNNING])
def test_a_run_that_does_not_run_has_no_limit_but_that(state: RunState) -> None:
    found = limit_of(replace(busy(limiter=FULL), state=state))
    assert found.limit == ("paused" if state is RunState.PAUSED else "run")


def test_a_server_alone_waits_for_clients() -> None:
    found = limit_of(run(seconds=1.0, server=role("server", Totals()), used=resources(cpu_s=0.1)))
    assert found.limit == "clients"
    assert "4 connections" in found.text
    gone = run(server=role("server", Totals(connections_opened=500), connections_open=0))
    assert limit_of(gone).text == "the server has no connection"
    over = limit_of_run(replace(gone, state=RunState.STOPPED))
    assert over.text == "the server waited for requests of 500 connections"


def target(cpu_s: float = 0.2, *, alive: bool = True) -> ProcessUse:
    state = "running" if alive else "has ended"
    used = replace(resources(cpu_s=cpu_s), time_s=101.0, since_s=100.0)
    return ProcessUse(TARGET, 77, ("server",), used, "", {}, state=state, alive=alive)


def test_a_target_that_is_busy_is_named() -> None:
    swarm = role("swarm", Totals(requests=9, responses=9), service_time=histogram(0.001))
    found = limit_of(run(seconds=1.0, swarm=swarm, used=resources(cpu_s=0.3), children=(target(0.99),)))
    assert (found.limit, found.text) == ("CPU", "target 99 % of one core; main 30 %")


def test_a_target_that_has_ended_is_told_unless_somebody_answers() -> None:
    unanswered = role("swarm", Totals(requests=9))
    found = limit_of(run(seconds=1.0, swarm=unanswered, children=(target(alive=False),)))
    assert found.limit == "process"
    assert found.text.startswith("target process 77 has ended; clients keep trying to connect")
    answered = role("swarm", Totals(requests=9, responses=9))
    assert limit_of(run(seconds=1.0, swarm=answered, children=(target(alive=False),))).limit == "latency"


# Several processes.


def spread(cpu: dict[str, float], machine_busy_s: float = 0.8) -> Snapshot:
    """Return a run of one second whose processes used so much of a core each, on a machine of two cores."""
    main = replace(resources(cpu_s=cpu.get("main", 0.05)), machine_busy_s=machine_busy_s, machine_cores=2)
    taken = replace(busy(limiter=FULL), resources=main)
    children = tuple(
        child(name, 200 + number, replace(resources(cpu_s=used), time_s=101.0, since_s=100.0))
        for number, (name, used) in enumerate(cpu.items())
        if name != "main"
    )
    timed = replace(main, time_s=101.0, since_s=100.0)
    return replace(taken, resources=timed, processes=(main_process(timed), *children))


def test_the_process_that_is_at_the_limit_is_named() -> None:
    found = limit_of(spread({"server": 0.99, "clients": 0.61}, machine_busy_s=1.7))
    assert (found.limit, found.who) == ("CPU", ("server",))
    assert found.text == "server 99 % of one core; main 5 %, clients 61 %"
    found = limit_of(spread({"server": 0.4, "clients": 0.97, "clients 2": 0.95}, machine_busy_s=1.7))
    assert found.who == ("clients", "clients 2")


def test_a_machine_whose_cores_are_all_taken_is_the_limit() -> None:
    found = limit_of(spread({"main": 0.4, "server": 0.7, "clients": 0.8}, machine_busy_s=1.95))
    assert (found.limit, found.who) == ("CPU", ("machine",))
    assert "the machine's 2 cores" in found.text
    assert "main 40 %" in found.text
    assert "other programs" not in found.text
    others = spread({"main": 0.1, "server": 0.2, "clients": 0.2}, machine_busy_s=1.95)
    assert limit_of(others).limit == "semaphore", "most of the latency is service"
    crowded = limit_of(replace(others, tuning=replace(others.tuning, service_time_s=0.0)))
    assert "the machine's 2 cores are taken, 145 % of a core by other programs: main 10 %" in crowded.text
    both_full = limit_of(spread({"server": 0.98, "clients": 0.97}, machine_busy_s=2.0))
    assert both_full.who == ("server", "clients")
    assert "the machine's 2 cores" in both_full.text


def test_processes_with_time_to_spare_are_no_limit() -> None:
    assert limit_of(spread({"main": 0.6, "server": 0.6, "clients": 0.6})).limit == "semaphore"


def test_a_process_that_died_or_does_not_answer_goes_before_everything() -> None:
    taken = spread({"server": 0.99, "clients": 0.2})
    main, server, clients = taken.processes
    dead = replace(server, alive=False, state="was killed (SIGKILL)")
    found = limit_of(replace(taken, processes=(main, dead, clients)))
    assert found.limit == "process"
    assert "server process 200 was killed (SIGKILL)" in found.text
    silent = replace(server, silent_s=1.3)
    found = limit_of(replace(taken, processes=(main, silent, clients)))
    assert found.limit == "blocked"
    assert "server process 200 has not answered for 1.30 s" in found.text
