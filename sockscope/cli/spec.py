"""From defaults, a TOML file, the environment and typed flags to one experiment, and back to TOML.

Later layers go before earlier ones: defaults < TOML < ``SOCKSCOPE_*`` < flags. Every fault of every layer
is told at once, each by the name that the user gave the field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from sockscope.cli.flags import allowed, called
from sockscope.core.addresses import family_name
from sockscope.core.config.applicability import unknown_fields, unused_fields
from sockscope.core.config.cluster import CLUSTER
from sockscope.core.config.experiment import ENDS, FIELDS, Experiment
from sockscope.core.config.faults import MAX_REQUEST_BYTES
from sockscope.core.config.fields import Kind, Value
from sockscope.core.config.presets import PRESETS
from sockscope.core.wire.octets import format_octets
from sockscope.core.wire.requests import MAX_REQUESTS
from sockscope.errors import ConfigError, FieldFault, shortened
from sockscope.store.files import files_in, read_file, read_toml

ENVIRONMENT_PREFIX = "SOCKSCOPE_"
"""How the environment variable of a field begins."""
MOST_TOLD = 20
"""Faults that are told one by one."""
MOST_SPEC_BYTES = 4 << 20
"""Largest TOML file that is read: 4 MiB, which hold a request of the largest size, in any spelling."""
_AS = "as"
"""The key of the protocol that clients speak: a name for values of fields, no field itself."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave for a field, not parsed yet, and what they call the field."""

    raw: object
    name: str

    @property
    def is_typed(self) -> bool:
        """Whether it was typed as a flag, not read from a file or a variable."""
        return self.name.startswith("-")


Layer = Mapping[str, Given]
"""Given values by field key."""


def read_spec(path: str) -> dict[str, Given]:
    """Return the layer of a TOML file, unknown keys included.

    Raises ConfigError when the file cannot be read or is not TOML.
    """
    try:
        table = read_toml(path, MOST_SPEC_BYTES)
    except ValueError as error:
        raise ConfigError.of("--spec", path, str(error)) from None
    return {key: Given(raw, f"{shortened(key)} in {path}") for key, raw in table.items()}


