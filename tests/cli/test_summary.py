import math
from dataclasses import replace

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import Event, EventKind
from sockscope.core.results.run_result import report
from sockscope.core.run.lens import Hold, LensView
from sockscope.core.run.snapshot import RunState, Snapshot, Totals
from sockscope.faces.headless import _due_s, brought_up_to_date, progress_line
from sockscope.faces.summary import report_text, title_of
from tests.core.runs import both, role, run
from tests.tui.fake_source import FakeSource


def summary_text(snapshot: Snapshot) -> str:
    return report_text(report(snapshot, {}))


def test_what_a_run_leaves_behind() -> None:
    assert summary_text(both()) == (
        "SockScope: TCP server and clients, 127.0.0.1:7007, uvloop, 2.00 s\n"
        "clients 100, permits 50, request 64 B, service 5 ms, framing length\n"
        "\n"
        "requests      1,000 answered of 1,000, 500/s\n"
        "payload       32.0 kB/s of answers\n"
        "service time  p50 10.0 ms  p90 10.0 ms  p99 10.0 ms  p99.9 10.0 ms  max 10.0 ms\n"
        "wait          100 µs per request for a permit (10 of 1,000 waited)\n"
        "failed        0 (0 timeouts, 0 errors)\n"
        "limit         service time: 5.00 ms of the 9.98 ms per request is service; more\n"
        "              clients would raise the rate\n"
        "connections   4 opened, 0 refused, 0 reset\n"
        "process       CPU 25 % of a core, RSS 40.0 MB, loop lag p99 –\n"
    )


def test_what_was_changed_is_told_and_when() -> None:
    changed = both()
    events = [
        Event(100.0 + at_s, EventKind.TUNING, "run", text=f"permits {n} → {n + 1}")
        for n, at_s in enumerate([0.1 * n for n in range(1, 11)])
    ]
    text = summary_text(
        replace(changed, events=(*events[:2], Event(100.2, EventKind.MARKER, "run", text="x")))
    )
    assert text.splitlines()[1].startswith("at the end: clients 100, permits 50")
    assert "changed       permits 0 → 1 at 100 ms, permits 1 → 2 at 200 ms\n" in text
    many = report(replace(changed, events=tuple(events), generation=10), {})
    assert "changed       2 earlier changes, permits 2 → 3 at 300 ms,\n" in report_text(many)
    assert title_of(many).endswith(", 10 changes")
    cleared = replace(changed, events=tuple(events), measured_since_s=100.95)
    assert [one["text"] for one in report(cleared, {})["changes"]] == ["permits 9 → 10"]


def test_a_stall_that_a_run_did_not_come_to_is_told() -> None:
    ended = both()
    for at_s, told in ((5.0, True), (1.0, False), (0.0, False)):
        planned = replace(ended, experiment=replace(ended.experiment, requests=10, stall_at_s=at_s))
        assert (
            "stall         none in these figures: it was to come at 5.00 s\n" in summary_text(planned)
        ) is told
        assert ("\nstall " in summary_text(planned)) is told


def test_lines_are_short_and_few_whatever_ran() -> None:
    tuning = Tuning(
        transport="udp", clients=10_000, permits=10_000, request_bytes=65_507, service_time_s=59.123456,
        think_time_s=59.123456, lifetime=999_999_999,
    )  # fmt: skip
    many = Totals(*[10**14] * len(Totals.__dataclass_fields__))
    wild = run(
        tuning=tuning,
        server=role("server", Totals(), address="[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:65535"),
        swarm=role("swarm", many, last_trouble="No buffer space available"),
    )
    lines = summary_text(replace(wild, state=RunState.FAILED, error="x " * 60)).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 28


def test_udp_tells_what_was_lost() -> None:
    totals = Totals(requests=10, responses=8, timeouts=2, datagrams_sent=10, datagrams_lost=2)
    text = summary_text(run(tuning=Tuning(transport="udp"), swarm=role("swarm", totals)))
    assert "failed 2 (2 timeouts, 0 errors), 2 lost, 0 late, 0 reordered, 0 duplicated " in " ".join(
        text.split()
    )
    assert "to server     10 = – received\n" in text
    assert "kernel UDP    1 dropped for a full receive buffer (whole machine)\n" in text
    assert "framing" not in text


