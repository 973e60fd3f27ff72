from collections.abc import Iterator

import pytest

from tests.cli.command import WARM


@pytest.fixture(scope="package", autouse=True)
def the_warm_interpreter_goes() -> Iterator[None]:
    """Other tests look for children that are left, and this is none of theirs."""
    yield
    WARM.close()
