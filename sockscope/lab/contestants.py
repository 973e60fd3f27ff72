"""From what is written on the command line to contestants, and which of them this platform has."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sockscope.core.config.applicability import without_effect
from sockscope.core.config.experiment import FIELDS, OWN, Experiment
from sockscope.core.config.fields import Value
from sockscope.core.config.models import DEFAULT_CLIENT, SERVER_MODELS, SERVERS_OF
from sockscope.core.config.reference import parse_reference
from sockscope.core.results.contest import Contestant
from sockscope.engine.loops import loop_factory
from sockscope.engine.servers.registry import model_for
from sockscope.errors import ConfigError, FieldFault

LOOPS = FIELDS["loop"].spec.choices
NAMED_BY = ("server", "loop", "client")
"""Fields that name a contestant, in the order in which they are written: ``protocol/uvloop/streams``."""
_NO_OWN_CODE: Mapping[str, Value] = dict.fromkeys((*OWN, "handler_arg", "startup", "shutdown"), "")
VARIED = frozenset(key for key, entry in FIELDS.items() if entry.spec.varied)
"""Fields that ``--vary`` takes: the others name the contestant, or belong to the race as a whole."""


@dataclass(frozen=True, slots=True)
class ContestantSpec:
    """A contestant by what sets it apart: values of fields by their keys (``server``, ``loop``, ...).

    ``name`` is made from them when it is empty.
    """

    values: Mapping[str, Value]
    name: str = ""


def parse_entry(text: str) -> ContestantSpec:
    """Return the contestant that ``model[/loop[/client]]`` stands for, where the model may be own code.

    That is ``module:name``, or ``module:name@revision``. Raises ValueError with the reason.
    """
    if ":" in text:
        return _own_entry(text.strip())
    parts = text.strip().lower().split("/")
    if len(parts) > len(NAMED_BY) or not all(parts):
        raise ValueError("is not MODEL[/LOOP[/CLIENT]], such as protocol/asyncio, threaded or mine:handle")
    values: dict[str, Value] = {}
    for part, key in zip(parts, NAMED_BY, strict=False):
        allowed = FIELDS[key].spec.choices
        if part not in allowed:
            near = get_close_matches(part, allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(allowed)}"
            raise ValueError(f"there is no {key} {part}; {hint}")
        values[key] = part
    return ContestantSpec(values)


def _own_entry(text: str) -> ContestantSpec:
    """Return own code as a contestant; what it is shows when it is imported, whatever field names it."""
    parts = text.split("/")
    count = next((n for n in (2, 1) if _are_named(parts[len(parts) - n :])), 0) if len(parts) > 1 else 0
    reference = "/".join(parts[: len(parts) - count])  # a revision may have slashes
    try:
        parse_reference(reference)
    except ValueError as error:
        form = "is not MODULE:NAME[@REVISION][/LOOP[/CLIENT]], such as mine:handle@HEAD~1"
        raise ValueError(str(error) or form) from None
    rest = zip(NAMED_BY[1:], parts[len(parts) - count :], strict=False)
    return ContestantSpec({"handler": reference, **{key: part.lower() for key, part in rest}}, text)


def address_faults(contestants: Sequence[Contestant]) -> Iterator[FieldFault]:
    """Yield where several contestants, all of which listen at once, are given one Unix socket."""
    seen: set[str] = set()
    for contestant in contestants:
        experiment = contestant.experiment
        if experiment.bind in seen and experiment.names_address(experiment.tuning):
            why = "is one Unix socket, and each contestant listens at its own; --unix gives it one"
            yield FieldFault("bind", experiment.bind, why)
            return
        seen.add(experiment.bind)


def _are_named(parts: Sequence[str]) -> bool:
    """Tell whether these are a loop, or a loop and a client."""
    return all(
        part.lower() in FIELDS[key].spec.choices for key, part in zip(NAMED_BY[1:], parts, strict=False)
    )


def own_code_faults(contestants: Iterable[Contestant], usual: Experiment) -> Iterator[FieldFault]:
    """Yield where contestants of own code are asked for what means nothing to it, unlike the ``usual``."""
    for contestant in contestants:
        experiment = contestant.experiment
        if not experiment.own_server:
            continue
        if experiment.tuning.layout == "loop":
            why = f"leaves {contestant.name} no process of its own; leave it out"
            yield FieldFault("place", experiment.tuning.place, why)
        for key, why in without_effect(experiment).items():
            if experiment.value(key) != usual.value(key):
                yield FieldFault(key, experiment.value(key), f"has no effect: {why}")


def parse_vary(text: str) -> tuple[str, tuple[Value, ...]]:
    """Return field and values of ``permits=1,10,100``; raise ValueError with the reason."""
    key, equals, listed = text.partition("=")
    key = key.strip().replace("-", "_")
    if not equals or not listed.strip():
        raise ValueError("is not FIELD=VALUE,VALUE,..., such as permits=1,10,100")
    if key not in VARIED:
        near = get_close_matches(key, VARIED, n=1)
        raise ValueError(f"there is no field {key} to vary" + (f"; did you mean {near[0]}?" if near else ""))
    values = []
    for raw in listed.split(","):
        try:
            values.append(FIELDS[key].spec.parse(raw))
        except ValueError as error:
            raise ValueError(f"the value {raw} {error}") from None
    return key, tuple(values)


def varied(
    entries: Sequence[ContestantSpec], vary: Sequence[tuple[str, tuple[Value, ...]]]
) -> tuple[ContestantSpec, ...]:
    """Return each entry with each combination of the varied values."""
    combinations = itertools.product(*([(key, value) for value in values] for key, values in vary))
    return tuple(
        ContestantSpec(
            {**entry.values, **dict(chosen)}, " ".join([entry.name, *_labels(chosen)]) if entry.name else ""
        )
        for entry, chosen in itertools.product(entries, list(combinations))
    )


def contestants_of(
    entries: Iterable[ContestantSpec], workload: Experiment
) -> tuple[tuple[Contestant, ...], tuple[tuple[str, str], ...]]:
    """Return the contestants under ``workload``, and the name and the reason of each that is not here."""
    present: list[Contestant] = []
    absent: list[tuple[str, str]] = []
    for entry in entries:
        values = entry.values if "handler" in entry.values else {**_NO_OWN_CODE, **entry.values}
        experiment = workload.with_values(values)
        if why := why_absent(experiment):
            absent.append((entry.name or _name(entry, experiment, uses_loop="loop" in entry.values), why))
            continue
        tuning = experiment.tuning
        uses_loop = not model_for(tuning.transport, tuning.server).threaded
        present.append(Contestant(entry.name or _name(entry, experiment, uses_loop=uses_loop),
                                  experiment, uses_loop))  # fmt: skip
    return tuple(present), tuple(absent)


def why_absent(experiment: Experiment) -> str:
    """Return why this platform cannot run the server, its loop or its clients; nothing when it can."""
    try:
        model_for(experiment.tuning.transport, experiment.tuning.server)
        loop_factory(experiment.loop)
    except ConfigError as error:
        return "; ".join(fault.why for fault in error.faults)
    return ""


def all_entries(transport: str, loops: Sequence[str] = LOOPS) -> tuple[ContestantSpec, ...]:
    """Return every model that serves ``transport`` here, those of an event loop on each loop."""
    return tuple(_each_model(transport, loops))


def _each_model(transport: str, loops: Sequence[str]) -> Iterator[ContestantSpec]:
    for name in SERVERS_OF[transport]:
        if SERVER_MODELS[transport, name].threaded:
            yield ContestantSpec({"server": name})
        else:
            yield from (ContestantSpec({"server": name, "loop": loop}) for loop in loops)


def _name(entry: ContestantSpec, experiment: Experiment, *, uses_loop: bool) -> str:
    """Return model, loop and client of a contestant, and what else sets it apart."""
    tuning = experiment.tuning
    name = tuning.server_model
    if uses_loop or tuning.client != DEFAULT_CLIENT:
        name += f"/{experiment.loop}"
    if tuning.client != DEFAULT_CLIENT:
        name += f"/{tuning.client}"
    rest = [(key, value) for key, value in entry.values.items() if key not in NAMED_BY]
    return " ".join([name, *_labels(rest)])


def _labels(values: Iterable[tuple[str, Value]]) -> list[str]:
    return [f"{key}={FIELDS[key].spec.format(value).replace(' ', '')}" for key, value in values]
