"""What clients are doing, put together from both sides."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.roles import RELAY, SERVER, SWARM
from sockscope.core.run.client_states import (
    NOT_SEEN_S,
    ClientSample,
    Doing,
    Reception,
    RelayedSample,
    ServiceSample,
    client_states,
    end_of,
    reception,
)
from sockscope.core.run.snapshot import Snapshot, Totals
from tests.core.runs import role, run

IN_FLIGHT, WAITING = bytes([Doing.IN_FLIGHT]), bytes([Doing.WAITING])


def seen(
    clients: tuple[ClientSample, ...], service: tuple[ServiceSample, ...] = (), address: str = "127.0.0.1:80"
) -> Snapshot:
    """Return a snapshot with these samples, whose swarm is aimed at 127.0.0.1:80."""
    of_server = replace(
        role(SERVER, Totals()), address=address, service_samples=service, backlog=3, connections_open=2
    )
    of_swarm = replace(role(SWARM, Totals()), address="127.0.0.1:80", client_samples=clients)
    return run(server=of_server, swarm=of_swarm)


def asking(states: bytes, opened_s: list[float]) -> ClientSample:
    """Return clients 1, 2, ... whose connections are called 101, 102, ..."""
    places = range(len(states))
    return ClientSample(10.1, [p + 1 for p in places], states, places, [101 + p for p in places], opened_s)


def test_who_is_not_accepted_is_in_the_backlog_and_who_is_read_is_served() -> None:
    clients = asking(IN_FLIGHT * 3 + WAITING, [NOT_SEEN_S, 1.0, 1.0, 1.0])
    states = client_states(seen((clients,), (ServiceSample(10.0, [101, 102], [101]),)))
    assert list(states.states) == [Doing.SERVED, Doing.IN_FLIGHT, Doing.IN_BACKLOG, Doing.IN_BACKLOG]
    assert states.is_whole


def test_a_connection_younger_than_what_the_server_told_is_not_judged() -> None:
    clients = asking(IN_FLIGHT * 2, [10.05, 9.9])
    states = client_states(seen((clients,), (ServiceSample(10.0, [], []),)))
    assert list(states.states) == [Doing.IN_FLIGHT, Doing.IN_BACKLOG]


def test_without_the_server_or_behind_something_else_nothing_is_claimed() -> None:
    clients = asking(IN_FLIGHT * 2, [1.0, 1.0])
    for snapshot in (
        seen((clients,)),
        seen((clients,), (ServiceSample(10.0, [], [101]),), address="127.0.0.1:81"),
    ):
        assert client_states(snapshot).states == IN_FLIGHT * 2
        assert not client_states(snapshot).is_whole


def behind_a_relay(clients: ClientSample, relayed: RelayedSample, service: ServiceSample) -> list[int]:
    """Return the states of clients that are aimed at a relay before the server."""
    snapshot = seen((clients,), (service,), address="127.0.0.1:81")
    relay = replace(role(RELAY, Totals()), address="127.0.0.1:80", relayed_samples=(relayed.later(0.0),))
    states = client_states(replace(snapshot, roles={**snapshot.roles, RELAY: relay}))
    assert states.is_whole
    return list(states.states)


def test_behind_a_relay_its_ends_are_those_that_the_server_knows() -> None:
    # The server calls them 201, 202 and 203; the relay has not connected the last one yet.
    relayed = RelayedSample([101, 102, 103], [201, 202, 203], [2.0, 2.0, 2.0])
    found = behind_a_relay(
        asking(IN_FLIGHT * 4, [1.0] * 4), relayed, ServiceSample(10.0, [201, 202], [201, 104])
    )
    assert found == [Doing.SERVED, Doing.IN_FLIGHT, Doing.IN_BACKLOG, Doing.IN_FLIGHT]


def test_what_a_relay_has_connected_since_the_server_told_is_not_judged() -> None:
    relayed = RelayedSample([101, 102, 103], [201, 202, 203], [10.05, NOT_SEEN_S, 9.9])
    found = behind_a_relay(asking(IN_FLIGHT * 3, [1.0] * 3), relayed, ServiceSample(10.0, [], []))
    assert found == [Doing.IN_FLIGHT, Doing.IN_FLIGHT, Doing.IN_BACKLOG]


def test_requests_that_cannot_be_told_apart_are_in_flight_only() -> None:
    clients = asking(IN_FLIGHT, [NOT_SEEN_S])
    snapshot = seen((clients,), (ServiceSample(10.0, [101], None),))
    assert client_states(snapshot).states == IN_FLIGHT
    assert reception(snapshot) == Reception(backlog=3, accepted=2, in_service=None)


def test_what_the_server_has_is_what_it_counts() -> None:
    samples = (ServiceSample(10.0, [101], [101]), ServiceSample(10.0, [102], []))
    assert reception(seen((), samples)) == Reception(backlog=3, accepted=2, in_service=1)
    udp = seen((), samples)
    udp = replace(udp, roles={name: replace(one, transport="udp") for name, one in udp.roles.items()})
    assert reception(udp).backlog is None


def test_nothing_is_told_that_nobody_asked_for() -> None:
    assert client_states(seen(())).states == b""


def test_clients_of_a_dead_process_are_gone() -> None:
    states = client_states(seen((asking(IN_FLIGHT * 3, [1.0] * 3).gone(),), (ServiceSample(10.0, [], []),)))
    assert states.counts()[Doing.GONE] == 3


def test_the_ends_of_a_connection_are_called_alike_and_others_otherwise() -> None:
    assert end_of(("127.0.0.1", 50_000)) == end_of(("127.0.0.1", 50_000))
    assert len({end_of((host, port)) for host in ("127.0.0.1", "127.0.0.2", "::1") for port in (1, 2)}) == 6


_TOLD_BY_SERVER = {
    (Doing.IN_FLIGHT, Doing.SERVED),
    (Doing.IN_FLIGHT, Doing.IN_BACKLOG),
    (Doing.WAITING, Doing.IN_BACKLOG),
}
states_of_parts = st.lists(st.lists(st.sampled_from(list(Doing)), max_size=30), min_size=1, max_size=4)


@given(states_of_parts, st.sets(st.integers(101, 130)), st.sets(st.integers(101, 130)))
def test_states_sum_to_the_clients_and_come_in_the_order_of_their_numbers(
    parts: list[list[Doing]], accepted: set[int], in_service: set[int]
) -> None:
    samples = []
    for index, doing in enumerate(parts):
        numbers = [index + 1 + len(parts) * n for n in range(len(doing))]
        places = [place for place, one in enumerate(doing) if one in (Doing.IN_FLIGHT, Doing.WAITING)]
        ends, opened_s = [101 + place for place in places], [place % 3 * 6.0 for place in places]
        samples.append(ClientSample(10.0, numbers, bytes(doing), places, ends, opened_s))
    found = client_states(seen(tuple(samples), (ServiceSample(10.0, sorted(accepted), sorted(in_service)),)))
    assert sum(found.counts().values()) == len(found.states) == sum(map(len, parts))
    assert list(found.numbers) == sorted(number for sample in samples for number in sample.numbers)
    before = {
        number: Doing(state) for s in samples for number, state in zip(s.numbers, s.states, strict=True)
    }
    for number, state in zip(found.numbers, found.states, strict=True):
        was, now = before[number], Doing(state)
        assert now is was or (was, now) in _TOLD_BY_SERVER


def test_of_too_many_clients_only_their_states_are_told() -> None:
    samples = [asking(IN_FLIGHT + WAITING * n, [0.0] * (n + 1)).bare() for n in (2, 5)]
    states = client_states(seen(tuple(samples), (ServiceSample(10.0, [101], [101]),)))
    assert (states.counts()[Doing.IN_FLIGHT], states.counts()[Doing.WAITING]) == (2, 7)
    assert not states.is_whole
    assert not states.numbers
    assert not samples[0].gone().numbers


def test_every_state_has_words() -> None:
    assert len({doing.title for doing in Doing}) == len({doing.about for doing in Doing}) == len(Doing)
    assert [int(doing) for doing in Doing] == list(range(len(Doing)))
    assert role(SWARM, Totals()).client_samples == ()
