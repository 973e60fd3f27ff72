"""How a role is divided among several processes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.config.division import busy_processes, divided, divided_attributes, part
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SERVER, SWARM


@given(st.integers(0, 20_000), st.integers(1, 64))
def test_parts_add_up_and_are_even(whole: int, of: int) -> None:
    parts = [part(whole, index, of) for index in range(of)]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 300), st.integers(1, 64))
def test_the_shares_of_swarms_are_the_whole(clients: int, permits: int, pool: int, of: int) -> None:
    tuning = Tuning(clients=clients, permits=permits, pool=pool, swarm_processes=of)
    shares = [divided(tuning, SWARM, index, of) for index in range(of)]
    assert sum(share.clients for share in shares) == clients
    assert sum(share.permits for share in shares) == permits
    assert sum(share.pool for share in shares) == pool
    for share in shares:
        # 0 is no limit: nobody who has clients may get it unless all have it.
        assert share.clients == 0 or bool(share.permits) == bool(permits)
        assert share.clients == 0 or bool(share.pool) == bool(pool)
    assert sum(share.clients > 0 for share in shares) == busy_processes(tuning, of)


def test_servers_share_what_they_admit_and_nothing_else() -> None:
    tuning = Tuning(clients=10, server_permits=5, server_processes=2)
    shares = [divided(tuning, SERVER, index, 2) for index in range(2)]
    assert [share.server_permits for share in shares] == [3, 2]
    assert [replace(share, server_permits=5) for share in shares] == [tuning, tuning]


def test_more_servers_than_they_may_admit_are_refused() -> None:
    faults = list(Tuning(server_permits=2, server_processes=3).field_faults())
    assert [fault.field for fault in faults] == ["server_permits"]
    assert not list(Tuning(server_permits=3, server_processes=3).field_faults())


@given(st.sampled_from([SERVER, SWARM]), st.integers(1, 64))
def test_one_process_does_all_and_only_divided_fields_of_the_role_are_divided(role: str, of: int) -> None:
    tuning = Tuning(clients=300, permits=200, pool=100, server_permits=70, depth=9)
    assert divided(tuning, role, 0, 1) == tuning
    own = set(divided_attributes(role))
    assert own == {SERVER: {"server_permits"}, SWARM: {"clients", "permits", "pool"}}[role]
    for index in range(of):
        changed = tuning.changes_to(divided(tuning, role, index, of)).keys()
        assert changed == (own if of > 1 else set())
