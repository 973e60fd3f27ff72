from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Bounded in count; never in time per example, for the machine may be busy.
settings.register_profile(
    "sockscope", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("sockscope")


@pytest.fixture(scope="session", autouse=True)
def history_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever runs in a test, and every child of it, keeps its runs here and not in the user's history."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOCKSCOPE_HISTORY", str(tmp_path_factory.mktemp("history") / "history.db"))
        yield
