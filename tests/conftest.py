import gc
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sockscope.engine.loops import calm_collector
from tests.cli.command import WARM
from tests.warm_children import WarmChildren, started_warm

# A module is compiled once, and not in each of the hundreds of processes of the suite: half of their time.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: most of a worker's time is waiting for processes, timers and screens."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Nothing that is collected is garbage, and what one worker has compiled no other has to."""
    gc.disable()
    try:
        if session.config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            _import_tests(session.config.rootpath)
        return (yield)
    finally:
        gc.enable()


def _import_tests(root: Path) -> None:
    """Import them, each worker from another one on, so that it finds what the others have compiled meanwhile.

    In a fresh clone all of them would rewrite every assertion: a quarter of a minute of each.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    paths = sorted(Path(__file__).parent.rglob("test_*.py"))
    begin = len(paths) * int(worker.removeprefix("gw")) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for path in paths[begin:] + paths[:begin]:
        # What cannot be imported is told when it is collected.
        with suppress(Exception):
            import_module(".".join(path.relative_to(root).with_suffix("").parts))


# Bounded in count; never in time per example, for the machine may be busy.
settings.register_profile(
    "sockscope", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("sockscope")


@pytest.fixture(scope="module", autouse=True)
def what_is_here_already_is_no_garbage() -> None:
    """Tests, modules and reports live to the end: when a test has garbage collected, it means its own.

    The collector runs as seldom as in the program: a sixth of what a dashboard costs is saved by that.
    """
    calm_collector()


@pytest.fixture(scope="session", autouse=True)
def history_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever runs in a test, and every child of it, keeps its runs here and not in the user's history."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOCKSCOPE_HISTORY", str(tmp_path_factory.mktemp("history") / "history.db"))
        yield


@pytest.fixture(scope="session")
def what_children_are_forks_of() -> Iterator[WarmChildren]:
    """Started with the first module that asks for it; it ends with the tests."""
    warm = WarmChildren()
    yield warm
    warm.close()


@pytest.fixture(scope="session", autouse=True)
def what_commands_are_forks_of_goes() -> Iterator[None]:
    """It is started with the first command."""
    yield
    WARM.close()


@pytest.fixture(scope="module")
def warm_children(what_children_are_forks_of: WarmChildren) -> Iterator[None]:
    """Children of the engine are forks in this module: how they are started is not what it tests."""
    with started_warm(what_children_are_forks_of):
        yield
