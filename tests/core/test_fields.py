from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.config.arguments import format_arguments
from sockscope.core.config.experiment import CONVERSATION, FIELDS, FIELDS_BY_ATTRIBUTE, entries
from sockscope.core.config.faults import range_faults
from sockscope.core.config.fields import FieldSpec, Kind, Knob, Subject, Value
from sockscope.core.config.models import TRANSPORTS
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import ROLE_NAMES, SERVER, SWARM
from sockscope.core.wire.octets import format_octets
from tests.core.drawn_faults import texts
from tests.each import each

SPECS = [entry.spec for entry in FIELDS.values()]
NUMBERS = [spec for spec in SPECS if spec.kind in (Kind.COUNT, Kind.BYTES, Kind.DURATION)]
by_key = each("spec", SPECS)
numbers_by_key = each("spec", NUMBERS)


WRITTEN = {
    "until_line": r"/^\d{3} /",
    "also": "127.0.0.1:8081=127.0.0.1:8080",
    "length_field": "2:2:little+6",
    "tls_name": "example.test",
    "alpn": "h2,http/1.1",
    "accept": "/ok/i",
    "reject": "^-",
    "id_field": "0:2",
    "cluster": "local:2",
}
"""Of each field that is read further, a value that can be."""
few = settings(max_examples=6)
"""For each of eighty fields, which share a dozen ways to be read and written."""


def values_of(spec: FieldSpec) -> st.SearchStrategy[Value]:
    match spec.kind:
        case Kind.CHOICE:
            return st.sampled_from(spec.choices)
        case Kind.FLAG:
            return st.booleans()
        case Kind.DURATION:
            return st.floats(spec.low, spec.high).map(lambda seconds: max(spec.low, round(seconds, 12)))
        case Kind.TEXT:
            return st.sampled_from(["", WRITTEN[spec.key]] if spec.reads else ["127.0.0.1", "[::1]:7007"])
        case Kind.ARGUMENTS:
            scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
            names = st.sampled_from(["root", "limit", "größe"])
            return st.dictionaries(names, scalars.filter(lambda value: value not in (math.inf, -math.inf))
                                   | st.lists(scalars.filter(lambda value: not isinstance(value, float)))
                                   ).map(format_arguments)  # fmt: skip
        case Kind.FAULTS:
            return texts()
        case Kind.OCTETS:
            return st.just("") | st.binary(min_size=1, max_size=20).map(format_octets)
        case _:
            return st.integers(int(spec.low), int(spec.high))


@by_key
def test_every_field_is_described(spec: FieldSpec) -> None:
    assert spec.doc
    assert spec.label
    assert spec.key == spec.key.lower()


@by_key
@few
@given(data=st.data())
def test_an_exact_value_is_read_back(spec: FieldSpec, data: st.DataObject) -> None:
    value = data.draw(values_of(spec))
    assert spec.check(value) is None
    assert spec.parse(spec.exact(value)) == value


@by_key
@few
@given(data=st.data())
def test_what_the_screen_shows_of_a_stepped_value_can_be_typed_again(
    spec: FieldSpec, data: st.DataObject
) -> None:
    value = data.draw(values_of(spec))
    direction = data.draw(st.sampled_from([1, -1]))
    value = spec.step(value, direction)
    typed = spec.parse(spec.format(value))
    assert typed == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5))


@numbers_by_key
@few
@given(data=st.data(), coarse=st.booleans())
def test_a_step_goes_its_way_and_stays_in_range(spec: FieldSpec, data: st.DataObject, coarse: bool) -> None:
    value = data.draw(values_of(spec))
    assert not isinstance(value, str)
    up, down = spec.step(value, +1, coarse=coarse), spec.step(value, -1, coarse=coarse)
    assert not isinstance(up, str)
    assert not isinstance(down, str)
    assert spec.check(up) is None
    assert spec.check(down) is None
    assert up > value or value == spec.high
    assert down < value or value == spec.low


@numbers_by_key
def test_steps_up_come_down_the_same_way(spec: FieldSpec) -> None:
    way: list[Value] = [spec.parse(0) if spec.low == 0 else spec.step(0, 1)]
    while way[-1] != spec.step(way[-1], +1):
        way.append(spec.step(way[-1], +1))
        assert len(way) < 100
    back = [way[-1]]
    while back[-1] != spec.step(back[-1], -1):
        back.append(spec.step(back[-1], -1))
        assert len(back) < 100
    assert [float(v) for v in back[::-1]] == pytest.approx([float(v) for v in way])


def test_steps_are_one_two_five() -> None:
    clients = FIELDS["clients"].spec
    way = [1]
    for _ in range(9):
        way.append(int(clients.step(way[-1], +1)))
    assert way == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert clients.step(64, +1) == 100
    assert clients.step(64, -1) == 50
    assert clients.step(5, +1, coarse=True) == 50
    assert clients.step(10_000, +1, most=10_000) == 10_000
    think = FIELDS["think_time"].spec
    assert [think.step(0.0, +1), think.step(0.001, -1), think.step(0.005, +1)] == [0.001, 0, 0.01]


