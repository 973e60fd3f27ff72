import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sockscope.core.censoring import Ages
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.fields import Value
from sockscope.core.config.models import POOL_THREADS
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.advice import ADVICE, turns
from sockscope.core.run.evidence import weighed
from sockscope.core.run.figures import process_figures
from sockscope.core.run.findings import Evidence, Kind, limit_of, limit_of_run, or_screen
from sockscope.core.run.lens import Hold, LensView
from sockscope.core.run.pressure import pressure
from sockscope.core.run.raised import Raised
from sockscope.core.run.relay import RelayFigures, TapFigures
from sockscope.core.run.schedule import why_invalid
from sockscope.core.run.snapshot import (
    LOST,
    TARGET,
    UNDIVIDED,
    LimiterStatistics,
    ProcessUse,
    RunState,
    Snapshot,
    Totals,
)
from tests.core.runs import changed, child, histogram, main_process, of_roles, resources, role, run
from tests.each import each

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
    assert "50 of 50 permits" in found.sentence
    assert "50 clients waiting" in found.sentence
    assert "5.00 ms each" in found.sentence
    assert Evidence("permits in flight", 50, "count", 50, "limiter") in found.evidence
    assert "half of the time" in found.sentence, "ten answers of 6 ms keep no 50 permits busy for a second"


def test_a_screen_that_takes_half_of_the_core_that_it_shares_is_the_limit() -> None:
    full = busy(cpu_s=0.98)
    found = limit_of(full)
    assert found.kind is Kind.SHARED_CPU
    assert or_screen(found, full, None) == or_screen(found, full, 0.48) == found
    screen = or_screen(found, full, 0.5)
    assert screen.kind is Kind.SCREEN_CPU
    assert screen.sentence.startswith("the screen takes 50 % of the core")
    assert screen.evidence[0].value == 0.5
    assert screen.evidence[0].threshold == pytest.approx(0.49)
    idle = busy(limiter=FULL)
    assert or_screen(limit_of(idle), idle, 0.9).kind is Kind.SEMAPHORE


def test_a_generator_that_the_screen_holds_up_is_late_by_that() -> None:
    late = changed(busy(Tuning(rate=500)), SWARM, schedule_lateness=histogram(0.011, 0.012))
    found = limit_of(late)
    assert found.kind is Kind.GENERATOR_BOUND
    assert or_screen(found, late, 0.3, 0.001) == found
    screen = or_screen(found, late, 0.3, 0.012)
    assert screen.kind is Kind.GENERATOR_BOUND
    assert screen.sentence == f"drawing the screen holds up the clients for up to 12.0 ms; {found.sentence}"
    assert (screen.evidence[0].value, screen.evidence[0].threshold) == (0.012, 0.002)
    used = resources(cpu_s=0.1)
    apart = replace(late, processes=(main_process(used), child("clients", 7, used)))
    assert or_screen(found, apart, 0.3, 0.012) == found


@each(
    ("count", "failed", "responses", "kind"),
    [(1, 0, 5, False), (1, 1, 5, True), (1, 0, 0, True), (2, 0, 5, True)],
)
def test_an_exception_that_cost_no_request_is_not_the_limit(
    count: int, failed: int, responses: int, kind: bool
) -> None:
    row = Raised("ValueError", "mine.py:3", "no such", count)
    totals = Totals(requests=responses + failed, responses=responses, errors=failed)
    seen = changed(changed(busy(), SWARM, totals=totals), SERVER, raised=(row,))
    assert (limit_of(seen).kind is Kind.OWN_CODE) == kind


def test_littles_law_is_in_the_evidence_of_the_permits() -> None:
    seen = changed(busy(limiter=FULL), SWARM, service_time=histogram(*[0.05] * 1_000))
    found = limit_of(seen)
    assert "half of the time" not in found.sentence
    assert all(one.holds is not False for one in found.evidence)
    littles_law = next(one for one in found.evidence if "Little's law" in one.name)
    assert littles_law.value == pytest.approx(50, rel=0.01), "1,000 per second of 50 ms"


