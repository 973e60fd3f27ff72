"""SockScope's own colours, for a dark room and for a light one.

Primary, success, error and foreground are those of curves, which must differ in the sixteen colours of a
plain terminal too.
"""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="sockscope-dark",
    primary="#5C9DFF",
    secondary="#9D8CFF",
    accent="#4FD6BE",
    success="#69D980",
    warning="#FFC66D",
    error="#FF7B72",
    foreground="#D7DEE8",
    background="#0F1419",
    surface="#161C24",
    panel="#1D2530",
    dark=True,
)
"""Light on dark: the default."""
LIGHT = Theme(
    name="sockscope-light",
    primary="#1F5FBF",
    secondary="#5B45C2",
    accent="#0B7A6B",
    success="#118A3A",
    warning="#9A5B00",
    error="#B3261E",
    foreground="#1B2430",
    background="#FBFCFD",
    surface="#EEF1F5",
    panel="#E3E8EE",
    dark=False,
)
"""Dark on light."""
THEMES = (DARK, LIGHT)
"""SockScope's own themes."""
