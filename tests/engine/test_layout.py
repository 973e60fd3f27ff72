"""Who plays where, and how the clients are divided."""

from dataclasses import replace

import pytest

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.engine.placement.layout import HERE, Site, busy_of, roles_of, share_of, site_of, title_of


def test_a_share_is_a_part_of_what_is_divided() -> None:
    tuning = Tuning(clients=10, permits=3, server_permits=5)
    assert [share_of("swarm", tuning, index, 4).clients for index in range(4)] == [4, 3, 3, 0]
    assert [share_of("server", tuning, index, 2).server_permits for index in range(2)] == [3, 2]
    assert busy_of(tuning, 4) == 3


@pytest.mark.parametrize(
    ("values", "server", "client"),
    [
        ({}, HERE, HERE),
        ({"place": "child"}, Site("shared"), Site("shared")),
        ({"place": "server"}, Site("own"), HERE),
        ({"place": "apart"}, Site("own"), Site("own")),
        ({"swarm_processes": 3}, Site("own"), Site("own", 3)),
        ({"place": "child", "server_processes": 2}, Site("own", 2), Site("own")),
    ],
)
def test_sites(values: dict[str, object], server: Site, client: Site) -> None:
    tuning = replace(Tuning(), **values)  # type: ignore[arg-type]
    assert (site_of("server", tuning), site_of("swarm", tuning)) == (server, client)


def test_roles_and_titles() -> None:
    assert roles_of(Experiment()) == ("server", "swarm")
    assert roles_of(Experiment(role="server")) == ("server",)
    assert roles_of(Experiment(role="swarm")) == ("swarm",)
    assert title_of(("server", "swarm")) == "server and clients"
    assert (title_of(("swarm",)), title_of(("server",), 1)) == ("clients", "server 2")
