"""The lens on the event loop of a process; while it is off it costs nothing."""
