"""What holds for the engine's tests holds here: nothing is left."""

from tests.engine.conftest import children_start_warm, nothing_is_left, pytest_asyncio_loop_factories

__all__ = ["children_start_warm", "nothing_is_left", "pytest_asyncio_loop_factories"]
