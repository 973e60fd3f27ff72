"""A style sheet that is parsed once in a process, and applied again only to what has changed for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar
from weakref import WeakKeyDictionary

from textual.cache import LRUCache
from textual.css.model import RuleSet, Selector
from textual.css.styles import RulesMap
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation
from textual.dom import DOMNode
from textual.widget import Widget

Appearance = tuple[object, ...]
"""All of a node and of those above it that selectors look at: it decides which rules apply."""

_STATES: dict[str, Callable[[Widget], bool]] = {
    "hover": lambda widget: widget.mouse_hover,
    "focus": lambda widget: widget.has_focus,
    "blur": lambda widget: widget.has_focus,
    "focus-within": lambda widget: widget.has_focus_within,
    "disabled": lambda widget: widget.is_disabled,
    "enabled": lambda widget: widget.is_disabled,
    "can-focus": lambda widget: widget.allow_focus(),
}
"""What a pseudo-class looks at, of those that change without the rules or the place of a widget."""


class FrugalStylesheet(Stylesheet):
    """Leaves out of an update the nodes whose :data:`Appearance` is the one that they got their styles for.

    Textual 8.2 applies every rule to each widget of a screen whenever that comes to the front, and once more
    to all parts that it draws in styles of their own: a tenth of a second of the loop for the dashboard. For
    each screen with a style sheet it parses all sources anew; here those parsed last are kept for every app.
    """

    _parsed: ClassVar[LRUCache[tuple[object, ...], list[RuleSet]]] = LRUCache(512)

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._styled: WeakKeyDictionary[DOMNode, Appearance] = WeakKeyDictionary()
        self._styled_by: list[RuleSet] = []
        # Whose states mean something: names in selectors, by pseudo-class.
        self._watched: dict[str, set[str]] = {}

    def _parse_rules(
        self,
        css: str,
        read_from: CSSLocation,
        is_default_rules: bool = False,
        tie_breaker: int = 0,
        scope: str = "",
    ) -> list[RuleSet]:
        key = (css, read_from, is_default_rules, tie_breaker, scope, frozenset(self._variables.items()))
        rules = self._parsed.get(key)
        if rules is None:
            rules = super()._parse_rules(css, read_from, is_default_rules, tie_breaker, scope)
            self._parsed[key] = rules
        return rules

    def reparse(self) -> None:
        """Take in new sources and variables; raises StylesheetError, which leaves the rules as they are."""
        self.parse()

    def apply(
        self, node: DOMNode, *, animate: bool = False, cache: dict[tuple[object, ...], RulesMap] | None = None
    ) -> None:
        """Apply the rules to a node."""
        super().apply(node, animate=animate, cache=cache)
        if isinstance(node, Widget):
            self._take_rules()
            self._styled[node] = self._appearance(node, {})

    def update_nodes(self, nodes: Iterable[DOMNode], animate: bool = False) -> None:
        """Apply the rules to those nodes whose styles may be others than they are."""
        self._take_rules()
        super().update_nodes(self._changed(nodes), animate)

    def _changed(self, nodes: Iterable[DOMNode]) -> Iterator[DOMNode]:
        seen: dict[DOMNode, Appearance] = {}
        for node in nodes:
            if node._parent is None and isinstance(node, Widget):
                continue  # it gets its styles with its place
            # Where it stands among its siblings is for them to tell.
            by_position = node._has_order_style or node._has_odd_or_even
            if by_position or self._styled.get(node) != self._appearance(node, seen):
                yield node

    def _appearance(self, node: DOMNode, seen: dict[DOMNode, Appearance]) -> Appearance:
        """Return what a node is to selectors; ``seen`` holds those that were looked at already."""
        if (found := seen.get(node)) is None:
            parent = node._parent
            above = self._appearance(parent, seen) if isinstance(parent, DOMNode) else ()
            states: Sequence[bool] = ()
            if isinstance(node, Widget):
                names = node._selector_names
                states = [_STATES[it](node) for it, watched in self._watched.items() if names & watched]
            found = seen[node] = (above, node.id, node.classes, *states)
        return found

    def _take_rules(self) -> None:
        """Forget the nodes for which rules mean something that were added or have gone."""
        if self._styled_by is self.rules:
            return
        others, self._styled_by = set(self._styled_by).symmetric_difference(self.rules), self.rules
        named = {name for rule in others for name in rule.selector_names}
        for node in [node for node in self._styled if not named.isdisjoint(_names_of(node))]:
            del self._styled[node]
        watched: dict[str, set[str]] = {}
        for selector in _selectors(self.rules):
            for state in selector.pseudo_classes & _STATES.keys():
                watched.setdefault(state, set()).add(selector.css.partition(":")[0] or "*")
        newly, self._watched = _differing(watched, self._watched), watched
        for node in [node for node in self._styled if not newly.isdisjoint(node._selector_names)]:
            del self._styled[node]


def _selectors(rules: Iterable[RuleSet]) -> Iterator[Selector]:
    return (selector for rule in rules for one in rule.selector_set for selector in one.selectors)


def _differing(one: dict[str, set[str]], other: dict[str, set[str]]) -> set[str]:
    """Return the names whose watched states are not the same in both."""
    return {name for state in one | other for name in one.get(state, set()) ^ other.get(state, set())}


def _names_of(node: DOMNode) -> set[str]:
    """Return what a rule must name to mean something for a node, or for a part that it draws itself."""
    return node._selector_names | {f".{component}" for component in node._get_component_classes()}
