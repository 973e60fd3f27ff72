"""What holds for the engine's tests holds here: nothing is left."""

from tests.engine.conftest import nothing_is_left, pytest_asyncio_loop_factories

__all__ = ["nothing_is_left", "pytest_asyncio_loop_factories"]
