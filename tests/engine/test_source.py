from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import Cursors, RunState
from sockscope.core.run.source import RunSource
from sockscope.engine.engine import Engine
from sockscope.engine.servers.registry import LACKING


async def test_a_screen_can_be_given_an_engine() -> None:
    source: RunSource = Engine(Experiment(tuning=Tuning(clients=1)))
    assert source.is_live
    assert source.lacking == LACKING
    assert source.state is RunState.IDLE
    await source.start()
    try:
        source.mark("here")
        shown = source.snapshot(Cursors())
        assert [event.text for event in shown.events if event.text == "here"] == ["here"]
        assert shown.tuning == source.tuning
    finally:
        await source.stop(0.0)
    assert (source.state, source.error) == (RunState.STOPPED, "")
