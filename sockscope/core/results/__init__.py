"""What outlives a run: reports, races, and how two of them compare."""
