"""The list of knobs as a widget: choosing, turning, typing, and drawing them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from sockscope.core import units
from sockscope.core.config.experiment import FIELDS
from sockscope.core.config.fields import FieldSpec, Kind, Value
from sockscope.faces.tui.panels.knob_layout import NARROWEST, KnobLayout
from sockscope.faces.tui.widgets.plain import plain

_LABEL = 10
_KEY = 3
_CARET = "█"
MOST_TYPED = 16
"""Characters that a value may have, but for faults."""
MOST_FAULTS = 200


_HINTS = {
    Kind.CHOICE: "◂ ▸ turn  Enter next",
    Kind.FLAG: "◂ ▸ turn  Enter next",
    Kind.FAULTS: "◂ ▸ one by one  Enter type",
}


@dataclass(slots=True)
class KnobEdit:
    """Text that is being typed into a knob."""

    key: str
    text: str = ""


class KnobList(Widget, can_focus=True):
    """A list of knobs: up and down choose, left and right turn, Enter types a value.

    With a height of one or two rows it shows the most important four side by side.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KnobList {
        width: 1fr;
        height: 1fr;

        & > .knobs--label { color: $foreground 70%; }
        & > .knobs--value { color: $foreground; text-style: bold; }
        & > .knobs--arrow { color: $text-accent; }
        & > .knobs--idle { color: $foreground 38%; text-style: italic; }
        & > .knobs--key { color: $foreground 55%; }
        & > .knobs--cursor { background: $accent 25%; text-style: bold; }
        & > .knobs--changed { color: $text-warning; text-style: bold reverse; }
        & > .knobs--error { color: $text-error; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "knobs--label", "knobs--value", "knobs--arrow", "knobs--key", "knobs--cursor", "knobs--changed",
        "knobs--error", "knobs--idle",
    }  # fmt: skip
    BINDINGS: ClassVar = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("left", "turn(-1)", show=False),
        Binding("right", "turn(1)", show=False),
        Binding("shift+left", "turn(-1, True)", show=False),
        Binding("shift+right", "turn(1, True)", show=False),
        Binding("enter", "type", show=False),
        Binding("escape", "give_up", show=False),
    ]

    def __init__(
        self,
        on_turned: Callable[[str, Value], None],
        on_refused: Callable[[str, str], None],
        on_opened: Callable[[], None],
        *,
        id: str | None = None,
    ) -> None:
        """``on_turned`` is called with the key and the new value of a knob that was turned, ``on_refused``
        with the key and the reason when what was typed is no value of it. ``on_opened`` is called when the
        faults are turned, of which there are several at a time: they have a sheet of their own.

        A message would wait for a turn of the loop at each container on its way.
        """
        super().__init__(id=id)
        self._on_turned = on_turned
        self._on_refused = on_refused
        self._on_opened = on_opened
        self._values: dict[str, Value] = {}
        self._notes: dict[str, str] = {}
        self._facts: dict[str, str] = {}
        self._chosen = "clients"
        self._entry: KnobEdit | None = None
        self._refused: tuple[str, str] | None = None
        self._flashing: frozenset[str] = frozenset()
        self._idle: Mapping[str, str] = {}
        self._choices: dict[str, tuple[str, ...]] = {}
        self._most: Mapping[str, float] = {}
        self._lacking: frozenset[str] = frozenset()
        self._places_now = KnobLayout.of(0, 0)

    # What the panel sets.

    def do_without(self, lacking: frozenset[str]) -> None:
        """Show no knobs that the run has not got and never will."""
        if lacking != self._lacking:
            self._lacking = lacking
            self._places_now = KnobLayout.of(*self.size, lacking)
            self.refresh()

    def show(
        self,
        values: dict[str, Value],
        notes: dict[str, str],
        facts: dict[str, str],
        flashing: frozenset[str],
        idle: Mapping[str, str],
        choices: dict[str, tuple[str, ...]],
        most: Mapping[str, float] | None = None,
    ) -> None:
        """Show these values.

        ``notes`` replace key hints, ``facts`` tell what the kernel made of a value, ``flashing`` knobs
        changed just now, ``idle`` ones mean nothing at the moment, for the reason given. ``choices`` are
        what a knob goes through where that is less than its field allows, ``most`` how far it goes there.
        """
        changed = {
            key
            for key in self._places.keys
            if values.get(key) != self._values.get(key)
            or notes.get(key) != self._notes.get(key)
            or (key in flashing) != (key in self._flashing)
            or (key in idle) != (key in self._idle)
        }
        told = facts != self._facts
        self._values, self._notes, self._facts, self._flashing = values, notes, facts, flashing
        self._idle, self._choices, self._most = idle, choices, most or {}
        self._refresh_rows(changed, told)

    def _refresh_rows(self, changed: set[str], told: bool) -> None:
        """Draw the knobs that changed, and what is told below them; a key waits for no more than that."""
        layout = self._places
        rows = (layout.y_of(key, self._cursor) for key in changed)
        regions = [Region(0, y, layout.width, 1) for y in rows if y is not None]
        if layout.is_short:
            regions = [Region(0, 0, layout.width, 1)] if changed else []
        if told:
            regions.append(Region(0, layout.rows, layout.width, max(0, layout.height - layout.rows)))
        if regions:
            self.refresh(*regions)

    def refuse(self, key: str, why: str) -> bool:
        """Say below the knobs why a value was not taken, unless there is no room for all of it."""
        layout = self._places
        room = 1 if layout.is_short else layout.height - layout.rows
        if len(_refusal(key, why, max(layout.width - 1, 1))) > room:
            return False
        self._refused = (key, why)
        self.refresh()
        return True

    @property
    def chosen(self) -> str:
        """The key of the knob that the arrows turn."""
        return self._places.keys[self._cursor]

    @property
    def hidden(self) -> int:
        """Knobs for which there is no row."""
        return self._places.hidden

    @property
    def _places(self) -> KnobLayout:
        """Where the knobs stand; Textual looks for the size of a widget all over the screen."""
        width, height = self.size
        if (width, height) != (self._places_now.width, self._places_now.height):
            self._places_now = KnobLayout.of(width, height, self._lacking)
        return self._places_now

    @property
    def _cursor(self) -> int:
        keys = self._places.keys
        return keys.index(self._chosen) if self._chosen in keys else 0

    # Keys.

    def action_move(self, by: int) -> None:
        """Go to another knob."""
        self._entry = self._refused = None
        layout, before = self._places, self._cursor
        after = (before + by) % len(layout.keys)
        self._chosen = layout.keys[after]
        if layout.top(before) == layout.top(after):
            self._refresh_rows({layout.keys[before], self._chosen}, told=True)
        else:
            self.refresh()

    def action_turn(self, direction: int, coarse: bool = False) -> None:
        """Turn the knob one step on the 1-2-5 scale, or a decade."""
        self._entry = self._refused = None
        key = self.chosen
        if _spec(key).kind is Kind.FAULTS:
            self._on_opened()
        elif key in self._values:
            self._turn(key, direction, coarse)

    def _turn(self, key: str, direction: int, coarse: bool) -> None:
        value = self._values[key]
        spec = _spec(key)
        if key in self._choices:
            spec = replace(spec, choices=self._choices[key])
        stepped = spec.step(value, direction, coarse=coarse, most=self._most.get(key, math.inf))
        if stepped != value:
            self._on_turned(key, stepped)
        self._refresh_rows({key}, told=True)

    def action_type(self) -> None:
        """Begin to type a value, or take what was typed."""
        if self._entry is None:
            key = self.chosen
            if _spec(key).kind in (Kind.CHOICE, Kind.FLAG):
                self._turn(key, 1, False)
                return
            self._entry, self._refused = KnobEdit(key), None
        else:
            entry, self._entry = self._entry, None
            self._take(entry)
        self.refresh()

    def _take(self, entry: KnobEdit) -> None:
        if not entry.text.strip():
            return
        try:
            value = self._read(entry)
        except ValueError as error:
            self._on_refused(entry.key, str(error))
            return
        self._on_turned(entry.key, value)

    def _read(self, entry: KnobEdit) -> Value:
        """Return the value that is typed; raise ValueError with the reason why it is none."""
        spec, text = _spec(entry.key), entry.text
        if spec.kind is Kind.DURATION:
            # Who types 5 where 5 ms stand does not mean five seconds.
            text = units.with_unit_of(text, spec.format(self._values.get(entry.key, 0)))
        try:
            value = spec.parse(text)
        except ValueError as error:
            raise ValueError(f"{entry.text!r} {error}") from None
        if why := spec.check(value):
            raise ValueError(why)
        return value

    def action_give_up(self) -> None:
        """Forget what was typed, or what was refused."""
        if self._entry is None and self._refused is None:
            raise SkipAction
        self._entry = self._refused = None
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """Collect what is typed while a value is being typed."""
        entry = self._entry
        if entry is None:
            return
        if event.key == "backspace":
            entry.text = entry.text[:-1]
        elif event.character and event.character.isprintable() and len(entry.text) < _most(entry):
            entry.text += event.character
        else:
            return
        event.stop()
        event.prevent_default()
        self.refresh()

    @property
    def is_typing(self) -> bool:
        """Whether keys are characters of a value at the moment."""
        return self._entry is not None

    def on_blur(self) -> None:
        """Forget what was typed when the focus goes."""
        self._entry = self._refused = None
        self.refresh()

    def on_paste(self, event: events.Paste) -> None:
        """Type what is pasted, as far as it is one short line."""
        if self._entry is not None:
            self._entry.text = (self._entry.text + plain(event.text.strip()))[: _most(self._entry)]
            self.refresh()
            event.stop()

    def on_click(self, event: events.Click) -> None:
        """Choose the knob under the mouse; turn it when an arrow is hit."""
        layout = self._places
        if layout.is_short:
            width = max(1, layout.width // len(layout.keys))
            index, x = min(event.x // width, len(layout.keys) - 1), event.x % width
            left, right = len(_spec(layout.keys[index]).label) + 1, width - 3
        else:
            width = layout.each
            column = min(event.x // width, layout.columns - 1)
            x = event.x - column * width
            index = event.y - layout.top(self._cursor) + column * layout.lines
            left, right = _LABEL + 1, width - _KEY - 3
        if not 0 <= index < len(layout.keys) or event.y >= layout.rows:
            return
        self._chosen = layout.keys[index]
        self._entry = self._refused = None
        if abs(x - left) <= 1:
            self.action_turn(-1, event.shift)
        elif abs(x - right) <= 1:
            self.action_turn(1, event.shift)
        self.refresh()

    # Drawing.

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        layout = self._places
        width, cursor = layout.width, self._cursor
        if layout.is_short:
            return self._short_line(width) if y == 0 else self._hint_line(width)
        below = layout.height - layout.rows
        if y >= layout.rows:
            return self._hint_line(width, y - layout.rows, below)
        first = y - layout.top(cursor)
        indices = range(first, len(layout.keys), layout.lines)[: layout.columns]
        strips = [self._knob_line(layout.keys[i], i == cursor, layout.each) for i in indices]
        if layout.columns == 1 and width >= layout.each + NARROWEST and indices:
            doc = Content.assemble((f"   {_spec(layout.keys[first]).doc}", self._piece("label")))
            strips.append(self._strip(doc, width - layout.each, self.visual_style))
        strip = Strip.join(strips)
        return strip if strip.cell_length == width else strip.adjust_cell_length(width, self.rich_style)

    def _piece(self, name: str) -> Style:
        style = self.get_visual_style(f"knobs--{name}")
        # Which Textual 8.2 leaves out there: what has changed stands out without colours, too.
        is_reverse = self.get_component_styles(f"knobs--{name}").text_style.reverse
        return style + Style(reverse=True) if is_reverse else style

    def _strip(self, content: Content, width: int, base: Style) -> Strip:
        content = content.truncate(width, ellipsis=True).pad_right(max(0, width - content.cell_length))
        return Strip(content.render_segments(base), width)

    def _knob_line(self, key: str, chosen: bool, width: int) -> Strip:
        spec = _spec(key)
        arrow = self._piece("arrow")
        room = max(1, width - _LABEL - 4 - _KEY - 2)
        text, style = self._value(key)
        mark = "▸" if chosen and self.has_focus else " "
        knob = spec.knob
        hint = self._notes.get(key, knob.keys if knob is not None else "")
        label = "label"
        if key in self._idle:
            hint, label, style = "n/a", "idle", self._piece("idle")
        content = Content.assemble(
            (mark, self._piece("arrow")),
            (f"{spec.label:<{_LABEL}}", self._piece(label)),
            ("◂ ", arrow),
            (_fit(text, room), style),
            (" ▸", arrow),
            (f" {hint:<{_KEY}}", self._piece("key")),
        )
        base = self.visual_style
        if chosen and self.has_focus:
            base = base + self._piece("cursor")
        return self._strip(content, width, base)

    def _value(self, key: str) -> tuple[str, Style]:
        if self._entry is not None and self._entry.key == key:
            return f"{self._entry.text}{_CARET}", self._piece("changed")
        value = self._values.get(key)
        text = units.DASH if value is None else _spec(key).format(value)
        if _spec(key).kind is Kind.FAULTS and "," in text:
            text = f"{text.count(', ') + 1} on"
        return text, self._piece("changed" if key in self._flashing else "value")

    def _short_line(self, width: int) -> Strip:
        keys, cursor = self._places.keys, self._cursor
        each = width // len(keys)
        pieces: list[tuple[str, Style]] = []
        for index, key in enumerate(keys):
            text, style = self._value(key)
            if key in self._idle and (self._entry is None or self._entry.key != key):
                text, style = "n/a", self._piece("idle")
            label = _spec(key).label
            chosen = index == cursor and self.has_focus
            room = max(1, each - len(label) - 4)
            pieces.append((f"{label} ", self._piece("cursor" if chosen else "label")))
            pieces.append(("◂", self._piece("arrow")))
            pieces.append((_fit(text, room), style))
            pieces.append(("▸ ", self._piece("arrow")))
        return self._strip(Content.assemble(*pieces), width, self.visual_style)

    def _about(self, width: int, rows: int) -> list[tuple[str, str]]:
        """Return what is said below the knobs, at most ``rows`` lines of text with their style."""
        if self._refused is not None:
            return [(line, "error") for line in _refusal(*self._refused, width)[:rows]]
        if self._entry is not None:
            return [(self._preview(self._entry), "key")]
        if not self.has_focus:
            return [(", all knobs" if self._places.is_short else "1 then ↑ ↓ choose, ◂ ▸ turn", "key")]
        chosen = self.chosen
        hint = (_HINTS.get(_spec(chosen).kind, "◂ ▸ turn  Shift ×10  Enter type"), "key")
        if self._places.is_short:
            return [(f"{hint[0]}  , all knobs", "key")]
        if rows == 1:
            return [hint]
        told = [self._idle.get(chosen, ""), _spec(chosen).doc, self._facts.get(chosen, "")]
        lines = [line for text in told for line in textwrap.wrap(text, width)]
        return [*((line, "label") for line in lines[: rows - 1]), hint]

    def _preview(self, entry: KnobEdit) -> str:
        """Return what the text would be taken for."""
        if not entry.text.strip():
            return "type a value; Enter applies, Esc cancels"
        try:
            value = self._read(entry)
        except ValueError as error:
            return str(error)
        return f"Enter applies {_spec(entry.key).format(value)}, Esc cancels"

    def _hint_line(self, width: int, row: int = 0, rows: int = 1) -> Strip:
        lines = self._about(max(width - 1, 1), rows)
        text, style = lines[row - (rows - len(lines))] if row >= rows - len(lines) else ("", "key")
        return self._strip(Content.assemble((text, self._piece(style))), width, self.visual_style)


def _most(entry: KnobEdit) -> int:
    return MOST_FAULTS if _spec(entry.key).kind is Kind.FAULTS else MOST_TYPED


def _refusal(key: str, why: str, width: int) -> list[str]:
    return textwrap.wrap(f"✗ {_spec(key).label}: {why}", width)


def _fit(text: str, room: int) -> str:
    """Return ``text`` to the right; of what is being typed the end stays in sight."""
    return f"{text[-room:] if text.endswith(_CARET) else text[:room]:>{room}}"


def _spec(key: str) -> FieldSpec:
    return FIELDS[key].spec
