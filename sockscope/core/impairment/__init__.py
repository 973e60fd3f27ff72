"""Faults on demand: what they are called, what they do to data, and when. Pure: no socket, no clock."""
