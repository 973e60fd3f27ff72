"""From ends of connections to what the server does with each."""

from __future__ import annotations

from sockscope.engine.swarm.closings import Closings


def test_one_end_of_many_clients_is_no_habit() -> None:
    closings = Closings()
    assert not any(closings.add(client, 1) for client in range(50))
    # What they find when they come back tells.
    assert closings.add(7, 1).startswith("the server closes each connection after one answer")
    assert closings.add(50, 1), "it is so for a client that is new, too"
    assert not closings.add(7, 3)
    assert not closings.add(8, 1)


def test_one_client_is_enough() -> None:
    closings = Closings()
    assert [bool(closings.add(1, 5)) for _ in range(4)] == [False, False, True, True]
