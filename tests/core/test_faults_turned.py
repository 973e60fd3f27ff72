"""What keys make of the faults that are on."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.config.applicability import faults_offered
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.fault import Fault, parse_faults, text_of
from sockscope.core.impairment.kinds import FAULTS, FaultKind
from sockscope.core.impairment.turning import (
    for_transport,
    redirected,
    reshaped,
    stepped,
    toggled,
)
from tests.each import each


def server_for(kind: FaultKind) -> str:
    """Return a server model that can have this fault."""
    tuning = Tuning(transport=kind.transports[0])
    return "default" if kind in faults_offered(Experiment(), tuning) else "streams"


LOSS, BURST, JITTER, DELAY = (FAULTS[name] for name in ("loss", "loss-burst", "jitter", "delay"))


def text(faults: tuple[Fault, ...]) -> str:
    return text_of(faults)


@each("kind", FAULTS.values())
def test_the_same_key_switches_on_and_off_and_what_is_on_is_possible(kind: FaultKind) -> None:
    on = toggled((), kind)
    tuning = Tuning(transport=kind.transports[0], server=server_for(kind), fault=text_of(on))
    assert not list(Experiment(tuning).field_faults())
    off = toggled(on, kind)
    assert all(fault.kind == kind.modifies for fault in off)


def test_one_that_modifies_another_brings_it_along_and_goes_with_it() -> None:
    both = toggled((), BURST)
    assert text(both) == "loss=2%, loss-burst=5"
    assert text(toggled(both, BURST)) == "loss=2%"
    assert toggled(both, LOSS) == ()
    assert text(toggled(parse_faults("loss=9% up"), BURST)) == "loss=9% up, loss-burst=5 up"


def test_values_turn_on_the_scale_and_stay_in_range() -> None:
    on = parse_faults("loss=2%, delay=20ms")
    assert text(stepped(on, LOSS, 1)) == "delay=20ms, loss=5%"
    assert text(stepped(on, DELAY, -1, coarse=True)) == "delay=2ms, loss=2%"
    assert text(stepped(parse_faults("loss=100%"), LOSS, 1)) == "loss=100%"
    assert text(stepped((), LOSS, -1)) == "loss=2%"


def test_the_direction_goes_round_with_what_belongs_together() -> None:
    on = parse_faults("loss=2%, loss-burst=5")
    up = redirected(on, LOSS)
    assert text(up) == "loss=2% up, loss-burst=5 up"
    assert text(redirected(up, BURST)) == "loss=2% down, loss-burst=5 down"
    assert text(redirected(parse_faults("loss=2% up, loss=5% down"), LOSS)) == "loss=2% down"
    reset = parse_faults("reset=1s")
    assert redirected(reset, FAULTS["reset"]) == reset


def test_the_shape_goes_round() -> None:
    once = reshaped(parse_faults("jitter=5ms"), JITTER)
    assert text(once) == "jitter=5ms uniform"
    assert text(reshaped(once, JITTER)) == "jitter=5ms"


KEYS = (
    toggled,
    redirected,
    reshaped,
    lambda on, kind: stepped(on, kind, 1),
    lambda on, kind: stepped(on, kind, -1),
)


@settings(max_examples=50)
@given(
    st.sampled_from(["tcp", "udp"]),
    st.lists(st.tuples(st.sampled_from(range(len(KEYS))), st.integers(0, 30)), max_size=20),
)
def test_no_keys_lead_to_faults_that_are_refused(transport: str, keys: list[tuple[int, int]]) -> None:
    kinds = faults_offered(Experiment(), Tuning(transport=transport))
    on: tuple[Fault, ...] = ()
    for key, place in keys:
        on = KEYS[key](on, kinds[place % len(kinds)])
        told = list(Experiment(Tuning(transport=transport, fault=text_of(on))).field_faults())
        # A large loss needs long bursts, which is told.
        assert not [fault for fault in told if "too short" not in fault.why]


def test_the_other_transport_has_its_own() -> None:
    on = parse_faults("delay=20ms, loss=2%, slice=10")
    assert text(for_transport(on, "tcp")) == "delay=20ms, slice=10"
    assert text(for_transport(on, "udp")) == "delay=20ms, loss=2%"
