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


def test_a_server_that_closes_after_one_number_of_answers_or_another() -> None:
    closings = Closings()
    told = [closings.add(1, answers) for answers in (4, 70, 2, 9, 3, 8)]
    assert told[:4] == [""] * 4, "a server that is restarted has ended a few, too"
    assert told[-1] == (
        "the server closes connections after 2 to 70 answers; with --lifetime 2 the clients close first"
    )


def test_one_client_is_enough() -> None:
    closings = Closings()
    assert [bool(closings.add(1, 5)) for _ in range(4)] == [False, False, True, True]


def test_a_server_that_closes_what_is_silent() -> None:
    closings = Closings()
    assert not any(closings.add(client, 1, 0.2) for client in range(50)), "that may be the server's end"
    assert closings.add(7, 1, 0.11) == (
        "the server closes connections that ask nothing for 110 ms; less --think-time keeps them open"
    )
