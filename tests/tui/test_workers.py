from dataclasses import replace

from sockscope.core.censoring import Ages
from sockscope.core.run.figures import ProcessFigures, process_figures
from sockscope.core.run.snapshot import LOST, PartUse, ProcessUse, Totals
from sockscope.faces.tui.panels.workers import worker_rows
from tests.core.runs import child, histogram, main_process, resources, role, run
from tests.tui.driving import dashboard, small


def workers() -> tuple[ProcessUse, ...]:
    part = PartUse(200, histogram(*[0.01] * 200), Ages(), histogram())
    used = replace(resources(), since_s=100.0, time_s=102.0)
    return (
        child("server", 7, used, generation=3),
        child(
            "clients at 10.0.0.2",
            7,
            replace(used, machine_busy_s=3.4, machine_cores=2),
            generation=3,
            part=part,
            clock_error_s=0.0004,
            cores_of="10.0.0.2",
        ),
        child("clients 2 at 10.0.0.3", 7, used, state=LOST, alive=False),
    )


def figures() -> tuple[ProcessFigures, ...]:
    return process_figures(run(swarm=role("swarm", Totals()), children=workers()))[1:]


def test_a_worker_is_a_row_with_its_part_of_the_clients_and_a_lost_one_is_the_first_and_red() -> None:
    head, lost, server, clients = worker_rows(figures(), 80, 9)
    assert head.plain.split() == ["CPU", "cores", "lag", "p99", "req/s", "p99", "clock", "±", "change"]
    assert lost.plain == "clients 2 at 10.0.0.3 lost"
    assert [str(span.style) for span in lost.spans] == ["bold $text-error"]
    assert server.plain.split() == ["server", "25", "%", "–/1", "–", "–", "–", "3"]
    assert clients.plain.split()[3:] == ["25", "%", "1.7/2", "–", "100", "10.0", "ms", "400", "µs", "3"]
    assert len({len(line.plain) for line in (head, server, clients)}) == 1
    assert len(head.plain) <= 80


def test_what_there_is_no_room_for_is_left_out_and_counted() -> None:
    narrow = worker_rows(figures(), 44, 3)
    assert [line.plain.split() for line in narrow] == [
        ["CPU", "req/s", "p99", "change"],
        ["clients", "2", "at", "10.0.0.3", "lost"],
        ["2", "more"],
    ]
    assert worker_rows(figures(), 40, 9)[-1].plain.startswith("clients@10.0.0.2 ")
    server, clients = figures()[:2]
    pair = worker_rows((replace(server, name="server at 10.0.0.1"), clients), 40, 9)[1:]
    assert [line.plain.split()[0] for line in pair] == ["server@10.0.0.1", "clients@10.0.0.2"]
    torn = replace(server, alive=False, state="lost, and nobody has its part")
    assert worker_rows((torn, clients), 30, 9)[1].plain == "server lost, and nobody has i…"
    assert worker_rows(figures(), 30, 9)[-1].plain.startswith("…0.0.0.2 ")
    assert worker_rows(figures(), 44, 2) == []
    assert worker_rows((), 44, 9) == []


async def test_the_dashboard_names_the_cluster_and_shows_its_workers() -> None:
    async with dashboard(replace(small(place="cluster"), cluster="tls://10.0.0.1:8786")) as driver:
        driver.source.processes = (main_process(resources()), *workers())
        await driver.ticks(2)
        await driver.sees("cluster 10.0.0.1:8786", "clients 2 at 10.0.0.3 lost")
        assert "tls://" not in driver.screen
