"""The help of a command: its options under headings, so that one finds those that one looks for."""

from __future__ import annotations

from typing import Any

import click

from sockscope.core.config.experiment import CONVERSATION, ENDS, FIELDS
from sockscope.core.roles import RELAY, SERVER, SWARM

BOTH = "Run, sockets and place"
SPEECH = "Conversation: which server is asked, how, and what counts as an answer"
OTHER = "Output and other options"
TELLING = "Addresses, and how messages are told apart"
_OF_ROLE = {"": BOTH, SERVER: "Server", SWARM: "Clients", RELAY: TELLING}
_ORDER = (TELLING, BOTH, "Server", "Clients", SPEECH, OTHER)
_TOLD = {"also", "allow_remote", "told_apart", *ENDS}
_SPOKEN = {"target", "allow_remote", "as", *CONVERSATION}


class SectionedOption(click.Option):
    """An option that stands under the heading of its field."""

    def __init__(self, *args: Any, key: str, of: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        if of == RELAY:  # it has neither server nor clients
            self.section = TELLING if key in _TOLD else BOTH
        else:
            self.section = SPEECH if key in _SPOKEN else _OF_ROLE[FIELDS[key].spec.role]


class Sectioned(click.Command):
    """A command whose help has headings, if more than one of them has options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, and the subcommands of a group."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                rows.setdefault(getattr(param, "section", OTHER), []).append(record)
        for section in _ORDER:
            if section in rows:
                with formatter.section(section if len(rows) > 1 else "Options"):
                    formatter.write_dl(rows[section])
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
