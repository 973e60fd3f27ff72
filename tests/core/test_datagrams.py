"""Where datagrams have gone, from snapshots made by hand."""

from __future__ import annotations

from dataclasses import fields, replace

from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.impaired import Impaired
from sockscope.core.run.datagrams import LEAST_UNREAD_BYTES, Flow, flows
from sockscope.core.run.relay import Passed, RelayFigures
from sockscope.core.run.snapshot import KernelUdp, Snapshot, Totals
from tests.core.runs import changed, role, run
from tests.each import each


def over_udp(swarm: Totals, server: Totals) -> Snapshot:
    return run(tuning=Tuning(transport="udp"), server=role("server", server), swarm=role("swarm", swarm))


LOSSES = over_udp(
    Totals(datagrams_sent=990, datagrams_unsent=10, datagrams_received=470, datagrams_late=20,
           datagrams_dropped=25, datagrams_unread=1),
    Totals(datagrams_received=600, datagrams_dropped=380, datagrams_unread=3,
           datagrams_sent=500, datagrams_unsent=4),
)  # fmt: skip


def test_each_cause_is_told_and_the_rest_is_not_explained() -> None:
    to_server, to_clients = flows(LOSSES)
    assert to_server == Flow(1_000, 600, 0, 10, 380, 3, 0, 0, on_the_way=0, not_explained=7)
    assert to_clients == Flow(504, 450, 20, 4, 25, 1, 0, 0, on_the_way=0, not_explained=4)


def test_nobody_listened_as_far_as_the_kernel_says_so_and_sockets_were_closed() -> None:
    closed = changed(LOSSES, "swarm", abandoned=3)
    for snapshot, no_ports, unheard in ((closed, 0, (0, 0)), (closed, 9, (0, 3)), (closed, 2, (0, 2)),
                                        (changed(closed, "swarm", abandoned=9), 9, (0, 4))):  # fmt: skip
        used = replace(snapshot.resources, kernel_udp=KernelUdp(0, 0, 0, 0, no_ports=no_ports))
        told = flows(replace(snapshot, resources=used))
        assert tuple(flow and flow.nobody_listened for flow in told) == unheard


def test_what_the_queue_of_the_device_drops_is_beyond_what_senders_are_told() -> None:
    for errors, dropped in ((14, (0, 0)), (19, (5, 0)), (23, (7, 2)), (99, (7, 4))):
        used = replace(LOSSES.resources, kernel_udp=KernelUdp(0, 0, 0, 0, sndbuf_errors=errors))
        told = flows(replace(LOSSES, resources=used))
        assert tuple(flow and flow.device_queue for flow in told) == dropped


def test_the_rest_is_on_the_way_as_far_as_it_may_be() -> None:
    full = changed(LOSSES, "server", unread_bytes=2 * LEAST_UNREAD_BYTES)
    for snapshot, rest in (
        (full, (2, 5)),
        (changed(LOSSES, "swarm", in_flight=5), (5, 2)),
        (changed(full, "swarm", in_flight=1, undecided=3), (6, 1)),
        (changed(full, "swarm", in_flight=100), (7, 0)),
    ):
        to_server = flows(snapshot)[0]
        assert to_server is not None
        assert (to_server.on_the_way, to_server.not_explained) == rest


@each("read_since", [0, 12])
def test_of_ends_that_are_asked_one_after_the_other_one_is_ahead(read_since: int) -> None:
    # 990 in two seconds: 9.9 in each direction within a hundredth of a second, as they come at most.
    snapshot = changed(LOSSES, "server", time_s=0.01, totals=Totals(datagrams_received=990 + read_since))
    to_server = flows(snapshot)[0]
    assert to_server is not None
    assert (to_server.on_the_way, to_server.not_explained) == (-min(read_since, 10), min(10 - read_since, 0))


def test_what_the_other_end_of_the_run_would_know_is_not_known() -> None:
    alone = replace(LOSSES, roles={"swarm": LOSSES.roles["swarm"]})
    assert flows(alone) == (
        Flow(1_000, None, None, 10, None, None),
        Flow(None, 450, 20, None, 25, 1),
    )


def test_of_a_relay_between_the_ends_every_datagram_is_told_too() -> None:
    up = Passed(datagrams_in=990, datagrams_out=700, declined=2, overflowed=3, unsent=4, undelivered=5,
                dropped=6, unread=7, impaired=Impaired(admitted=988, lost=300, duplicated=50))  # fmt: skip
    inside = 990 - 2 - 300 + 50 - 700 - 3 - 4 - 5
    relay = role("relay", Totals(datagrams_received=990), relay=RelayFigures(up, Passed()))
    to_server, to_clients = flows(replace(LOSSES, roles={**LOSSES.roles, "relay": relay}))
    assert to_server is not None
    assert to_server == Flow(
        1_000, 600, 0, 10 + 4, 380 + 6, 3 + 7, 0, 0, on_the_way=inside,
        not_explained=to_server.not_explained, impaired=300, relay_full=2 + 3 + 5, doubled=-50,
    )  # fmt: skip
    assert to_clients is not None
    for flow in (to_server, to_clients):
        assert flow.sent == sum(filter(None, (getattr(flow, f.name) for f in fields(Flow)[1:])))


def test_there_are_none_over_tcp_and_none_are_lost_over_unix_sockets() -> None:
    assert flows(replace(LOSSES, tuning=Tuning())) == (None, None)
    assert flows(replace(LOSSES, tuning=Tuning(transport="udp", family="unix"))) == (None, None)


def test_drops_are_not_known_where_the_kernel_tells_of_none() -> None:
    elsewhere = replace(LOSSES.resources, kernel_udp=None)
    for dropped, told in ((0, None), (380, 380)):
        counted = replace(LOSSES.roles["server"].totals, datagrams_dropped=dropped)
        flow, _ = flows(replace(changed(LOSSES, "server", totals=counted), resources=elsewhere))
        assert flow is not None
        assert flow.receive_buffer == told
