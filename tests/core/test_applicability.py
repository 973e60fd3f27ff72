"""Which fields mean nothing to a run, and why."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.config.applicability import idle_fields, offered, unknown_fields, without_effect
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.models import SERVER_MODELS, SERVERS, SERVERS_OF, TRANSPORTS, ServerModel
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import RELAY, SERVER, SWARM
from tests.each import each

SERVER_FIELDS = {key for key, entry in FIELDS.items() if entry.spec.role == SERVER}
CLIENT_FIELDS = {key for key, entry in FIELDS.items() if entry.spec.role == SWARM}
TAP_FIELDS = {key for key, entry in FIELDS.items() if entry.spec.role == RELAY}
MODEL_FIELDS = {"server", "service_time", "work", "server_permits", "read_bytes"}
experiments = st.builds(
    Experiment,
    role=st.sampled_from(FIELDS["role"].spec.choices),
    loop=st.sampled_from(FIELDS["loop"].spec.choices),
    handler=st.sampled_from(["", "mine:handle"]),
)
tunings = st.builds(
    Tuning,
    transport=st.sampled_from(TRANSPORTS),
    server=st.sampled_from(SERVERS),
    server_processes=st.integers(1, 2),
)


def test_a_role_on_a_cluster_has_a_process_per_worker() -> None:
    tuning = Tuning(place="cluster")
    assert {"server_processes", "swarm_processes"} <= idle_fields(Experiment(tuning), tuning).keys()


def test_what_means_nothing_to_a_run() -> None:
    assert without_effect(Experiment()).keys() == TAP_FIELDS
    own = without_effect(Experiment(handler="mine:handle"))
    assert own.keys() == MODEL_FIELDS | TAP_FIELDS
    assert {own[key] for key in MODEL_FIELDS} == {"mine:handle serves, not a model"}
    assert without_effect(Experiment(role="swarm", handler="a:b")).keys() == SERVER_FIELDS | TAP_FIELDS
    others = CLIENT_FIELDS | TAP_FIELDS
    assert without_effect(Experiment(role="server")).keys() == others
    assert without_effect(Experiment(role="server", handler="a:b")).keys() == others | MODEL_FIELDS
    of_ip = {"no_delay", "rcvbuf", "port", "reuse_address", "reuse_port"}
    assert without_effect(Experiment(bind="unix:")).keys() == of_ip | TAP_FIELDS
    of_unix = without_effect(Experiment(role="swarm", target="unix:@it"))
    assert of_unix.keys() == SERVER_FIELDS | of_ip | TAP_FIELDS
    assert idle_fields(Experiment(), Tuning(family="unix")).keys() >= of_ip


def test_a_role_lacks_the_fields_of_the_others() -> None:
    assert {"also"} <= unknown_fields("both") == TAP_FIELDS
    assert {"clients", "target", "seed"} <= unknown_fields(SERVER) == CLIENT_FIELDS | TAP_FIELDS
    assert {"server", "port", "backlog"} <= unknown_fields(SWARM) == SERVER_FIELDS | TAP_FIELDS


@given(experiments, tunings)
def test_what_is_idle_is_a_field_and_has_its_reason(experiment: Experiment, tuning: Tuning) -> None:
    idle = idle_fields(experiment, tuning)
    assert idle.keys() <= FIELDS.keys()
    assert all(idle.values())
    vain = without_effect(experiment)
    assert {key: idle[key] for key in vain} == vain
    assert ("place" in idle) == (tuning.server_processes > 1 or experiment.role == RELAY)


TCP_ONLY = {
    "framing", "no_delay", "backlog", "reuse_address", "connect_timeout", "pool", "unasked", "tls",
}  # fmt: skip
UDP_ONLY = {"id_field"}
OPEN_ONLY = {"arrivals", "catchup"}


@each(
    ("model", "loop"),
    [(model, loop) for model in SERVER_MODELS.values() for loop in FIELDS["loop"].spec.choices],
)
def test_what_a_model_ignores_is_idle(model: ServerModel, loop: str) -> None:
    idle = idle_fields(Experiment(loop=loop), Tuning(transport=model.transport, server=model.name))
    others = TCP_ONLY if model.transport == "udp" else UDP_ONLY
    other = "UDP" if model.transport == "udp" else "TCP"
    threads = {"server_permits"} if model.threaded else set()
    read = {"read_bytes"} if (model.name, loop) == ("protocol", "uvloop") else set()
    assert idle.keys() == others | threads | read | OPEN_ONLY | TAP_FIELDS
    for key in threads | read:
        assert model.name in idle[key]
    for key in others - TAP_FIELDS:
        assert idle[key] == f"has no effect over {other}"


def test_what_a_model_ignores_over_tls_is_idle() -> None:
    over_tls = idle_fields(Experiment(loop="asyncio"), Tuning(tls=True))
    assert over_tls["read_bytes"] == "has no effect on the protocol server over TLS"
    assert "read_bytes" not in idle_fields(Experiment(loop="asyncio"), Tuning(tls=True, server="streams"))


def test_nothing_of_a_model_is_told_where_none_serves() -> None:
    threaded = Tuning(server="threaded")
    assert "server_permits" in idle_fields(Experiment(), threaded)
    own = idle_fields(Experiment(handler="a:b"), threaded)
    assert own["server_permits"] == "a:b serves, not a model"
    elsewhere = idle_fields(Experiment(role="swarm"), Tuning(server="threaded", transport="udp"))
    assert elsewhere["server_permits"] == "the server is elsewhere"
    assert elsewhere["framing"] == "has no effect over UDP"
    over_udp = idle_fields(Experiment(), Tuning(server="streams", transport="udp"))
    assert over_udp.keys() == TCP_ONLY | OPEN_ONLY | TAP_FIELDS


@each("transport", TRANSPORTS)
def test_what_the_platform_lacks_is_not_offered(transport: str) -> None:
    assert offered(transport) == ("default", *SERVERS_OF[transport])
    there = [name for name in SERVERS_OF[transport] if name not in ("epoll", "kqueue")]
    assert offered(transport, {"epoll", "kqueue"}) == ("default", *there)
