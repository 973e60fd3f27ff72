"""The experiment's flags, made from the descriptions of its fields.

Only spellings are told here; meaning, unit, range and default come from the field itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click

from sockscope.core.config.applicability import unknown_fields
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.fields import FieldSpec, Kind

F = TypeVar("F", bound=Callable[..., Any])

SHORT = {"clients": "-c", "size": "-l", "port": "-p", "duration": "-d", "requests": "-n"}
"""Short spellings; the long one of a field is its key."""
_OPPOSITE = {"no_delay": "--delay"}
"""What switches a flag off again, where that has a name."""
_NO_DEFAULTS: Mapping[str, str] = {}
_NOT_FLAGS = {"both": {"role"}, "server": {"role"}, "swarm": {"role", "target"}}
"""Fields that a command tells by its name or takes as an argument."""
_FORM = {Kind.COUNT: "N", Kind.BYTES: "SIZE", Kind.DURATION: "TIME", Kind.TEXT: "TEXT", Kind.OCTETS: "TEXT"}
_FORM_OF = {
    "target": "HOST:PORT", "handler": "MODULE:FUNCTION", "protocol": "MODULE:CLASS", "bind": "ADDRESS",
}  # fmt: skip


def long_flag(key: str) -> str:
    """Return the long spelling of a field: ``--service-time``."""
    return "--" + key.replace("_", "-")


def experiment_flags(
    role: str, defaults: Mapping[str, str] = _NO_DEFAULTS, leave_out: Collection[str] = ()
) -> Callable[[F], F]:
    """Return a decorator that adds the flags of every field that ``role`` knows, except those to leave out.

    ``defaults`` are the words shown where a command's default is not the field's.
    """
    keys = [key for key in FIELDS if key not in unknown_fields(role) | _NOT_FLAGS[role] | set(leave_out)]

    def decorate(command: F) -> F:
        command = click.option(
            "--print-spec", is_flag=True, help="Write the experiment as TOML for --spec, and run nothing."
        )(command)
        command = click.option(
            "--spec", metavar="FILE.toml", help="Read the experiment from a file; flags go before it."
        )(command)
        for key in reversed(keys):
            for option in reversed(_options(key, defaults.get(key))):
                command = option(command)
        return command

    return decorate


def typed(params: Mapping[str, Any]) -> dict[str, str | bool]:
    """Return what was typed for the experiment's fields, by key."""
    return {key: value for key, value in params.items() if key in FIELDS and value is not None}


def allowed(spec: FieldSpec) -> str:
    """Return the range of a field in words, or nothing when it has none."""
    if spec.kind is Kind.CHOICE:
        return ", ".join(spec.choices)
    if spec.kind in (Kind.FLAG, Kind.TEXT, Kind.OCTETS) or math.isinf(spec.high):
        return ""
    return f"{spec.format(spec.low)} to {spec.format(spec.high)}"


def _options(key: str, default: str | None) -> list[Callable[[F], F]]:
    spec = FIELDS[key].spec
    help_text = _help(key, spec, default)
    if key == "transport":
        return [click.option("-u/", "--udp/--tcp", key, default=None, callback=_transport, help=help_text)]
    if key == "family":
        return [
            click.option("-4", key, flag_value="ipv4", default=None, help="Use IPv4 (the default)."),
            click.option("-6", key, flag_value="ipv6", default=None, help="Use IPv6."),
        ]
    if spec.kind is Kind.FLAG:
        spelling = long_flag(key) + (f"/{_OPPOSITE[key]}" if key in _OPPOSITE else "")
        return [click.option(spelling, key, is_flag=True, default=None, help=help_text)]
    spellings = [SHORT[key]] if key in SHORT else []
    form = "|".join(spec.choices) or _FORM_OF.get(key, _FORM[spec.kind])
    return [click.option(*spellings, long_flag(key), key, metavar=form, help=help_text)]


def _transport(_: click.Context, __: click.Parameter, udp: bool | None) -> str | None:
    return None if udp is None else "udp" if udp else "tcp"


def _help(key: str, spec: FieldSpec, default: str | None) -> str:
    if default is None:
        value = Experiment().value(key)
        default = spec.format(value) if value != "" else ""
    sentence = spec.doc[0].upper() + spec.doc[1:]
    return f"{sentence}  [default: {default}]" if default else sentence
