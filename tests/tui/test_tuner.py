"""Requests of tunings: one is applied at a time, each can be taken back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.source import RunSource
from sockscope.engine.engine import Engine
from sockscope.errors import EngineError, SockscopeError
from sockscope.faces.tui.tuner import UNDO_STEPS, Tuner
from tests.tui.driving import small
from tests.tui.fake_source import FakeSource
from tests.waiting import until

LIVE = [key for key, entry in FIELDS.items() if entry.live]


@dataclass
class Told:
    """What a tuner told."""

    requested: int = 0
    applied: int = 0
    refused: list[SockscopeError] = field(default_factory=list)

    def tuner(self, source: RunSource) -> Tuner:
        def count_request() -> None:
            self.requested += 1

        def count_applied() -> None:
            self.applied += 1

        return Tuner(
            source, on_requested=count_request, on_applied=count_applied, on_refused=self.refused.append
        )


class SlowSource(FakeSource):
    """A run that takes a turn of the loop to apply a tuning, and refuses 77 clients."""

    is_applying = False

    async def apply(self, tuning: Tuning) -> None:
        self.is_applying = True
        try:
            await asyncio.sleep(0)
            if tuning.clients == 77:
                raise EngineError("no")
            await super().apply(tuning)
        finally:
            self.is_applying = False

    async def begun(self) -> None:
        """Return when a tuning is being applied."""
        async with asyncio.timeout(60):
            while not self.is_applying:
                await asyncio.sleep(0)


async def applied(tuner: Tuner) -> None:
    while tuner.is_applying:
        await asyncio.sleep(0)


async def test_what_was_asked_for_meanwhile_is_applied_together() -> None:
    source, told = FakeSource(small()), Told()
    tuner = told.tuner(source)
    await source.start()
    for _ in range(5):
        tuner.step("clients", 1)
    assert source.tuning.clients == 5
    await applied(tuner)
    assert source.tuning.clients == tuner.requested.clients == 200
    assert (source.generation, told.requested, told.applied) == (1, 5, 1)


async def test_what_is_invalid_changes_nothing_and_cannot_be_undone() -> None:
    source, told = FakeSource(small()), Told()
    tuner = told.tuner(source)
    await source.start()
    tuner.set({"clients": 0})
    assert [str(error) for error in told.refused] == ["clients = 0 must be at least 1"]
    assert tuner.requested == small().tuning
    assert not tuner.undo()
    tuner.set({"clients": small().tuning.clients})
    assert not tuner.undo(), "the same value is no change"


async def test_what_the_run_refuses_goes_back_to_what_is_in_force() -> None:
    source, told = FakeSource(small()), Told()
    tuner = told.tuner(source)
    await source.start()
    source.refusals += [EngineError("no"), RuntimeError("of the program itself")]
    for count, why in enumerate(("no", "of the program itself"), 1):
        tuner.step("clients", 1)
        assert tuner.requested.clients == 10
        await applied(tuner)
        assert tuner.requested == source.tuning == small().tuning
        assert why in str(told.refused[-1])
        assert told.requested == 2 * count, "the knob is shown as it was"


async def test_a_change_that_the_run_refused_cannot_be_undone_and_leaves_earlier_ones() -> None:
    source, told = SlowSource(small()), Told()
    tuner = told.tuner(source)
    await source.start()
    tuner.set({"clients": 6})
    await applied(tuner)
    tuner.set({"clients": 77})
    await applied(tuner)
    assert tuner.requested.clients == 6
    assert tuner.undo()
    assert tuner.requested == small().tuning
    assert not tuner.undo()
    await applied(tuner)
    assert tuner.redo()
    await applied(tuner)
    assert source.tuning.clients == 6
    assert len(told.refused) == 1


async def test_what_was_changed_while_a_refused_change_was_applied_is_not_lost() -> None:
    source, told = SlowSource(small()), Told()
    tuner = told.tuner(source)
    await source.start()
    tuner.set({"clients": 77})
    await source.begun()
    tuner.set({"permits": 3})
    tuner.set({"size": 300})
    await applied(tuner)
    assert source.tuning == tuner.requested == replace(small().tuning, permits=3, request_bytes=300)
    assert [str(error) for error in told.refused] == ["no"]
    assert tuner.undo()
    assert tuner.requested == small().tuning, "what was refused is not asked for again"
    assert not tuner.undo()
    await applied(tuner)
    assert source.tuning == small().tuning
    assert len(told.refused) == 1


async def test_a_change_that_is_valid_only_with_a_refused_one_is_refused_with_it() -> None:
    source, told = SlowSource(small()), Told()
    tuner = told.tuner(source)
    await source.start()
    tuner.set({"clients": 77, "depth": 4})
    await source.begun()
    tuner.set({"batch": 4})
    await applied(tuner)
    assert source.tuning == tuner.requested == small().tuning
    assert ["batch" in str(error) for error in told.refused] == [False, True]
    assert not tuner.undo()


async def test_an_undo_that_is_refused_can_be_tried_again() -> None:
    source, told = FakeSource(small()), Told()
    tuner = told.tuner(source)
    await source.start()
    tuner.set({"clients": 6})
    await applied(tuner)
    source.refusals.append(EngineError("not now"))
    assert tuner.undo()
    await applied(tuner)
    assert tuner.requested == source.tuning
    assert source.tuning.clients == 6
    assert not tuner.redo()
    assert tuner.undo()
    await applied(tuner)
    assert source.tuning == small().tuning


async def test_an_undo_to_what_is_invalid_changes_nothing() -> None:
    source, told = FakeSource(small(clients=0)), Told()
    tuner = told.tuner(source)
    await source.start()
    tuner.set({"clients": 6})
    await applied(tuner)
    assert tuner.undo()
    assert tuner.undo(), "it is still there"
    assert [str(error) for error in told.refused] == ["clients = 0 must be at least 1"] * 2
    assert tuner.requested.clients == 6
    assert not tuner.redo()


@given(st.lists(st.sampled_from(["turn", "77", "more", "undo", "redo", "wait"]), max_size=30))
async def test_however_changes_are_refused_the_run_has_what_is_requested_and_undo_leads_back(
    moves: list[str],
) -> None:
    source = SlowSource(small())
    tuner = Told().tuner(source)
    await source.start()
    for number, move in enumerate(moves, 100):
        match move:
            case "turn":
                await asyncio.sleep(0)
            case "wait":
                await applied(tuner)
            case "77":
                tuner.set({"clients": 77})
            case "more":
                tuner.set({"size": number})
            case _:
                getattr(tuner, move)()
    await applied(tuner)
    assert source.tuning == tuner.requested
    assert source.tuning.clients != 77
    while tuner.undo():
        pass
    await applied(tuner)
    assert source.tuning == tuner.requested == small().tuning


async def test_a_model_that_does_not_serve_the_other_transport_goes_to_the_default() -> None:
    source = FakeSource(small(server="streams"))
    tuner = Told().tuner(source)
    await source.start()
    tuner.toggle_transport()
    assert (tuner.requested.transport, tuner.requested.server) == ("udp", "default")
    tuner.set({"server": "blocking"})
    tuner.toggle_transport()
    assert (tuner.requested.transport, tuner.requested.server) == ("tcp", "blocking")
    await applied(tuner)


async def test_closed_it_applies_nothing_more_whatever_is_requested() -> None:
    source, told = SlowSource(small()), Told()
    tuner = told.tuner(source)
    await source.start()
    tuner.step("clients", 1)
    await source.begun()
    await tuner.close()
    assert not source.is_applying, "it is waited for"
    tuner.step("clients", 1)
    tuner.undo()
    assert not tuner.is_applying
    assert source.tuning == small().tuning
    assert told.requested == 1


@given(st.lists(st.sampled_from(["step", "undo", "redo"]), max_size=30))
async def test_undo_and_redo_walk_along_one_line_of_changes(moves: list[str]) -> None:
    source = FakeSource(small())
    tuner = Told().tuner(source)
    await source.start()
    line, at = [tuner.requested], 0
    for number, move in enumerate(moves, 10):
        if move == "step":
            tuner.set({"size": number})
            line, at = [*line[: at + 1], tuner.requested], at + 1
        elif move == "undo":
            assert tuner.undo() == (at > 0)
            at = max(0, at - 1)
        else:
            assert tuner.redo() == (at < len(line) - 1)
            at = min(len(line) - 1, at + 1)
        assert tuner.requested == line[at]
    await applied(tuner)
    assert source.tuning == line[at]


async def test_the_memory_of_changes_is_bounded() -> None:
    source = FakeSource(small())
    tuner = Told().tuner(source)
    await source.start()
    for size in range(100, 100 + 2 * UNDO_STEPS):
        tuner.set({"size": size})
    steps = 0
    while tuner.undo():
        steps += 1
    assert steps == UNDO_STEPS
    assert tuner.requested.request_bytes == 100 + UNDO_STEPS - 1
    await applied(tuner)


async def test_every_knob_turns_on_a_real_run_and_comes_back() -> None:
    quiet = replace(small(), tuning=replace(small().tuning, permits=1))
    async with Engine(quiet) as engine:
        told = Told()
        tuner = told.tuner(engine)
        for key in LIVE:
            if key in ("batch", "fault") or FIELDS[key].spec.knob is None:
                continue  # at most the depth, which is 1 here; what is written; a line of a form
            before = tuner.requested
            tuner.step(key, 1)
            assert tuner.requested != before, key
            await until(lambda: engine.tuning == tuner.requested, what=key)
            tuner.undo()
            await until(lambda: engine.tuning == tuner.requested, what=key)
        assert engine.tuning == quiet.tuning
        assert told.refused == []
    assert {FIELDS[key].attribute for key in LIVE} == set(Tuning.__dataclass_fields__)
