"""Which fields mean nothing to a run, and why; which server models can be chosen.

Pure questions about an experiment and a tuning, answered from the facts of the fields and of the models. What
only the platform knows is handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from sockscope.core.addresses import family_name, is_unix
from sockscope.core.config.cluster import CLUSTER, CLUSTER_FILES, is_encrypted
from sockscope.core.config.experiment import FIELDS, FIELDS_BY_ATTRIBUTE, TLS_FIELDS, Experiment
from sockscope.core.config.faults import injected_faults, placed_faults
from sockscope.core.config.models import DEFAULT, SERVER_MODELS, ServerModel, server_model
from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.fault import text_of
from sockscope.core.impairment.kinds import FaultKind, faults_of
from sockscope.core.impairment.turning import toggled
from sockscope.core.roles import RELAY, SERVER, SWARM
from sockscope.errors import ConfigError, FieldFault

_OF_IP = frozenset(key for key, entry in FIELDS.items() if entry.spec.of_ip)
_NOT_OF_UNIX = "a Unix socket has no such thing"
_ABSENT = {
    SERVER: "the server is elsewhere",
    SWARM: "there are no clients here",
    RELAY: "it is for sockscope tap",
}
"""Why the fields of a role that does not run here mean nothing; a relay has fields only where it is alone."""
_OF_NO_TAP = "server and clients are elsewhere"
"""The same, where there is nothing but a relay between them."""


def unknown_fields(role: str) -> frozenset[str]:
    """Return the keys of the fields that a run of ``role`` (that of an experiment) lacks.

    A relay alone has those that are ``of_tap``.
    """
    if role == "both":
        return frozenset(key for key, entry in FIELDS.items() if entry.spec.role == RELAY)
    if role == RELAY:
        return frozenset(key for key, entry in FIELDS.items() if not entry.spec.of_tap)
    return frozenset(key for key, entry in FIELDS.items() if entry.spec.role not in ("", role))


def without_effect(experiment: Experiment) -> Mapping[str, str]:
    """Return, by key, the fields that mean nothing to this run, each with the reason in words."""
    found = {
        key: _OF_NO_TAP if experiment.role == RELAY else _ABSENT[FIELDS[key].spec.role]
        for key in unknown_fields(experiment.role)
    }
    if _mixes_families(experiment):
        found["family"] = "the target has addresses of both families"
    if is_unix(experiment.target if experiment.role == SWARM else experiment.bind):
        found |= dict.fromkeys(_OF_IP, _NOT_OF_UNIX)
    if experiment.own_server:
        found |= {
            key: f"{experiment.own_server} serves, not a model"
            for key, entry in FIELDS.items()
            if entry.spec.of_model
        }
    return found


def unused_fields(experiment: Experiment) -> Mapping[str, str]:
    """Return those :func:`without_effect`, and those that mean nothing as the tuning is, by their reason."""
    found = dict(without_effect(experiment))
    if not experiment.tuning.tls:
        found |= dict.fromkeys(TLS_FIELDS - found.keys(), "there is no TLS without --tls")
    if not is_encrypted(experiment.cluster):
        why = "only a cluster over TLS (--cluster tls://...) knows who may use it by certificates"
        found |= dict.fromkeys(CLUSTER_FILES, why)
    return found


def refuse_vain_changes(experiment: Experiment, before: Tuning, after: Tuning) -> None:
    """Raise ConfigError for changes that would do nothing here, such as a swarm alone turning its server."""
    vain = without_effect(experiment)
    asked = {FIELDS_BY_ATTRIBUTE[name].spec.key: new for name, (_, new) in before.changes_to(after).items()}
    if faults := [FieldFault(key, new, vain[key]) for key, new in asked.items() if key in vain]:
        raise ConfigError(faults)


def _mixes_families(experiment: Experiment) -> bool:
    if experiment.role != SWARM:
        return False
    try:
        return len({family_name(host) for host, _ in experiment.targets}) > 1
    except ValueError:
        return False  # a fault that is told elsewhere


def idle_fields(experiment: Experiment, tuning: Tuning) -> Mapping[str, str]:
    """Return, by key, the fields that mean nothing at the moment, each with the reason in words.

    They are those :func:`without_effect`, and those that mean nothing to the transport, the server model or
    the placement of ``tuning``: they can be changed, and matter again after another change.
    """
    found = {**_ignored_by_loop(tuning), **_ignored_by_transport(tuning), **_ignored_by_placement(tuning)}
    model = server_model(tuning.transport, tuning.server)
    if model is not None and experiment.role not in (SWARM, RELAY) and not experiment.own_server:
        found |= _ignored_by_model(model, experiment.loop)
        if tuning.tls:
            why = f"has no effect on the {model.name} server over TLS"
            found |= dict.fromkeys(model.ignores_over_tls, why)
    return {**found, **without_effect(experiment)}


def _ignored_by_transport(tuning: Tuning) -> dict[str, str]:
    why = f"has no effect over {tuning.carrier}"
    vain = {key for key, entry in FIELDS.items() if entry.spec.transport not in ("", tuning.transport)}
    return dict.fromkeys(vain | _OF_IP if tuning.family == "unix" else vain, why)


def _ignored_by_loop(tuning: Tuning) -> dict[str, str]:
    if tuning.rate:
        why = "has no effect in an open loop: requests are due at the rate"
        return dict.fromkeys(("think_time", "batch"), why)
    return dict.fromkeys(("arrivals", "catchup"), "has no effect in a closed loop (rate 0)")


def _ignored_by_placement(tuning: Tuning) -> dict[str, str]:
    if tuning.place == CLUSTER:
        why = "a role has one process per worker of a cluster"
        return dict.fromkeys(("server_processes", "swarm_processes"), why)
    if max(tuning.server_processes, tuning.swarm_processes) == 1:
        return {}
    return {"place": "several processes of a role are always apart"}


def _ignored_by_model(model: ServerModel, loop: str) -> dict[str, str]:
    found = dict.fromkeys(model.ignores, f"has no effect on the {model.name} server")
    on_loop = model.ignores_on.get(loop, frozenset())
    found |= dict.fromkeys(on_loop, f"has no effect on the {model.name} server on {loop}")
    if model.threaded:
        why = f"has no effect on the {model.name} server, which leaves the event loop alone"
        found |= {key: why for key, entry in FIELDS.items() if entry.spec.of_loop}
    return found


def offered(transport: str, lacking: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of the server models that can serve ``transport``, ``default`` first.

    ``lacking`` are the mechanisms that the platform has not got.
    """
    return (
        DEFAULT,
        *(name for (served, name), model in SERVER_MODELS.items()
          if served == transport and model.mechanism not in lacking),
    )  # fmt: skip


def places_offered(experiment: Experiment) -> tuple[str, ...]:
    """Return where the roles of a run can be: a cluster only where the run has been given one."""
    places = FIELDS["place"].spec.choices
    return places if experiment.cluster else tuple(place for place in places if place != CLUSTER)


def faults_offered(experiment: Experiment, tuning: Tuning) -> list[FaultKind]:
    """Return the kinds of faults that can be made in this run as it is tuned, those of the link first."""

    def is_possible(kind: FaultKind) -> bool:
        alone = replace(tuning, fault=text_of(toggled((), kind)))
        refused = [*injected_faults(alone), *placed_faults(replace(experiment, tuning=alone))]
        return not refused

    return [kind for kind in faults_of(tuning.transport) if is_possible(kind)]
