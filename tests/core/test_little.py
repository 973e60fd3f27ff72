from dataclasses import replace

import pytest

from sockscope.core.censoring import Ages
from sockscope.core.roles import SWARM
from sockscope.core.run.little import accounted_ratio, warning
from sockscope.core.run.snapshot import Snapshot
from tests.core.runs import both, changed


def seen(**figures: object) -> Snapshot:
    """Return two seconds of four clients, in which 400 requests took 10 ms each and two got no answer."""
    usual = {"connected_s": 8.0, "idle_s": 2.0, "unanswered": Ages({1.0: 2})}
    return changed(both(seconds=2, requests=400), SWARM, **{**usual, **figures})


def test_service_ages_and_waits_make_up_the_time_of_the_clients() -> None:
    assert accounted_ratio(seen()) == pytest.approx(1.0, rel=0.01)
    assert warning(seen()) == ""


def test_a_request_that_waited_where_no_clock_ran_is_told() -> None:
    unseen = seen(connected_s=12.0)
    assert accounted_ratio(unseen) == pytest.approx(2 / 3, rel=0.01)
    assert warning(unseen) == "! latency too small: service and waits are 67 % of the clients' time"


def test_what_cannot_be_told_is_not_known() -> None:
    nothing = changed(both(seconds=2, requests=0), SWARM, connected_s=8.0, idle_s=8.0)
    pipelined = replace(seen(), tuning=replace(seen().tuning, depth=4))
    short = seen(unanswered=Ages({300.0: 2}))
    assert [accounted_ratio(one) for one in (nothing, pipelined, short)] == [None] * 3
    assert accounted_ratio(seen(connected_s=0.0)) is None
