"""Which role runs where, and how the clients are divided."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.config.experiment import FIELDS, Experiment, Tuning
from sockscope.core.roles import ROLE_NAMES
from sockscope.engine.placement.hosts.child import ChildHost
from sockscope.engine.placement.layout import HERE, PLACES, Place, busy_of, part, place_of, share_of
from sockscope.engine.roles import ROLE_KINDS, kinds_in, title_of


@given(st.integers(0, 20_000), st.integers(1, 64))
def test_parts_add_up_and_are_even(whole: int, of: int) -> None:
    parts = [part(whole, index, of) for index in range(of)]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 300), st.integers(1, 64))
def test_the_shares_of_swarms_are_the_whole(clients: int, permits: int, pool: int, of: int) -> None:
    tuning = Tuning(clients=clients, permits=permits, pool=pool, swarm_processes=of)
    shares = [share_of("swarm", tuning, index, of) for index in range(of)]
    assert sum(share.clients for share in shares) == clients
    assert sum(share.permits for share in shares) == permits
    assert sum(share.pool for share in shares) == pool
    for share in shares:
        # 0 is no limit: nobody who has clients may get it unless all have it.
        assert share.clients == 0 or bool(share.permits) == bool(permits)
        assert share.clients == 0 or bool(share.pool) == bool(pool)
    assert sum(share.clients > 0 for share in shares) == busy_of(tuning, of)


def test_servers_share_what_they_admit_and_nothing_else() -> None:
    tuning = Tuning(clients=10, server_permits=5, server_processes=2)
    shares = [share_of("server", tuning, index, 2) for index in range(2)]
    assert [share.server_permits for share in shares] == [3, 2]
    assert [replace(share, server_permits=5) for share in shares] == [tuning, tuning]


def test_more_servers_than_they_may_admit_are_refused() -> None:
    faults = list(Tuning(server_permits=2, server_processes=3).faults())
    assert [fault.field for fault in faults] == ["server_permits"]
    assert not list(Tuning(server_permits=3, server_processes=3).faults())


SHARED, OWN = Place(ChildHost, shared=True), Place(ChildHost)


@pytest.mark.parametrize(
    ("values", "server", "clients"),
    [
        ({}, HERE, HERE),
        ({"place": "child"}, SHARED, SHARED),
        ({"place": "server"}, OWN, HERE),
        ({"place": "apart"}, OWN, OWN),
        ({"swarm_processes": 3}, OWN, Place(ChildHost, 3)),
        ({"place": "child", "server_processes": 2}, Place(ChildHost, 2), OWN),
    ],
)
def test_places(values: dict[str, object], server: Place, clients: Place) -> None:
    tuning = replace(Tuning(), **values)  # type: ignore[arg-type]
    assert [place_of(ROLE_KINDS[name], tuning) for name in ("server", "swarm")] == [server, clients]


def test_every_place_that_can_be_chosen_is_in_the_table() -> None:
    assert set(PLACES) == set(FIELDS["place"].spec.choices)


def test_roles_and_titles() -> None:
    names = {
        role: [kind.name for kind in kinds_in(Experiment(role=role))] for role in ("both", "server", "swarm")
    }
    assert names == {"both": ["server", "swarm"], "server": ["server"], "swarm": ["swarm"]}
    assert title_of(("server", "swarm")) == "server and clients"
    assert (title_of(("swarm",)), title_of(("server",), 1)) == ("clients", "server 2")
    assert list(ROLE_KINDS) == list(ROLE_NAMES)
