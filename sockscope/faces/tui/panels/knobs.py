"""The knobs: everything that can be turned while the run goes on."""

from __future__ import annotations

import math

from textual.app import ComposeResult

from sockscope.core.config.applicability import places_offered, unknown_fields
from sockscope.core.config.bounds import local_workers_for_clients, most_of
from sockscope.core.config.experiment import FIELDS, FIELDS_BY_ATTRIBUTE
from sockscope.core.config.fields import Kind, Value
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import RELAY
from sockscope.core.run.snapshot import Snapshot
from sockscope.errors import ConfigError
from sockscope.faces.tui.messages import TuningRequested, ValueRefused
from sockscope.faces.tui.panels.knob_layout import KNOBS
from sockscope.faces.tui.panels.knob_list import KnobList
from sockscope.faces.tui.panels.panel import Panel, PanelEntry
from sockscope.faces.tui.screen_state import ScreenState

FLASH_S = 1.0
"""How long a knob stands out after its value has changed."""
_BOUNDED = [key for key in KNOBS if math.isfinite(FIELDS[key].spec.each)]
_OPTIONS = {key: option for key in KNOBS if (option := FIELDS[key].spec.socket_option)}


def _most(state: ScreenState) -> dict[str, float]:
    """Return how far each knob goes, of those that bound what a process has."""
    tuning, workers = state.requested, local_workers_for_clients(state.snapshot.experiment)
    return {key: most_of(FIELDS[key].spec, tuning, workers) for key in _BOUNDED}


def _facts(snapshot: Snapshot) -> dict[str, str]:
    """Return, per knob that is a socket option, what the kernel has in force at both ends."""
    facts = {}
    for key, name in _OPTIONS.items():
        ends = []
        for role, shown in ((snapshot.server, "server"), (snapshot.swarm, "clients")):
            options = role.socket_options if role is not None else ()
            value = next((o.effective for o in options if o.name == name), None)
            if value is not None:
                is_flag = FIELDS[key].spec.kind is Kind.FLAG
                ends.append(f"{shown} {'on' if value else 'off'}" if is_flag else f"{shown} {value:,} B")
        if ends:
            facts[key] = "in force: " + ", ".join(ends)
    return facts


class KnobsPanel(Panel):
    """The list of knobs."""

    uses_arrows = True

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(entry)
        self.chosen_loop = ""
        """The loop that a new run is to have; "" for the one that runs."""
        self._tuning: Tuning | None = None
        self._changed_s: dict[str, float] = {}

    def compose(self) -> ComposeResult:
        """The list fills the panel."""
        yield KnobList(self._request, self._refuse, self._open_faults, id="knob-list")

    def draw(self, state: ScreenState) -> None:
        """Show the values that were asked for, and which of them are still being applied."""
        snapshot = state.snapshot
        values = {key: getattr(state.requested, FIELDS[key].attribute) for key in KNOBS if FIELDS[key].live}
        chosen_loop = self.chosen_loop or snapshot.experiment.loop
        values["loop"] = chosen_loop
        notes = {"loop": "N!" if chosen_loop != snapshot.experiment.loop else ""}
        knobs = self.query_one(KnobList)
        choices = {"server": state.servers, "place": places_offered(snapshot.experiment)}
        if snapshot.experiment.role == RELAY:
            knobs.do_without(unknown_fields(RELAY))
        most = _most(state)
        knobs.show(values, notes, _facts(snapshot), self._flashing(state), state.idle, choices, most)
        self.resubtitle(f"{knobs.hidden} more  , all" if knobs.hidden else "")
        rolling = (snapshot.swarm.rolling if snapshot.swarm else 0) + (
            snapshot.server.draining if snapshot.server else 0
        )
        self.retitle(f"↻ {rolling:,} to reconnect" if rolling else "")

    def _flashing(self, state: ScreenState) -> frozenset[str]:
        """Return the knobs whose values have come into force a moment ago."""
        before, self._tuning = self._tuning, state.snapshot.tuning
        if before is not None:
            for name in before.changes_to(self._tuning):
                self._changed_s[FIELDS_BY_ATTRIBUTE[name].spec.key] = state.now_s
        return frozenset(key for key, at_s in self._changed_s.items() if state.now_s - at_s < FLASH_S)

    @property
    def is_typing(self) -> bool:
        """Whether a value is being typed."""
        return self.query_one(KnobList).is_typing

    def refuse(self, error: ConfigError) -> bool:
        """Say below the knobs why values were not taken, to who is turning them; False if not done."""
        knobs = self.query_one(KnobList)
        if not knobs.has_focus or len(error.faults) != 1 or error.faults[0].field not in FIELDS:
            return False
        return knobs.refuse(error.faults[0].field, error.faults[0].why)

    def _refuse(self, key: str, why: str) -> None:
        """Have it said why what was typed is no value: here if there is room."""
        self.screen.post_message(ValueRefused(ConfigError.of(key, None, why)))

    def _open_faults(self) -> None:
        """Open the sheet on which faults are switched and turned."""
        self.call_later(self.run_action, "app.do('faults')")

    def _request(self, key: str, value: Value) -> None:
        """Pass a turned knob on; the loop only takes effect with a new run."""
        if key == "loop":
            self.chosen_loop = str(value)
            running = self.state.snapshot.experiment.loop if self.state else ""
            if self.chosen_loop != running:
                self.query_one(KnobList).refuse("loop", f"{self.chosen_loop} needs a new run: N starts it")
            self.redraw()
            return
        self.screen.post_message(TuningRequested({key: value}))

    def clipboard_text(self) -> str:
        """Return the knobs as lines of text."""
        state = self.state
        if state is None:
            return ""
        entries = [FIELDS[key] for key in KNOBS if FIELDS[key].live]
        return "\n".join(
            f"{entry.spec.label}: {entry.spec.format(getattr(state.requested, entry.attribute))}"
            for entry in entries
        )
