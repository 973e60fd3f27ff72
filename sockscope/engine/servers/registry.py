"""Which server models this platform has, and how one is opened.

The facts of a model are in :mod:`sockscope.core.config.models`; its entry names the module here that opens it
by a function ``open_endpoint(context, assignment)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from sockscope.core.config.models import DEFAULT, SERVER_MODELS, SERVERS_OF, ServerModel, server_model
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.selectors.loop import selector_class
from sockscope.errors import ConfigError

Opener = Callable[[ServerContext, Assignment], Endpoint]
"""Binds and serves with the model that the tuning of the assignment calls for; raises ListenError."""


def _opener(module: str) -> Opener:
    opener: Opener = import_module(f"{__package__}.{module}").open_endpoint
    return opener


_OPENERS: Mapping[str, Opener] = {model.module: _opener(model.module) for model in SERVER_MODELS.values()}

LACKING: frozenset[str] = frozenset(
    model.mechanism
    for model in SERVER_MODELS.values()
    if model.mechanism and selector_class(model.mechanism) is None
)
"""The mechanisms that some model needs and this platform has not got."""

PRESENT_MODELS: tuple[ServerModel, ...] = tuple(
    model for model in SERVER_MODELS.values() if model.mechanism not in LACKING
)
"""The models that this platform has."""


def lacks(model: ServerModel) -> str:
    """Return why this platform has not got a model; nothing when it has."""
    return f"this system has no {model.mechanism}" if model.mechanism in LACKING else ""


def model_for(transport: str, name: str = DEFAULT) -> ServerModel:
    """Return the model called ``name`` that serves ``transport``; raise ConfigError where there is none."""
    model = server_model(transport, name)
    if model is None:
        shown = transport.upper()
        raise ConfigError.of(
            "server", name, f"does not serve {shown}; over {shown}: {', '.join(SERVERS_OF[transport])}"
        )
    if why := lacks(model):
        raise ConfigError.of("server", model.name, why)
    return model


def open_endpoint(context: ServerContext, assignment: Assignment) -> Endpoint:
    """Serve with the model that the tuning calls for.

    Raises ListenError, and ConfigError where the model does not exist, or not here.
    """
    model = model_for(assignment.tuning.transport, assignment.tuning.server)
    return _OPENERS[model.module](context, assignment)
