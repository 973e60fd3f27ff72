"""The server that clients ask and how they speak to it, as a form: what is typed reads as the flags do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Static

from sockscope.core.config.experiment import CONVERSATION, FIELDS, OWN, TLS_FIELDS, Experiment
from sockscope.core.config.fields import Kind
from sockscope.core.config.presets import PRESETS, protocol_of
from sockscope.errors import ConfigError, FieldFault, sentence
from sockscope.faces.tui.widgets.form import Form, Line
from sockscope.faces.tui.widgets.plain import plain

Typed = Mapping[str, str | tuple[str, ...]]
"""What was typed, by field key: the texts of a field of several, nothing where one was emptied."""
Reader = Callable[[Experiment, Typed], Experiment]
"""What makes an experiment of one that runs and of what was typed; raises ConfigError by field key."""
SPOKEN = ("transport", *CONVERSATION)
"""The fields that a protocol has a say in."""
PARTS = {
    "": ("target", *SPOKEN),
    "TLS": ("tls", *(key for key in FIELDS if key in TLS_FIELDS)),
    "Your own code, where there is no target": (*OWN, "handler_arg", "startup", "shutdown"),
}
"""The fields of the form, from top to bottom, under their headings."""
KEYS = tuple(chain.from_iterable(PARTS.values()))
AS = "as"
"""The key of the line that names a protocol."""
ECHO, DESCRIBED = "echo", "own"
"""What it says where nothing is described, and where what is described has no name."""
MOST_TYPED = 2_000
"""Characters that a line takes."""
MOST_LINES = 8
"""Lines that a field of several shows; the others stay as they are."""
NEW_RUN, LIVE = "N!", "↻"
"""The marks of what takes a new run, as in the knobs, and of what the run that goes on takes over."""
_CHOSEN = (Kind.CHOICE, Kind.FLAG)


class Typing(Input):
    """What is typed into the chosen line; it lies over that."""

    ALLOW_MAXIMIZE = False


class ConversationScreen(Screen[None]):
    """A line per field; a new run begins with what stands there, unless all that was changed is live.

    ``read`` may look a name up or read a file, so it is called in a thread. ``begin`` takes what it returns,
    and tells whether the run that goes on has it.
    """

    CSS_PATH = "conversation.tcss"
    BINDINGS: ClassVar = [
        Binding("escape", "dismiss", show=False),
        Binding("up,shift+tab", "choose(-1)", show=False, priority=True),
        Binding("down,tab", "choose(1)", show=False, priority=True),
        Binding("left", "turn(-1)", show=False),
        Binding("right,space", "turn(1)", show=False),
        Binding("enter", "begin", show=False),
    ]

    def __init__(self, experiment: Experiment, read: Reader, begin: Callable[[Experiment], bool]) -> None:
        super().__init__()
        self._experiment = experiment
        self._read = read
        self._begin = begin
        self._spoken = protocol_of(experiment.value) or (DESCRIBED if _is_described(experiment) else ECHO)
        words = (ECHO, *PRESETS, *([DESCRIBED] if self._spoken == DESCRIBED else []))
        self._as = Line(AS, AS, self._spoken, words)
        self._lines = [self._as, *_lines_of(experiment)]
        self.chosen = self._of("target")[0]
        """The line that one is in."""
        self._form = Form(_mark_of, id="conversation-form")
        self._typing = Typing(max_length=MOST_TYPED, compact=True, select_on_focus=False)
        self._told = Static("", id="conversation-told", markup=False)
        self._about = Static("", id="conversation-about", markup=False)

    def compose(self) -> ComposeResult:
        """The lines, what is wrong besides them, and what the chosen one is."""
        yield Static(_HEAD, id="conversation-head", markup=False)
        with Container(id="conversation-body"):
            yield self._form
            yield self._typing
        yield self._told
        yield self._about
        yield Static(_KEYS, id="conversation-foot", markup=False)

    def on_mount(self) -> None:
        """Begin at the target."""
        self._choose(self.chosen)

    def on_resize(self) -> None:
        """Type where the line is now."""
        self.call_after_refresh(self._show)

    def _of(self, key: str) -> list[Line]:
        return [line for line in self._lines if line.key == key]

    # What is chosen.

    def action_choose(self, by: int) -> None:
        """Go to the next line, or the one before."""
        lines = [line for line in self._lines if line.key]
        self._choose(lines[(lines.index(self.chosen) + by) % len(lines)])

    def on_form_chosen(self, message: Form.Chosen) -> None:
        """Go to the line under the mouse, and take its word."""
        message.stop()
        self._choose(message.line)
        if message.word:
            message.line.value = message.word
            self._turned(message.line)

    def _choose(self, line: Line) -> None:
        self.chosen = line
        with self.prevent(Input.Changed):
            self._typing.value = "" if line.words else line.value
        self._typing.cursor_position = len(self._typing.value)
        self._typing.display = not line.words
        (self._form if line.words else self._typing).focus()
        self._about.update(Content(_ABOUT_AS if line.key == AS else FIELDS[line.key].spec.doc))
        self._show()

    def _show(self) -> None:
        self._form.show(self._lines, self.chosen)
        self._typing.styles.offset = self._form.place
        self._typing.styles.width = self._form.room

    # What is typed.

    def on_input_changed(self, message: Input.Changed) -> None:
        """Take what is typed, and have room for another one where a field may have several."""
        message.stop()
        line = self.chosen
        line.value, line.fault = message.value, ""
        lines = self._of(line.key)
        if FIELDS[line.key].spec.several and line is lines[-1] and line.value and len(lines) < MOST_LINES:
            self._lines.insert(self._lines.index(line) + 1, _line(line.key, len(lines) + 1, ""))
        self._show()

    def action_turn(self, by: int) -> None:
        """Choose another word of the line."""
        if self.chosen.words:
            self.chosen.turn(by)
            self._turned(self.chosen)

    def _turned(self, line: Line) -> None:
        line.fault = ""
        if line is self._as:
            self._speak(line.value)
        self._show()

    def _speak(self, protocol: str) -> None:
        """Let the lines say what a protocol means, or what they said in the beginning."""
        meant = PRESETS.get(protocol, {})
        for key in SPOKEN:
            first, *others = self._of(key)
            stands = str(meant.get(key, Experiment().value(key) or ""))
            first.value = first.stood if protocol == self._spoken else stands
            for line in others:
                line.value = line.stood if protocol == self._spoken else ""

    def _typed(self) -> Typed:
        """Return what stands in the lines of the fields of which one was changed."""
        found: dict[str, str | tuple[str, ...]] = {}
        for key in KEYS:
            lines = self._of(key)
            if not any(line.is_changed for line in lines):
                continue
            texts = [line.text for line in lines]
            if self._as.value == self._spoken:
                texts += _standing(self._experiment, key)[MOST_LINES:]
            found[key] = tuple(filter(None, texts)) if FIELDS[key].spec.several else texts[0]
        return found

    # Beginning.

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Begin the run from whatever line."""
        message.stop()
        self.action_begin()

    def action_begin(self) -> None:
        """Begin a run with what stands there, unless something is wrong with it."""
        self._try(self._typed())

    @work(exclusive=True)
    async def _try(self, typed: Typed) -> None:
        self._tell(())
        try:
            experiment = await asyncio.to_thread(self._read, self._experiment, typed)
        except ConfigError as error:
            self._tell(error.faults)
        else:
            if self._begin(experiment):
                self.dismiss()

    def _tell(self, faults: Sequence[FieldFault]) -> None:
        """Say what is wrong: below the line of each field, and of other fields below them all."""
        for line in self._lines:
            line.fault = ""
        others = []
        for fault in faults:
            if fault.field in KEYS:
                self._of(fault.field)[0].fault = plain(sentence(_name(fault.field), fault.why))
            else:
                others.append(sentence(fault.field, fault.why))
        self._told.update(Content(plain("; ".join(others))))
        self._show()


