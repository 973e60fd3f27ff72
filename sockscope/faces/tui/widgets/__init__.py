"""Widgets that can draw anything; they know nothing of SockScope."""
