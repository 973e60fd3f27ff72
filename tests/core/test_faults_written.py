"""How faults are written, read, shown and refused."""

from __future__ import annotations

import pytest
from hypothesis import given

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning, describe_change
from sockscope.core.impairment.fault import Fault, parse_faults, read_faults, shown, text_of
from sockscope.core.impairment.kinds import FAULTS, FaultKind
from sockscope.core.impairment.link import NO_FAULTS, LinkFaults, link_faults, needs_relay
from sockscope.core.impairment.quantity import Quantity, next_quantity
from sockscope.core.impairment.server import ServerFaults, server_faults
from sockscope.errors import ConfigError
from tests.core.drawn_faults import faults
from tests.each import each


@given(faults())
def test_what_is_written_and_what_is_shown_are_read_back(some: tuple[Fault, ...]) -> None:
    assert read_faults(text_of(some)) == some
    assert read_faults(shown(some)) == some


def test_every_spelling_of_the_same_faults_is_one_text() -> None:
    wanted = "delay=20ms up, jitter=5ms uniform down, rate=1250kB/s, loss=2%"
    text = "LOSS = 2 %,rate=10Mbit/s , delay=0.02 up, jitter=5ms down uniform"
    assert text_of(read_faults(text)) == wanted
    assert shown(read_faults(text)) == "delay 20 ms up, jitter 5 ms uniform down, rate 1,250 kB/s, loss 2 %"
    assert read_faults("") == read_faults("none") == ()


