"""What a script says where it cannot show its effect; by itself, so that a script imports nothing else."""

from __future__ import annotations


class CannotBeShown(Exception):
    """Raised by a script, with the reason, if this machine cannot show its effect: that is no failure."""
