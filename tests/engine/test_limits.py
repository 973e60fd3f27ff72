"""How many descriptors an experiment needs, in the process that needs the most."""

from typing import Any

import pytest

from sockscope.core.config.experiment import Tuning
from sockscope.engine.limits import RESERVED_DESCRIPTORS, descriptors_needed


@pytest.mark.parametrize(
    ("role", "values", "sockets"),
    [
        ("both", {}, 200),
        ("both", {"place": "child"}, 200),
        ("both", {"place": "server"}, 100),
        ("both", {"place": "apart"}, 100),
        ("both", {"transport": "udp"}, 100),
        ("both", {"transport": "udp", "swarm_processes": 3}, 34),
        ("both", {"swarm_processes": 3}, 100),
        ("swarm", {"swarm_processes": 3}, 34),
        ("swarm", {}, 100),
        ("server", {"place": "apart"}, 0),
        # A hash spreads connections over servers: half of them, and some more by chance.
        ("both", {"server_processes": 2, "swarm_processes": 2}, 86),
        ("both", {"server_processes": 64, "swarm_processes": 64}, 8),
    ],
)
def test_sockets_of_the_process_that_opens_the_most(role: str, values: dict[str, Any], sockets: int) -> None:
    assert descriptors_needed(role, Tuning(clients=100, **values)) == sockets + RESERVED_DESCRIPTORS
