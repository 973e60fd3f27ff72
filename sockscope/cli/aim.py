"""Clients alone, aimed at a server that runs elsewhere; and a run that is described anew in the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sockscope.cli.flags import called
from sockscope.cli.spec import Given, Layer, build
from sockscope.core.addresses import (
    Address,
    family_name,
    format_address,
    is_unix,
    numeric,
    parse_target,
)
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.fields import Value
from sockscope.core.config.taps import parse_listen
from sockscope.core.roles import RELAY
from sockscope.errors import ConfigError

_ANYWHERE = {"ipv4": "127.0.0.1:1", "ipv6": "[::1]:1", "unix": "unix:@1"}
"""A target of each family, for an experiment that is checked before its own is looked up."""
_OF_TARGET = ("role", "target", "pid", "service_time", "tls_name")
"""What a change of the target leaves nothing of."""


def aimed(target: Given, given: Layer, draft: Callable[[Mapping[str, Value]], Experiment]) -> Experiment:
    """Return the experiment of clients alone, aimed at a target that may be a name.

    ``draft`` returns the experiment with the values that it is handed. Raises ConfigError.
    """
    # Everything else is checked first: looking a name up can take seconds.
    wanted = str(given["family"].raw).strip().lower() if "family" in given else None
    family = "unix" if is_unix(str(target.raw).strip()) else wanted if wanted in _ANYWHERE else "ipv4"
    drafted = draft({"role": "swarm", "target": _ANYWHERE[family], "family": family})
    from sockscope.cli.resolve import resolve
    from sockscope.engine.addresses import check_reach

    address, family = resolve(str(target.raw), wanted or None, target.name)
    fixed: dict[str, Value] = {"role": "swarm", "target": address, "family": family, "service_time": 0.0}
    if not drafted.tls_name:
        fixed["tls_name"] = _certified_name(str(target.raw))
    experiment = drafted.with_values(fixed).validated()
    try:
        check_reach(experiment)
    except ConfigError as error:
        raise ConfigError.of(target.name, target.raw, error.faults[0].why) from None
    return experiment


def tapped(
    listen: str,
    target: Given,
    also: Given | None,
    draft: Callable[[Mapping[str, Value]], Experiment],
) -> Experiment:
    """Return the experiment of a relay alone that listens there and passes on to a target, maybe a name.

    ``also`` are more of them, as ``LISTEN=TARGET``. ``draft`` returns the experiment with the values that it
    is handed. Raises ConfigError.
    """
    from sockscope.cli.resolve import resolve
    from sockscope.engine.addresses import check_reach

    bind, port = _listened(listen, "LISTEN")
    address, _ = resolve(str(target.raw), None, target.name)
    fixed: dict[str, Value] = {
        "role": RELAY,
        "target": address,
        # Without an address it is the loopback, of either family.
        "bind": "" if listen.strip().removeprefix(":").isdigit() else bind,
        "port": port,
        "family": family_name(bind),
    }
    if also is not None:
        fixed["also"] = "\n".join(_led(str(one), also.name) for one in _each(also.raw))
    experiment = draft(fixed).validated()
    try:
        check_reach(experiment)
    except ConfigError as error:
        names = {"target": target.name, **({"also": also.name} if also is not None else {})}
        raise ConfigError(replace(fault, field=names[fault.field]) for fault in error.faults) from None
    return experiment


def tapped_again(given: Layer, draft: Callable[[Mapping[str, Value]], Experiment]) -> Experiment:
    """Return the experiment of a relay alone that a file describes; raises ConfigError."""
    bind, port, also = (str(given[key].raw) if key in given else "" for key in ("bind", "port", "also"))
    listen = bind if is_unix(bind) else f"{f'[{bind}]' if ':' in bind else bind}:{port or 0}"
    return tapped(listen.removeprefix(":"), given["target"], given["also"] if also else None, draft)


def _led(text: str, name: str) -> str:
    """Return ``LISTEN=TARGET`` with addresses instead of names; raises ConfigError."""
    from sockscope.cli.resolve import resolve

    listen, sign, target = text.partition("=")
    if not (sign and target.strip()):
        raise ConfigError.of(name, text, "is not LISTEN=TARGET, such as 8081=127.0.0.1:8080")
    return f"{format_address(_listened(listen, name))}={resolve(target.strip(), None, name)[0]}"


def _each(raw: object) -> list[object]:
    return list(raw) if isinstance(raw, list | tuple) else [raw]


def _listened(text: str, name: str) -> Address:
    """Return the numeric address that ``6380``, ``host:6380`` or ``unix:/path`` names; raises ConfigError."""
    from sockscope.cli.resolve import resolve_bind

    try:
        host, port = parse_listen(text)
        return resolve_bind(host, None), port
    except ValueError as error:
        raise ConfigError.of(name, text, str(error)) from None


def _certified_name(target: str) -> str:
    """Return the name that a certificate of the target is to have: its host's, if that is a name, and one."""
    hosts = {parse_target(one)[0] for one in target.split(",")}
    host = hosts.pop().rstrip(".")
    return "" if hosts or numeric(host) is not None or is_unix(host) else host


def anew(experiment: Experiment, typed: Mapping[str, str | tuple[str, ...]]) -> Experiment:
    """Return ``experiment`` with other texts for some of its fields, by key, which are read as flags are.

    An empty one takes a field back to its default, and a run without a target has its own server. Raises
    ConfigError, whose faults name the fields by key.
    """
    kept = _kept(experiment, typed)
    layer = {key: Given(raw, called(key)) for key, raw in typed.items() if raw not in ("", ())}
    try:
        if (target := layer.get("target")) is not None:
            return aimed(target, layer, lambda fixed: build([layer], kept, fixed))
        return build([layer], kept, {})
    except ConfigError as error:
        keys = {called(key): key for key in FIELDS}
        raise ConfigError(
            replace(fault, field=keys.get(fault.field, fault.field)) for fault in error.faults
        ) from None


def _kept(experiment: Experiment, typed: Mapping[str, object]) -> dict[str, Value]:
    """Return the values of the fields that were not typed, without what followed from those that were."""
    gone = {*typed, *(_OF_TARGET if "target" in typed else ())}
    before = experiment.unsettled()
    return {key: before.value(key) for key in FIELDS if key not in gone}