def test_a_process_elsewhere_is_told_with_its_machine_beside_its_label() -> None:
    ran = run(swarm=role("swarm", Totals()))
    there = replace(ran.processes[0], name="clients 2 at 10.0.0.3", roles=("swarm",))
    text = summary_text(replace(ran, processes=(*ran.processes, there)))
    assert "clients 2     at 10.0.0.3: CPU 25 % of a core, RSS 40.0 MB, " in text


def test_a_unix_socket_is_told_as_what_it_is_and_what_it_held() -> None:
    totals = Totals(requests=10, responses=10, datagrams_sent=10, datagrams_held=3)
    for transport, said in (("udp", "Unix datagram"), ("tcp", "Unix stream")):
        text = summary_text(run(tuning=Tuning(transport, "unix"), swarm=role("swarm", totals)))
        assert text.startswith(f"SockScope: {said} server and clients, ")
        assert "held          3 requests waited for room in the queue of the server's socket\n" in text
        assert "kernel UDP" not in text


def test_counts_that_differ_by_more_than_what_is_in_flight() -> None:
    clients, server = Totals(requests=1_010, responses=990), Totals(requests=1_000, responses=1_000)
    same = run(swarm=role("swarm", clients, in_flight=20), server=role("server", server))
    assert "requests      990 answered of 1,010 (20 under way at the end), " in summary_text(same)
    assert "server saw" not in summary_text(same)
    other = run(swarm=role("swarm", clients, in_flight=9), server=role("server", server))
    assert "server saw    1,000 requests (clients: 1,010), 1,000 responses (clients: 990)\n" in summary_text(
        other
    )


def test_what_was_under_way_when_the_figures_began_is_no_difference() -> None:
    """The server had read it by then: of the clients it is in the figures, of the server it is not."""
    swarm = role("swarm", Totals(requests=800, responses=800))
    server = role("server", Totals(requests=790, responses=800))

    def told(clients: int, since_s: float) -> str:
        ran = run(tuning=Tuning(clients=clients), since_s=since_s, swarm=swarm, server=server)
        return summary_text(ran)

    assert "server saw" not in told(10, since_s=101.0)
    assert "server saw    790 requests" in told(10, since_s=100.0)
    assert "server saw    790 requests" in told(9, since_s=101.0)


def test_clients_that_were_late_or_never_there_are_told() -> None:
    tuning, asked = Tuning(clients=9_000), Totals(requests=100, responses=100)
    swarm = role("swarm", asked, clients=9_000, connections_open=6_400, ready_s=0.0)
    assert "connected     6,400 of 9,000 at the end, never all\n" in summary_text(
        run(tuning=tuning, swarm=swarm)
    )
    late = run(tuning=tuning, swarm=replace(swarm, ready_s=101.5))
    assert "connected     all 9,000 only 1.50 s after the figures began; --warmup ready" in summary_text(late)
    there = replace(late, measured_since_s=101.6)
    assert "connected " not in summary_text(there)
    assert "closing       took another 2.50 s, not counted in any figure\n" in summary_text(
        replace(there, closing_s=2.5)
    )


def test_one_role_alone() -> None:
    totals = Totals(requests=5, responses=5, bytes_in=340, bytes_out=340)
    server = summary_text(run(experiment=Experiment(role="server"), server=role("server", totals)))
    assert server.startswith("SockScope: TCP server, 127.0.0.1:7007")
    assert "service time" not in server
    assert "clients 100" not in server
    assert "limit         clients: the server waits for requests from 4 connections\n" in server
    assert "connected " not in server
    swarm = summary_text(run(experiment=Experiment(role="swarm"), swarm=role("swarm", totals)))
    assert swarm.startswith("SockScope: TCP clients, 127.0.0.1:7007")
    assert "service 5 ms" not in swarm


def test_a_server_of_ones_own() -> None:
    own = Experiment(handler="mine:handle", request="PING\\r\\n", until="\\r\\n").settled()
    swarm = role("swarm", Totals(requests=5, responses=5))
    raised = role(
        "server", Totals(errors=2), counts_frames=False, last_trouble="KeyError at mine.py:3: no such key"
    )
    text = summary_text(run(experiment=own, tuning=own.tuning, swarm=swarm, server=raised))
    assert "served by mine:handle, clients 100, permits 50, request 6 B, answers until \\r\\n\n" in text
    assert "server raised 2 times, last KeyError at mine.py:3: no such key\n" in text
    closes = replace(swarm, last_trouble="the server closes each connection after 3 answers; with ...")
    assert "last trouble" not in summary_text(run(experiment=own, swarm=closes, server=raised))
    assert "last trouble" in summary_text(run(experiment=own, swarm=closes))
    assert "service 5 ms" not in text
    assert "server saw" not in text
    alone = run(experiment=Experiment(role="server", handler="mine:handle"), server=raised)
    assert "requests      – (the framing does not tell them apart)\n" in summary_text(alone)


