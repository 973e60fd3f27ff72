"""Experiments that are made of several runs of the engine."""
