"""Panels: what of the run is shown. They get a :class:`Frame`, post messages,
and never call the engine.
"""