@each(
    ("text", "why"),
    [
        ("delay=1ms, los=2%", "names no fault: los; did you mean loss?"),
        ("loss", "has loss without a value (for example loss=2%)"),
        ("loss=2", "has loss=2, which is not a percentage (for example 2% or 0.5%)"),
        ("loss=200%", "has loss=200%, which must be at most 100 %"),
        ("loss=0%", "has loss=0%, which must be at least 0.0001 %"),
        ("loss=2%, loss=1% up", "names loss twice for the same direction"),
        ("reset=1s up", "has reset up, but reset is of the whole connection: leave up out"),
        ("cpu=1ms down", "has cpu down, but cpu is made in the server: leave down out"),
        ("no-drain=3", "has no-drain=3, but no-drain takes no value"),
        ("rate=5bananas", "has rate=5bananas, which is not a rate (for example 1MB/s or 10Mbit/s)"),
        ("delay=5ms sideways", "has delay=5ms sideways, which is not a duration"),
        ("loss=\x1b[31m", "has loss="),
        ("delay=5ms up down", "has delay up down, of which only one can be"),
        ("jitter=5ms uniform normal", "has jitter uniform normal, of which only one can be"),
        (", ,", "names no fault: nothing but commas"),
    ],
)  # fmt: skip
def test_a_faulty_part_is_named_with_its_cure(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_faults(text)
    [fault] = caught.value.faults
    assert fault.why.startswith(why)
    assert "\x1b" not in fault.why


def refused(experiment: Experiment) -> list[str]:
    return [str(fault) for fault in experiment.field_faults()]


def tuned(fault: str, **others: str) -> Tuning:
    return Tuning(fault=fault, **others)  # type: ignore[arg-type]


@each(
    ("tuning", "why"),
    [
        (tuned("loss=2%"), "fault = 'loss=2%' is for UDP; over TCP there are delay, jitter, rate, slice"),
        (tuned("stall=1s", transport="udp"), "fault = 'stall=1s' is for TCP; over UDP there are delay,"),
        (tuned("loss-burst=5", transport="udp"), "fault = 'loss-burst=5' needs loss: add loss=2%"),
        (tuned("slice=9 up, slice-gap=1ms down"), "fault = 'slice-gap=1ms down' needs slice: add slice=10"),
        (tuned("loss=90%, loss-burst=2", transport="udp"),
         "fault = 'loss-burst=2' is too short: a loss of 90 % needs bursts of 9"),
        (tuned("task-leak=5/s", server="threaded"),
         "fault = 'task-leak=5/s' needs an event loop that serves, and the threaded server has threads; "
         "use --server streams or protocol or buffered"),
        (tuned("no-drain", server="epoll"), "fault = 'no-drain' needs an event loop that serves"),
        (tuned("no-drain", transport="udp"), "fault = 'no-drain' is for TCP"),
        (tuned("cancel-storm=5/s"), "fault = 'cancel-storm=5/s' needs a task for each connection, and the "
         "protocol server has none; use --server streams"),
        (tuned("swallow-cancel", server="buffered"), "fault = 'swallow-cancel' needs a task for each"),
    ],
)  # fmt: skip
def test_faults_that_do_not_fit_the_tuning_are_refused(tuning: Tuning, why: str) -> None:
    [told] = refused(Experiment(tuning=tuning))
    assert told.startswith(why)


@each(
    ("experiment", "why"),
    [
        (Experiment(tuned("block=10ms"), role="swarm", target="127.0.0.1:9"), "and the server is elsewhere"),
        (Experiment(tuned("delay=10ms"), role="server"), "needs clients here"),
    ],
)
def test_faults_that_nobody_here_can_make_are_refused(experiment: Experiment, why: str) -> None:
    [told] = refused(experiment)
    assert why in told


def test_ones_own_server_can_be_tested_under_faults() -> None:
    tuning = tuned("delay=20ms, slice=10, descriptor-leak=5/s, exception=1%, cancel-storm=5/s, no-drain")
    assert not refused(Experiment(tuning, handler="mine:handle"))


def test_each_direction_has_its_own_faults() -> None:
    some = parse_faults("delay=20ms up, jitter=1ms uniform, reset=1s, loss=2% down, loss=5% up")
    assert link_faults(some, "up", "tcp") == LinkFaults(
        delay_s=0.02, jitter_s=0.001, jitter_shape="uniform", reset_after_s=1.0
    )
    assert link_faults(some, "down", "udp") == LinkFaults(
        jitter_s=0.001, jitter_shape="uniform", loss_ratio=0.02
    )


def test_without_faults_everything_is_false() -> None:
    tuning = Tuning()
    assert not link_faults(tuning.faults, "up", "tcp")
    assert not NO_FAULTS
    assert not server_faults(tuning)
    assert not needs_relay(tuning)
    assert not needs_relay(tuned("block=10ms"))
    assert needs_relay(tuned("delay=10ms down"))


def test_an_age_of_zero_is_a_fault() -> None:
    assert link_faults(parse_faults("black-hole=0s"), "up", "tcp")


def test_faults_in_the_server_have_a_field_each() -> None:
    tuning = tuned("block=10ms, no-drain, exception=1%, task-leak=7/s")
    assert server_faults(tuning) == ServerFaults(
        block_s=0.01, no_drain=True, exception_ratio=0.01, task_leak_per_s=7
    )
    on = [kind for kind in FAULTS.values() if kind.where == "server"]
    assert len(on) == len(ServerFaults.__dataclass_fields__)
    for kind in on:
        assert server_faults(Tuning(fault=text_of([Fault(kind.name, kind.default)])))


@each("kind", FAULTS.values())
def test_the_facts_of_each_kind_fit_together(kind: FaultKind) -> None:
    assert kind.check(kind.default) is None
    assert kind.sentence[0].islower()
    assert not kind.sentence.endswith(".")
    one = Fault(kind.name, kind.default)
    assert read_faults(one.text) == (one,)
    if kind.where == "link":
        assert link_faults([one], "up", kind.transports[0])
    if kind.quantity is not Quantity.SWITCH:
        assert next_quantity(kind.quantity, kind.default, 1) > kind.default


def test_a_change_of_faults_is_told_in_words() -> None:
    both = tuned("loss=2% up, block=10ms")
    assert describe_change(Tuning(), both) == "fault loss 2 % up on, fault block 10 ms on"
    other = tuned("loss=5%", server="threaded")
    assert describe_change(both, other) == (
        "server default → threaded, fault loss 2 % up → 5 %, fault block 10 ms off"
    )


def test_an_experiment_takes_faults_as_text() -> None:
    experiment = Experiment(Tuning(transport="udp")).with_faults("loss=2%, delay=20ms up")
    assert experiment.tuning.fault == "delay=20ms up, loss=2%"
    assert not experiment.with_faults("").tuning.faults
    with pytest.raises(ConfigError, match="did you mean delay"):
        experiment.with_faults("dealy=2ms")
