"""The tasks of the event loops, as the lens sees them: where they wait, and what they wait for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from sockscope.core import units
from sockscope.core.run.snapshot import LimiterStatistics, ProcessKey, ProcessUse, Snapshot
from sockscope.core.run.tasks import OURS, OWN, AwaitedView, ExecutorView, TaskState, TasksView, TaskView
from sockscope.faces.tui.messages import CancelRequested, Told
from sockscope.faces.tui.panels.lens import OFF
from sockscope.faces.tui.panels.listing import DetailListing
from sockscope.faces.tui.panels.panel import PanelEntry
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.widgets.plain import plain, plain_lines, shorten
from sockscope.faces.tui.widgets.table import Column, Row, Table

ASKED_S = 4.0
"""How long the first press of the key that cancels waits for the second."""
TOLD_AGE_S = 2.0
"""From this age on the title tells how old the look at the tasks is."""
MOST_LINES = 3
"""Lines of one sort above the rows."""

Key = tuple[ProcessKey, int]
"""Process and number of a task."""


class TasksPanel(DetailListing):
    """A row per task, own code's first and of these the oldest; above them what tasks wait for."""

    columns = (
        Column("name", "task", 14, priority=9),
        Column("process", "loop of", 8, priority=2),
        Column("state", "state", 10, priority=5),
        Column("age", "age", 8, "right", priority=7),
        Column("waits", "waits", 8, "right", priority=6),
        Column("coroutine", "coroutine", 16, flexible=True, priority=4),
        Column("waits_in", "waits in", 22, flexible=True, priority=8),
    )

    empty = "no task was seen yet"

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(entry)
        self._sort, self._reverse = "", False
        self._tasks: dict[Hashable, tuple[ProcessUse, TaskView]] = {}
        self._asked: Hashable = None
        self._forgetting: Timer | None = None

    def compose(self) -> ComposeResult:
        """The lines of what is waited for, and the listing below them."""
        waited_for = Static("", classes="waited-for", markup=False)
        with Container(classes="lens-body"):
            yield waited_for
            yield from super().compose()

    def draw(self, state: ScreenState) -> None:
        """Show the tasks of the last look at each loop."""
        snapshot = state.snapshot
        looked = list(_looked(snapshot))
        self._tasks = {(use.key, task.number): (use, task) for use, view in looked for task in view.tasks}
        if not self.filter_text:
            self.table.empty_text = self.empty if _is_on(snapshot) else OFF
        width = max(self.size.width - 2, 20)
        views = [view for _, view in looked]
        lines = [shorten(plain(line), width) for line in _lines(state.headline, looked)] if looked else []
        waited_for = self.query_one(".waited-for", Static)
        waited_for.display = bool(lines)
        waited_for.update(Content("\n".join(lines)))
        self.shown_rows = self.matching([_row(key, *one) for key, one in self._sorted()])
        self.table.show(self.shown_rows)
        self.retitle(_how_many(views, snapshot.time_s))
        self.resubtitle(next((text for view in views for text in view.sentences), ""))
        self.draw_detail()

    def _sorted(self) -> Sequence[tuple[Hashable, tuple[ProcessUse, TaskView]]]:
        tasks = list(self._tasks.items())
        key = _SORTS.get(self._sort)
        if key is None:  # each loop has its oldest first
            return sorted(tasks, key=lambda one: one[1][1].owner != OWN)
        return sorted(tasks, key=lambda one: key(*one[1]), reverse=self._reverse)

    def detail_of(self, key: Hashable) -> str | None:
        """Return all that is known of a task."""
        found = self._tasks.get(key)
        return plain_lines(_detail(*found)) if found is not None else None

    # Sorting.

    def sort_by_next(self) -> bool:
        """Sort by the next column, and after the last as in the beginning."""
        keys = ["", *_SORTS]
        self._sort_by(keys[(keys.index(self._sort) + 1) % len(keys)])
        return True

    def _sort_by(self, key: str) -> None:
        figures = key in ("age", "waits")
        self._reverse = not self._reverse if key == self._sort else figures
        self._sort = key
        self.table.sort_key, self.table.sort_reverse = key or None, self._reverse
        self.redraw()

    def on_table_header_selected(self, message: Table.HeaderSelected) -> None:
        """Sort by the column that was clicked; again, the other way round."""
        message.stop()
        self._sort_by(message.column_key)

    # Cancelling.

    def end_selected(self) -> bool:
        """Ask for the task under the cursor to be cancelled; the key must be pressed twice."""
        key = self.table.cursor_key
        found = self._tasks.get(key)
        if found is None:
            return True
        use, task = found
        self.table.move_to(key)  # the cursor stays on this task, wherever its row goes
        if task.owner != OWN:
            self.post_message(Told(f"{task.title} is not cancelled: it is of {OURS}"))
        elif key != self._asked:
            self._ask(key)
            self.post_message(Told(f"x again cancels {task.title}"))
        else:
            self._ask(None)
            self.post_message(CancelRequested(use.key, task.number))
        return True

    def _ask(self, key: Hashable) -> None:
        self._asked = key
        if self._forgetting is not None:
            self._forgetting.stop()
        self._forgetting = self.set_timer(ASKED_S, lambda: self._ask(None)) if key is not None else None