def test_every_kind_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
    told = {
        kind
        for row in re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE)
        for kind in re.sub(r" \(.*\)", "", row).split(", ")
    }
    assert {kind.value for kind in Kind} | {"kind"} == told - {"---"}


def test_a_server_without_descriptors_is_named_before_the_clients_that_find_no_server() -> None:
    why = "241 of 256 descriptors of this process are in use"
    lacking = changed(busy(clients_retrying=30), SERVER, not_accepting=why, backlog=145)
    found = limit_of(lacking)
    assert found.limit == "descriptors"
    assert why in found.sentence
    assert "145 connections wait in its backlog" in found.sentence
    assert "use fewer clients" in found.sentence
    alone = limit_of(replace(lacking, roles=of_roles(lacking.server)))
    assert alone.limit == "descriptors"
    assert "use fewer clients" not in alone.sentence


def test_what_is_advised_can_be_turned() -> None:
    assert set(ADVICE) == set(Kind)
    for tuning in (Tuning(), Tuning(permits=0, transport="udp"), Tuning(server="blocking", depth=4)):
        experiment = Experiment(tuning=tuning)
        for kind in Kind:
            for turn in turns(kind, experiment, tuning):
                assert turn.after != turn.before
                replace(experiment, tuning=with_value(tuning, turn.field, turn.after)).validated()
    found = {turn.field: turn.after for turn in turns(Kind.SEMAPHORE, Experiment(), Tuning(permits=50))}
    assert found["permits"] == 100
    off = Tuning(permits=0)
    assert "permits" not in {turn.field for turn in turns(Kind.LATENCY, Experiment(tuning=off), off)}


def with_value(tuning: Tuning, key: str, value: Value) -> Tuning:
    changes: dict[str, Any] = {FIELDS[key].attribute: value}
    return replace(tuning, **changes)


def test_the_admission_limit_of_the_server_goes_before_the_permits_of_the_clients() -> None:
    admitted = LimiterStatistics(permits=10, in_flight=10, waiting=40, acquired=500, waited=490, wait_s=9.8)
    run_of_it = busy(limiter=FULL)
    limited = changed(run_of_it, SERVER, limiter=admitted)
    found = limit_of(limited)
    assert found.limit == "admission"
    assert "10 of 10 requests in service" in found.sentence
    assert "40 requests waiting" in found.sentence
    assert "20.0 ms each" in found.sentence
    alone = replace(limited, roles=of_roles(limited.server))
    assert limit_of(alone).limit == "admission"
    # Most requests did not have to wait: that is no limit.
    rarely = replace(admitted, waited=3)
    assert limit_of(changed(limited, SERVER, limiter=rarely)).limit == "semaphore"


def test_a_pool_that_is_waited_for_is_named() -> None:
    taken = LimiterStatistics(permits=8, in_flight=8, waiting=92, acquired=100, waited=100, wait_s=4.0)
    found = limit_of(busy(Tuning(pool=8), pool=taken))
    assert found.limit == "pool"
    assert "8 of 8 connections of the pool taken, 92 clients waiting, 40.0 ms each" in found.sentence
    assert limit_of(busy(Tuning(pool=8), pool=taken, limiter=FULL)).limit == "semaphore"
    assert limit_of(busy(Tuning(pool=8), pool=replace(taken, waiting=0))).limit != "pool"
    gone = limit_of(busy(Tuning(pool=8), clients_retrying=8, last_trouble="Connection refused"))
    assert gone.sentence == "8 of 8 connections of the pool are missing and being retried: connection refused"


def test_cpu_goes_before_permits() -> None:
    found = limit_of(busy(limiter=FULL, cpu_s=0.97))
    assert found.limit == "CPU"
    assert "97 %" in found.sentence


