"""What is lost and who has come is divided anew, one fault at a time, for as long as the run is live."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sockscope.engine.redivision import Redivision
from sockscope.errors import EngineError, SockscopeError
from tests.waiting import until


class Run:
    """A run that remembers what was divided; workers called ``bad`` cannot be used."""

    def __init__(self) -> None:
        self.is_live = True
        self.is_broken = False
        self.divided: list[tuple[int, tuple[str, ...]]] = []
        self.refused: list[str] = []
        self.failed: list[str] = []
        self.applying = asyncio.Lock()
        self.redivision = Redivision(
            self.applying,
            lambda: self.is_live,
            self.divide,
            lambda error: self.refused.append(str(error)),
            lambda error: self.failed.append(str(error)),
        )

    async def divide(self, lost: int, come: Sequence[str]) -> None:
        await asyncio.sleep(0)
        if self.is_broken:
            raise EngineError("nobody is left")
        if bad := [worker for worker in come if worker.startswith("bad")]:
            raise EngineError(bad[0])
        self.divided.append((lost, tuple(come)))


async def test_what_comes_together_is_divided_together_once_the_run_is_live() -> None:
    run = Run()
    run.is_live = False
    run.redivision.lose()
    run.redivision.join("a")
    run.redivision.join("b")
    await asyncio.sleep(0)
    assert run.divided == []
    run.is_live = True
    run.redivision.begin()
    await until(lambda: run.divided)
    assert run.divided == [(1, ("a", "b"))]


async def test_one_bad_worker_keeps_no_other_out_and_no_loss_from_being_divided() -> None:
    run = Run()
    async with run.applying:  # a knob is being turned
        run.redivision.lose()
        for worker in ("a", "bad", "b"):
            run.redivision.join(worker)
        await asyncio.sleep(0)
    await until(lambda: len(run.divided) == 2)
    assert run.divided == [(1, ("a",)), (0, ("b",))]
    assert run.refused == ["bad"]
    assert run.failed == []


async def test_what_cannot_be_divided_ends_the_run_unless_more_is_lost_meanwhile() -> None:
    run = Run()
    run.is_broken = True
    run.redivision.lose()
    await asyncio.sleep(0)
    run.redivision.lose()
    await until(lambda: run.failed)
    assert run.failed == ["nobody is left"]
    assert run.divided == []


async def test_what_is_under_way_at_the_end_is_given_up() -> None:
    run = Run()
    async with run.applying:
        run.redivision.lose()
        await run.redivision.end()
    assert run.divided == []


async def test_an_unexpected_fault_ends_the_run_and_is_told() -> None:
    run = Run()

    def divide(lost: int, come: Sequence[str]) -> SockscopeError:
        raise ZeroDivisionError("a fault of ours")

    run.redivision._divide = divide  # type: ignore[assignment]
    run.redivision.lose()
    await until(lambda: run.failed)
    assert run.failed == ["a fault of ours"]
