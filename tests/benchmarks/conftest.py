from collections.abc import Iterator

import pytest

from benchmarks.dashboard_tax import _TO_CONTROLLING_TERMINAL
from tests.cli.command import WARM
from tests.cli.warm import programs_started_warm


@pytest.fixture(scope="module", autouse=True)
def scripts_start_warm() -> Iterator[None]:
    """What a script costs to start is not what is tested here; a terminal that has no owner is given one."""
    WARM.start()  # tests count children and descriptors
    with programs_started_warm(WARM, "-I", "-S", "-c", _TO_CONTROLLING_TERMINAL):
        yield