def test_cpu_says_that_latency_is_queueing_when_there_is_no_service_time() -> None:
    assert "queueing" in limit_of(busy(Tuning(service_time_s=0.0), cpu_s=1.0)).sentence
    assert "queueing" not in limit_of(busy(Tuning(service_time_s=0.005), cpu_s=1.0)).sentence


def test_service_time_limits_when_it_is_most_of_the_latency() -> None:
    assert limit_of(busy(Tuning(service_time_s=0.005))).limit == "service time"
    assert limit_of(busy(Tuning(service_time_s=0.001))).limit == "latency"


def test_a_late_generator_is_the_limit_and_makes_no_valid_result_whatever_got_no_answer() -> None:
    late = busy(
        Tuning(rate=1_000),
        service_s=0.1,
        response_time=histogram(*[1.0] * 100),
        response_unanswered=Ages({10.0: 1_000}),
        schedule_lateness=histogram(*[0.05] * 100),
    )
    assert limit_of(late).kind is Kind.GENERATOR_BOUND
    # Of the response time, which it has made longer itself, it may not be a tenth.
    assert "p99 50.0 ms, more than 10.0 ms" in why_invalid(late)
    assert "held up" not in limit_of(late).sentence


def test_what_holds_up_a_generator_in_the_process_of_the_server_is_told() -> None:
    totals = Totals(requests=1_000, responses=1_000)
    lateness = histogram(*[0.3] * 100)
    swarm = role("swarm", totals, clients=100, service_time=histogram(0.1), schedule_lateness=lateness)
    used = resources(0.2, histogram(*[0.3] * 30, *[0.0] * 70))
    found = limit_of(
        run(tuning=Tuning(rate=1_000), seconds=1.0, swarm=swarm, server=role("server", totals), used=used)
    )
    assert found.kind is Kind.GENERATOR_BOUND
    assert "the loop of main is held up for" in found.sentence


def test_think_time() -> None:
    assert limit_of(busy(Tuning(service_time_s=0.0, think_time_s=0.5))).limit == "think time"


def test_clients_without_a_server() -> None:
    found = limit_of(busy(clients_retrying=7, last_trouble="Connection refused"))
    assert found.limit == "server"
    assert "7 of 100 clients" in found.sentence
    assert "connection refused" in found.sentence


def test_timeouts() -> None:
    totals = Totals(requests=100, responses=80, timeouts=20)
    swarm = role("swarm", totals, clients=100, service_time=histogram(0.1))
    found = limit_of(run(seconds=1.0, swarm=swarm, server=role("server", totals)))
    assert found.limit == "timeouts"
    assert "20 %" in found.sentence
    assert "1.00 s" in found.sentence


@each("depth", [1, 16])
def test_the_requests_of_one_turn_time_out_at_the_same_time(depth: int) -> None:
    totals = Totals(requests=10_000, responses=9_840, timeouts=160)
    swarm = role("swarm", totals, clients=20, in_flight=20, service_time=histogram(0.001))
    taken = run(tuning=Tuning(depth=depth), seconds=10.0, swarm=swarm, server=role("server", totals))
    assert (limit_of(taken).limit == "timeouts") is (depth == 1)


def test_requests_that_hold_each_other_up_are_named() -> None:
    sleeping = Tuning(work="block", service_time_s=0.0009)
    found = limit_of(busy(sleeping, limiter=FULL))
    assert found.limit == "blocked"
    told = "holds up all the others for 900 µs: 1,000 per second take 90 % of the server's time"
    assert told in found.sentence
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
    told = "blocking serves one connection at a time; 99 of 100 wait in its backlog"
    assert found.sentence.startswith(told)
    all_served = changed(run_of_it, SERVER, connections_open=100)
    assert limit_of(all_served).limit == "semaphore"
    for other in (replace(one.tuning, server="epoll"), replace(one.tuning, transport="udp")):
        assert limit_of(replace(one, tuning=other)).limit == "semaphore"
    sleeping = replace(one.tuning, transport="udp", service_time_s=0.001)
    assert limit_of(replace(one, tuning=sleeping)).limit == "blocked"
    several = replace(one, tuning=replace(one.tuning, server_processes=100))
    assert limit_of(several).limit == "semaphore", "each process serves one"
    two = replace(several, tuning=replace(one.tuning, server_processes=2))
    told = limit_of(changed(two, SERVER, connections_open=2)).sentence
    each = "blocking serves one connection at a time in each of 2 processes"
    assert told == f"{each}; 98 of 100 wait in its backlog until one of those ends"