def test_trouble_and_failure_are_told() -> None:
    short = replace(both(last_trouble="Connection refused"), error="the loop died", warming_up=True)
    assert "fell short    the loop died\n" in summary_text(short)
    assert "last trouble" not in summary_text(both(last_trouble="EOF"))
    failed = replace(short, state=RunState.FAILED)
    text = summary_text(failed)
    assert "last trouble  Connection refused\n" in text
    assert "stopped by    the loop died\n" in text
    assert "(warming up)" in text


def test_progress_in_one_line() -> None:
    now = both(seconds=62)
    assert progress_line(now, both(seconds=2)) == (
        "00:01:02        500 req/s  p99 10.0 ms  failed 0  in flight 0"
    )


def test_progress_without_answers_says_what_is_wrong() -> None:
    now = run(swarm=role("swarm", Totals(), last_trouble="Connection refused"))
    assert progress_line(now, now).endswith("in flight 0  Connection refused")
    assert progress_line(replace(now, warming_up=True), now).endswith("warming up")


def test_progress_of_a_server() -> None:
    now = run(server=role("server", Totals()))
    assert progress_line(now, now).endswith("failed 0  connections 4")


class EndsWhileItSettles(FakeSource):
    """Its other process tells how it stands, and has answered the rest before that has come here."""

    def __init__(self) -> None:
        super().__init__(Experiment())
        self.asked: list[str] = []

    async def settle(self) -> None:
        self.asked.append("settle")

    async def conclude(self) -> None:
        self.asked.append("conclude")


async def test_the_figures_of_a_run_that_ends_while_it_settles_are_those_of_its_end() -> None:
    ending = EndsWhileItSettles()
    assert await brought_up_to_date(ending, lambda: bool(ending.asked))
    assert ending.asked == ["settle", "conclude"]
    lasting = EndsWhileItSettles()
    assert not await brought_up_to_date(lasting, lambda: False)
    assert lasting.asked == ["settle"]


def test_what_held_up_a_loop_is_told() -> None:
    hold = Hold(101.0, 0.48, "call", "time.sleep", "mine.py", 12, requests=20)
    ran = both()

    def told(held: int) -> str:
        lens = LensView(True, "CPU", 2.0, 0.7, None, None, held=held, held_s=0.9, holds=(hold, hold))
        text = summary_text(replace(ran, processes=(replace(ran.processes[0], lens=lens),)))
        return " ".join(text.split("held up", 1)[1].split("limit", 1)[0].split())

    row, mostly = told(2), "mostly by time.sleep at mine.py:12: 480 ms at most"
    assert row.startswith(f"main 2 times, 900 ms together, {mostly}")
    assert told(4).startswith(f"main 4 times, 900 ms together, the last 2 {mostly}")
    assert row.endswith(" with 20 requests waiting")


def test_udp_tells_where_the_datagrams_went_as_sums() -> None:
    swarm = Totals(datagrams_sent=900, datagrams_unsent=100, datagrams_received=50, datagrams_late=10)
    server = Totals(datagrams_received=700, datagrams_dropped=150, datagrams_sent=49)
    text = summary_text(
        run(tuning=Tuning(transport="udp"), server=role("server", server), swarm=role("swarm", swarm))
    )
    assert (
        "to server     1,000 = 700 received + 100 send buffer full +\n"
        "              150 receive buffer full + 50 not explained\n"
        "to clients    49 = 40 received + 10 late − 1 of others\n"
    ) in text


def test_intervals_of_a_run_that_was_stopped_go_on_until_it_ends() -> None:
    first = run(experiment=Experiment(duration_s=5.0), seconds=0.0)
    assert [_due_s(first, 1.0, after_s, 1.3) for after_s in (3.5, 4.0, 5.0, 6.0)] == [4.0, 5.0, 6.0, math.inf]
    assert _due_s(first, 1.0, 4.0, 0.0) == math.inf
