"""SockScope's own colours, for a dark room and for a light one."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="sockscope-dark",
    primary="#7FB4FF",
    secondary="#9D8CFF",
    accent="#4FD6BE",
    success="#7BD88F",
    warning="#FFC66D",
    error="#FF7B72",
    foreground="#D7DEE8",
    background="#0F1419",
    surface="#161C24",
    panel="#1D2530",
    dark=True,
)
LIGHT = Theme(
    name="sockscope-light",
    primary="#1F5FBF",
    secondary="#5B45C2",
    accent="#0B7A6B",
    success="#1E7F3C",
    warning="#9A5B00",
    error="#B3261E",
    foreground="#1B2430",
    background="#FBFCFD",
    surface="#EEF1F5",
    panel="#E3E8EE",
    dark=False,
)
THEMES = (DARK, LIGHT)