_SORTS: dict[str, Callable[[ProcessUse, TaskView], float | str]] = {
    "age": lambda _, task: task.age_s,
    "waits": lambda _, task: task.waits_s,
    "name": lambda _, task: task.name,
    "state": lambda _, task: task.state.value,
    "coroutine": lambda _, task: task.coroutine,
    "waits_in": lambda _, task: task.waits_in,
    "process": lambda use, _: use.name,
}


def _looked(snapshot: Snapshot) -> Iterator[tuple[ProcessUse, TasksView]]:
    for use in snapshot.processes:
        if use.lens is not None and use.lens.tasks is not None:
            yield use, use.lens.tasks


def _is_on(snapshot: Snapshot) -> bool:
    return any(use.lens is not None and use.lens.is_on for use in snapshot.processes)


def _how_many(views: Sequence[TasksView], now_s: float) -> str:
    alive, own = sum(view.alive for view in views), sum(view.own for view in views)
    shown = sum(len(view.tasks) for view in views)
    if not views:
        return ""
    more = f"  {shown:,} are here" if shown < alive else ""
    age_s = now_s - min(view.time_s for view in views)
    ago = f" {units.format_age(age_s)} ago" if age_s >= TOLD_AGE_S else ""
    return f"{alive:,} alive{ago}  {own:,} of {OWN}{more}"


def _row(key: Hashable, use: ProcessUse, task: TaskView) -> Row:
    style = {TaskState.CANCELLING: "warning"}.get(task.state, "" if task.owner == OWN else "muted")
    cells = (
        task.name,
        use.name,
        task.state.value,
        _age(task),
        units.format_age(task.waits_s),
        task.coroutine,
        f"{task.waits_in}  {task.waits_for}" if task.waits_for.startswith("task ") else task.waits_in,
    )
    return Row(key, cells, style)


def _age(task: TaskView) -> str:
    return f"{'' if task.age_known else '≥ '}{units.format_age(task.age_s)}"


def _detail(use: ProcessUse, task: TaskView) -> Iterator[str]:
    yield f"{task.name}   {task.state.value}"
    keys = "x twice cancels it   Esc back" if task.owner == OWN else "Esc back"
    yield f"of {task.owner}   {keys}"
    yield f"on the loop of {use.name}, process {use.pid}"
    yield f"age      {_age(task)}"
    yield f"waits    {units.format_age(task.waits_s)} at least, as the looks at it tell"
    if task.made_at:
        yield f"made at  {task.made_at}"
    yield f"for      {task.waits_for or 'the next turn of the loop'}, through"
    yield from (f"  {link}" for link in task.chain)


def _lines(window: Snapshot, looked: Sequence[tuple[ProcessUse, TasksView]]) -> Iterator[str]:
    """Yield what is waited for, and what nobody has asked for."""
    views = [view for _, view in looked]
    for name, role in window.roles.items():
        if role.limiter.permits:
            whose = "permits" if name == window.main.role else f"{name} permits"
            yield f"{whose}: {_limiter(role.limiter, window.measured_s)}"
    for awaited in [one for view in views for one in view.awaited][:MOST_LINES]:
        yield _awaited(awaited)
    for use, view in looked:
        if (executor := view.executor) is not None and (executor.threads or executor.queued):
            yield f"default executor of {use.name}: {_executor(executor)}"
    for left in [row for view in views for row in view.unclosed][:MOST_LINES]:
        many, age = units.counted(left.count, "transport"), units.format_age(left.oldest_s)
        yield f"{many} of ended tasks open, {age} the oldest: made at {left.made_at}"
    for raised in [row for view in views for row in view.unretrieved][:MOST_LINES]:
        message = f": {raised.message}" if raised.message else ""
        yield f"nobody asked for {raised.what} at {raised.where}{message}  ×{raised.count:,}"


def _limiter(limiter: LimiterStatistics, seconds: float) -> str:
    """Return who holds and who waits, for how long; what holders take follows from Little's law."""
    held = f"{limiter.in_flight:,} of {limiter.permits:,} held"
    if limiter.in_flight and limiter.acquired and seconds > 0:
        held += f", each for about {units.format_duration(limiter.in_flight * seconds / limiter.acquired)}"
    if not limiter.waiting:
        return f"{held}; none waits"
    longest = (
        f", {units.format_duration(limiter.longest_wait_s)} the longest" if limiter.longest_wait_s else ""
    )
    return f"{held}; {limiter.waiting:,} wait{longest}"


def _awaited(awaited: AwaitedView) -> str:
    names = ", ".join(awaited.holders) + (" …" if awaited.holding > len(awaited.holders) else "")
    held = f", held by {awaited.holding:,} ({names})" if awaited.holding else ""
    waiting = f"{awaited.waiting:,} wait, {units.format_age(awaited.longest_s)} the longest"
    state = f" {awaited.state}," if awaited.state else ""
    return f"{awaited.kind} at {awaited.waited_at}:{state} {waiting}{held}"


def _executor(executor: ExecutorView) -> str:
    queued = [call for call in executor.calls if not call.running]
    running = [call for call in executor.calls if call.running]
    parts = [
        f"{executor.running:,} running",
        f"{executor.queued:,} queued",
        f"{units.counted(executor.threads, 'thread')} used",
    ]
    if running:
        parts.append(f"longest {running[0].name}, {units.format_age(running[0].since_s)}")
    if queued:
        parts.append(f"the first in the queue waits {units.format_age(queued[0].since_s)}")
    return ", ".join(parts)
