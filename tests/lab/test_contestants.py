import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.models import CLIENTS, SERVERS
from sockscope.engine.servers.registry import PRESENT_MODELS
from sockscope.errors import ConfigError
from sockscope.lab.contestants import (
    LOOPS,
    ContestantSpec,
    all_entries,
    contestants_of,
    parse_entry,
    parse_vary,
    varied,
)
from sockscope.lab.presets import WORKLOAD, contest_of
from tests.each import each

parts = st.tuples(
    st.sampled_from(SERVERS), st.none() | st.sampled_from(LOOPS), st.none() | st.sampled_from(CLIENTS)
)


@given(parts)
def test_what_is_written_is_read(chosen: tuple[str, str | None, str | None]) -> None:
    server, loop, client = chosen
    words = [server, *([loop] if loop else []), *([client] if loop and client else [])]
    values = parse_entry("/".join(words).upper()).values
    assert list(values.values()) == words
    assert list(values) == ["server", "loop", "client"][: len(words)]


@each(
    ("text", "why"),
    [
        ("", "is not MODEL"),
        ("protocol/", "is not MODEL"),
        ("a/b/c/d", "is not MODEL"),
        ("protocl", "did you mean protocol"),
        ("protocol/uvlop", "did you mean uvloop"),
        ("protocol/uvloop/x", "one of selector, protocol, streams, blocking"),
        ("mine:", "is not MODULE:NAME"),
        ("mine:handle@", "has no revision after the @"),
        ("mine:handle/x", "is not MODULE:NAME"),
    ],
)
def test_what_is_no_contestant_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_entry(text)


@each(
    ("text", "values"),
    [
        ("mine:Echo", {"handler": "mine:Echo"}),
        ("mine:Echo/asyncio", {"handler": "mine:Echo", "loop": "asyncio"}),
        ("m:h@a/X/uvloop/streams", {"handler": "m:h@a/X", "loop": "uvloop", "client": "streams"}),
        ("mine:h@uvloop", {"handler": "mine:h@uvloop"}),
    ],
)  # fmt: skip
def test_own_code_is_a_contestant_by_the_name_that_was_typed(text: str, values: dict[str, str]) -> None:
    assert parse_entry(f" {text} ") == ContestantSpec(values, text)


def test_what_means_nothing_to_own_code_is_refused() -> None:
    entries = [parse_entry("mine:h"), parse_entry("mine:h@HEAD"), parse_entry("protocol")]
    contest = contest_of(Experiment().with_values(WORKLOAD), entries=entries)
    assert [one.name for one in contest.contestants] == ["mine:h", "mine:h@HEAD", "protocol/uvloop"]
    assert contest.workload()["service_time_s"] == 0
    for values, why in (({"service_time": 0.1}, "serves, not a model"), ({"place": "loop"}, "of its own")):
        with pytest.raises(ConfigError, match=why):
            contest_of(Experiment().with_values({**WORKLOAD, **values}), entries=entries)
    own = Experiment(handler="mine:h", startup="mine:s", handler_arg="n=1").with_values(WORKLOAD)
    of_own, _, model = contest_of(own, entries=entries).contestants
    assert (of_own.experiment.startup, of_own.experiment.handler_arg) == ("mine:s", "n=1")
    assert (model.experiment.own_server, model.experiment.startup, model.experiment.handler_arg) == (
        "",
        "",
        "",
    )
    alone = contest_of(Experiment().with_values(WORKLOAD), entries=entries[:2])
    assert alone.workload()["service_time_s"] is None


def test_values_are_read_with_their_units() -> None:
    assert parse_vary("permits=1, 10,1k") == ("permits", (1, 10, 1_000))
    assert parse_vary("service-time=0,5ms") == ("service_time", (0.0, 0.005))
    assert parse_vary("lifetime=run,request") == ("lifetime", (0, 1))


@each(
    ("text", "why"),
    [
        ("permits", "is not FIELD=VALUE"),
        ("permits=", "is not FIELD=VALUE"),
        ("permit=1", "did you mean permits"),
        ("server=protocol", "there is no field server to vary"),
        ("permits=1,x", "the value x"),
    ],
)
def test_what_cannot_be_varied_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_vary(text)


def test_each_contestant_meets_each_value() -> None:
    entries = varied(
        [ContestantSpec({"server": "protocol"}), ContestantSpec({"loop": "asyncio"}, "named")],
        [("permits", (1, 2)), ("clients", (5,))],
    )
    assert [(dict(entry.values), entry.name) for entry in entries] == [
        ({"server": "protocol", "permits": 1, "clients": 5}, ""),
        ({"server": "protocol", "permits": 2, "clients": 5}, ""),
        ({"loop": "asyncio", "permits": 1, "clients": 5}, "named permits=1 clients=5"),
        ({"loop": "asyncio", "permits": 2, "clients": 5}, "named permits=2 clients=5"),
    ]


def test_names_tell_what_sets_them_apart() -> None:
    entries = varied([parse_entry("protocol/asyncio"), parse_entry("default")], [("service_time", (0.005,))])
    contestants, absent = contestants_of(entries, Experiment())
    assert [contestant.name for contestant in contestants] == [
        "protocol/asyncio service_time=5ms", "protocol/uvloop service_time=5ms",
    ]  # fmt: skip
    assert contestants[0].experiment.loop == "asyncio"
    assert contestants[0].experiment.tuning.service_time_s == 0.005
    assert absent == ()


def test_who_does_not_serve_the_transport_is_left_out_with_the_reason() -> None:
    contestants, absent = contestants_of(
        [ContestantSpec({"server": "datagram"}), ContestantSpec({"server": "protocol"})], Experiment()
    )
    assert [contestant.name for contestant in contestants] == ["protocol/uvloop"]
    ((name, why),) = absent
    assert name == "datagram"
    assert "does not serve TCP" in why


@each("transport", ["tcp", "udp"])
def test_every_model_that_is_here_takes_part(transport: str) -> None:
    workload = Experiment().with_values({"transport": transport})
    contestants, _ = contestants_of(all_entries(transport), workload)
    here = {model.name for model in PRESENT_MODELS if model.transport == transport}
    assert {contestant.experiment.tuning.server for contestant in contestants} == here
    on_loops = [c.name for c in contestants if c.uses_loop]
    assert {name.split("/")[1] for name in on_loops} == set(LOOPS)
    assert len({contestant.name for contestant in contestants}) == len(contestants)
