import pytest

from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.models import TRANSPORTS
from sockscope.core.results.contest import Contest
from sockscope.lab.contestants import contestants_of
from sockscope.lab.presets import PRESETS, WORKLOAD, Preset, contest_of, workload_of

each = pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))


def test_the_presets_are_those_that_are_documented() -> None:
    assert " ".join(PRESETS) == ("guide echo connections allocator semaphore udp loss batch pool clients")


@each
def test_a_preset_is_valid(preset: Preset) -> None:
    workload = Experiment().with_values({**WORKLOAD, **preset.workload})
    contestants, left_out = contestants_of(preset.entries(), workload)
    assert len(contestants) + len(left_out) == len(preset.entries()) > 1
    assert all(why for _, why in left_out)
    if contestants:
        names = {contestant.name for contestant in contestants}
        Contest(contestants, preset.rounds, preset.slice_s, preset.warmup_s, workload.requests).validated()
        assert not preset.baseline or preset.baseline in names | {name for name, _ in left_out}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", ["batch", "clients"])
def test_clients_are_compared_over_either_transport(name: str, transport: str) -> None:
    contest = contest_of(workload_of(PRESETS[name]).with_values({"transport": transport}), PRESETS[name])
    assert not contest.left_out
    assert {contestant.experiment.tuning.transport for contestant in contest.contestants} == {transport}


@each
def test_a_preset_names_fields_that_there_are(preset: Preset) -> None:
    keys = {key for entry in preset.entries() for key in entry.values} | preset.workload.keys()
    assert keys <= FIELDS.keys()


def test_published_figures_are_those_of_contestants() -> None:
    guide = PRESETS["guide"]
    workload = Experiment().with_values({**WORKLOAD, **guide.workload})
    present, absent = contestants_of(guide.entries(), workload)
    names = {contestant.name for contestant in present} | {name for name, _ in absent}
    assert {figures.contestant for figures in guide.published} <= names
    slow, fast = guide.published
    assert fast.times == pytest.approx(slow.duration_s / fast.duration_s, abs=0.1)
    assert fast.connections_per_s == pytest.approx(100 / fast.duration_s, rel=0.01)
