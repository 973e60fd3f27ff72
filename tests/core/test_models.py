"""The tables of server and client models."""

from __future__ import annotations

from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.models import (
    CLIENT_MODELS,
    CLIENTS,
    DEFAULT,
    DEFAULT_CLIENT,
    DEFAULT_SERVERS,
    SERVER_MODELS,
    SERVERS,
    SERVERS_OF,
    TRANSPORTS,
    ServerModel,
    server_model,
)
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SERVER
from tests.each import each

models = each("model", list(SERVER_MODELS.values()))


def test_what_may_be_chosen_is_what_the_tables_hold() -> None:
    assert SERVERS[0] == DEFAULT
    assert set(SERVERS[1:]) == {model.name for model in SERVER_MODELS.values()}
    assert len(set(SERVERS)) == len(SERVERS)
    assert {(t, name) for t, names in SERVERS_OF.items() for name in names} == set(SERVER_MODELS)
    assert FIELDS["server"].spec.choices == SERVERS
    assert FIELDS["client"].spec.choices == CLIENTS


def test_each_transport_has_one_default_on_the_event_loop() -> None:
    assert sum(model.default for model in SERVER_MODELS.values()) == len(TRANSPORTS)
    for transport in TRANSPORTS:
        model = server_model(transport)
        assert model is not None
        assert (model.name, model.default, model.threaded) == (DEFAULT_SERVERS[transport], True, False)
        assert not list(Tuning(transport=transport).field_faults())
    assert Tuning().client == DEFAULT_CLIENT in CLIENT_MODELS
    assert server_model("udp", "streams") is None


@models
def test_what_a_model_ignores_are_fields_of_servers(model: ServerModel) -> None:
    ignored = model.ignores.union(*model.ignores_on.values())
    assert all(FIELDS[key].spec.role == SERVER for key in ignored)
    assert model.ignores_on.keys() <= set(FIELDS["loop"].spec.choices)
    if model.threaded:
        assert not model.ignores_on, "it leaves the event loop alone"
    assert server_model(model.transport, model.name) is model


@models
def test_only_threads_serve_less_than_all_at_once(model: ServerModel) -> None:
    assert model.at_once >= 0
    if model.at_once or model.mechanism:
        assert model.threaded


@each("model", CLIENT_MODELS.values())
@each("key", ["depth", "pool"])
def test_a_client_that_cannot_is_refused_by_its_name(model: object, key: str) -> None:
    assert isinstance(model, type(CLIENT_MODELS["protocol"]))
    can = {"depth": model.pipelines, "pool": model.pools}[key]
    tuning = Tuning(client=model.name, clients=8, depth=2 if key == "depth" else 1, pool=2 * (key == "pool"))
    found = {fault.field: fault.why for fault in tuning.field_faults()}
    assert (key not in found) == can
    if not can:
        assert f"a {model.name} one" in found[key]