def _lines_of(experiment: Experiment) -> Iterator[Line]:
    """Yield the lines of the form under their headings."""
    for heading, keys in PARTS.items():
        if heading:
            yield from (Line("", ""), Line("", heading))
        for key in keys:
            yield from _lines_of_field(experiment, key)


def _lines_of_field(experiment: Experiment, key: str) -> Iterator[Line]:
    spec, stands = FIELDS[key].spec, _standing(experiment, key)
    if spec.kind in _CHOSEN:
        yield Line(key, _name(key), stands[0], spec.choices or (spec.format(False), spec.format(True)))
        return
    for number, text in enumerate(stands[:MOST_LINES], 1):
        yield _line(key, number, text)
    if more := len(stands[MOST_LINES:]):
        yield Line("", f"  and {more:,} more, as they are")
    if spec.several and stands[0] and len(stands) < MOST_LINES:
        yield _line(key, len(stands) + 1, "")


def _line(key: str, number: int, text: str) -> Line:
    return Line(key, _name(key) if number == 1 else f"  and {number}", plain(text)[:MOST_TYPED], whole=text)


def _standing(experiment: Experiment, key: str) -> list[str]:
    """Return what a field is as one would type it; nothing where it is as it is by default."""
    value, spec = experiment.value(key), FIELDS[key].spec
    if spec.kind in _CHOSEN:
        return [spec.format(value)]
    if value == Experiment().value(key):
        return [""]
    return str(value).split("\n") if spec.several else [str(spec.exact(value))]


def _mark_of(key: str) -> str:
    return LIVE if key in FIELDS and FIELDS[key].live else NEW_RUN


def _is_described(experiment: Experiment) -> bool:
    return any(experiment.value(key) != Experiment().value(key) for key in CONVERSATION)


def _name(key: str) -> str:
    """Return what a field is called here: as its flag is, without the hyphens before it."""
    return key.replace("_", "-")


_HEAD = " Server and conversation  N! takes a new run, ↻ is live"
_KEYS = " ↑ ↓ choose   ← → turn   Enter begin the run   Esc dashboard"
_ABOUT_AS = "what clients of this protocol say and await; what is typed afterwards goes before it"