def test_a_pool_with_fewer_threads_than_connections_says_who_waits() -> None:
    crowd = busy(Tuning(server="pool"), connections_open=POOL_THREADS + 20)
    full = changed(crowd, SERVER, connections_open=POOL_THREADS)
    found = limit_of(full)
    assert found.limit == "server"
    assert found.sentence == (
        "pool serves 100 connections at a time; 20 of 120 wait in its backlog until one of those ends"
    )
    # Whoever has only just come is not kept waiting by others.
    enough = changed(full, SWARM, connections_open=POOL_THREADS)
    assert limit_of(changed(enough, SERVER, connections_open=POOL_THREADS - 1)).limit != "server"


@each("state", [state for state in RunState if state is not RunState.RUNNING])
def test_a_run_that_does_not_run_has_no_limit_but_that(state: RunState) -> None:
    found = limit_of(replace(busy(limiter=FULL), state=state))
    assert found.limit == ("paused" if state is RunState.PAUSED else "run")


def test_a_server_alone_waits_for_clients() -> None:
    found = limit_of(run(seconds=1.0, server=role("server", Totals()), used=resources(cpu_s=0.1)))
    assert found.limit == "clients"
    assert "4 connections" in found.sentence
    gone = run(server=role("server", Totals(connections_opened=500), connections_open=0))
    assert limit_of(gone).sentence == "the server has no connection"
    over = limit_of_run(replace(gone, state=RunState.STOPPED))
    assert over.sentence == "the server waited for requests from 500 connections"


@each(
    ("tap", "answers", "kind", "sentence"),
    [
        ({"connections_opened": 4, "unreached": 4}, 0, Kind.NO_SERVER,
         "127.0.0.1:80 cannot be reached for 4 of 4 connections, which were reset"),
        ({}, 0, Kind.CLIENTS, "no request is told apart on 4 connections; 0 B passed"),
        ({}, 100, Kind.TARGET, "clients wait for the target for 51 % of the time that they are connected"),
        ({}, 10, Kind.CLIENTS, "clients ask nothing for 95 % of the time that they are connected"),
    ],
)  # fmt: skip
def test_a_tap_names_its_target_and_no_clients_of_ours(
    tap: dict[str, Any], answers: int, kind: Kind, sentence: str
) -> None:
    figures = RelayFigures(taps=(TapFigures("127.0.0.1:1", "127.0.0.1:80", **tap),))
    relay = role(
        "relay", Totals(), relay=figures, connected_s=2.0, service_time=histogram(*[0.0101] * answers)
    )
    experiment = Experiment(role="relay", target="127.0.0.1:80")
    seen = run(seconds=1.0, experiment=experiment, server=relay, used=resources(cpu_s=0.1))
    found = limit_of(seen)
    assert (found.kind, found.sentence[: len(sentence)]) == (kind, sentence)
    nobody = changed(seen, "relay", connections_open=0, service_time=histogram(), relay=RelayFigures())
    told = "nobody is connected to the tap: point a client at 127.0.0.1:7007"
    assert limit_of(nobody).sentence == told


def target(cpu_s: float = 0.2, *, alive: bool = True) -> ProcessUse:
    state = "running" if alive else "has ended"
    used = replace(resources(cpu_s=cpu_s), time_s=101.0, since_s=100.0)
    return ProcessUse(TARGET, 77, ("server",), used, "", {}, state=state, alive=alive)


