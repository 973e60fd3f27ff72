"""The dashboard: a header, the panels of the table in one of three layouts, and a footer."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from itertools import takewhile
from typing import TypeVar

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size
from textual.reactive import reactive
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.roles import RELAY
from sockscope.core.run.snapshot import Cursors
from sockscope.errors import ConfigError, sentence
from sockscope.faces.tui import messages
from sockscope.faces.tui.actions import labels_now
from sockscope.faces.tui.compositor import FrugalCompositor
from sockscope.faces.tui.exports import files_of
from sockscope.faces.tui.lessons import Teaching
from sockscope.faces.tui.offer import Clipping
from sockscope.faces.tui.paced import PacedApp
from sockscope.faces.tui.panels.header import HeaderPanel
from sockscope.faces.tui.panels.knobs import KnobsPanel
from sockscope.faces.tui.panels.listing import ListingPanel
from sockscope.faces.tui.panels.panel import Kind, Panel, Place
from sockscope.faces.tui.panels.table import PANELS
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.screens.footer import FooterBar
from sockscope.faces.tui.screens.lesson_pane import LessonPane
from sockscope.faces.tui.screens.room_bar import RoomBar
from sockscope.faces.tui.session import Session
from sockscope.faces.tui.viewer import Severity
from sockscope.faces.tui.widgets.plain import plain

FACES = (Kind.LISTING, Kind.FACE)
"""What shares the lower part of the screen."""
NARROW = (110, 32)
"""Below this width or height: one graph, the others as sparks, and the short knobs."""
WIDE = (190, 54)
"""From this size on: three listings side by side and the distribution."""
SHORT = 20
"""Below this height: no sparks."""
TWO_ROWS = 22
"""For a room: below this height the map and the graphs stand side by side."""
THREE_COLUMNS = 96
"""For a room: below this width only one graph stands beside the map."""
SMALLEST = (40, 12)
"""Below this nothing can be shown in a way that does not mislead."""
NOTICE_S = 4.0
"""How long a notice stays."""
BLENDED_AFTER_S = 0.2
"""Changes behind a sheet within this time are drawn together: each repaint blends the whole screen."""

P = TypeVar("P", bound=Panel)


class DashboardScreen(Screen[None]):
    """Everything on one screen: the :class:`~sockscope.faces.tui.viewer.Viewer` of a session.

    What its panels ask for is passed on to the session.
    """

    CSS_PATH = "dashboard.tcss"
    AUTO_FOCUS = "#body *"

    state: reactive[ScreenState | None] = reactive(None, init=False, repaint=False)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._compositor = FrugalCompositor()
        self._session = session
        self._blending: Timer | None = None
        self._arranged_for: Size | None = None
        self._lesson = LessonPane()
        self._panels = {entry.id: entry.make(entry) for entry in PANELS}
        # Begins with the first graph and the first listing of the table as the chosen ones.
        self._chosen = {entry.kind: self._panels[entry.id] for entry in reversed(PANELS)}
        # Of all faces and listings the one that was called last, and who is in front of each group.
        # A map of clients tells nothing where there are none of ours.
        faces = (Kind.LISTING,) if session.experiment.role == RELAY else FACES
        self._face = next(self._panels[entry.id] for entry in PANELS if entry.kind in faces)
        self._fronts: dict[str, Panel] = {}
        self._is_for_room = False
        self._place_of: dict[Panel, Place | None] = {}
        self._maximised: Panel | None = None
        self._detail_has_screen = False
        self._laid_out: dict[Panel, Size] = {}
        self._must_redraw = False
        self._heading_for: Panel | None = None
        self._focus_before_freeze: Widget | None = None
        self._focus_frozen: Widget | None = None

    def _compositor_refresh(self) -> None:
        if self.app.screen is self:
            cost, before = self._session.cost, self._pictures
            with cost.spent():
                super()._compositor_refresh()
            if self._pictures > before:
                cost.frame()
        elif self._blending is None and self in self.app._background_screens:
            self._blending = self.set_timer(BLENDED_AFTER_S, self._blend)

    @property
    def _pictures(self) -> int:
        return getattr(self._compositor, "pictures", 0)

    def _blend(self) -> None:
        """Have what has changed behind a sheet drawn; Textual 8.2 asks for all of it, over and over again."""
        self._blending = None
        if self.app.screen is self:
            super()._compositor_refresh()
        elif regions := self._compositor._dirty_regions:
            self.app.screen.refresh(*regions)
            regions.clear()
            self._dirty_widgets.clear()

    def compose(self) -> ComposeResult:
        """Put the panels into one grid, each in its place already: its styles are found once then."""
        self._assign_places()
        yield HeaderPanel(id="header").data_bind(DashboardScreen.state)
        with Container(id="body"):
            for panel in self._panels.values():
                yield panel.data_bind(DashboardScreen.state)
        yield self._lesson
        yield FooterBar(id="footer")
        yield RoomBar(id="room")
        yield Static(
            f"This terminal is too small: SockScope needs {SMALLEST[0]}×{SMALLEST[1]}.\nq quits.",
            id="too-small",
            markup=False,
        )

    def on_mount(self) -> None:
        """Name the keys, and draw."""
        self.screen_layout_refresh_signal.subscribe(self, lambda _: self._redraw())
        self.announce(self._session.experiment)
        self._show_arranged()

    def on_resize(self) -> None:
        """Choose the layout; each size may be told several times."""
        self._session.disturb()
        if self.app.size != self._arranged_for:
            self._arrange()

    def panel(self, kind: builtins.type[P]) -> P:
        """Return the panel of a class."""
        return self.query_one(kind)

    # What a session needs.

    @property
    def is_covered(self) -> bool:
        """Whether another screen hides the dashboard altogether, itself below a sheet or not."""
        above = takewhile(lambda screen: screen is not self, reversed(self.app.screen_stack))
        return not all(isinstance(screen, ModalScreen) for screen in above)

    @property
    def is_overlaid(self) -> bool:
        """Whether another screen is in front, a palette too."""
        return self.app.screen is not self

    @property
    def is_behind(self) -> bool:
        """Whether the picture before has not left for the terminal yet."""
        return isinstance(self.app, PacedApp) and self.app.is_behind

    def interest(self, cursors: Cursors, *, still: bool, hidden: bool) -> Cursors:
        """Add to ``cursors`` which rows the panels in sight need, or with ``hidden`` all panels."""
        for panel in self._panels.values():
            if panel.is_on_screen or hidden:
                cursors = panel.interest(cursors, still=still)
        return cursors

    def present(self, state: ScreenState) -> None:
        """Hand ``state`` to the panels."""
        with self.app.batch_update():
            self.state = state

    def present_request(self, state: ScreenState) -> None:
        """Draw the knobs of ``state`` at once; the rest comes with the next tick."""
        self.panel(KnobsPanel).state = state

    def refuse(self, error: ConfigError) -> None:
        """Say why values of knobs were not taken: below the knobs, or in a notice."""
        if self.is_overlaid or not self.panel(KnobsPanel).refuse(error):
            named = (
                (FIELDS[f.field].spec.label if f.field in FIELDS else f.field, f.why) for f in error.faults
            )
            self.say("; ".join(sentence(name, why) for name, why in named), "error")

    def say(self, text: str, severity: Severity = "information") -> None:
        """Show a notice; whatever is in it is text, not markup."""
        self.notify(plain(text), severity=severity, timeout=NOTICE_S, markup=False)

    def call_after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call ``call`` after a while."""
        if delay_s:
            self.set_timer(delay_s, call)
        else:
            self.call_later(call)

    def announce(self, experiment: Experiment) -> None:
        """Say which run is about to begin: this one, or the one that follows it on another screen."""
        self.query_one(HeaderPanel).announce(experiment)

    def watch_state(self, before: ScreenState | None, state: ScreenState | None) -> None:
        """Say what keys do now, and give the arrows a meaning while the view is frozen."""
        self.query_one(FooterBar).show(labels_now(self))
        if before is None or state is None or before.frozen == state.frozen:
            return
        if state.frozen and self._panel_with_focus is not None and self._panel_with_focus.uses_arrows:
            self._focus_before_freeze = self.focused
            self._focus_frozen = self._chosen[Kind.GRAPH].focus_target
            self.set_focus(self._focus_frozen)
        elif not state.frozen:
            if self._focus_before_freeze is not None and self.focused is self._focus_frozen:
                self.set_focus(self._focus_before_freeze)  # unless somebody has gone elsewhere
            self._focus_before_freeze = None

    # What panels ask for.

    def on_tuning_requested(self, message: messages.TuningRequested) -> None:
        """A knob was turned."""
        self._session.tuner.set(message.values)

    def on_value_refused(self, message: messages.ValueRefused) -> None:
        """Say why a typed value was not taken."""
        self.refuse(message.error)

    def on_exchange_requested(self, message: messages.ExchangeRequested) -> None:
        """Fetch the bytes of one exchange; only those that were asked for last are of interest.

        They may lie in another process, which must not hold up the keys.
        """
        self._reply(message)

    @work(group="exchange", exclusive=True)
    async def _reply(self, message: messages.ExchangeRequested) -> None:
        message.reply(await self._session.capture(message.record_id))

    def on_hold_requested(self, message: messages.HoldRequested) -> None:
        """Keep captures while somebody reads them."""
        self._session.hold(message.held)

    def on_moment_requested(self, message: messages.MomentRequested) -> None:
        """Look at the moment that was clicked."""
        self._session.look_at(message.time_s)

    def on_query_changed(self, message: messages.QueryChanged) -> None:
        """Show other rows at once."""
        self._session.show_other_rows()

    def on_close_requested(self, message: messages.CloseRequested) -> None:
        """Close a connection."""
        self.run_worker(self._session.close_connection(message.role, message.conn_id))

    def on_told(self, message: messages.Told) -> None:
        """Say what a panel has to say."""
        self.say(message.text)

    def on_cancel_requested(self, message: messages.CancelRequested) -> None:
        """Cancel a task."""
        self.run_worker(self._session.cancel_task(message.process, message.number))

    # A lesson.

    def teach(self, teaching: Teaching) -> None:
        """Show a lesson below the panels, or in their place where it has no run."""
        self._lesson.teach(teaching)
        self.room_bar.telling = teaching.telling
        self._arrange()

    def end_lesson(self) -> None:
        """Close the lesson that is shown, if there is one; the run goes on."""
        if self.teaches:
            self._lesson.action_end()

    def retell(self) -> None:
        """Tell the lesson in the way of the layout."""
        self._lesson.tell()

    @property
    def teaches(self) -> bool:
        """Whether a lesson is shown."""
        return self._lesson.display

    def focus_lesson(self) -> None:
        """Give the keys to the lesson."""
        self._lesson.focus_told()

    def on_lesson_pane_phase_changed(self) -> None:
        """Give the lesson the height that it needs now."""
        self._arrange()

    def on_lesson_pane_ended(self) -> None:
        """Give its room back."""
        self.room_bar.telling = None
        self._arrange()
        self.focus_panel(self._face.entry.id)

    # What can be kept.

    def clipping(self) -> Clipping:
        """Return what is selected in the panel in focus."""
        return self.focused_panel().clipping()

    def files(self) -> dict[str, str]:
        """Return the figures and the series of the run."""
        return files_of(self._session)

    # Layout.

    def _arrange(self) -> None:
        lesson = self._lesson
        lesson.set_class(lesson.fills_screen, "-whole")
        self.query_one("#body").set_class(lesson.fills_screen and lesson.display, "-hidden")
        self._assign_places()
        self._show_arranged()

    def _show_arranged(self) -> None:
        self.query_one(FooterBar).show(labels_now(self))
        self._must_redraw = True
        self.call_after_refresh(self._redraw)

    def _assign_places(self) -> None:
        self._arranged_for = self.app.size
        width, height = self.app.size
        lesson = self._lesson
        if not lesson.fills_screen:
            height -= lesson.rows_of(self.app.size)
        lesson.styles.height = "1fr" if lesson.fills_screen else lesson.rows_of(self.app.size)
        for_room = self._is_for_room
        narrow = not for_room and (width < NARROW[0] or height < NARROW[1])
        wide = not (for_room or narrow) and width >= WIDE[0] and height >= WIDE[1]
        self.update_classes(
            {
                "-too-small": width < SMALLEST[0] or self.app.size.height < SMALLEST[1],
                "-narrow": narrow,
                "-wide": wide,
                "-for-room": for_room,
                "-flat": for_room and height < TWO_ROWS,
                "-slim": for_room and width < THREE_COLUMNS,
                "-short": height < SHORT and not for_room,
                "-maximised": self._maximised is not None,
            }
        )
        self._place_of = {
            panel: places.present
            if for_room
            else places.narrow
            if narrow
            else places.wide
            if wide
            else places.middle
            for panel in self._panels.values()
            for places in (panel.entry.places,)
        }
        self._bring_to_front(self._face)
        for panel, place in self._place_of.items():
            self._put(panel, place, narrow=narrow, wide=wide)
        self._name_tabs()

    def _bring_to_front(self, panel: Panel) -> None:
        """Let a panel be in front of those that share its place; elsewhere one of these stays or comes."""
        place_of = self._place_of
        for one, place in place_of.items():
            if place is not None and place.group:
                front = self._fronts.get(place.group)
                there = place_of[front] if front is not None else None
                if one is panel or there is None or there.group != place.group:
                    self._fronts[place.group] = one

    def _sharing(self, panel: Panel) -> list[Panel]:
        """Return the panels that share the place of this one in this layout, itself included."""
        place = self._place_of[panel]
        group = place.group if place is not None else ""
        return [one for one, at in self._place_of.items() if group and at is not None and at.group == group]

    def _put(self, panel: Panel, place: Place | None, *, narrow: bool, wide: bool) -> None:
        """Put one panel into its place, in front of others or behind them."""
        is_chosen, is_on_top = panel is self._chosen[panel.entry.kind], panel is self._maximised
        side_by_side = wide and self._maximised is None
        yielding = [p for p in self._panels.values() if side_by_side and self._taker_of(p) is panel]
        gives_way = side_by_side and self._taker_of(panel) is not None
        panel.update_classes(
            {
                "-on-top": is_on_top,
                "-absent": place is None,
                "-chosen": is_chosen,
                "-roomy": bool(yielding),
                "-behind": gives_way
                or bool(place and place.group and panel is not self._fronts[place.group]),
            },
            update=panel.is_attached,
        )
        place = place or Place()
        freed = [p.entry.places.wide for p in yielding]
        panel.styles.column_span = place.columns + sum(other.columns for other in freed if other)
        panel.styles.row_span = place.rows
        fixed = narrow and not (place.group or is_on_top or (is_chosen and panel.entry.kind is Kind.GRAPH))
        if fixed or panel.styles.inline.has_rule("height"):  # else every call asks for another layout
            panel.styles.height = place.rows if fixed else None

    def _taker_of(self, panel: Panel) -> Panel | None:
        """Return the panel whose detail takes the place of this one in the wide layout, if it shows one."""
        taker = self._panels.get(panel.entry.yields_to)
        return taker if taker is not None and taker.has_detail else None

    def _name_tabs(self) -> None:
        """Name the panels that are behind in the border of each one in front."""
        faces = [panel for panel in self._panels.values() if panel.entry.kind in FACES]
        yields = any(self._taker_of(panel) is not None and panel.has_class("-behind") for panel in faces)
        for panel in faces:
            sharing = self._sharing(panel)
            together = faces if self._maximised is not None or yields else sharing if len(sharing) > 1 else []
            panel.share_place(tuple(one.entry for one in together))

    def _redraw(self) -> None:
        """Draw what was arranged anew, and what the layout has shown or resized since.

        A refresh may come before the layout that it was to follow, and no later state is drawn while the view
        is frozen.
        """
        laid_out = {panel: panel.size for panel in self._panels.values() if panel.is_on_screen}
        if not self._must_redraw and laid_out == self._laid_out:
            return
        appeared = laid_out.keys() - self._laid_out.keys()
        self._must_redraw, self._laid_out = False, laid_out
        self.query_one(HeaderPanel).redraw()
        for panel in laid_out:
            panel.redraw()
        if any(panel.entry.kind in FACES for panel in appeared):
            self._session.show_other_rows()  # nobody asked for its rows while it was hidden

    @property
    def is_maximised(self) -> bool:
        """Whether one panel has the whole body."""
        return self._maximised is not None

    def show_to_room(self, on: bool) -> None:
        """Show the few panels of the layout ``present``, large; or go back to that of the terminal's size."""
        if on != self._is_for_room:
            self._is_for_room = self.room_bar.display = on
            self.query_one(FooterBar).display = not on
            self.room_bar.begin()
            self._give_screen(None)

    @property
    def room_bar(self) -> RoomBar:
        """What stands below the panels while a room looks at them."""
        return self.query_one(RoomBar)

    @property
    def is_for_room(self) -> bool:
        """Whether the panels are those of the layout ``present``."""
        return self._is_for_room

    def has_screen(self, panel: Panel) -> bool:
        """Whether this panel has the whole body."""
        return self._maximised is panel

    def maximise(self) -> None:
        """Give the panel in focus the whole body, or take it back."""
        self._give_screen(None if self._maximised is not None else self.focused_panel())

    def _give_screen(self, panel: Panel | None) -> None:
        self._maximised = panel
        self._detail_has_screen = False
        self._arrange()

    @property
    def can_go_back(self) -> bool:
        """Whether there is a detail, or a panel that has the whole body."""
        return self._maximised is not None or self.focused_panel().has_detail

    def back(self) -> None:
        """Close the detail of the panel in focus; without one, take the whole body back from a panel."""
        panel = self.focused_panel()
        if panel.has_detail:
            panel.close_detail()
        elif self._maximised is not None:
            self._give_screen(None)

    def maximise_panel(self, panel: Panel) -> None:
        """Give one panel the whole body, or take it back."""
        self._give_screen(None if self._maximised is panel else panel)
        if self._maximised is panel and (target := panel.focus_target) is not None:
            self.set_focus(target)

    def on_listing_panel_detail_changed(self, message: ListingPanel.DetailChanged) -> None:
        """Give a detail room: all of a small terminal; in a wide one, the place of a panel that yields."""
        message.stop()
        panel = message.panel
        if panel.has_detail and self.has_class("-narrow") and self._maximised is None:
            self.maximise_panel(panel)
            self._detail_has_screen = True
        elif self._detail_has_screen and not panel.has_detail:
            self._give_screen(None)
        else:
            self._arrange()

    # Focus.

    def focus_panel(self, panel_id: str) -> None:
        """Bring a panel to the front and go there."""
        panel = self._panels[panel_id]
        self._chosen[panel.entry.kind] = panel
        if panel.entry.kind in FACES:
            self._face = panel
        if self._maximised is not None or (self._is_for_room and panel.entry.places.present is None):
            self._maximised = panel  # there is no other place for it
        elif self.has_class("-wide") and (taker := self._taker_of(panel)) is not None:
            taker.close_detail()
        hidden = not panel.is_on_screen
        self._arrange()
        self._heading_for = panel
        if hidden:
            # What is hidden cannot take the focus.
            self.call_after_refresh(self._enter, panel)
        else:
            self._enter(panel)

    def bring_to_front(self, panel_id: str) -> None:
        """Let a panel be in front of those that share its place, and leave the focus where it is.

        Before the screen is composed, it begins so.
        """
        panel = self._panels[panel_id]
        self._chosen[panel.entry.kind] = self._face = panel
        if self._arranged_for is not None:
            self._arrange()

    def _enter(self, panel: Panel) -> None:
        """Focus the panel, unless a key that came at once leads elsewhere, or has opened its filter."""
        if panel is not self._heading_for:
            return
        self._heading_for = None
        target = panel.focus_target
        if target is not None and not panel.has_focus_within:
            self.set_focus(target)

    @property
    def _panel_with_focus(self) -> Panel | None:
        node = self.focused
        while node is not None and not isinstance(node, Panel):
            parent = node.parent
            node = parent if isinstance(parent, Widget) else None
        return node

    def focused_panel(self) -> Panel:
        """Return the panel that has the focus, or is about to get it, or the listing in front."""
        return self._heading_for or self._panel_with_focus or self._face

    def listing(self) -> ListingPanel:
        """Return the listing that has the focus, or was called last, which comes to the front then."""
        panel = self.focused_panel()
        panel = panel if panel.entry.kind is Kind.LISTING else self._chosen[Kind.LISTING]
        assert isinstance(panel, ListingPanel)
        if not panel.is_on_screen:
            self.focus_panel(panel.entry.id)
        return panel

    @property
    def runs_keys_at_once(self) -> bool:
        """Whether no key can be text at the moment, and the focus is where the keys before have sent it."""
        return self._heading_for is None and not isinstance(self.focused, Input) and not self.is_typing

    @property
    def is_typing(self) -> bool:
        """Whether keys are text at the moment, so that they must not run actions."""
        return self.focused_panel().is_typing