def read_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return the layer of ``SOCKSCOPE_<KEY>`` variables; an empty one counts as not set."""
    names = {key: ENVIRONMENT_PREFIX + key.upper() for key in (*FIELDS, _AS)}
    return {key: Given(environ[name], name) for key, name in names.items() if environ.get(name)}


def read_flags(typed: Mapping[str, str | bool]) -> dict[str, Given]:
    """Return the layer of typed flags."""
    return {key: Given(raw, called(key)) for key, raw in typed.items()}


def with_protocol(layers: Sequence[Layer], *, clients: bool = True) -> list[Layer]:
    """Return ``layers`` behind one with what the protocol means that the last of them names, if one does.

    Without ``clients`` nobody speaks it. Raises ConfigError when there is no such protocol.
    """
    named = [layer[_AS] for layer in layers if _AS in layer]
    others: list[Layer] = [{key: one for key, one in layer.items() if key != _AS} for layer in layers]
    return [_preset(named[-1], others), *others] if named and clients else others


def _preset(named: Given, layers: Iterable[Layer]) -> Layer:
    """Return the layer of a protocol, without what tells an end where one of ``layers`` tells another."""
    protocol = named.raw
    if not isinstance(protocol, str) or protocol not in PRESETS:
        raise ConfigError.of(named.name, protocol, f"is none of {', '.join(PRESETS)}")
    given = {key for layer in layers for key in layer}
    passed_over = set(ENDS) if given & set(ENDS) else set()
    values = PRESETS[protocol].items()
    return {key: Given(raw, f"{key} of --as {protocol}") for key, raw in values if key not in passed_over}


def build(layers: Iterable[Layer], default: Mapping[str, Value], fixed: Mapping[str, Value]) -> Experiment:
    """Return the experiment that ``layers`` (weakest first) describe.

    ``default`` are a command's own defaults, ``fixed`` what it does not let anybody change. Whoever types
    the name of a cluster wants the roles to be placed there, where nothing else is said. Raises
    ConfigError with every fault.
    """
    given: dict[str, Given] = {}
    for layer in layers:
        given.update(layer)
    faults: list[FieldFault] = []
    parsed = _parsed(given, faults)
    if "cluster" in given and given["cluster"].is_typed:
        default = {**default, "place": CLUSTER}
    values = {**default, **parsed, **fixed}
    if "bind" in given and values.get("bind"):
        asked = str(values["family"]) if "family" in values.keys() & {*given, *fixed} else None
        try:
            values |= _bound(str(values["bind"]), asked)
        except ValueError as error:
            faults.append(FieldFault(given["bind"].name, given["bind"].raw, str(error)))
            del values["bind"]
    flags = {key: value for key, value in given.items() if value.is_typed}
    # What follows from other fields may stand otherwise in a file, but not be typed beside them.
    typed = {key: value for key, value in values.items() if key in flags}
    experiment = Experiment().with_values(values).settled().with_values(typed)
    names = {key: value.name for key, value in given.items()}
    faults += [
        replace(fault, field=names.get(fault.field, fault.field)) for fault in experiment.field_faults()
    ]
    told = {fault.field for fault in faults}
    faults += [fault for fault in _only_typed(given, values) if fault.field not in told]
    vain = unused_fields(experiment)
    faults += [
        FieldFault(flag.name, flag.raw, f"has no effect: {vain[key]}")
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


def _only_typed(given: Layer, values: Mapping[str, Value]) -> Iterator[FieldFault]:
    """Yield what a file or a variable says that only a typed flag may say.

    Only what is typed reaches beyond this machine or names a file to send (see ``_parse``).
    """
    unknown = unknown_fields(str(values.get("role", "both")))
    for key, value in given.items():
        flag = FIELDS[key].spec.flag if key in FIELDS and key not in unknown else None
        if flag is not None and not value.is_typed and key in values and flag.only_typed(values[key]):
            yield FieldFault(value.name, value.raw, _must_be_typed(key))


def _must_be_typed(key: str) -> str:
    return f"can only be given on the command line, as {called(key)}"


def _parsed(given: Layer, faults: list[FieldFault]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for key, value in given.items():
        if key not in FIELDS:
            # A hint takes long, and a file may name thousands.
            near = get_close_matches(key.replace("-", "_"), FIELDS, n=1) if len(faults) < MOST_TOLD else []
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(FieldFault(value.name, value.raw, f"there is no such field{hint}"))
            continue
        try:
            values[key] = _parse(key, value)
        except ValueError as error:
            faults.append(FieldFault(value.name, value.raw, str(error)))
    return values


def _parse(key: str, given: Given) -> Value:
    spec, raw = FIELDS[key].spec, given.raw
    # A blank may be all that is to be sent.
    empty = raw in ("", ("",)) if spec.kind is Kind.OCTETS else isinstance(raw, str) and not raw.strip()
    if empty and given.is_typed:
        raise ValueError("is empty")
    if spec.several and spec.kind is Kind.OCTETS:
        raws = list(raw) if isinstance(raw, list | tuple) else [raw]
        return spec.parse([text for one in raws for text in _several(key, one, given.is_typed)])
    return spec.parse(raw)


def _several(key: str, raw: object, typed: bool) -> list[object]:
    """Return what ``raw`` stands for: itself, or what is in the file or directory that it names."""
    if not isinstance(raw, str) or not raw.startswith("@"):
        return [raw]
    if not typed:
        raise ValueError(f"names a file, which {_must_be_typed(key)}")
    return [format_octets(_content(path)) for path in files_in(raw[1:], MAX_REQUESTS)]


def _content(path: str) -> bytes:
    """Return what is in the file of a request, so that the experiment is whole without it."""
    data = read_file(path, MAX_REQUEST_BYTES)
    if not data:
        raise ValueError("is an empty file")
    return data


def _bound(host: str, family: str | None) -> dict[str, Value]:
    """Return the address to listen on, and its family; raises ValueError with the reason."""
    from sockscope.cli.resolve import resolve_bind

    address = resolve_bind(host, family)
    return {"bind": address, "family": family_name(address)}