def test_a_target_that_is_busy_is_named() -> None:
    swarm = role("swarm", Totals(requests=9, responses=9), service_time=histogram(0.001))
    found = limit_of(run(seconds=1.0, swarm=swarm, used=resources(cpu_s=0.3), children=(target(0.99),)))
    assert (found.limit, found.sentence) == ("CPU", "target 99 % of one core; main 30 %")


def test_who_tries_again_at_the_moment_waits_in_no_backlog() -> None:
    why = "TLS: the certificate is not accepted"
    trying = role("swarm", Totals(handshakes_failed=4), clients=1, clients_connecting=1, last_trouble=why)
    found = limit_of(run(seconds=1.0, swarm=trying))
    assert found.sentence == f"1 of 1 clients have no connection and keep trying: {why}"


def test_silence_is_told_from_its_beginning_and_who_answered_before_has_understood() -> None:
    silent = role("swarm", Totals(), in_flight=3, last_answer_s=90.0, awaited_since_s=91.0)
    found = limit_of(run(seconds=1.0, swarm=silent, children=(target(),)))
    assert found.kind is Kind.NO_ANSWER
    assert found.sentence.startswith("no answer for 10.0 s: 3 requests are in flight")
    assert found.sentence.endswith("the server sent nothing since")


def test_a_target_that_has_ended_is_told_unless_somebody_answers() -> None:
    unanswered = role("swarm", Totals(requests=9))
    found = limit_of(run(seconds=1.0, swarm=unanswered, children=(target(alive=False),)))
    assert found.kind is Kind.SERVER_GONE
    assert found.sentence.startswith("target process 77 has ended; clients keep trying to connect")
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
    assert found.sentence == "server 99 % of one core; main 5 %, clients 61 %"
    found = limit_of(spread({"server": 0.4, "clients": 0.97, "clients 2": 0.95}, machine_busy_s=1.7))
    assert found.who == ("clients", "clients 2")


def test_a_machine_whose_cores_are_all_taken_is_the_limit() -> None:
    found = limit_of(spread({"main": 0.4, "server": 0.7, "clients": 0.8}, machine_busy_s=1.95))
    assert (found.limit, found.who) == ("CPU", ("machine",))
    assert "the machine's 2 cores" in found.sentence
    assert "main 40 %" in found.sentence
    assert "other programs" not in found.sentence
    others = spread({"main": 0.1, "server": 0.2, "clients": 0.2}, machine_busy_s=1.95)
    assert limit_of(others).limit == "semaphore", "most of the latency is service"
    crowded = limit_of(replace(others, tuning=replace(others.tuning, service_time_s=0.0)))
    assert "the machine's 2 cores are taken, 145 % of a core by other programs: main 10 %" in crowded.sentence
    over = limit_of(
        replace(
            spread({"main": 0.1, "server": 0.2, "clients": 0.2}, machine_busy_s=2.2),
            tuning=replace(others.tuning, service_time_s=0.0),
        )
    )
    assert "150 % of a core by other programs" in over.sentence, "two cores give no more than two"
    both_full = limit_of(spread({"server": 0.98, "clients": 0.97}, machine_busy_s=2.0))
    assert both_full.who == ("server", "clients")
    assert "the machine's 2 cores" in both_full.sentence


def test_processes_with_time_to_spare_are_no_limit() -> None:
    assert limit_of(spread({"main": 0.6, "server": 0.6, "clients": 0.6})).limit == "semaphore"


