"""Panels: what of the run is shown.

Each gets a :class:`~sockscope.faces.tui.screen_state.ScreenState` and posts messages; none calls the session,
nor knows of another panel. :mod:`table` lists them.
"""
