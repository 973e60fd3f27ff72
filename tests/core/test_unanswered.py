"""Why nobody answered: the nearest cause, not a guess about framing."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.raised import Raised
from sockscope.core.run.snapshot import STOPPED, Totals
from sockscope.core.run.unanswered import why_unanswered
from tests.core.runs import role, run
from tests.each import each
from tests.scenarios.situations import Busy, Situation

OWN = Experiment(handler="mine:handle")
ELSEWHERE = Experiment(role="swarm", target="127.0.0.1:7007")
UDP = Experiment(Tuning(transport="udp"), role="swarm", target="127.0.0.1:7007")
SLOW = Tuning(service_time_s=5.0, request_timeout_s=0.2)
ASKED = Totals(requests=4, timeouts=4)


@each(
    ("experiment", "totals", "trouble", "why"),
    [
        (ELSEWHERE, Totals(connections_refused=9), "Connection refused", "nobody listens at 127.0.0.1:7007"),
        (
            replace(ELSEWHERE, target="127.0.0.1:7007,[::1]:7007"),
            Totals(connections_refused=9),
            "Connection refused",
            "nobody listens at 127.0.0.1:7007 nor at [::1]:7007",
        ),
        (ELSEWHERE, Totals(connections_timed_out=9), "timeout", "timeout"),
        (
            ELSEWHERE,
            ASKED,
            "timeout",
            "the server sent nothing within 1.00 s (--timeout); is it slower, or does it",
        ),
        (ELSEWHERE, Totals(requests=4, unexpected=4, bytes_in=9), "9 B unasked", "9 B unasked"),
        (
            ELSEWHERE,
            Totals(requests=4, bytes_in=12),
            "",
            "12 B arrived, but no whole answer; how does one end",
        ),
        (
            replace(ELSEWHERE, answer="http"),
            Totals(requests=4, errors=4, bytes_in=12),
            "a chunk claims more than 2^63 B",
            "12 B arrived, but no whole answer: a chunk claims more than 2^63 B",
        ),
        (
            replace(ELSEWHERE, until_line="/x/", unasked="count"),
            Totals(requests=4, timeouts=4, unexpected=2, bytes_in=12),
            "timeout",
            "12 B arrived, but no whole answer within 1.00 s (--timeout); does one end as --until-line says?",
        ),
        (OWN, Totals(requests=4, connections_closed=4), "EOF", "connections end before the first byte of an"),
        (
            UDP,
            Totals(requests=4, timeouts=4, datagrams_late=3, bytes_in=9),
            "",
            "3 answers arrived after the",
        ),
        (
            UDP,
            Totals(requests=4, timeouts=4, unexpected=4, bytes_in=9),
            "",
            "4 datagrams arrived that are not answers",
        ),
        (UDP, Totals(requests=4, timeouts=4, unexpected=1), "", "the server sent nothing"),
        (
            UDP,
            Totals(requests=4, timeouts=4, datagrams_held=3),
            "timeout",
            "the server does not read: 3 requests found its queue full",
        ),
        (OWN, ASKED, "timeout", "the server sent nothing"),
        (Experiment(SLOW), ASKED, "timeout", "the service time is 5.00 s, the timeout 200 ms"),
        (Experiment(), Totals(requests=4), "", "the run ended before the first answer"),
        (Experiment(), Totals(), "", "the run ended before a client asked"),
        (Experiment(warmup_s=5.0), Totals(), "", "none was made after the warm-up, which the figures leave"),
        (
            replace(ELSEWHERE, until="x", greeting="y"),
            Totals(connections_opened=4),
            "",
            "nothing has been asked yet: no greeting of the server is whole (--greeting)",
        ),
    ],
)
def test_the_nearest_cause_is_told(experiment: Experiment, totals: Totals, trouble: str, why: str) -> None:
    swarm = role("swarm", totals, last_trouble=trouble)
    told = why_unanswered(run(experiment=experiment, tuning=experiment.tuning, swarm=swarm))
    assert told.startswith(why)
    hints = "sent nothing" in told or ("B arrived" in told and not experiment.ends)
    assert ("--framing" in told) == hints


@each(("count", "times"), [(1, "once"), (1_204, "1,204 times")])
def test_a_server_that_raises_is_the_cause(count: int, times: str) -> None:
    raised = (Raised("KeyError", "mine.py:9", "", 1), Raised("ValueError", "mine.py:3", "no such", count))
    server = role("server", Totals(), raised=raised if count > 1 else raised[1:])
    told = why_unanswered(run(experiment=OWN, swarm=role("swarm", ASKED, last_trouble="EOF"), server=server))
    assert told == f"the server raised ValueError at mine.py:3 {times}: no such"


def test_a_run_that_ends_before_a_client_is_connected_says_so() -> None:
    swarm = role("swarm", Totals(), connections_open=0)
    assert why_unanswered(run(swarm=swarm)) == "the run ended before a client was connected"


def test_a_server_that_is_stopped_or_does_not_accept_is_the_cause() -> None:
    swarm = role("swarm", ASKED, last_trouble="timeout", backlog=20, connections_open=20)
    seen = run(experiment=ELSEWHERE, swarm=swarm)
    assert why_unanswered(seen) == "the server does not accept: 20 connections wait in its backlog"
    reset = replace(
        swarm, last_trouble="Connection reset by peer", totals=replace(ASKED, connections_closed=9)
    )
    assert why_unanswered(replace(seen, roles={"swarm": reset})) == (
        "connections end before the first byte of an answer: Connection reset by peer"
    )
    stopped = Situation("", "", processes={"target": Busy(rest={"state": STOPPED})}).window().processes
    assert why_unanswered(replace(seen, processes=stopped)).startswith("target process 100 is stopped")
    silent = Situation("", "", processes={"server": Busy(rest={"silent_s": 2.0})}).window().processes
    assert why_unanswered(replace(seen, processes=silent)).startswith(
        "server process 100 has not answered for 2"
    )
