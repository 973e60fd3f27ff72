"""The experiment's flags, made from the descriptions of its fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import click

from sockscope.cli.sections import SectionedOption
from sockscope.core.config.applicability import unknown_fields
from sockscope.core.config.cluster import CLUSTER_KEYS
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.fields import FieldSpec, Flag, Kind
from sockscope.core.config.presets import PRESETS
from sockscope.core.roles import RELAY, SERVER

F = TypeVar("F", bound=Callable[..., Any])
AS = "protocol_as"
"""The parameter that names a protocol."""

_NO_DEFAULTS: Mapping[str, str] = {}
_FORM = {
    Kind.COUNT: "N",
    Kind.BYTES: "SIZE",
    Kind.DURATION: "TIME",
    Kind.TEXT: "TEXT",
    Kind.OCTETS: "TEXT",
    Kind.ARGUMENTS: "NAME=VALUE",
    Kind.FAULTS: "FAULT",
}


def long_flag(key: str) -> str:
    """Return the long spelling of a field: ``--service-time``."""
    entry = FIELDS.get(key)
    flag = entry.spec.flag if entry is not None else None
    return (flag.long if flag is not None else "") or "--" + key.replace("_", "-")


def called(key: str) -> str:
    """Return what a field's flag is called in messages."""
    flag = FIELDS[key].spec.flag
    return (flag.called if flag is not None else "") or long_flag(key)


def experiment_flags(
    role: str,
    defaults: Mapping[str, str] = _NO_DEFAULTS,
    *,
    race: bool = False,
    without: Collection[str] = (),
) -> Callable[[F], F]:
    """Return a decorator that adds the flags of every field that ``role`` knows, or a ``race`` of such runs.

    ``defaults`` are the words shown where a command's default is not the field's, ``without`` the keys of
    fields whose flags it has not.
    """
    unknown = unknown_fields(role)
    flags = {
        key: flag
        for key, entry in FIELDS.items()
        if key not in unknown and key not in without and (flag := entry.spec.flag) is not None
        if flag.argument_of != role and (flag.in_race or not race)
    }

    def decorate(command: F) -> F:
        command = click.option(
            "--print-spec", is_flag=True, help="Write the experiment as TOML for --spec, and run nothing."
        )(command)
        command = click.option(
            "--spec", metavar="FILE.toml", help="Read the experiment from a file; flags override it."
        )(command)
        if role not in (SERVER, RELAY):
            command = click.option(
                "--as", AS, cls=SectionedOption, key="as",
                metavar="PROTOCOL", type=click.Choice(list(PRESETS)),
                help=f"Speak as clients of this protocol do ({', '.join(PRESETS)}); "
                "flags override what that means, and --print-spec writes it.",
            )(command)  # fmt: skip
        for key, flag in reversed(flags.items()):
            for option in reversed(_options(key, flag, defaults.get(key), role)):
                command = option(command)
        return command

    return decorate


def cluster_flags(command: F) -> F:
    """Add the flags that name a cluster, and tell how it is reached."""
    for key in reversed(CLUSTER_KEYS):
        if (flag := FIELDS[key].spec.flag) is not None:
            for option in reversed(_options(key, flag, None, "both")):
                command = option(command)
    return command


def typed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed for the experiment's fields, by key; a tuple of what was typed several times."""
    given = {key: value for key, value in params.items() if key in FIELDS and value not in (None, ())}
    return {key: value[0] if isinstance(value, tuple) and len(value) == 1 else value
            for key, value in given.items()}  # fmt: skip


def allowed(spec: FieldSpec) -> str:
    """Return the range of a field in words, or nothing when it has none."""
    if spec.kind is Kind.CHOICE:
        return ", ".join(spec.choices)
    if math.isinf(spec.high) or spec.kind not in (Kind.COUNT, Kind.BYTES, Kind.DURATION):
        return ""
    if math.isfinite(spec.each):
        return f"{spec.format(spec.low)} to {spec.format(spec.each)} a process"
    return f"{spec.format(spec.low)} to {spec.format(spec.high)}"


def _options(key: str, flag: Flag, default: str | None, role: str) -> list[Callable[[F], F]]:
    spec = FIELDS[key].spec
    option = partial(click.option, cls=SectionedOption, key=key, of=role)
    help_text = _help(key, spec, default)
    if key == "transport":
        return [option("-u/", "--udp/--tcp", key, default=None, callback=_transport, help=help_text)]
    if key == "family":
        return [
            option("-4", key, flag_value="ipv4", default=None, help="Use IPv4 (the default)."),
            option("-6", key, flag_value="ipv6", default=None, help="Use IPv6."),
            click.option(
                "--unix",
                key,
                flag_value="unix",
                default=None,
                help="Use Unix sockets: streams, or with --udp datagrams.",
            ),
        ]
    if spec.kind is Kind.FLAG:
        spelling = long_flag(key) + (f"/{flag.off}" if flag.off else "")
        return [option(spelling, key, is_flag=True, default=None, help=help_text)]
    spellings = [flag.short] if flag.short else []
    form = "|".join(spec.choices) or flag.metavar or _FORM[spec.kind]
    complete = None if not spec.choices else partial(_completed, spec.choices)
    return [
        option(
            *spellings, long_flag(key), key,
            metavar=form, help=help_text, shell_complete=complete, multiple=spec.several,
        )
    ]  # fmt: skip


def _completed(choices: Sequence[str], _: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return what a shell offers for a value that is ``begun``."""
    return [choice for choice in choices if choice.startswith(begun)]


def _transport(_: click.Context, __: click.Parameter, udp: bool | None) -> str | None:
    return None if udp is None else "udp" if udp else "tcp"


def _help(key: str, spec: FieldSpec, default: str | None) -> str:
    if default is None:
        value = Experiment().value(key)
        default = spec.format(value) if value != "" else ""
    sentence = spec.doc[0].upper() + spec.doc[1:]
    return f"{sentence}  [default: {default}]" if default else sentence
