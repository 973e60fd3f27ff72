"""From defaults, a TOML file, the environment and typed flags to one experiment, and back to TOML.

Later layers go before earlier ones: defaults < TOML < ``SOCKSCOPE_*`` < flags. Every fault of every layer
is told at once, each by the name that the user gave the field.
"""

from __future__ import annotations

import ipaddress
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from sockscope.cli.flags import allowed, called
from sockscope.core.config.applicability import without_effect
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.faults import MAX_REQUEST_BYTES
from sockscope.core.config.fields import Kind, Value
from sockscope.core.wire.octets import format_octets
from sockscope.errors import ConfigError, Fault

ENVIRONMENT_PREFIX = "SOCKSCOPE_"


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave for a field, not parsed yet, and what they call the field."""

    raw: object
    name: str


Layer = Mapping[str, Given]
"""Given values by field key."""


def read_spec(path: str) -> dict[str, Given]:
    """Return the layer of a TOML file, unknown keys included.

    Raises ConfigError when the file cannot be read or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError.of("--spec", path, f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError.of("--spec", path, f"is not TOML: {error}") from None
    return {key: Given(raw, f"{key} in {path}") for key, raw in table.items()}


def read_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return the layer of ``SOCKSCOPE_<KEY>`` variables; an empty one counts as not set."""
    names = {key: ENVIRONMENT_PREFIX + key.upper() for key in FIELDS}
    return {key: Given(environ[name], name) for key, name in names.items() if environ.get(name)}


def read_flags(typed: Mapping[str, str | bool]) -> dict[str, Given]:
    """Return the layer of typed flags."""
    return {key: Given(raw, called(key)) for key, raw in typed.items()}


def build(layers: Iterable[Layer], default: Mapping[str, Value], fixed: Mapping[str, Value]) -> Experiment:
    """Return the experiment that ``layers`` (weakest first) describe.

    ``default`` are a command's own defaults, ``fixed`` what it does not let anybody change. Raises
    ConfigError with every fault.
    """
    given: dict[str, Given] = {}
    for layer in layers:
        given.update(layer)
    faults: list[Fault] = []
    values = {**default, **_parsed(given, faults), **fixed}
    if "family" not in given and "family" not in fixed:
        values.update(_family_of(values.get("bind")))
    flags = {key: value for key, value in given.items() if value.name.startswith("-")}
    # What follows from other fields may stand otherwise in a file, but not be typed beside them.
    typed = {key: value for key, value in values.items() if key in flags}
    experiment = Experiment().with_values(values).settled().with_values(typed)
    names = {key: value.name for key, value in given.items()}
    faults += [replace(fault, field=names.get(fault.field, fault.field)) for fault in experiment.faults()]
    told = {fault.field for fault in faults}
    vain = without_effect(experiment)
    faults += [
        Fault(flag.name, flag.raw, f"has no effect: {vain[key]}")
        for key, flag in flags.items()
        if key in vain and flag.name not in told
    ]
    if faults:
        raise ConfigError(faults)
    return experiment


def to_toml(experiment: Experiment) -> str:
    """Return ``experiment`` as TOML, each field with its description, such that it reads back the same."""
    return "\n\n".join(_toml_entries(experiment)) + "\n"


def _toml_entries(experiment: Experiment) -> Iterator[str]:
    yield "# An experiment for: sockscope run --spec FILE.toml"
    for key, entry in FIELDS.items():
        comment = "; ".join(part for part in (entry.spec.doc, allowed(entry.spec)) if part)
        yield f"# {comment}\n{key} = {json.dumps(entry.spec.exact(experiment.value(key)))}"


def _parsed(given: Layer, faults: list[Fault]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for key, value in given.items():
        try:
            values[key] = _parse(key, value)
        except ValueError as error:
            faults.append(Fault(value.name, value.raw, str(error)))
    return values


def _parse(key: str, given: Given) -> Value:
    if key not in FIELDS:
        near = get_close_matches(key.replace("-", "_"), FIELDS, n=1)
        raise ValueError("there is no such field" + (f"; did you mean {near[0]}?" if near else ""))
    spec, raw = FIELDS[key].spec, given.raw
    # A blank may be all that is to be sent.
    empty = raw == "" if spec.kind is Kind.OCTETS else isinstance(raw, str) and not raw.strip()
    if empty and given.name.startswith("-"):
        raise ValueError("is empty")
    if key == "request" and isinstance(raw, str) and raw.startswith("@"):
        return format_octets(_content(raw[1:]))
    return spec.parse(raw)


def _content(path: str) -> bytes:
    """Return what is in the file of a request, so that the experiment is whole without it."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_REQUEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"cannot be read: {reason}") from None
    if not data:
        raise ValueError("is an empty file")
    if len(data) > MAX_REQUEST_BYTES:
        raise ValueError(f"is larger than {MAX_REQUEST_BYTES:,} B")
    return data


def _family_of(bind: object) -> dict[str, Value]:
    """Return the family that an address to listen on implies."""
    try:
        return {"family": f"ipv{ipaddress.ip_address(str(bind).partition('%')[0]).version}"}
    except ValueError:
        return {}