def test_a_process_that_died_or_does_not_answer_goes_before_everything() -> None:
    taken = spread({"server": 0.99, "clients": 0.2})
    main, server, clients = taken.processes
    dead = replace(server, alive=False, state="was killed (SIGKILL)")
    found = limit_of(replace(taken, processes=(main, dead, clients)))
    assert found.limit == "process"
    assert "server process 200 was killed (SIGKILL)" in found.sentence
    for state, sentence in (
        (UNDIVIDED, "server process 200 is lost, and nobody has its part until it is divided anew"),
        (LOST, ""),
    ):
        gone = limit_of(replace(taken, processes=(main, replace(dead, state=state), clients)))
        assert (gone.sentence == sentence) == (gone.limit == "process") == bool(sentence)
    silent = replace(server, silent_s=1.3)
    found = limit_of(replace(taken, processes=(main, silent, clients)))
    assert found.limit == "blocked"
    assert "server process 200 has not answered for 1.30 s: something is blocking its loop" in found.sentence
    away = replace(silent, worker="tcp://192.0.2.1:7")
    assert "or its worker" in limit_of(replace(taken, processes=(main, away, clients))).sentence


def test_a_lens_names_what_holds_up_the_loop() -> None:
    nap = Hold(101.0, 0.4, "call", "time.sleep", "mine.py", 12, looks=10, alike=10)
    holds = (nap, replace(nap, begin_s=101.5, duration_s=0.2), Hold(101.8, 0.03, "core"))
    late = resources(0.02, histogram(*[0.2] * 80, *[0.0] * 20))
    own = Experiment(handler="mine:handle")
    blind = run(
        seconds=1.0,
        experiment=own,
        used=late,
        server=role("server", Totals()),
        swarm=role("swarm", Totals(responses=5), clients=4, service_time=histogram(*[0.25] * 5), in_flight=4),
    )
    assert "what runs on it does not yield (--lens names the call)" in limit_of(blind).sentence
    lens = LensView(True, "CPU", 1.0, 0.7, None, None, held=3, held_s=0.63, holds=holds)
    found = limit_of(replace(blind, processes=(replace(blind.processes[0], lens=lens),)))
    assert found.kind is Kind.BLOCKED_LOOP
    assert found.sentence.endswith("of a core, by time.sleep at mine.py:12, 300 ms each time")
    told = {(one.name, one.value) for one in found.evidence if one.source == "lens on the loop"}
    assert ("main: how often", 2) in told


@each(
    ("busy_ratio", "holds", "word"),
    [
        (0.1, (), "free"),
        (0.9, (), "loaded"),
        (0.9, (Hold(1.0, 0.06, "callbacks", "send", "mine.py", 3),), "loaded"),
        (0.2, (Hold(1.0, 0.06, "call", "time.sleep", "mine.py", 3),), "blocked"),
        (0.9, (Hold(1.0, 0.06, "computing", "spin", "mine.py", 3),), "blocked"),
    ],
)
def test_a_loop_is_blocked_by_one_callback_and_loaded_by_many(
    busy_ratio: float, holds: tuple[Hold, ...], word: str
) -> None:
    lag_s = 0.06 if holds else 0.004
    window = run(seconds=1.0, used=resources(0.5, histogram(lag_s)), server=role("server", Totals()))
    lens = LensView(True, "CPU", 1.0, busy_ratio, None, None, holds=holds)
    found = pressure(lens, process_figures(window)[0])
    assert found.word == word
    assert ("time.sleep at mine.py:3" in found.sentence) == (holds != () and holds[0].kind == "call")


@each(
    ("value", "unit", "threshold", "told"),
    [
        (0.597, "ratio", 0.6, ("59.7 %", "< 60 %")),
        (0.59997, "ratio", 0.6, ("59.9 %", "< 60 %")),
        (0.6, "ratio", 0.6, ("60 %", ">= 60 %")),
        (0.001999, "s", 0.002, ("1.99 ms", "< 2.00 ms")),
        (49.7, "requests", 50, ("49", "< 50")),
        (0.998, "requests", 1, ("0.998", "< 1")),
        (0, "ratio", 0.5, ("0 %", "< 50 %")),
    ],
)
def test_what_is_just_below_its_threshold_does_not_read_like_it(
    value: float, unit: str, threshold: float, told: tuple[str, str]
) -> None:
    assert weighed(value, unit, threshold) == told
