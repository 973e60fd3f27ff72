"""Which role runs where, and how the clients are divided."""

from dataclasses import replace

import pytest

from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import ROLE_NAMES
from sockscope.engine.placement.hosts.child import ChildHost
from sockscope.engine.placement.layout import HERE, PLACES, Place, place_of
from sockscope.engine.roles import ROLE_KINDS, kinds_in, title_of

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
    assert place_of(ROLE_KINDS["relay"], tuning) in (HERE, OWN)


def test_every_place_that_can_be_chosen_is_in_the_table() -> None:
    assert set(PLACES) == set(FIELDS["place"].spec.choices)


def test_roles_and_titles() -> None:
    names = {
        role: [kind.name for kind in kinds_in(Experiment(role=role), Tuning())]
        for role in ("both", "server", "swarm")
    }
    assert names == {"both": ["server", "swarm"], "server": ["server"], "swarm": ["swarm"]}
    relayed = Tuning(fault="delay=1ms")
    assert [kind.name for kind in kinds_in(Experiment(), relayed)] == ["server", "relay", "swarm"]
    assert [kind.name for kind in kinds_in(Experiment(role="server"), relayed)] == ["server"]
    assert title_of(("server", "swarm")) == "server and clients"
    assert (title_of(("swarm",)), title_of(("server",), 1)) == ("clients", "server 2")
    assert list(ROLE_KINDS) == list(ROLE_NAMES)
