"""Where a role runs."""