def test_choices_and_flags_go_round() -> None:
    framing = FIELDS["framing"].spec
    value: Value = "length"
    for _ in framing.choices:
        value = framing.step(value, +1)
    assert value == "length"
    assert framing.step("length", -1) == framing.choices[-1]
    assert FIELDS["no_delay"].spec.step(True, -1) is False


@by_key
@few
@given(text=st.text(max_size=10))
def test_any_text_is_a_value_or_a_sentence(spec: FieldSpec, text: str) -> None:
    why: str | None
    try:
        value = spec.parse(text)
    except ValueError as error:
        why = str(error)
        assert why.startswith(("is n", "must not be negative", "is far too large", "names ", "has "))
    else:
        why = spec.check(value)
        assert why is None or why.startswith("is " if spec.reads else "must be")


@each(
    ("key", "raw", "value"),
    [("lifetime", "request", 1), ("lifetime", "run", 0), ("permits", "off", 0), ("rcvbuf", "system", 0),
     ("no_delay", "off", False), ("no_delay", "Yes", True), ("transport", " UDP ", "udp"),
     ("think_time", 1, 1.0), ("clients", 7, 7), ("duration", "until stopped", 0), ("size", "1,000 B", 1000)],
)  # fmt: skip
def test_words_and_toml_values(key: str, raw: object, value: Value) -> None:
    assert FIELDS[key].spec.parse(raw) == value


@each(
    ("key", "raw"),
    [("clients", 1.5), ("clients", True), ("clients", None), ("clients", [1]), ("think_time", True),
     ("think_time", {}), ("no_delay", 1), ("no_delay", "maybe"), ("transport", 6), ("transport", "sctp"),
     ("bind", 127), ("size", 6.4)],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused(key: str, raw: object) -> None:
    with pytest.raises(ValueError, match="is n"):
        FIELDS[key].spec.parse(raw)


@each(
    ("key", "value", "why"),
    [("clients", 0, "at least 1"), ("clients", 1_000_001, "at most 1,000,000"),
     ("think_time", math.nan, "finite"),
     ("think_time", math.inf, "finite"), ("size", 1 << 25, "at most 16 MiB"),
     ("timeout", 0.0, "at least 1 ms"),
     ("transport", "sctp", "one of tcp, udp"), ("lifetime", -1, "at least 0"),
     ("clients", "5", "whole number"),
     ("clients", 2.5, "whole number"), ("clients", True, "whole number"), ("no_delay", "x", "true or false"),
     ("think_time", "1s", "a duration"), ("bind", 5, "text")],
)  # fmt: skip
def test_a_value_out_of_range_or_of_another_type_is_told_in_words(key: str, value: Value, why: str) -> None:
    assert why in (FIELDS[key].spec.check(value) or "")


# The facts of the fields, from which every list of fields is made.


@by_key
def test_the_facts_of_a_field_fit_together(spec: FieldSpec) -> None:
    live = FIELDS[spec.key].live
    assert spec.role in ("", *ROLE_NAMES)
    assert spec.transport in ("", *TRANSPORTS)
    turned = spec.knob is not None or (spec.kind is Kind.TEXT and spec.key in CONVERSATION)
    assert live <= turned, "whatever can be turned has a knob, or a line in the form of the conversation"
    if spec.of_model or spec.of_loop:
        assert spec.role == SERVER
    if spec.of_loop:
        assert spec.of_model
    if spec.new_sockets or spec.divided or spec.socket_option:
        assert live
    if spec.divided:
        assert spec.kind is Kind.COUNT
        assert spec.role, "it is divided among the processes of one role"
    if spec.flag is not None and spec.flag.off:
        assert spec.kind is Kind.FLAG


def test_no_two_fields_have_the_same_key_attribute_place_or_spelling() -> None:
    assert [entry.attribute for entry in FIELDS.values()] == list(FIELDS_BY_ATTRIBUTE)
    assert all(key == entry.spec.key for key, entry in FIELDS.items())
    ranks = [spec.knob.rank for spec in SPECS if spec.knob is not None]
    shorts = [spec.flag.short for spec in SPECS if spec.flag is not None and spec.flag.short]
    for unique in (ranks, shorts, [spec.label for spec in SPECS if spec.knob is not None]):
        assert len(set(unique)) == len(unique)


@dataclass(frozen=True)
class Larger(Tuning):
    """A tuning with one more knob."""

    jitter_s: float = field(
        default=0.0,
        metadata={
            "spec": FieldSpec(
                "jitter", "jitter", Kind.DURATION, "spread of the think time",
                role=SWARM, subject=Subject.WORKLOAD, new_sockets=True, knob=Knob(115),
            )
        },
    )  # fmt: skip


def test_a_field_that_is_declared_is_listed_with_its_facts() -> None:
    listed = {entry.spec.key: entry for entry in entries(Larger, live=True)}
    assert listed.keys() - {entry.spec.key for entry in entries(Tuning, live=True)} == {"jitter"}
    jitter = listed["jitter"]
    assert (jitter.attribute, jitter.live, jitter.spec.role) == ("jitter_s", True, SWARM)
    assert [fault.field for fault in range_faults(Larger(jitter_s=-1.0))] == ["jitter"]
