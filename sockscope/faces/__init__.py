"""Faces: what people and programs see of an engine (a dashboard, text, JSON)."""
