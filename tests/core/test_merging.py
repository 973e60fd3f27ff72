from dataclasses import replace

from sockscope.core.censoring import as_given_up
from sockscope.core.connection import ConnectionState, ConnectionView
from sockscope.core.events import CloseReason, Event, EventKind
from sockscope.core.run.merging import leaving, lost, merged, past
from sockscope.core.run.snapshot import ConnectionQuery, LimiterStatistics, RoleSnapshot, Totals
from tests.core.runs import histogram, role


def event(time_s: float, text: str = "") -> Event:
    return Event(time_s, EventKind.MARKER, "swarm", text=text)


def view(
    conn_id: int, requests: int = 0, remote: str = "127.0.0.1:80", closed: bool = False
) -> ConnectionView:
    reason = CloseReason.EOF if closed else None
    return ConnectionView(
        "swarm", conn_id, "127.0.0.1:1", remote, ConnectionState.OPEN, 1.0, requests, requests, 0, 0, 0, 0,
        close_reason=reason,
    )  # fmt: skip


def part(requests: int, permits: int, **rest: object) -> RoleSnapshot:
    values: dict[str, object] = {
        "clients": 10,
        "in_flight": 2,
        "captures_recorded": requests,
        "captures_overwritten": 3,
        "last_conn_id": requests,
        "limiter": LimiterStatistics(permits, 2, 5, requests, 7, 0.5),
        "service_time": histogram(*[0.001 * requests] * requests),
    }
    return role("swarm", Totals(requests=requests, responses=requests - 1), **(values | rest))


def test_what_is_counted_adds_up() -> None:
    whole = merged([part(100, 30), part(40, 20)])
    assert whole.totals == Totals(requests=140, responses=138)
    assert whole.limiter == LimiterStatistics(50, 4, 10, 140, 14, 1.0)
    assert whole.service_time == histogram(*[0.1] * 100, *[0.04] * 40)
    assert (whole.clients, whole.in_flight, whole.connections_open) == (20, 4, 8)
    assert (whole.captures_recorded, whole.captures_overwritten, whole.last_conn_id) == (140, 6, 100)


def test_the_run_of_several_began_with_the_first_and_answered_with_the_last() -> None:
    parts = [part(1, 1, began_s=5.0, last_answer_s=7.0), part(1, 1, began_s=4.0, last_answer_s=6.0)]
    whole = merged([*parts, part(1, 1)])
    assert (whole.began_s, whole.last_answer_s) == (4.0, 7.0)


def test_one_part_is_the_whole() -> None:
    alone = part(100, 30)
    assert merged([alone]) is alone


def test_events_are_in_order_of_time() -> None:
    one = part(1, 1, events=(event(1.0), event(3.0)), events_missed=2)
    other = part(1, 1, events=(event(2.0), event(4.0)), events_missed=5)
    whole = merged([one, other])
    assert [found.time_s for found in whole.events] == [1.0, 2.0, 3.0, 4.0]
    assert whole.events_missed == 7


def test_the_trouble_of_any_part_is_told() -> None:
    assert merged([part(1, 1), part(1, 1, last_trouble="refused")]).last_trouble == "refused"


def test_connections_are_picked_again_by_what_was_asked() -> None:
    one = part(1, 1, connections=(view(1, 5), view(3, 9)), connections_matching=30)
    other = part(1, 1, connections=(view(2, 7, closed=True), view(4, 1)), connections_matching=12)
    shown = merged([one, other], ConnectionQuery(role="swarm", sort="requests", reverse=True, limit=3))
    assert [v.conn_id for v in shown.connections] == [3, 2, 1]
    assert shown.connections_matching == 42
    # Open ones first, as one process alone sorts them.
    shown = merged([one, other], ConnectionQuery(role="swarm"))
    assert [v.conn_id for v in shown.connections] == [1, 3, 4, 2]


def test_addresses_are_sorted_as_numbers() -> None:
    ports = part(1, 1, connections=(view(1, remote="127.0.0.1:9000"), view(2, remote="127.0.0.1:80")))
    shown = merged([ports, part(1, 1)], ConnectionQuery(role="swarm", sort="remote"))
    assert [v.conn_id for v in shown.connections] == [2, 1]


def test_of_what_has_ended_the_counts_stay() -> None:
    ended = part(100, 30, connections=(view(1),))
    whole = merged([part(40, 50), past(ended)])
    assert whole.totals.requests == 140
    assert whole.service_time.total == 140
    assert whole.limiter == LimiterStatistics(50, 2, 5, 140, 14, 1.0)
    assert (whole.clients, whole.in_flight, whole.connections_open, whole.connections) == (10, 2, 4, ())
    # None of its exchanges can be asked for any more.
    assert whole.captures_overwritten == 3 + 100


def test_what_is_leaving_is_still_to_be_replaced() -> None:
    whole = merged([part(40, 50), leaving(part(100, 30))])
    assert (whole.clients, whole.limiter.permits) == (10, 50)
    assert (whole.connections_open, whole.rolling, whole.in_flight) == (8, 4, 4)
    server = merged([replace(part(1, 0), role="server"), leaving(replace(part(1, 0), role="server"))])
    assert (server.draining, server.rolling) == (4, 0)


def test_what_was_under_way_in_a_process_that_is_gone_has_failed() -> None:
    awaited = histogram(0.25, 0.5)
    last = lost(
        replace(part(10, 30), totals=Totals(requests=12, responses=9, errors=1), queued=3, awaited=awaited)
    )
    assert (last.totals.requests, last.totals.responses, last.totals.errors) == (12, 9, 3)
    assert (last.in_flight, last.queued, last.totals.requests_dropped) == (0, 0, 3)
    assert last.unanswered == last.response_unanswered == as_given_up(awaited)
    assert (last.unanswered.total, last.awaited.total) == (2, 0)
    assert lost(last).totals == last.totals
    server = replace(part(1, 0), role="server")
    assert (lost(server).totals, lost(server).in_flight) == (server.totals, 2)
